#include "recluster/json.h"
#include "recluster/report.h"

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "findings.h"
#include "plan_facts.h"
#include "plan_text.h"
#include "recluster/human.h"
#include "text.h"

/* The options of the plan, as on a command line. */
static void options_text(struct text *t, const json_t *options)
{
    static const char *const hidden[] = {"at_ms", "rto_s"};
    CLEANUP(buf_release) struct buf line = BUF_INIT;
    char duration[HUMAN_TEXT_MAX];
    const char *key, *name;
    json_t *value, *item;
    size_t i;

    json_object_foreach ((json_t *)(uintptr_t)options, key, value) {
        bool own = strcmp(key, hidden[0]) == 0 || strcmp(key, hidden[1]) == 0;
        AUTO_FREE char *word = xstrdup(strcmp(key, "databases") == 0 ? "database" : key);
        for (char *c = word; *c; c++)
            *c = *c == '_' ? '-' : *c;
        if (json_is_true(value))
            buf_addf(&line, " --%s", word);
        else if (json_is_string(value))
            buf_addf(&line, " --%s %s", word, json_string_value(value));
        json_array_foreach (value, i, item) {
            const char *text = json_string_value(item);
            buf_addf(&line, " --%s%s%s", word, text && *text ? " " : "", text ? text : "?");
        }
        json_object_foreach (value, name, item) {
            buf_addf(&line, " --%s %s=%" JSON_INTEGER_FORMAT, word, name, json_integer_value(item));
        }
        if (own && strcmp(key, "rto_s") == 0)
            buf_addf(
                &line, " --rto %s", human_duration(json_integer_value(value) * 1000, duration));
        else if (own)
            buf_addf(&line, " --at %s", doc_time(options, key, duration));
    }
    if (line.len > 0)
        text_wrap(t, TEXT_PLAIN, "", "Asked for:%s", line.data);
}

static void unchecked_text(struct text *t, const json_t *unchecked)
{
    size_t i;
    json_t *item;

    if (json_array_size(unchecked) > 0)
        text_wrap(t, TEXT_YELLOW, "", "Not checked:");
    json_array_foreach (unchecked, i, item) {
        text_wrap(t, TEXT_PLAIN, "  - ", "%s", json_string_value(item));
    }
}

static void logins_text(struct text *t, const json_t *logins)
{
    size_t i;
    json_t *login;

    if (json_array_size(logins) > 0)
        text_wrap(t, TEXT_PLAIN, "", "Logins go to:");
    json_array_foreach (logins, i, login) {
        bool clear = json_flag(login, "clear");
        text_wrap(t, clear ? TEXT_YELLOW : TEXT_PLAIN, "  - ", "%s%s (%s, named by %s)",
            json_text(login, "endpoint", "?"), clear ? " in clear text" : "",
            json_text(login, "database", "?"), json_text(login, "named_by", "?"));
    }
}

/* The first lines: the most important facts. */
struct summary {
    size_t databases, skipped, shards, hosts, used;
    int64_t memory, planned, age_s; /* -1: no data would be restored */
};

static struct summary summary_of(const json_t *plan)
{
    struct summary sum = {.age_s = -1};
    size_t i;
    json_t *item;

    json_array_foreach (json_object_get(plan, "databases"), i, item) {
        int64_t age_s = json_int(json_object_get(item, "backup_set"), "age_s", -1);
        sum.databases++;
        sum.skipped += json_has(item, "skipped");
        sum.shards += json_count(item, "shards");
        if (!json_has(item, "skipped") && age_s > sum.age_s)
            sum.age_s = age_s;
    }
    json_array_foreach (json_object_get(plan, "hosts"), i, item) {
        sum.hosts++;
        sum.used += json_int(item, "shards", 0) > 0;
        if (json_flag(item, "usable"))
            sum.memory += json_int(item, "memory", 0);
        sum.planned += json_int(item, "planned_memory", 0);
    }
    return sum;
}

