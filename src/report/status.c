#include "recluster/announced.h"
#include "recluster/json.h"
#include "recluster/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doc.h"
#include "next_command.h"
#include "plan_facts.h"
#include "recluster/clock.h"
#include "recluster/plan.h"
#include "recluster/state.h"

static int64_t meta_ms(struct state *st, const char *key)
{
    AUTO_FREE char *text = state_meta(st, key);
    return text ? strtoll(text, NULL, 10) : -1;
}

static int64_t not_negative(int64_t n)
{
    return n < 0 ? 0 : n;
}

static json_t *database_row(const struct rows *rows, int64_t started_ms, int64_t *rpo_s)
{
    json_t *o = rows_object(rows);
    bool skipped = strcmp(json_text(o, "state", ""), "skipped") == 0;
    int64_t age_s = -1, rto_s = -1;

    /* The age of the data when the recovery started. */
    if (started_ms >= 0 && !skipped && json_has(o, "set_time_ms"))
        age_s = not_negative((started_ms - json_int(o, "set_time_ms", 0)) / 1000);
    if (started_ms >= 0 && json_has(o, "opened_ms"))
        rto_s = (json_int(o, "opened_ms", 0) - started_ms + 500) / 1000;
    json_object_set_new(o, "label", doc_label("db", json_text(o, "uid", NULL)));
    json_object_set_new(o, "rto_s", doc_int_or_null(rto_s, -1));
    json_object_set_new(o, "rpo_s", doc_int_or_null(age_s, -1));
    json_object_set_new(o, "endpoints", json_array());
    json_object_set_new(o, "sentinels", json_array());
    json_object_set_new(o, "shards", json_array());
    if (age_s > *rpo_s)
        *rpo_s = age_s;
    return o;
}

