#include "recluster/json.h"
#include "recluster/report.h"

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "findings.h"
#include "plan_facts.h"
#include "recluster/human.h"
#include "status_words.h"
#include "text.h"

void status_verdict_text(struct text *t, const json_t *status)
{
    static const enum text_style styles[] = {[VERDICT_GOOD] = TEXT_GREEN,
        [VERDICT_BAD] = TEXT_RED,
        [VERDICT_MIXED] = TEXT_YELLOW,
        [VERDICT_OPEN] = TEXT_BOLD};
    AUTO_FREE char *times = status_times(status);

    text_wrap(t, styles[status_verdict(status)], "", "%s", status_headline(status));
    text_wrap(t, TEXT_PLAIN, "", "%s", times);
}

/* "running, 1.2 of 4.2 GB" */
static void stage_now(struct text_table *table, const json_t *stage)
{
    int64_t done = json_int(stage, "bytes_done", -1), total = json_int(stage, "bytes_total", -1);
    char done_text[HUMAN_TEXT_MAX], total_text[HUMAN_TEXT_MAX];

    if (json_int(stage, "running", 0) <= 0)
        text_table_cell(table, TEXT_PLAIN, "%s", "");
    else if (done < 0)
        text_table_cell(table, TEXT_PLAIN, "running");
    else if (total < done)
        text_table_cell(table, TEXT_PLAIN, "running, %s", human_bytes((uint64_t)done, done_text));
    else
        text_table_cell(table, TEXT_PLAIN, "running, %s of %s",
            human_bytes((uint64_t)done, done_text), human_bytes((uint64_t)total, total_text));
}

void status_stages_text(struct text *t, const json_t *status)
{
    enum { BAR = 24 };
    struct text_table table;
    char took[HUMAN_TEXT_MAX], planned[HUMAN_TEXT_MAX];
    size_t i;
    json_t *stage;

    text_heading(t, "Stages");
    text_table_init(&table, "lllrL");
    json_array_foreach (json_object_get(status, "stages"), i, stage) {
        int64_t done = json_int(stage, "done", 0), total = json_int(stage, "total", 0);
        int64_t failed = json_int(stage, "failed", 0);
        int64_t started_ms = json_int(stage, "started_ms", -1);
        int64_t ended_ms = json_int(stage, "ended_ms", -1);
        struct buf bar = BUF_INIT;

        text_bar(&bar, (double)done, (double)total, BAR);
        text_table_cell(&table, TEXT_PLAIN, "%zu %s", i + 1, json_text(stage, "stage", "?"));
        text_table_cell(&table, TEXT_PLAIN, "%s", bar.data);
        text_table_cell(&table, TEXT_PLAIN, "%" PRId64 " of %" PRId64, done, total);
        bool ended = started_ms >= 0 && ended_ms >= started_ms;
        bool compared = ended && json_has(stage, "planned_s");
        human_duration(ended ? ended_ms - started_ms : 0, took);
        human_duration((int64_t)(json_number(stage, "planned_s", 0) * 1000), planned);
        text_table_cell(&table, TEXT_PLAIN, "%s%s%s", ended ? took : "",
            compared ? ", planned " : "", compared ? planned : "");
        if (failed > 0)
            text_table_cell(&table, TEXT_RED, "%" PRId64 " failed", failed);
        else
            stage_now(&table, stage);
        buf_release(&bar);
    }
    text_table_print(&table, t, 2);
}

/* "3 open, 2 in-step, 1 failed" */
static void count_states(const json_t *shards, struct buf *out)
{
    static const char *const states[] = {
        "open", "in-step", "loaded", "fetched", "prepared", "planned", "failed"};
    size_t k;
    json_t *shard;

    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        size_t count = 0;
        json_array_foreach (shards, k, shard) {
            if (strcmp(json_text(shard, "state", ""), states[i]) == 0)
                count++;
        }
        if (count > 0)
            buf_addf(out, "%s%zu %s", out->len > 0 ? ", " : "", count, states[i]);
    }
}

static enum text_style state_style(const char *state)
{
    if (strcmp(state, "done") == 0)
        return TEXT_GREEN;
    return strcmp(state, "failed") == 0    ? TEXT_RED
           : strcmp(state, "skipped") == 0 ? TEXT_YELLOW
                                           : TEXT_BOLD;
}