static void summary_text(struct text *t, const json_t *plan)
{
    struct summary sum = summary_of(plan);
    char planned[HUMAN_TEXT_MAX], memory[HUMAN_TEXT_MAX], time[HUMAN_TEXT_MAX];
    AUTO_FREE char *left_out =
        sum.skipped > 0 ? xasprintf(" (%zu left out)", sum.skipped) : xstrdup("");

    text_wrap(t, TEXT_PLAIN, "",
        "%zu database%s%s, %zu shard%s on %zu of %zu host%s, %s of %s memory; about %s.",
        sum.databases, sum.databases == 1 ? "" : "s", left_out, sum.shards,
        sum.shards == 1 ? "" : "s", sum.used, sum.hosts, sum.hosts == 1 ? "" : "s",
        human_bytes((uint64_t)sum.planned, planned), human_bytes((uint64_t)sum.memory, memory),
        human_duration((int64_t)(plan_total_seconds(plan) * 1000), time));
    if (sum.age_s >= 0)
        text_wrap(t, TEXT_PLAIN, "", "At most the last %s of writes would be lost.",
            human_duration(sum.age_s * 1000, time));
}

static void verdict_text(struct text *t, const json_t *plan)
{
    size_t blockers = json_count(plan, "blockers");

    if (json_flag(plan, "feasible"))
        text_wrap(t, TEXT_GREEN, "", "Feasible: this plan can be executed.");
    else
        text_wrap(t, TEXT_RED, "", "NOT FEASIBLE: %zu %s this plan.", blockers,
            blockers == 1 ? "blocker stops" : "blockers stop");
    if (json_has(plan, "hash"))
        text_wrap(t, TEXT_PLAIN, "", "Plan %.12s", json_text(plan, "hash", ""));
    summary_text(t, plan);
    options_text(t, json_object_get(plan, "options"));
    logins_text(t, json_object_get(plan, "logins"));
    unchecked_text(t, json_object_get(plan, "unchecked"));
}

static size_t count_homeless(const json_t *shards)
{
    size_t count = 0, i;
    json_t *shard;

    json_array_foreach (shards, i, shard) {
        count += !json_has(shard, "host");
    }
    return count;
}

/* "shard:1 a1, shard:4 b2 (replica), …": the host of each. */
static void placed_text(struct text *t, const json_t *shards)
{
    enum { SHOWN = 12 };
    CLEANUP(buf_release) struct buf line = BUF_INIT;
    size_t i;
    json_t *shard;

    json_array_foreach (shards, i, shard) {
        bool replica = strcmp(json_text(shard, "role", ""), "replica") == 0;
        if (i == SHOWN)
            buf_addf(&line, ", … and %zu more (see --json)", json_array_size(shards) - i);
        if (i < SHOWN)
            buf_addf(&line, "%s%s on %s%s", i > 0 ? ", " : "", json_text(shard, "uid", "?"),
                json_text(shard, "host", "no host"), replica ? " (replica)" : "");
    }
    if (line.len > 0)
        text_field(t, "goes to", "%s", line.data);
}

static void set_text(struct text *t, const json_t *plan, const json_t *database)
{
    const json_t *set = json_object_get(database, "backup_set");
    const json_t *options = json_object_get(plan, "options");
    char text[HUMAN_TEXT_MAX], age[HUMAN_TEXT_MAX];
    int64_t bytes = plan_set_bytes(set), skew_s = json_int(set, "skew_s", 0);
    CLEANUP(buf_release) struct buf lost = BUF_INIT;
    size_t files = json_count(set, "files");

    if (json_flag(options, "only_configuration")) {
        text_field(t, "restored", "empty, with its settings");
    } else if (json_is_object(set)) {
        text_field(t, "backup set", "%s of %s", json_text(set, "id", "the set"),
            json_has(set, "time") ? doc_time(set, "time", age) : "unknown time");
        if (json_has(set, "age_s"))
            text_field(t, "would lose", "what was written in the %s since then",
                human_duration(json_int(set, "age_s", 0) * 1000, age));
        else
            text_field(t, "would lose", "not known, as the time of the set is not known");
        if (skew_s > 0)
            text_field(
                t, "skew", "its files were written %s apart", human_duration(skew_s * 1000, age));
        text_field(t, "size", "%s in %zu %s",
            bytes < 0 ? "not known," : human_bytes((uint64_t)bytes, text), files,
            files == 1 ? "file" : "files");
    } else if (json_flag(plan, "offline")) {
        text_field(t, "backup set", "not looked for");
    } else {
        text_wrap(t, TEXT_RED, "    ", "no complete backup set was found");
    }
    if (json_count(database, "slots_lost") > 0) {
        doc_ranges(json_object_get(database, "slots_lost"), 8, &lost);
        text_field(t, "without", "the keys of the slots %s", lost.data);
    }
}

