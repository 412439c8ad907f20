#include "html.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "doc.h"
#include "plan_facts.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/slots.h"

enum {
    WIDTH = 1080,
    NAMES = 210, /* for the names of the rows */
    ROW = 24,
    AXIS = 26,
    ROWS_MAX = 80,
};

struct span {
    int64_t start_ms, end_ms;
};

/* A task without an end extends to the end of the picture. */
static bool task_span(const json_t *task, int64_t end_ms, struct span *ret)
{
    if (!json_has(task, "started_ms"))
        return false;
    ret->start_ms = json_int(task, "started_ms", 0);
    ret->end_ms = json_int(task, "ended_ms", end_ms);
    if (ret->end_ms < ret->start_ms)
        ret->end_ms = ret->start_ms;
    return true;
}

static bool whole_span(const json_t *report, struct span *ret)
{
    const json_t *status = json_object_get(report, "status");
    bool running = strcmp(json_text(status, "state", ""), "running") == 0;
    int64_t until = running ? json_int(report, "made_ms", 0) : 0;
    struct span task_ms;
    bool any = false;
    size_t i;
    json_t *task;

    json_array_foreach (json_object_get(report, "tasks"), i, task) {
        if (!task_span(task, until, &task_ms))
            continue;
        if (!any || task_ms.start_ms < ret->start_ms)
            ret->start_ms = task_ms.start_ms;
        if (!any || task_ms.end_ms > ret->end_ms)
            ret->end_ms = task_ms.end_ms;
        any = true;
    }
    if (any && ret->end_ms <= ret->start_ms)
        ret->end_ms = ret->start_ms + 1;
    return any;
}

static double x_of(const struct span *whole, int64_t at_ms)
{
    double share = (double)(at_ms - whole->start_ms) / (double)(whole->end_ms - whole->start_ms);
    return (double)NAMES + share * (double)(WIDTH - NAMES - 10);
}

/* A round number of milliseconds that makes four to ten ticks. */
static int64_t tick_ms(int64_t length_ms)
{
    static const int64_t steps[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000,
        15000, 30000, 60000, 120000, 300000, 600000, 900000, 1800000, 3600000, 7200000, 21600000};

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        if (length_ms / steps[i] <= 8)
            return steps[i];
    return length_ms / 6;
}

static void axis(struct buf *out, const struct span *whole, int height)
{
    int64_t step = tick_ms(whole->end_ms - whole->start_ms);
    char text[HUMAN_TEXT_MAX];

    for (int64_t at = 0; at <= whole->end_ms - whole->start_ms; at += step) {
        double x = x_of(whole, whole->start_ms + at);
        buf_addf(out,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>"
            "<text x=\"%.1f\" y=\"14\" text-anchor=\"%s\">",
            x, x, AXIS - 6, height, x,
            at == 0          ? "start"
            : x > WIDTH - 40 ? "end"
                             : "middle");
        if (at > 0 && at < 1000 && step < 1000)
            html_put(out, "%" PRId64 " ms", at);
        else
            html_escape(out, at == 0 ? "start" : human_duration(at, text));
        buf_adds(out, "</text>");
    }
    buf_addc(out, '\n');
}

static void task_bar(struct buf *out, const json_t *task, const struct span *whole, int y)
{
    const char *state = json_text(task, "state", "");
    bool failed = strcmp(state, "failed") == 0;
    const char *stage = json_text(task, "stage", "");
    struct span at;
    char took[HUMAN_TEXT_MAX];

    if (!task_span(task, whole->end_ms, &at))
        return;
    double x = x_of(whole, at.start_ms), width = x_of(whole, at.end_ms) - x;
    buf_adds(out, "<rect class=\"");
    html_escape(out, failed ? "failed" : stage);
    buf_addf(out, "\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"%s>", x, y + 4,
        width < 1.5 ? 1.5 : width, ROW - 8,
        strcmp(state, "running") == 0 ? " opacity=\"0.5\"" : "");
    html_element(out, "title", NULL, "%s: %s, %s, %s%s%s", stage, json_text(task, "kind", "?"),
        state, human_duration(at.end_ms - at.start_ms, took), json_has(task, "host") ? " on " : "",
        json_text(task, "host", ""));
    buf_adds(out, "</rect>");
}

