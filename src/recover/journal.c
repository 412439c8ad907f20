#include "journal.h"

#include <stdlib.h>
#include <string.h>

#include "older_set.h"
#include "ready.h"
#include "recluster/clock.h"
#include "recluster/rpc.h"

void journal_lost(struct executor *x, const struct err *err)
{
    if (x->fatal.code == ERR_NONE)
        x->fatal = *err;
    loop_stop(x->loop);
}

static int tell_outcome(struct executor *x, const struct task_run *t, const struct event *event,
    const char *verb, const struct err *error, struct err *err)
{
    json_t *detail = error ? err_to_json(error) : NULL;
    struct event full = *event;

    full.detail = detail;
    int rc = state_tell(x->st, &full, err, "%s of shard %s on %s %s%s%s", t->kind->name, full.shard,
        full.host, verb, error ? ": " : "", error ? error->message : "");
    json_decref(detail);
    return rc;
}

int journal_task_started(struct executor *x, struct task_run *t, struct err *err)
{
    const struct event event = task_event(t, "info", "task-started");

    if (t->asked_before) {
        task_set_state(x, t, TASK_RUNNING);
        return 0;
    }
    if (state_begin(x->st, err) < 0)
        return -1;
    t->attempts++;
    if (state_run(x->st, err,
            "UPDATE task SET state = 'running', attempts = attempts + 1, started_ms = ?, "
            "ended_ms = NULL, error = NULL WHERE task_id = ?",
            "ii", clock_wall_ms(), t->id) < 0 ||
        tell_outcome(x, t, &event, "started", NULL, err) < 0 || state_commit(x->st, err) < 0) {
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
    const struct event done = task_event(t, "info", "task-done");
    const struct event failed = task_event(t, "error", "task-failed");
    json_t *failure = error ? err_to_json(error) : NULL;
    int rc = state_run(x->st, err,
        "UPDATE task SET state = ?, ended_ms = ?, result = ?, error = ? WHERE task_id = ?", "sijji",
        task_state_name(state), clock_wall_ms(), result, failure, t->id);
    json_decref(failure);
    if (rc < 0)
        return -1;
    if (state == TASK_DONE && t->kind->shard_state &&
        state_run(x->st, err, "UPDATE placement SET state = ? WHERE shard_uid = ?", "ss",
            t->kind->shard_state, x->shards[t->shard].uid) < 0)
        return -1;
    if (state == TASK_FAILED) {
        if (!t->params &&
            state_run(x->st, err, "UPDATE placement SET state = 'failed' WHERE shard_uid = ?", "s",
                x->shards[t->shard].uid) < 0)
            return -1;
        return tell_outcome(x, t, &failed, "failed", error, err);
    }
    return tell_outcome(x, t, &done, "done", NULL, err);
}

enum { ATTEMPTS_MAX = 4, NOT_YET_MS = 200 };

/* The store has already retried its own failures. */
static bool may_retry(const struct task_run *t, const struct err *error)
{
    bool own = t->kind->retries_itself && error->code != ERR_LINK;

    return err_code_is_retried(error->code) && !own && t->attempts < ATTEMPTS_MAX;
}

static int64_t backoff_ms(int attempts)
{
    return 500LL << (attempts < 5 ? attempts : 5);
}

/* For "not yet" nothing is written: the row stays "running", and the host is asked again. */
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
        db->state = DATABASE_FAILED;
        db->refused |= t->kind->stage <= STAGE_LOAD &&
                       err_code_exit_status(failure->code) == err_code_exit_status(ERR_CHECK);
    }
    return 0;
}

