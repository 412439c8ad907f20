/* One run of a recovery: its beginning, its rounds and its end. */

#include "recluster/recover.h"

#include <string.h>

#include "executor.h"
#include "fetch_group.h"
#include "journal.h"
#include "ready.h"
#include "recluster/clock.h"
#include "recluster/fence.h"
#include "recluster/old_cluster.h"
#include "recluster/rpc.h"
#include "replan.h"
#include "transfer.h"

/* A database that is done belongs to its clients: it is left alone. */
static bool database_is_over(const struct database_run *db)
{
    return db->state == DATABASE_DONE || db->state == DATABASE_SKIPPED;
}

/*
 * A run that resumes trusts no record. It asks the servers that were started, and repeats the tasks
 * of shards whose server was not started, which is cheap if they still hold.
 */
static void mark_unsure(struct executor *x)
{
    for (size_t i = 0; i < x->shard_count; i++) {
        struct shard_run *s = &x->shards[i];
        if (database_is_over(&x->databases[s->database]))
            continue;
        const struct task_run *started = task_that_starts(x, (int)i);
        if (started && started->state == TASK_DONE) {
            shard_set_unsure(x, s, true);
            continue;
        }
        for (struct task_run *t = s->tasks; t; t = t->next_of_shard)
            task_set_state(x, t, TASK_PENDING);
    }
}

static bool is_resumed(struct state *st)
{
    AUTO_FREE char *started = state_meta(st, "started_ms");
    return started != NULL;
}

static int begin_run(struct executor *x, struct err *err)
{
    bool started = is_resumed(x->st);
    AUTO_FREE char *now = xasprintf("%lld", (long long)clock_wall_ms());
    const struct event event = {.code = started ? "recovery-resumed" : "recovery-started",
        .message = started ? "the recovery is resumed" : "the recovery begins"};

    if (state_begin(x->st, err) < 0)
        return -1;
    if ((!started && state_set_meta(x->st, "started_ms", now, err) < 0) ||
        state_set_meta(x->st, "state", "running", err) < 0 ||
        state_run(x->st, err, "DELETE FROM meta WHERE key = 'ended_ms'", "") < 0 ||
        state_run(x->st, err,
            "UPDATE target SET state = 'running' WHERE state IN ('planned','failed')", "") < 0 ||
        state_event(x->st, &event, err) < 0 || state_commit(x->st, err) < 0) {
        state_rollback(x->st);
        return -1;
    }
    return 0;
}

static void count_result(const struct executor *x, struct recover_result *ret)
{
    for (size_t i = 0; i < x->database_count; i++) {
        const struct database_run *db = &x->databases[i];
        ret->done += db->state == DATABASE_DONE;
        ret->skipped += db->state == DATABASE_SKIPPED;
        ret->failed += db->state == DATABASE_FAILED;
    }
    ret->waiting = x->database_count - ret->done - ret->skipped - ret->failed;
}

static int end_run(struct executor *x, const struct recover_result *result, struct err *err)
{
    AUTO_FREE char *now = xasprintf("%lld", (long long)clock_wall_ms());
    const char *state = result->failed + result->skipped + result->waiting == 0 ? "done"
                        : result->waiting                                       ? "planned"
                        : result->done                                          ? "partly"
                                                                                : "failed";
    const struct event event = {.code = "recovery-ended"};

    if (state_begin(x->st, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < x->database_count && rc == 0; i++)
        if (x->databases[i].state == DATABASE_FAILED)
            rc = state_run(x->st, err, "UPDATE target SET state = 'failed' WHERE database_uid = ?",
                "s", x->databases[i].uid);
    if (rc < 0 || state_set_meta(x->st, "state", state, err) < 0 ||
        state_set_meta(x->st, "ended_ms", now, err) < 0 ||
        state_tell(x->st, &event, err, "the run ends: %zu databases done, %zu failed, %zu left out",
            result->done, result->failed, result->skipped) < 0 ||
        state_commit(x->st, err) < 0) {
        state_rollback(x->st);
        return -1;
    }
    return 0;
}

/* The first failure that does not merely follow from another. */
static int find_first_error(struct executor *x, struct err *ret, struct err *err)
{
    struct rows rows;

    if (state_query(x->st, &rows, err,
            "SELECT error FROM task WHERE state = 'failed' ORDER BY ended_ms, task_id LIMIT 1",
            "") < 0)
        return -1;
    if (rows_next(&rows)) {
        json_t *error = rows_json(&rows, 0);
        err_from_json(error, ret);
        json_decref(error);
    }
    return rows_end(&rows, err);
}

/* The last run was killed after the last task and before its end was recorded. */
static bool was_interrupted(struct state *st)
{
    AUTO_FREE char *state = state_meta(st, "state");
    return state && strcmp(state, "running") == 0;
}

static bool anything_to_do(const struct executor *x)
{
    for (size_t i = 0; i < x->database_count; i++)
        if (!database_is_over(&x->databases[i]))
            return true;
    return false;
}

static int run_once(struct executor *x, struct recover_result *ret, struct err *err)
{
    const struct recover_hooks *hooks = x->hooks;

    if (executor_load(x, err) < 0)
        return -1;
    fetch_groups_make(x);
    if (!anything_to_do(x)) {
        count_result(x, ret);
        return was_interrupted(x->st) ? end_run(x, ret, err) : 0;
    }
    if (transfer_resolve_locations(x, err) < 0)
        return -1;
    if (fence_run(x->st, x->ccs, hooks->accept_new_host_keys, err) < 0)
        return -1;
    if (is_resumed(x->st) &&
        old_cluster_check_again(x->st, x->ccs, hooks->old_cluster_is_dead, err) < 0)
        return -1;
    mark_unsure(x);
    for (size_t i = 0; i < x->database_count; i++)
        if (!database_is_over(&x->databases[i]))
            x->databases[i].state = DATABASE_RUNNING;
    /* A run may have been killed between a database's last task and the mark that it is done. */
    if (begin_run(x, err) < 0 || journal_databases_finished(x, err) < 0 || executor_run(x, err) < 0)
        return -1;
    count_result(x, ret);
    return end_run(x, ret, err) < 0 ? -1 : find_first_error(x, &ret->first_error, err);
}

int recover_run(struct state *st, const struct recover_hooks *hooks, struct recover_result *ret,
    struct err *err)
{
    bool again = true;
    int rc = 0;

    /* Each further round has lost another host. Bounded, because a host may come and go. */
    for (size_t round = 0; rc == 0 && again; round++) {
        struct executor x = {.st = st, .links = {st, hooks->accept_new_host_keys}, .hooks = hooks};
        *ret = (struct recover_result){.first_error = ERR_INIT};
        rc = run_once(&x, ret, err);
        again = rc == 0 && hooks->replan_lost && round < x.host_count && replan_is_called_for(&x);
        if (again)
            rc = replan_lost(&x, &again, err);
        executor_release(&x);
    }
    return rc;
}