/* The row that a task belongs to: its shard, else its database, else its host. */
static char *row_name(const json_t *task)
{
    if (json_has(task, "shard_uid"))
        return xasprintf("shard:%s", json_text(task, "shard_uid", ""));
    if (json_has(task, "database_uid"))
        return xasprintf("db:%s", json_text(task, "database_uid", ""));
    return xasprintf("host %s", json_text(task, "host", "?"));
}

/* Tasks by row, in the order in which rows appear: hosts, then each database with its shards. */
static json_t *rows_of(const json_t *report)
{
    json_t *rows = json_object();
    size_t i;
    json_t *item;

    json_array_foreach (json_object_get(report, "tasks"), i, item) {
        if (json_has(item, "shard_uid") || json_has(item, "database_uid"))
            continue;
        AUTO_FREE char *name = row_name(item);
        json_object_set_new(rows, name, json_array());
    }
    json_array_foreach (json_object_get(report, "proof"), i, item) {
        json_object_set_new(rows, json_text(item, "database", "?"), json_array());
        json_object_set_new(rows, json_text(item, "label", "?"), json_array());
    }
    json_array_foreach (json_object_get(report, "tasks"), i, item) {
        AUTO_FREE char *name = row_name(item);
        if (!json_object_get(rows, name))
            json_object_set_new(rows, name, json_array());
        if (json_has(item, "started_ms"))
            json_array_append(json_object_get(rows, name), item);
    }
    return rows;
}

static void legend(struct buf *out)
{
    buf_adds(out, "<ul class=\"legend\">");
    for (int64_t stage = 1; stage <= 4; stage++)
        buf_addf(out, "<li><i style=\"background:var(--%s)\"></i>%" PRId64 " %s</li>",
            stage_word(stage), stage, stage_word(stage));
    buf_adds(out, "<li><i style=\"background:var(--bad)\"></i>failed</li></ul>\n");
}

/* Returns the number of rows to draw, drawn or not. */
static size_t timeline_svg(struct buf *out, const json_t *rows, const struct span *whole)
{
    size_t busy = 0, k;
    const char *name;
    json_t *tasks, *task;
    int y = AXIS;

    json_object_foreach ((json_t *)(uintptr_t)rows, name, tasks) {
        busy += json_array_size(tasks) > 0;
    }
    int height = AXIS + (busy < ROWS_MAX ? (int)busy : ROWS_MAX) * ROW;
    buf_addf(out,
        "<div class=\"wide\" tabindex=\"0\"><svg class=\"timeline\" viewBox=\"0 0 %d %d\" "
        "role=\"img\" aria-label=\"Tasks of each shard over time, "
        "coloured "
        "by stage; the proof table has the same times as numbers\">\n",
        WIDTH, height);
    axis(out, whole, height);
    json_object_foreach ((json_t *)(uintptr_t)rows, name, tasks) {
        if (json_array_size(tasks) == 0 || y >= height)
            continue;
        bool shard = strncmp(name, "shard:", 6) == 0;
        buf_addf(out, "<text class=\"name\" x=\"%d\" y=\"%d\"%s>", shard ? 14 : 0, y + 16,
            shard ? "" : " font-weight=\"600\"");
        html_put(out, "%.26s%s", name, strlen(name) > 26 ? "…" : "");
        html_element(out, "title", NULL, "%s", name);
        buf_adds(out, "</text>");
        json_array_foreach (tasks, k, task) {
            task_bar(out, task, whole, y);
        }
        buf_addc(out, '\n');
        y += ROW;
    }
    buf_adds(out, "</svg></div>\n");
    return busy;
}

void page_timeline(struct buf *out, const json_t *report)
{
    struct span whole = {0};

    if (!whole_span(report, &whole))
        return;
    json_t *rows = rows_of(report);
    html_section(out, "timeline", "Where the time went");
    size_t busy = timeline_svg(out, rows, &whole);
    legend(out);
    if (busy > ROWS_MAX)
        html_element(out, "p", "soft", "The first %d of %zu rows.", ROWS_MAX, busy);
    page_stages(out, report);
    html_section_end(out);
    json_decref(rows);
}