/* Runs kind->finish of one task and commits its verdict. */
static int record_answer(struct executor *x, struct task_run *t, const json_t *result,
    const struct err *error, struct err *err)
{
    struct err failure = error ? *error : (struct err)ERR_INIT;
    enum finish finish = FINISH_FAIL;

    if (state_begin(x->st, err) < 0)
        return -1;
    if (!error)
        finish = t->kind->finish ? t->kind->finish(x, t, result, &failure) : FINISH_OK;
    if (failure.code == ERR_STATE_FILE || failure.code == ERR_SPACE) {
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
    if (error && may_retry(t, error)) {
        state_rollback(x->st);
        t->not_before_ms = clock_mono_ms() + backoff_ms(t->attempts);
        task_set_state(x, t, TASK_PENDING);
        return 0;
    }
    return commit_outcome(
        x, t, finish == FINISH_OK ? TASK_DONE : TASK_FAILED, result, &failure, err);
}

static int record_member(struct executor *x, struct task_run *t, const json_t *answer,
    const struct err *error, struct err *err)
{
    const json_t *facts = json_object_get(answer, "facts");
    struct err own = ERR_INIT;

    if (error)
        own = *error;
    else if (!facts)
        err_from_json(json_object_get(answer, "error"), &own);
    return record_answer(x, t, facts, error || !facts ? &own : NULL, err);
}

/* If a task also did the work of other tasks, its answer has one part for each, its own first. */
static int record_answers(struct executor *x, struct task_run *t, const json_t *result,
    const struct err *error, struct err *err)
{
    const json_t *answers = json_object_get(result, "shards");

    if (!t->with_count)
        return record_answer(x, t, result, error, err);
    for (size_t i = 0; i < t->with_count; i++)
        if (record_member(x, t->with[i], json_array_get(answers, i + 1), error, err) < 0)
            return -1;
    return record_member(x, t, json_array_get(answers, 0), error, err);
}

void journal_answer(struct task_run *t, const json_t *result, const struct err *error)
{
    struct executor *x = t->x;

    GROW(x->answers, x->answer_count, x->answer_alloc);
    x->answers[x->answer_count++] = (struct answer){
        .task = t,
        .result = error ? NULL : json_incref((json_t *)(uintptr_t)result),
        .error = error ? *error : (struct err)ERR_INIT,
    };
}

int journal_take_answers(struct executor *x, struct err *err)
{
    int rc = 0;

    if (!x->answer_count)
        return 0;
    if (state_begin(x->st, err) < 0)
        return -1;
    for (size_t i = 0; i < x->answer_count; i++) {
        const struct answer *a = &x->answers[i];
        const struct err *error = a->error.code != ERR_NONE ? &a->error : NULL;
        if (rc == 0)
            rc = record_answers(x, a->task, a->result, error, err);
        json_decref(a->result);
    }
    x->answer_count = 0;
    if (rc == 0)
        rc = journal_databases_finished(x, err);
    if (rc == 0)
        rc = state_commit(x->st, err);
    if (rc < 0)
        state_rollback(x->st);
    return rc;
}

int journal_task_failed(
    struct executor *x, struct task_run *t, const struct err *error, struct err *err)
{
    struct err failure = *error;

    if (state_begin(x->st, err) < 0)
        return -1;
    return commit_outcome(x, t, TASK_FAILED, NULL, &failure, err);
}

/* Its result is about the primary too. */
static bool is_check_of_replica(const struct executor *x, const struct task_run *t, int primary)
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
            if ((int)i == shard || is_check_of_replica(x, t, shard))
                task_set_state(x, t, TASK_PENDING);
    }
    return 0;
}

void journal_progress(struct executor *x)
{
    struct err ignored = ERR_INIT; /* ignored: the result itself is written elsewhere */

    if (state_begin(x->st, &ignored) < 0)
        return;
    for (size_t i = 0; i < x->task_count; i++) {
        struct task_run *t = &x->tasks[i];
        if (t->state != TASK_RUNNING || t->told || !t->doing[0])
            continue;
        if (state_run(x->st, &ignored,
                "UPDATE task SET bytes_done = ?, bytes_total = NULLIF(?, 0), progress = ?, "
                "progress_ms = ? WHERE task_id = ?",
                "iisii", t->bytes_done, t->bytes_total, t->doing, clock_wall_ms(), t->id) < 0) {
            state_rollback(x->st);
            return;
        }
        t->told = true;
    }
    if (state_commit(x->st, &ignored) < 0)
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
        if (db->state == DATABASE_DONE || db->state == DATABASE_SKIPPED || !all_done(db))
            continue;
        const struct event event = {.code = "database-open", .database = db->uid};
        if (state_begin(x->st, err) < 0)
            return -1;
        if (state_run(x->st, err,
                "UPDATE target SET state = 'done', opened_ms = ? WHERE database_uid = ?", "is",
                clock_wall_ms(), db->uid) < 0 ||
            state_tell(x->st, &event, err, "database %s '%s' is recovered and open", db->label,
                db->name ? db->name : "") < 0 ||
            state_commit(x->st, err) < 0) {
            state_rollback(x->st);
            return -1;
        }
        db->state = DATABASE_DONE;
    }
    return 0;
}
