/*
 * The tasks of a recovery, between memory and the state file.
 *
 *     pending ──started──> running ──answered──> done
 *        ▲                    │  └─────────────> failed
 *        └── not yet, lost link, retry ──┘          │
 *        └───────────── next run ───────────────────┘
 *
 * 1. "running" is committed before the host is asked: a task that is pending was never begun, or
 *    its outcome was seen.
 * 2. The outcome and everything that it changes (placement, events) are one transaction.
 * 3. A run that finds "running" asks again: every method of the agent looks first.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "recluster/clock.h"
#include "recluster/rpc.h"

void task_set_state(struct executor *x, struct task_run *t, enum task_state state)
{
    size_t *undone = &x->databases[t->database].undone[t->kind->gate];

    *undone += t->state == TASK_DONE;
    *undone -= state == TASK_DONE;
    t->state = state;
}

void shard_set_unsure(struct executor *x, struct shard_run *s, bool unsure)
{
    size_t *count = &x->databases[s->database].unsure;

    *count += unsure && !s->unsure;
    *count -= !unsure && s->unsure;
    s->unsure = unsure;
}

static const char *const state_names[] = {"pending", "running", "done", "failed"};

static int index_of_host(const struct executor *x, const char *name)
{
    for (size_t i = 0; i < x->host_count; i++)
        if (name && strcmp(x->hosts[i].name, name) == 0)
            return (int)i;
    return -1;
}

static int index_of_database(const struct executor *x, const char *uid)
{
    for (size_t i = 0; i < x->database_count; i++)
        if (uid && strcmp(x->databases[i].uid, uid) == 0)
            return (int)i;
    return -1;
}

/* 20,000 shards are looked up by uid: a sorted index of them. */
struct uid_index {
    const char *uid;
    int shard;
};

static int by_uid(const void *a, const void *b)
{
    const struct uid_index *x = a, *y = b;
    return strcmp(x->uid, y->uid);
}

static int index_of_shard(const struct uid_index *index, size_t count, const char *uid)
{
    const struct uid_index key = {uid, 0};
    const struct uid_index *found =
        uid && count ? bsearch(&key, index, count, sizeof(*index), by_uid) : NULL;
    return found ? found->shard : -1;
}

static const char *dup(struct executor *x, const struct rows *rows, int column)
{
    return arena_strdup(&x->arena, rows_text(rows, column));
}