static void slots_strip(struct buf *out, const json_t *report, const json_t *database)
{
    const char *uid = json_text(database, "uid", "");
    struct buf ranges = BUF_INIT;
    size_t primary = 0, i, k;
    json_t *proof, *range;

    buf_addf(out,
        "<svg class=\"strip\" viewBox=\"0 0 %d 34\" preserveAspectRatio=\"none\" role=\"img\" "
        "aria-label=\"Slots 0 to %d by shard; the list below has the same ranges\">\n",
        SLOT_COUNT, SLOT_COUNT - 1);
    json_array_foreach (json_object_get(report, "proof"), i, proof) {
        if (strcmp(json_text(proof, "role", ""), "primary") != 0 ||
            strcmp(json_text(proof, "database_uid", ""), uid) != 0)
            continue;
        buf_clear(&ranges);
        doc_ranges(json_object_get(proof, "slots"), 8, &ranges);
        buf_addf(out, "<g fill=\"var(--s%zu)\">", primary++ % 8);
        html_element(
            out, "title", NULL, "%s: slots %s", json_text(proof, "label", "?"), ranges.data);
        json_array_foreach (json_object_get(proof, "slots"), k, range) {
            json_int_t first = json_integer_value(json_array_get(range, 0));
            json_int_t last = json_integer_value(json_array_get(range, 1));
            buf_addf(out, "<rect x=\"%lld\" y=\"0\" width=\"%lld\" height=\"34\"/>",
                (long long)first, (long long)(last - first + 1));
        }
        buf_adds(out, "</g>\n");
    }
    buf_adds(out,
        "</svg>\n<div class=\"scale\" aria-hidden=\"true\"><span>0</span><span>4096</span>"
        "<span>8192</span><span>12288</span><span>16383</span></div>\n");
    buf_release(&ranges);
}

/* The slots without a primary, if any, are the last entry of the legend. */
static void missing_legend(struct buf *out, const struct slots *covered)
{
    struct slots missing;

    slots_fill(&missing);
    slots_subtract(&missing, covered);
    if (slots_is_empty(&missing))
        return;
    json_t *json = slots_to_json(&missing);
    struct buf ranges = BUF_INIT;
    doc_ranges(json, 8, &ranges);
    buf_adds(out, "<li><i style=\"background:var(--badbg)\"></i>");
    html_element(out, "b", NULL, "without a shard: %s", ranges.data);
    buf_adds(out, "</li>");
    buf_release(&ranges);
    json_decref(json);
}

static void slots_legend(struct buf *out, const json_t *report, const json_t *database)
{
    enum { SHOWN = 48 };
    const char *uid = json_text(database, "uid", "");
    struct err ignored = ERR_INIT;
    struct slots covered;
    size_t primary = 0, i;
    json_t *proof;

    slots_clear(&covered);
    buf_adds(out, "<ul class=\"legend\">");
    json_array_foreach (json_object_get(report, "proof"), i, proof) {
        const json_t *slots = json_object_get(proof, "slots");
        struct buf ranges = BUF_INIT;
        if (strcmp(json_text(proof, "role", ""), "primary") != 0 ||
            strcmp(json_text(proof, "database_uid", ""), uid) != 0)
            continue;
        /* Unreadable ranges cover nothing, so they are shown as missing. */
        if (slots_from_json(slots, &covered, &ignored) < 0 || primary++ >= SHOWN)
            continue;
        doc_ranges(slots, 4, &ranges);
        buf_addf(out, "<li><i style=\"background:var(--s%zu)\"></i>", (primary - 1) % 8);
        html_put(out, "%s  %s", json_text(proof, "label", "?"), ranges.data);
        buf_adds(out, "</li>");
        buf_release(&ranges);
    }
    if (primary > SHOWN)
        buf_addf(out, "<li>… and %zu more</li>", primary - SHOWN);
    missing_legend(out, &covered);
    buf_adds(out, "</ul>\n");
}

void page_slots(struct buf *out, const json_t *report)
{
    bool begun = false;
    size_t i;
    json_t *database;

    json_array_foreach (json_object_get(report, "databases"), i, database) {
        if (!json_flag(database, "sharded") || json_has(database, "skipped"))
            continue;
        if (!begun)
            html_section(out, "slots", "Slots");
        begun = true;
        html_element(out, "h3", NULL, "%s %s", json_text(database, "label", "?"),
            json_text(database, "name", ""));
        slots_strip(out, report, database);
        slots_legend(out, report, database);
    }
    if (begun)
        html_section_end(out);
}