/* A line for each active shard: "4 on a1: loading 1.2 of 2.1 GB, 57 %, 160 MB/s". */
static void running_text(struct text *t, const json_t *shards)
{
    enum { SHOWN = 20 };
    size_t i, count = 0;
    json_t *shard;

    json_array_foreach (shards, i, shard) {
        const json_t *now = json_object_get(shard, "progress");
        int64_t done = json_int(now, "bytes_done", 0), total = json_int(now, "bytes_total", 0);
        int64_t rate = json_int(now, "bytes_per_s", 0);
        CLEANUP(buf_release) struct buf line = BUF_INIT;
        char one[HUMAN_TEXT_MAX], other[HUMAN_TEXT_MAX];
        if (!json_is_object(now) || count++ >= SHOWN)
            continue;
        buf_addf(&line, "%s on %s: %s", json_text(shard, "uid", "?"), json_text(shard, "host", "?"),
            json_text(now, "doing", "?"));
        if (done > 0)
            buf_addf(&line, " %s", human_bytes((uint64_t)done, one));
        if (total >= done && total > 0)
            buf_addf(&line, " of %s, %d %%", human_bytes((uint64_t)total, other),
                (int)(100 * done / total));
        if (rate > 0)
            buf_addf(&line, ", %s/s", human_bytes((uint64_t)rate, one));
        text_field(t, count == 1 ? "now" : "", "%s", line.data);
    }
    if (count > SHOWN)
        text_field(t, "", "and %zu more shards", count - SHOWN);
}

static void database_text(struct text *t, const json_t *database)
{
    const json_t *shards = json_object_get(database, "shards");
    const char *state = json_text(database, "state", "?");
    int64_t keys = status_keys(database);
    struct buf line = BUF_INIT;
    char text[HUMAN_TEXT_MAX];

    text_wrap(t, state_style(state), "  ", "%s  %s  %s", json_text(database, "label", "?"), state,
        json_text(database, "name", ""));
    if (json_has(database, "reason"))
        text_field(t, "because", "%s", json_text(database, "reason", ""));
    if (json_has(database, "set_name"))
        text_field(t, "backup set", "%s of %s", json_text(database, "set_name", "?"),
            doc_time(database, "set_time_ms", text));
    if (json_has(database, "location"))
        text_field(t, "from", "%s", json_text(database, "location", ""));
    if (json_has(database, "rpo_s"))
        text_field(t, "lost", "what was written in the last %s before the recovery",
            human_duration(json_int(database, "rpo_s", 0) * 1000, text));
    count_states(shards, &line);
    if (line.len > 0)
        text_field(t, "shards", "%s", line.data);
    running_text(t, shards);
    if (keys >= 0)
        text_field(t, "keys", "%s", human_count((uint64_t)keys, text));
    buf_clear(&line);
    if (json_count(database, "endpoints") > 0) {
        plan_endpoints(database, 6, &line);
        text_field(t, "endpoints", "%s", line.data);
    }
    buf_clear(&line);
    plan_sentinels(database, &line);
    if (line.len > 0)
        text_field(t, "sentinels", "%s", line.data);
    buf_release(&line);
}

void status_databases_text(struct text *t, const json_t *status)
{
    enum { SHOWN = 100 };
    const json_t *databases = json_object_get(status, "databases");
    size_t i;
    json_t *database;

    text_heading(t, "Databases (%zu)", json_array_size(databases));
    json_array_foreach (databases, i, database) {
        if (i == SHOWN)
            break;
        database_text(t, database);
    }
    text_more(t, 2, json_array_size(databases), SHOWN);
}

void status_next_text(struct text *t, const json_t *status)
{
    text_heading(t, json_count(status, "errors") > 0 && !json_has(status, "pid")
                        ? "Next: fix the errors above, then run"
                        : "Next");
    text_command(t, json_text(status, "next", ""));
}

void report_status_text(const json_t *status, bool colour, struct buf *out)
{
    struct text t = {.out = out, .colour = colour};

    status_verdict_text(&t, status);
    status_stages_text(&t, status);
    status_databases_text(&t, status);
    issues_text(&t, "Errors", TEXT_RED, json_object_get(status, "errors"));
    status_next_text(&t, status);
}
