#include "recluster/report.h"

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "findings.h"
#include "plan_facts.h"
#include "recluster/human.h"
#include "text.h"

static void verdict_text(struct text *t, const json_t *plan)
{
    size_t blockers = doc_count(plan, "blockers");

    if (doc_bool(plan, "feasible"))
        text_wrap(t, TEXT_GREEN, "", "Feasible: this plan can be carried out.");
    else
        text_wrap(t, TEXT_RED, "", "NOT FEASIBLE: %zu %s this plan.", blockers,
            blockers == 1 ? "blocker stops" : "blockers stop");
    if (doc_has(plan, "hash"))
        text_wrap(t, TEXT_PLAIN, "", "Plan %.12s", doc_text(plan, "hash", ""));
}

static size_t count_homeless(const json_t *shards)
{
    size_t count = 0, i;
    json_t *shard;

    json_array_foreach (shards, i, shard) {
        count += !doc_has(shard, "host");
    }
    return count;
}

static void database_text(struct text *t, const json_t *database)
{
    size_t homeless = count_homeless(json_object_get(database, "shards"));
    const json_t *set = json_object_get(database, "backup_set");
    size_t shards = doc_count(database, "shards"), files = doc_count(set, "files");
    char text[HUMAN_TEXT_MAX], age[HUMAN_TEXT_MAX];
    int64_t bytes = plan_set_bytes(set);
    struct buf endpoints = BUF_INIT;

    text_wrap(t, TEXT_BOLD, "  ", "%s  %s", doc_text(database, "label", "?"),
        doc_text(database, "name", ""));
    if (doc_has(database, "skipped")) {
        text_wrap(t, TEXT_YELLOW, "    ", "left out: %s", doc_text(database, "skipped", "?"));
        return;
    }
    if (json_is_object(set)) {
        text_field(t, "backup set", "%s of %s", doc_text(set, "id", "the set"),
            doc_time(set, "time", age));
        text_field(t, "would lose", "what was written in the %s since then",
            human_duration(doc_int(set, "age_s", 0) * 1000, age));
        text_field(t, "size", "%s in %zu %s",
            bytes < 0 ? "not known," : human_bytes((uint64_t)bytes, text), files,
            files == 1 ? "file" : "files");
    } else {
        text_wrap(t, TEXT_RED, "    ", "no complete backup set was found");
    }
    if (doc_has(database, "source"))
        text_field(t, "from", "%s", doc_text(database, "source", ""));
    if (homeless > 0)
        text_field(t, "shards", "%zu, for %zu of them there is no place", shards, homeless);
    else
        text_field(t, "shards", "%zu", shards);
    plan_endpoints(database, 6, &endpoints);
    text_field(t, "endpoints", "%s", endpoints.data);
    buf_release(&endpoints);
}

static void host_text(struct text *t, const json_t *plan, const json_t *host)
{
    enum { SHOWN_SHARDS = 12, BAR = 20 };
    int64_t whole = doc_int(host, "memory", 0), part = doc_int(host, "planned_memory", 0);
    char planned[HUMAN_TEXT_MAX], available[HUMAN_TEXT_MAX];
    struct buf line = BUF_INIT;

    text_wrap(t, TEXT_BOLD, "  ", "%s%s%s", doc_text(host, "name", "?"),
        doc_has(host, "rack") ? "  rack " : "", doc_text(host, "rack", ""));
    if (json_is_false(json_object_get(host, "usable"))) {
        text_wrap(t, TEXT_YELLOW, "    ", "can't be used");
        return;
    }
    text_bar(&line, (double)part, (double)whole, BAR);
    text_wrap(t, part > whole ? TEXT_RED : TEXT_PLAIN, "    ", "%s %s of %s", line.data,
        human_bytes((uint64_t)(part > 0 ? part : 0), planned),
        human_bytes((uint64_t)(whole > 0 ? whole : 0), available));
    buf_clear(&line);
    plan_host_shards(plan, doc_text(host, "name", ""), SHOWN_SHARDS, &line);
    text_wrap(t, TEXT_PLAIN, "    ", "%s", line.len > 0 ? line.data : "no shards");
    buf_release(&line);
}

static void hosts_text(struct text *t, const json_t *plan)
{
    const json_t *hosts = json_object_get(plan, "hosts");
    size_t i;
    json_t *host;

    text_heading(t, "Hosts (%zu)", json_array_size(hosts));
    json_array_foreach (hosts, i, host) {
        if (i == TEXT_LIST_MAX)
            break;
        host_text(t, plan, host);
    }
    text_more(t, 2, json_array_size(hosts), TEXT_LIST_MAX);
}

static void stages_text(struct text *t, const json_t *stages)
{
    static const char *const heads[] = {"STAGE", "BYTES", "ABOUT"};
    struct text_table table;
    char text[HUMAN_TEXT_MAX];
    double total_s = 0;
    size_t i;
    json_t *stage;

    text_heading(t, "Stages");
    text_table_init(&table, "Lrr");
    for (i = 0; i < ARRAY_SIZE(heads); i++)
        text_table_cell(&table, TEXT_PLAIN, "%s", heads[i]);
    json_array_foreach (stages, i, stage) {
        double seconds = doc_real(stage, "seconds", 0);
        int64_t bytes = doc_int(stage, "bytes", 0);
        text_table_cell(&table, TEXT_PLAIN, "%zu %s", i + 1, doc_text(stage, "stage", "?"));
        text_table_cell(
            &table, TEXT_PLAIN, "%s", bytes > 0 ? human_bytes((uint64_t)bytes, text) : "-");
        text_table_cell(&table, TEXT_PLAIN, "%s", human_duration((int64_t)(seconds * 1000), text));
        total_s += seconds;
    }
    text_table_cell(&table, TEXT_PLAIN, "together, at most");
    text_table_cell(&table, TEXT_PLAIN, "-");
    text_table_cell(&table, TEXT_PLAIN, "%s", human_duration((int64_t)(total_s * 1000), text));
    text_table_print(&table, t, 2);
}

void report_plan_text(const json_t *plan, bool colour, struct buf *out)
{
    enum { SHOWN = 100 };
    struct text t = {.out = out, .colour = colour};
    const json_t *databases = json_object_get(plan, "databases");
    size_t i;
    json_t *database;

    verdict_text(&t, plan);
    text_heading(&t, "Databases (%zu)", json_array_size(databases));
    json_array_foreach (databases, i, database) {
        if (i == SHOWN)
            break;
        database_text(&t, database);
    }
    text_more(&t, 2, json_array_size(databases), SHOWN);
    hosts_text(&t, plan);
    stages_text(&t, json_object_get(plan, "stages"));
    issues_text(&t, "Warnings", TEXT_YELLOW, json_object_get(plan, "warnings"));
    issues_text(&t, "Blockers", TEXT_RED, json_object_get(plan, "blockers"));
    text_end(&t);
    if (doc_bool(plan, "feasible"))
        text_wrap(&t, TEXT_BOLD, "Next: ",
            "carry it out with 'recluster recover', the same CCS file and hosts, and --state "
            "FILE.");
    else
        text_wrap(&t, TEXT_BOLD,
            "Next: ", "mend what the blockers name, then run 'recluster plan' again.");
}