static void disk_files_text(struct text *t, const json_t *set)
{
    enum { SHOWN = 12 };
    const json_t *file;
    size_t i;

    json_array_foreach (json_object_get(set, "files"), i, file) {
        CLEANUP(buf_release) struct buf slots = BUF_INIT;
        char bytes[HUMAN_TEXT_MAX], time[HUMAN_TEXT_MAX];
        if (i == SHOWN) {
            text_field(t, "", "… and %zu more (see --json)", json_count(set, "files") - i);
            return;
        }
        doc_ranges(json_object_get(file, "slots"), 4, &slots);
        text_field(t, i == 0 ? "files" : "", "%s of %s, %s, for the slots %s",
            json_text(file, "where", "?"), doc_time(file, "time", time),
            human_bytes((uint64_t)json_int(file, "bytes", 0), bytes), slots.data);
    }
}

static void database_text(struct text *t, const json_t *plan, const json_t *database)
{
    size_t homeless = count_homeless(json_object_get(database, "shards"));
    size_t shards = json_count(database, "shards");
    CLEANUP(buf_release) struct buf endpoints = BUF_INIT;
    CLEANUP(buf_release) struct buf sentinels = BUF_INIT;

    text_wrap(t, TEXT_BOLD, "  ", "%s  %s", json_text(database, "label", "?"),
        json_text(database, "name", ""));
    if (json_has(database, "skipped")) {
        text_wrap(t, TEXT_YELLOW, "    ", "left out: %s", json_text(database, "skipped", "?"));
        return;
    }
    set_text(t, plan, database);
    if (json_has(database, "source"))
        text_field(t, "from", "%s", json_text(database, "source", ""));
    if (json_flag(json_object_get(database, "backup_set"), "disks"))
        disk_files_text(t, json_object_get(database, "backup_set"));
    if (homeless > 0)
        text_field(t, "shards", "%zu, %zu of them without a place", shards, homeless);
    else
        text_field(t, "shards", "%zu%s", shards,
            json_has(database, "primaries") ? ", with another number of primaries" : "");
    placed_text(t, json_object_get(database, "shards"));
    plan_endpoints(database, 6, &endpoints);
    text_field(t, "endpoints", "%s", endpoints.data);
    plan_sentinels(database, &sentinels);
    if (sentinels.len > 0)
        text_field(t, "sentinels", "%s", sentinels.data);
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
        database_text(&t, plan, database);
    }
    text_more(&t, 2, json_array_size(databases), SHOWN);
    plan_text_hosts(&t, plan);
    plan_text_stages(&t, plan);
    issues_text(&t, "Warnings", TEXT_YELLOW, json_object_get(plan, "warnings"));
    issues_text(&t, "Blockers", TEXT_RED, json_object_get(plan, "blockers"));
    text_end(&t);
    if (json_flag(plan, "offline")) {
        text_wrap(&t, TEXT_BOLD, "Next: ",
            "plan without --offline, so that hosts, backups and the old cluster are checked.");
    } else if (!json_flag(plan, "feasible")) {
        text_wrap(&t, TEXT_BOLD,
            "Next: ", "fix what the blockers name, then run 'recluster plan' again.");
    } else if (json_has(plan, "next")) {
        text_wrap(&t, TEXT_BOLD, "Next: ", "run it with");
        text_command(&t, json_text(plan, "next", ""));
    }
}