/* Adds the databases to `list`, and the same objects to `by_uid`. */
static int add_databases(struct state *st, int64_t started_ms, json_t *list, json_t *by_uid,
    int64_t *rpo_s, struct err *err)
{
    struct rows rows;

    if (state_query(st, &rows, err,
            "SELECT t.database_uid AS uid, t.name, t.state, t.reason, t.set_name, t.set_time_ms,"
            " t.opened_ms, coalesce(d.sharded, 0) AS \"sharded:bool\", (SELECT location FROM"
            " backup_set WHERE database_uid = t.database_uid AND chosen LIMIT 1) AS location"
            " FROM target t LEFT JOIN database d ON d.uid = t.database_uid"
            " ORDER BY CAST(t.database_uid AS INTEGER), t.database_uid",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        json_t *database = database_row(&rows, started_ms, rpo_s);
        json_object_set(by_uid, json_text(database, "uid", ""), database);
        json_array_append_new(list, database);
    }
    return rows_end(&rows, err);
}

/* Its current phase, and its rate since the task began; from an object of rows_object(). */
static json_t *shard_progress(json_t *o)
{
    int64_t done = json_int(o, "bytes_done", 0);
    int64_t took_ms = json_int(o, "progress_ms", 0) - json_int(o, "started_ms", 0);
    json_t *progress = json_pack("{s:O, s:O, s:O, s:O, s:o}", "doing", json_object_get(o, "doing"),
        "bytes_done", json_object_get(o, "bytes_done"), "bytes_total",
        json_object_get(o, "bytes_total"), "at_ms", json_object_get(o, "progress_ms"),
        "bytes_per_s", took_ms > 0 && done > 0 ? json_integer(done * 1000 / took_ms) : json_null());

    if (json_has(o, "doing"))
        return progress;
    json_decref(progress);
    return json_null();
}

static json_t *shard_row(const struct rows *rows)
{
    static const char *const of_progress[] = {
        "database_uid", "doing", "bytes_done", "bytes_total", "progress_ms", "started_ms", NULL};
    json_t *o = rows_object(rows);

    json_object_set_new(o, "label", doc_label("shard", json_text(o, "uid", NULL)));
    if (json_has(o, "stage"))
        json_object_set_new(o, "stage", json_string(stage_word(json_int(o, "stage", 0))));
    json_object_set_new(o, "progress", shard_progress(o));
    if (json_has(o, "tls"))
        json_object_set_new(o, "tls", json_boolean(json_int(o, "tls", 0)));
    else
        json_object_del(o, "tls");
    if (!json_int(o, "other_port", 0))
        json_object_del(o, "other_port");
    for (size_t i = 0; of_progress[i]; i++)
        json_object_del(o, of_progress[i]);
    return o;
}

/* `tls`: a flag, or NULL if it is not known. */
static void add_address(json_t *endpoints, const json_t *shard, const char *port, json_t *tls)
{
    const json_t *host = json_object_get(shard, "host_spec");

    json_array_append_new(endpoints,
        json_pack("{s:s, s:i, s:O*}", "addr", announced_addr(host, json_text(shard, "addr", "")),
            "port", announced_port(host, (int)json_int(shard, port, 0)), "tls", tls));
}

/* The addresses for clients: the primary, or all primaries of a sharded database. */
static void add_endpoint(json_t *database, const json_t *shard)
{
    if (!json_has(database, "opened_ms") || strcmp(json_text(shard, "role", ""), "primary") != 0)
        return;
    json_t *endpoints = json_object_get(database, "endpoints"),
           *tls = json_object_get(shard, "tls");
    add_address(endpoints, shard, "port", tls);
    if (json_has(shard, "other_port"))
        add_address(endpoints, shard, "other_port", json_boolean(!json_is_true(tls)));
}

static void add_announced(json_t *shard)
{
    const json_t *host = json_object_get(shard, "host_spec");

    if (announced_differs(host)) {
        json_object_set_new(shard, "announce_addr",
            json_string(announced_addr(host, json_text(shard, "addr", ""))));
        json_object_set_new(shard, "announce_port",
            json_integer(announced_port(host, (int)json_int(shard, "port", 0))));
    }
    json_object_del(shard, "host_spec");
}

static int add_shards(struct state *st, const json_t *by_uid, struct err *err)
{
    struct rows rows;

    if (state_query(st, &rows, err,
            "SELECT p.database_uid, p.shard_uid AS uid, p.role, p.host, p.addr, p.port, p.other_port, p.tls, h.spec AS \"host_spec:json\", p.state, p.keys,"
            " t.stage, r.progress AS doing, r.bytes_done, r.bytes_total, r.progress_ms, r.started_ms"
            " FROM placement p JOIN host h ON h.name = p.host LEFT JOIN (SELECT shard_uid, max(stage) AS stage FROM task"
            " WHERE state IN ('done', 'running') GROUP BY shard_uid) t USING (shard_uid)"
            " LEFT JOIN (SELECT shard_uid, progress, bytes_done, bytes_total, progress_ms,"
            " started_ms, max(task_id) FROM task WHERE state = 'running' AND progress IS NOT NULL"
            " GROUP BY shard_uid) r USING (shard_uid) ORDER BY p.position",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        json_t *database = json_object_get(by_uid, rows_text(&rows, 0));
        json_t *shard = shard_row(&rows);
        add_endpoint(database, shard);
        add_announced(shard);
        json_array_append_new(json_object_get(database, "shards"), shard);
    }
    return rows_end(&rows, err);
}

static int add_sentinels(struct state *st, const json_t *by_uid, struct err *err)
{
    struct rows rows;

    if (state_query(st, &rows, err,
            "SELECT database_uid, t.host, json_extract(params, '$.addr') AS addr,"
            " json_extract(params, '$.port') AS port, json_extract(params, '$.watch.name') AS name,"
            " state, h.spec AS \"host_spec:json\" FROM task t JOIN host h ON h.name = t.host"
            " WHERE kind = 'start_sentinel' ORDER BY task_id",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        json_t *sentinel = rows_object(&rows);
        const json_t *host = json_object_get(sentinel, "host_spec");
        json_object_set_new(
            sentinel, "addr", json_string(announced_addr(host, json_text(sentinel, "addr", ""))));
        json_object_set_new(sentinel, "port",
            json_integer(announced_port(host, (int)json_int(sentinel, "port", 0))));
        json_object_del(sentinel, "host_spec");
        json_object_del(sentinel, "database_uid");
        json_array_append_new(
            json_object_get(json_object_get(by_uid, rows_text(&rows, 0)), "sentinels"), sentinel);
    }
    return rows_end(&rows, err);
}

static void bump(json_t *o, const char *field, int64_t by)
{
    json_object_set_new(o, field, json_integer(json_int(o, field, 0) + by));
}

static json_t *new_counts(void)
{
    return json_pack(
        "{s:i,s:i,s:i,s:i,s:i}", "done", 0, "failed", 0, "running", 0, "pending", 0, "total", 0);
}

static int add_tasks(struct state *st, json_t *status, struct err *err)
{
    json_t *tasks = new_counts();
    json_t *stages = json_array();
    struct rows rows;

    json_object_set_new(status, "tasks", tasks);
    json_object_set_new(status, "stages", stages);
    for (int stage = STAGE_PREPARE; stage <= STAGE_OPEN; stage++) {
        json_t *o = new_counts();
        json_object_set_new(o, "stage", json_string(stage_word(stage)));
        json_object_set_new(o, "started_ms", json_null());
        json_object_set_new(o, "ended_ms", json_null());
        json_object_set_new(o, "bytes_done", json_null());
        json_object_set_new(o, "bytes_total", json_null());
        json_array_append_new(stages, o);
    }
    if (state_query(st, &rows, err,
            "SELECT stage, state, count(*), min(started_ms), max(ended_ms),"
            " sum(bytes_done) AS bytes_done, sum(bytes_total) AS bytes_total FROM task GROUP BY stage, state",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        json_t *stage = json_array_get(stages, (size_t)(rows_int(&rows, 0) - STAGE_PREPARE));
        int64_t count = rows_int(&rows, 2), started = rows_int(&rows, 3),
                ended = rows_int(&rows, 4);
        bump(tasks, rows_text(&rows, 1), count);
        bump(tasks, "total", count);
        if (!stage)
            continue;
        bump(stage, rows_text(&rows, 1), count);
        bump(stage, "total", count);
        if (strcmp(rows_text(&rows, 1), "running") == 0) {
            json_t *bytes = rows_object(&rows);
            json_object_set(stage, "bytes_done", json_object_get(bytes, "bytes_done"));
            json_object_set(stage, "bytes_total", json_object_get(bytes, "bytes_total"));
            json_decref(bytes);
        }
        if (!rows_is_null(&rows, 3) && started < json_int(stage, "started_ms", INT64_MAX))
            json_object_set_new(stage, "started_ms", json_integer(started));
        if (!rows_is_null(&rows, 4) && ended > json_int(stage, "ended_ms", -1))
            json_object_set_new(stage, "ended_ms", json_integer(ended));
    }
    return rows_end(&rows, err);
}

/* The planned time of each stage. */
static int add_planned(struct state *st, json_t *status, struct err *err)
{
    json_t *stages = json_object_get(status, "stages"), *planned;
    struct rows rows;
    size_t i;

    if (state_query(st, &rows, err,
            "SELECT json_extract(document, '$.stages') FROM plan ORDER BY plan_id DESC LIMIT 1",
            "") < 0)
        return -1;
    planned = rows_next(&rows) ? rows_json(&rows, 0) : NULL;
    for (i = 0; i < json_array_size(stages); i++) {
        json_t *seconds = json_object_get(json_array_get(planned, i), "seconds");
        json_object_set_new(json_array_get(stages, i), "planned_s",
            json_is_number(seconds) ? json_real(json_number_value(seconds)) : json_null());
    }
    json_decref(planned);
    return rows_end(&rows, err);
}

/* A row of host, database, shard, task, and an error as JSON. */
static json_t *error_row(const struct rows *rows)
{
    json_t *o = rows_object(rows), *error = json_object_get(o, "error");

    json_object_set_new(o, "database", doc_label("db", json_text(o, "database", NULL)));
    json_object_set_new(o, "shard", doc_label("shard", json_text(o, "shard", NULL)));
    json_object_set_new(
        o, "message", doc_string(json_text(error, "message", "no reason is known")));
    json_object_set_new(o, "hint", doc_string(json_text(error, "hint", NULL)));
    json_object_del(o, "error");
    return o;
}

/* Failed tasks. If a recovery failed without one, its last error event. */
static int add_errors(struct state *st, bool failed, json_t *status, struct err *err)
{
    json_t *errors = json_array();
    struct rows rows;

    json_object_set_new(status, "errors", errors);
    if (state_query(st, &rows, err,
            "SELECT host, database_uid AS database, shard_uid AS shard, kind AS task,"
            " error AS \"error:json\" FROM task WHERE state = 'failed'"
            " ORDER BY task_id",
            "") < 0)
        return -1;
    while (rows_next(&rows))
        json_array_append_new(errors, error_row(&rows));
    if (rows_end(&rows, err) < 0)
        return -1;
    if (!failed || json_array_size(errors) > 0)
        return 0;
    if (state_query(st, &rows, err,
            "SELECT host, database_uid AS database, shard_uid AS shard, NULL AS task,"
            " json_object('message', message) AS \"error:json\" FROM event"
            " WHERE severity = 'error' ORDER BY event_id DESC LIMIT 1",
            "") < 0)
        return -1;
    while (rows_next(&rows))
        json_array_append_new(errors, error_row(&rows));
    return rows_end(&rows, err);
}

static void add_times(json_t *status, int64_t started_ms, int64_t ended_ms, int64_t rpo_s)
{
    int64_t until_ms = ended_ms < 0 ? clock_wall_ms() : ended_ms;
    int64_t took_ms = started_ms < 0 ? -1 : until_ms > started_ms ? until_ms - started_ms : 0;

    json_object_set_new(status, "started_ms", doc_int_or_null(started_ms, -1));
    json_object_set_new(status, "ended_ms", doc_int_or_null(ended_ms, -1));
    json_object_set_new(status, "rpo_s", doc_int_or_null(rpo_s, -1));
    json_object_set_new(
        status, "rto_s", took_ms < 0 ? json_null() : json_integer((took_ms + 500) / 1000));
    json_object_set_new(status, "rto_ms", doc_int_or_null(took_ms, -1));
}

/* Whether a task failed on an unreachable host, and its hint offers other hosts. */
static bool others_can_help(const json_t *status)
{
    const json_t *error;
    size_t i;

    json_array_foreach (json_object_get(status, "errors"), i, error) {
        if (strstr(json_text(error, "hint", ""), "--replan-lost"))
            return true;
    }
    return false;
}

static void add_next(json_t *status, const char *state, const char *path)
{
    bool over =
        strcmp(state, "done") == 0 || strcmp(state, "partly") == 0 || strcmp(state, "failed") == 0;
    int holder = state_lock_holder(path);
    enum next_step step = NEXT_RECOVER;

    /* The recovery itself asks this at its end, while it holds the lock. */
    if (over && holder == (int)getpid())
        holder = 0;
    if (holder > 0)
        step = NEXT_STATUS;
    else if (strcmp(state, "failed") != 0 && over && json_count(status, "errors") == 0)
        step = NEXT_REPORT;
    else if (others_can_help(status))
        step = NEXT_REPLAN;
    AUTO_FREE char *command = next_command(step, path);
    json_object_set_new(status, "next", doc_string(command));
    json_object_set_new(status, "pid", doc_int_or_null(holder, 0));
    json_object_set_new(
        status, "interrupted", json_boolean(holder <= 0 && strcmp(state, "running") == 0));
}

int report_status_json(struct state *st, const char *path, json_t **ret, struct err *err)
{
    AUTO_FREE char *meta_state = state_meta(st, "state");
    const char *state = meta_state ? meta_state : "planned";
    bool failed = strcmp(state, "failed") == 0 || strcmp(state, "partly") == 0;
    int64_t started_ms = meta_ms(st, "started_ms"), rpo_s = -1;
    json_t *status = json_object();
    json_t *databases = json_array();
    json_t *by_uid = json_object();

    json_object_set_new(status, "state", doc_string(state));
    json_object_set_new(status, "databases", databases);
    if (add_databases(st, started_ms, databases, by_uid, &rpo_s, err) < 0 ||
        add_shards(st, by_uid, err) < 0 || add_sentinels(st, by_uid, err) < 0 ||
        add_tasks(st, status, err) < 0 || add_planned(st, status, err) < 0 ||
        add_errors(st, failed, status, err) < 0) {
        json_decref(by_uid);
        json_decref(status);
        return err_wrap(err, "cannot read the state of the recovery");
    }
    json_decref(by_uid);
    add_times(status, started_ms, meta_ms(st, "ended_ms"), rpo_s);
    add_next(status, state, path);
    *ret = status;
    return 0;
}
