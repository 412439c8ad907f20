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
    struct database_run *db = &x->databases[t->database];
    size_t *undone = &db->undone[t->kind->gate];

    *undone += t->state == TASK_DONE;
    *undone -= state == TASK_DONE;
    if (t->kind == &task_prepare_shard) {
        db->unprepared += t->state == TASK_DONE;
        db->unprepared -= state == TASK_DONE;
    }
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
    if (t->kind == &task_open_shard)
        x->databases[t->database].in_use = true;
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

/* What the store failed with, it has tried often enough itself. */
static bool is_worth_another_try(const struct task_run *t, const struct err *error)
{
    bool own = t->kind->retries_itself && error->code != ERR_LINK;

    return err_code_is_retried(error->code) && !own && t->attempts < ATTEMPTS_MAX;
}

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
    const json_t *result, struct err *failure, struct err *err)
{
    if ((state == TASK_FAILED && older_set_offer(x, t, failure, err) < 0) ||
        write_outcome(x, t, state, result, state == TASK_DONE ? NULL : failure, err) < 0 ||
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
    if (error && is_worth_another_try(t, error)) {
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
    struct err failure = *error;

    if (state_begin(x->st, err) < 0)
        return -1;
    return commit_outcome(x, t, TASK_FAILED, NULL, &failure, err);
}

/* What a replica's task proved of it and of this primary together. */
static bool is_with_primary(const struct executor *x, const struct task_run *t, int primary)
{
    return x->shards[t->shard].primary == primary &&
           (t->kind == &task_attach_replica || t->kind == &task_prove_shard);
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
        state_run(x->st, err,
            "UPDATE task SET state = 'pending', result = NULL, error = NULL WHERE kind IN "
            "('attach_replica', 'prove_shard') AND shard_uid IN (SELECT shard_uid FROM placement "
            "WHERE primary_uid = ?)",
            "s", s->uid) < 0 ||
        state_run(x->st, err, "UPDATE placement SET state = 'planned' WHERE shard_uid = ?", "s",
            s->uid) < 0 ||
        state_event(x->st, &event, err) < 0 || state_commit(x->st, err) < 0) {
        state_rollback(x->st);
        return -1;
    }
    for (size_t i = 0; i < x->shard_count; i++) {
        if ((int)i != shard && x->shards[i].primary != shard)
            continue;
        for (struct task_run *t = x->shards[i].tasks; t; t = t->next_of_shard)
            if ((int)i == shard || is_with_primary(x, t, shard))
                task_set_state(x, t, TASK_PENDING);
    }
    return 0;
}

void journal_progress(struct executor *x)
{
    struct err lost = ERR_INIT; /* nothing depends on it: what counts is written by other means */

    if (state_begin(x->st, &lost) < 0)
        return;
    for (size_t i = 0; i < x->task_count; i++) {
        struct task_run *t = &x->tasks[i];
        if (t->state != TASK_RUNNING || t->told || !t->doing[0])
            continue;
        if (state_run(x->st, &lost,
                "UPDATE task SET bytes_done = ?, bytes_total = NULLIF(?, 0), progress = ?, "
                "progress_ms = ? WHERE task_id = ?",
                "iisii", t->bytes_done, t->bytes_total, t->doing, clock_wall_ms(), t->id) < 0) {
            state_rollback(x->st);
            return;
        }
        t->told = true;
    }
    if (state_commit(x->st, &lost) < 0)
        state_rollback(x->st);
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