static int load_hosts(struct executor *x, struct err *err)
{
    struct rows rows;
    size_t alloc = 0;

    if (state_query(x->st, &rows, err,
            "SELECT name, addr, base_dir, server, link, spec, facts FROM host ORDER BY position",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        GROW(x->hosts, x->host_count, alloc);
        x->hosts[x->host_count++] = (struct host_run){
            .x = x,
            .name = dup(x, &rows, 0),
            .addr = dup(x, &rows, 1),
            .base_dir = dup(x, &rows, 2),
            .server = dup(x, &rows, 3),
            .link_kind = dup(x, &rows, 4),
            .spec = rows_json(&rows, 5),
            .facts = rows_json(&rows, 6),
        };
    }
    return rows_end(&rows, err);
}

static int load_databases(struct executor *x, struct err *err)
{
    struct rows rows;
    size_t alloc = 0;

    if (state_query(x->st, &rows, err,
            "SELECT database_uid, name, state, location, maxmemory, password FROM target ORDER BY "
            "rowid",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        GROW(x->databases, x->database_count, alloc);
        struct database_run *db = &x->databases[x->database_count++];
        *db = (struct database_run){
            .uid = dup(x, &rows, 0),
            .name = dup(x, &rows, 1),
            .state = dup(x, &rows, 2),
            .location = rows_json(&rows, 3),
            .maxmemory_bytes = rows_int(&rows, 4),
            .password = dup(x, &rows, 5),
        };
        db->ccs = ccs_database(x->ccs, db->uid);
        db->label = db->ccs ? db->ccs->label : db->uid;
    }
    return rows_end(&rows, err);
}

static int load_shards(struct executor *x, struct uid_index **ret_index, struct err *err)
{
    struct rows rows;
    size_t alloc = 0;
    struct {
        const char *uid;
    } *primaries = NULL;
    size_t primary_count = 0, primary_alloc = 0;

    if (state_query(x->st, &rows, err,
            "SELECT shard_uid, database_uid, role, primary_uid, host, addr, port, bus_port, dir, "
            "slots, "
            "memory, file, file_bytes, node_id, facts, loaded FROM placement ORDER BY position",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        GROW(x->shards, x->shard_count, alloc);
        GROW(primaries, primary_count, primary_alloc);
        primaries[primary_count++].uid = dup(x, &rows, 3);
        x->shards[x->shard_count] = (struct shard_run){
            .uid = dup(x, &rows, 0),
            .database = index_of_database(x, rows_text(&rows, 1)),
            .is_primary = strcmp(rows_text(&rows, 2), "primary") == 0,
            .host = index_of_host(x, rows_text(&rows, 4)),
            .primary = -1,
            .addr = dup(x, &rows, 5),
            .port = (int)rows_int(&rows, 6),
            .bus_port = (int)rows_int(&rows, 7),
            .dir = dup(x, &rows, 8),
            .slots = dup(x, &rows, 9),
            .memory_bytes = rows_int(&rows, 10),
            .file = dup(x, &rows, 11),
            .file_bytes = rows_is_null(&rows, 12) ? -1 : rows_int(&rows, 12),
            .node_id = dup(x, &rows, 13),
            .facts = rows_json(&rows, 14),
            .loaded = rows_json(&rows, 15),
        };
        struct database_run *db = &x->databases[x->shards[x->shard_count].database];
        if (db->shard_count++ == 0)
            db->first_shard = x->shard_count;
        x->shard_count++;
    }
    struct uid_index *index = xcalloc(x->shard_count, sizeof(*index));
    for (size_t i = 0; i < x->shard_count; i++)
        index[i] = (struct uid_index){x->shards[i].uid, (int)i};
    qsort(index, x->shard_count, sizeof(*index), by_uid);
    for (size_t i = 0; i < x->shard_count; i++)
        x->shards[i].primary = index_of_shard(index, x->shard_count, primaries[i].uid);
    free(primaries);
    *ret_index = index;
    return rows_end(&rows, err);
}

static const struct task_kind *kind_by_name(const char *name)
{
    for (size_t i = 0; task_kinds[i]; i++)
        if (strcmp(task_kinds[i]->name, name) == 0)
            return task_kinds[i];
    return NULL;
}

/* Whatever was not done when the last run ended is to be done in this one. */
static enum task_state state_at_start(const char *name)
{
    return strcmp(name, "done") == 0 ? TASK_DONE : TASK_PENDING;
}

static int load_tasks(struct executor *x, const struct uid_index *index, struct err *err)
{
    struct rows rows;
    size_t alloc = 0;

    if (state_query(x->st, &rows, err,
            "SELECT task_id, kind, shard_uid, state, attempts FROM task ORDER BY task_id", "") < 0)
        return -1;
    while (rows_next(&rows)) {
        const struct task_kind *kind = kind_by_name(rows_text(&rows, 1));
        int shard = index_of_shard(index, x->shard_count, rows_text(&rows, 2));

        if (!kind || shard < 0) {
            err_set(err, ERR_STATE,
                "task %lld of the state file is of a kind or shard that is not known",
                (long long)rows_int(&rows, 0));
            struct err ignored = ERR_INIT;
            (void)!rows_end(&rows, &ignored);
            return -1;
        }
        GROW(x->tasks, x->task_count, alloc);
        x->tasks[x->task_count++] = (struct task_run){
            .x = x,
            .id = rows_int(&rows, 0),
            .kind = kind,
            .shard = shard,
            .database = x->shards[shard].database,
            .host = x->shards[shard].host,
            .begun = rows_int(&rows, 4) > 0,
        };
        x->databases[x->shards[shard].database].undone[kind->gate]++;
        task_set_state(x, &x->tasks[x->task_count - 1], state_at_start(rows_text(&rows, 3)));
    }
    return rows_end(&rows, err);
}

static int task_by_id(const struct executor *x, int64_t id)
{
    size_t low = 0, high = x->task_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (x->tasks[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < x->task_count && x->tasks[low].id == id ? (int)low : -1;
}

static int load_waits(struct executor *x, struct err *err)
{
    struct rows rows;

    if (state_query(
            x->st, &rows, err, "SELECT task_id, waits_for FROM task_wait ORDER BY task_id", "") < 0)
        return -1;
    while (rows_next(&rows)) {
        int task = task_by_id(x, rows_int(&rows, 0)), on = task_by_id(x, rows_int(&rows, 1));
        if (task < 0 || on < 0)
            continue;
        struct task_run *t = &x->tasks[task];
        t->waits_for = xreallocarray(t->waits_for, t->wait_count + 1, sizeof(*t->waits_for));
        t->waits_for[t->wait_count++] = on;
    }
    return rows_end(&rows, err);
}

int journal_load(struct executor *x, struct err *err)
{
    struct uid_index *index = NULL;

    x->recovery = state_meta(x->st, "recovery");
    x->recovery_password = state_meta(x->st, "recovery_password");
    x->replication_password = state_meta(x->st, "replication_password");
    if (!x->recovery || !x->recovery_password || !x->replication_password)
        return err_set(err, ERR_STATE, "the state file '%s' holds no plan", state_path(x->st));
    x->ccs = ccs_load(x->st, err);
    if (!x->ccs)
        return -1;
    int rc = 0;
    if (load_hosts(x, err) < 0 || load_databases(x, err) < 0 || load_shards(x, &index, err) < 0 ||
        load_tasks(x, index, err) < 0 || load_waits(x, err) < 0)
        rc = -1;
    free(index);
    return rc;
}

void journal_release(struct executor *x)
{
    for (size_t i = 0; i < x->host_count; i++) {
        json_decref(x->hosts[i].spec);
        json_decref(x->hosts[i].facts);
    }
    for (size_t i = 0; i < x->shard_count; i++) {
        json_decref(x->shards[i].facts);
        json_decref(x->shards[i].loaded);
    }
    for (size_t i = 0; i < x->database_count; i++)
        json_decref(x->databases[i].location);
    for (size_t i = 0; i < x->task_count; i++)
        free(x->tasks[i].waits_for);
    free(x->hosts);
    free(x->shards);
    free(x->databases);
    free(x->tasks);
    free(x->recovery);
    free(x->recovery_password);
    free(x->replication_password);
    ccs_free(x->ccs);
    arena_release(&x->arena);
}

struct task_run *task_of(struct executor *x, const struct task_kind *kind, int shard)
{
    for (size_t i = 0; i < x->task_count; i++)
        if (x->tasks[i].kind == kind && x->tasks[i].shard == shard)
            return &x->tasks[i];
    return NULL;
}

static int task_event(struct executor *x, const struct task_run *t, const char *severity,
    const char *code, const char *verb, const struct err *error, struct err *err)
{
    const struct shard_run *s = &x->shards[t->shard];
    CLEANUP(free_ptr)
    char *message = xasprintf("%s of shard %s on %s %s%s%s", t->kind->name, s->uid,
        x->hosts[t->host].name, verb, error ? ": " : "", error ? error->message : "");
    json_t *detail = error ? err_to_json(error) : NULL;
    const struct event event = {
        .severity = severity,
        .code = code,
        .database = x->databases[t->database].uid,
        .shard = s->uid,
        .host = x->hosts[t->host].name,
        .stage = plan_stage_name(t->kind->stage),
        .message = message,
        .detail = detail,
    };
    int rc = state_event(x->st, &event, err);
    json_decref(detail);
    return rc;
}

int journal_task_started(struct executor *x, struct task_run *t, struct err *err)
{
    if (t->asked_before) {
        task_set_state(x, t, TASK_RUNNING);
        return 0;
    }
    if (state_begin(x->st, err) < 0)
        return -1;
    t->attempts++;
    if (state_run(x->st, err,
            "UPDATE task SET state = 'running', attempts = attempts + 1, started_ms = ?, ended_ms "
            "= "
            "NULL, error = NULL WHERE task_id = ?",
            "ii", clock_wall_ms(), t->id) < 0 ||
        task_event(x, t, "info", "task-started", "started", NULL, err) < 0 ||
        state_commit(x->st, err) < 0) {
        state_rollback(x->st);
        return -1;
    }
    task_set_state(x, t, TASK_RUNNING);
    return 0;
}

static int write_outcome(struct executor *x, const struct task_run *t, enum task_state state,
    const json_t *result, const struct err *error, struct err *err)
{
    json_t *failure = error ? err_to_json(error) : NULL;
    int rc = state_run(x->st, err,
        "UPDATE task SET state = ?, ended_ms = ?, result = ?, error = ? WHERE task_id = ?", "sijji",
        state_names[state], clock_wall_ms(), result, failure, t->id);
    json_decref(failure);
    if (rc < 0)
        return -1;
    if (state == TASK_DONE && t->kind->shard_state &&
        state_run(x->st, err, "UPDATE placement SET state = ? WHERE shard_uid = ?", "ss",
            t->kind->shard_state, x->shards[t->shard].uid) < 0)
        return -1;
    if (state == TASK_FAILED) {
        if (state_run(x->st, err, "UPDATE placement SET state = 'failed' WHERE shard_uid = ?", "s",
                x->shards[t->shard].uid) < 0)
            return -1;
        return task_event(x, t, "error", "task-failed", "failed", error, err);
    }
    return task_event(x, t, "info", "task-done", "done", NULL, err);
}

enum { ATTEMPTS_MAX = 4, NOT_YET_MS = 200 };

static int64_t backoff_ms(int attempts)
{
    return 500LL << (attempts < 5 ? attempts : 5);
}

/* Nothing is written for "not yet": the row stays "running", and the host is asked again. */
static bool ask_again_later(struct executor *x, struct task_run *t, enum finish finish)
{
    int64_t now = clock_mono_ms();

    if (finish != FINISH_NOT_YET)
        return false;
    if (!t->give_up_at_ms)
        t->give_up_at_ms = now + t->kind->patience_ms;
    if (now >= t->give_up_at_ms)
        return false;
    t->not_before_ms = now + NOT_YET_MS;
    task_set_state(x, t, TASK_PENDING);
    t->asked_before = true;
    return true;
}

/* Ends the transaction that the caller began. */
static int commit_outcome(struct executor *x, struct task_run *t, enum task_state state,
    const json_t *result, const struct err *failure, struct err *err)
{
    if (write_outcome(x, t, state, result, state == TASK_DONE ? NULL : failure, err) < 0 ||
        state_commit(x->st, err) < 0) {
        state_rollback(x->st);
        return -1;
    }
    task_set_state(x, t, state);
    if (state == TASK_FAILED) {
        struct database_run *db = &x->databases[t->database];
        db->state = "failed";
        db->refused |= t->kind->stage <= STAGE_LOAD &&
                       err_code_exit_status(failure->code) == err_code_exit_status(ERR_CHECK);
    }
    return 0;
}

int journal_task_answered(struct executor *x, struct task_run *t, const json_t *result,
    const struct err *error, struct err *err)
{
    struct err failure = error ? *error : (struct err)ERR_INIT;
    enum finish finish = FINISH_FAIL;

    if (state_begin(x->st, err) < 0)
        return -1;
    if (!error)
        finish = t->kind->finish ? t->kind->finish(x, t, result, &failure) : FINISH_OK;
    if (failure.code == ERR_STATE || failure.code == ERR_SPACE) {
        if (!error) { /* our own disk, not the host's */
            state_rollback(x->st);
            *err = failure;
            return -1;
        }
    }
    if (ask_again_later(x, t, finish)) {
        state_rollback(x->st);
        return 0;
    }
    if (error && err_code_is_retried(error->code) && t->attempts < ATTEMPTS_MAX) {
        state_rollback(x->st);
        t->not_before_ms = clock_mono_ms() + backoff_ms(t->attempts);
        task_set_state(x, t, TASK_PENDING);
        return 0;
    }
    return commit_outcome(
        x, t, finish == FINISH_OK ? TASK_DONE : TASK_FAILED, result, &failure, err);
}

int journal_task_failed(
    struct executor *x, struct task_run *t, const struct err *error, struct err *err)
{
    if (state_begin(x->st, err) < 0)
        return -1;
    return commit_outcome(x, t, TASK_FAILED, NULL, error, err);
}

int journal_shard_reset(struct executor *x, int shard, const char *why, struct err *err)
{
    const struct shard_run *s = &x->shards[shard];
    const struct event event = {
        .severity = "warning",
        .code = "shard-reset",
        .database = x->databases[s->database].uid,
        .shard = s->uid,
        .host = x->hosts[s->host].name,
        .message = why,
    };

    if (state_begin(x->st, err) < 0)
        return -1;
    if (state_run(x->st, err,
            "UPDATE task SET state = 'pending', result = NULL, error = NULL WHERE shard_uid = ?",
            "s", s->uid) < 0 ||
        state_run(x->st, err, "UPDATE placement SET state = 'planned' WHERE shard_uid = ?", "s",
            s->uid) < 0 ||
        state_event(x->st, &event, err) < 0 || state_commit(x->st, err) < 0) {
        state_rollback(x->st);
        return -1;
    }
    for (size_t i = 0; i < x->task_count; i++)
        if (x->tasks[i].shard == shard)
            task_set_state(x, &x->tasks[i], TASK_PENDING);
    return 0;
}

static bool all_done(const struct database_run *db)
{
    for (size_t gate = 0; gate < GATE_COUNT; gate++)
        if (db->undone[gate])
            return false;
    return true;
}

int journal_databases_finished(struct executor *x, struct err *err)
{
    for (size_t i = 0; i < x->database_count; i++) {
        struct database_run *db = &x->databases[i];
        if (strcmp(db->state, "done") == 0 || strcmp(db->state, "skipped") == 0 || !all_done(db))
            continue;
        CLEANUP(free_ptr)
        char *message = xasprintf(
            "database %s '%s' is recovered and open", db->label, db->name ? db->name : "");
        const struct event event = {
            .code = "database-open", .database = db->uid, .message = message};
        if (state_begin(x->st, err) < 0)
            return -1;
        if (state_run(x->st, err,
                "UPDATE target SET state = 'done', opened_ms = ? WHERE database_uid = ?", "is",
                clock_wall_ms(), db->uid) < 0 ||
            state_event(x->st, &event, err) < 0 || state_commit(x->st, err) < 0) {
            state_rollback(x->st);
            return -1;
        }
        db->state = "done";
    }
    return 0;
}
