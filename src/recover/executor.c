/*
 * Carries out the tasks of a plan. One job, the pump, starts every task whose turn has come;
 * answers of the agents wake it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch_files.h"
#include "internal.h"
#include "recluster/clock.h"
#include "recluster/shell_quote.h"
#include "relay.h"

enum { STOP_MS = 60 * 1000, PROGRESS_MS = 200, PROGRESS_SAVED_MS = 1000 };

/* What waits in a link holds memory; a prepare_shard of a large cluster names all its nodes. */
enum { PREPARES_PER_HOST = 32 };

void executor_give_up(struct executor *x, const struct err *err)
{
    if (x->fatal.code == ERR_NONE)
        x->fatal = *err;
    loop_stop(x->loop);
}

struct host_run *executor_host(const struct executor *x, const char *name)
{
    for (size_t i = 0; name && i < x->host_count; i++)
        if (strcmp(x->hosts[i].name, name) == 0)
            return &x->hosts[i];
    return NULL;
}

json_t *shard_params(const struct executor *x, const struct shard_run *s)
{
    const struct database_run *db = &x->databases[s->database];

    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?}", "base_dir", x->hosts[s->host].base_dir,
        "recovery", x->recovery, "dir", s->dir, "recovery_password", x->recovery_password,
        "password", db->password, "admin_password", db->admin_password);
}

/* The task's own outcome, and of those that were done with it. */
static int journal_answer(struct executor *x, struct task_run *t, const json_t *result,
    const struct err *error, struct err *err)
{
    return t->with_count ? fetch_group_answered(x, t, result, error, err)
                         : journal_task_answered(x, t, result, error, err);
}

static bool is_load(const struct task_run *t)
{
    return t->kind == &task_load_shard || t->landing;
}

static void on_answer(void *ctx, const json_t *result, const struct err *error)
{
    struct task_run *t = ctx;
    struct executor *x = t->x;
    struct host_run *h = &x->hosts[t->host];
    struct err err = ERR_INIT;

    h->running_fetches -= t->kind == &task_fetch;
    x->running_fetches -= t->kind == &task_fetch;
    h->running_loads -= is_load(t);
    h->running_prepares -= t->kind == &task_prepare_shard;
    t->landing = false;
    relay_end(t->relay);
    t->relay = NULL;
    /* A stop by the operator is no outcome: the task stays "running" for the next run to look at. */
    if (error && error->code == ERR_CANCELLED) {
        task_set_state(x, t, TASK_PENDING);
        for (size_t i = 0; i < t->with_count; i++)
            task_set_state(x, t->with[i], TASK_PENDING);
        return;
    }
    if (error && error->code == ERR_LINK && h->state != HOST_GONE) {
        t->attempts = 0; /* the host's connects are counted instead */
        for (size_t i = 0; i < t->with_count; i++)
            t->with[i]->attempts = 0;
    }
    if (!error && h->state == HOST_READY) {
        h->connects = 0;
        h->failing_since_ms = 0;
    }
    if (journal_answer(x, t, result, error, &err) < 0 || journal_databases_finished(x, &err) < 0)
        executor_give_up(x, &err);
    loop_wake(x->loop, x->pump);
}

static void on_task_progress(void *ctx, const json_t *params)
{
    struct task_run *t = ctx;
    const json_t *total = json_object_get(params, "total");
    const char *phase = json_string_value(json_object_get(params, "phase"));
    const char *doing = phase ? phase : t->kind == &task_fetch ? "fetching" : "";

    if (strcmp(doing, t->doing) != 0)
        t->bytes_total = 0;
    snprintf(t->doing, sizeof(t->doing), "%s", doing);
    t->bytes_done = json_integer_value(json_object_get(params, "bytes"));
    if (json_integer_value(total) > 0)
        t->bytes_total = json_integer_value(total);
    t->told = false;
    loop_wake(t->x->loop, t->x->pump);
}

/*
 * Servers of the earlier generation end in prepare_shard. Before all have, none of this one may
 * start: a cluster node that finds another at an address forgets that address.
 */
static bool awaits_the_end_of_others(const struct database_run *db, const struct task_run *t)
{
    return db->generation > 0 && db->unprepared > 0 && t->kind != &task_prepare_shard &&
           t->kind != &task_fetch;
}

static bool task_is_ready(const struct executor *x, const struct task_run *t)
{
    if (t->state != TASK_PENDING || t->kind->stage > x->hooks->until)
        return false;
    const struct database_run *db = &x->databases[t->database];
    /* The other files of a refused database are still looked at: all that is bad is told at once. */
    if (db->refused && (t->kind->stage > STAGE_TRANSFER || x->stood_down))
        return false;
    if (awaits_the_end_of_others(db, t))
        return false;
    for (size_t gate = 0; gate < (size_t)t->kind->gate; gate++)
        if (db->undone[gate] || db->unsure)
            return false;
    for (size_t i = 0; i < t->wait_count; i++) {
        const struct task_run *on = &x->tasks[t->waits_for[i]];
        if (on->state != TASK_DONE || x->shards[on->shard].unsure)
            return false;
    }
    return t->kind != &task_fetch || fetch_group_is_prepared(x, t);
}

static bool may_come_along(struct executor *x, struct task_run *t)
{
    return task_is_ready(x, t) && !x->shards[t->shard].unsure;
}

static bool may_load(const struct host_run *h)
{
    json_int_t cores = json_integer_value(json_object_get(h->facts, "cores"));
    return h->running_loads < (cores > 1 ? cores : 1);
}

static bool host_has_room(const struct host_run *h, const struct task_run *t)
{
    if (t->kind == &task_fetch)
        return h->running_fetches < PLAN_FETCHES_PER_HOST &&
               h->x->running_fetches < h->x->hooks->fetches;
    if (t->kind == &task_prepare_shard)
        return h->running_prepares < PREPARES_PER_HOST;
    return t->kind != &task_load_shard || may_load(h);
}

/* What starts its server begins with the fetch already. */
static void choose_landing(struct executor *x, struct task_run *t)
{
    const struct database_run *db = &x->databases[t->database];
    struct shard_run *s = &x->shards[t->shard];

    t->landing = t->kind == &task_fetch && x->hooks->until >= STAGE_LOAD && !db->refused &&
                 !awaits_the_end_of_others(db, task_that_starts(x, t->shard)) &&
                 may_load(&x->hosts[t->host]) && fetch_may_land(x, t);
    s->landed |= t->landing;
}

static int task_start(struct executor *x, struct task_run *t, struct err *err)
{
    struct host_run *h = &x->hosts[t->host];

    if (t->kind == &task_fetch)
        fetch_group_take(x, t, may_come_along);
    for (size_t i = 0; i < t->with_count; i++)
        if (journal_task_started(x, t->with[i], err) < 0)
            return -1;
    if (journal_task_started(x, t, err) < 0)
        return -1;
    choose_landing(x, t);
    json_t *params = shard_params(x, &x->shards[t->shard]);
    h->running_fetches += t->kind == &task_fetch;
    x->running_fetches += t->kind == &task_fetch;
    h->running_loads += is_load(t);
    h->running_prepares += t->kind == &task_prepare_shard;
    if (t->kind->params)
        t->kind->params(x, t, params);
    uint64_t call = link_call(
        h->link, t->kind->method, params, t->kind->timeout_ms, on_answer, on_task_progress, t);
    if (t->kind->called)
        t->kind->called(x, t, call);
    return 0;
}

/* It is the task's turn, and its host is there. */
static int task_try_start(
    struct executor *x, struct task_run *t, int64_t now_ms, int64_t *look_again_ms, struct err *err)
{
    struct err failure = ERR_INIT;
    bool ready = true;

    if (t->kind != &task_fetch)
        return task_start(x, t, err);
    if (fetch_sources_ready(x, t, now_ms, look_again_ms, &ready, &failure) < 0)
        return journal_task_failed(x, t, &failure, err);
    return ready ? task_start(x, t, err) : 0;
}

/* Of a fetch that waits or is done, what its file has. */
static int64_t expected_bytes(const struct executor *x, const struct task_run *t)
{
    const struct shard_run *s = &x->shards[t->shard];

    return t->kind == &task_fetch && s->file_bytes > 0 && !s->files ? s->file_bytes
                                                                    : t->bytes_total;
}

static struct recover_progress count_progress(const struct executor *x)
{
    struct recover_progress p = {.tasks_total = x->task_count};
    enum plan_stage stage = STAGE_OPEN;

    for (size_t i = 0; i < x->task_count; i++) {
        const struct task_run *t = &x->tasks[i];
        p.tasks_done += t->state == TASK_DONE;
        p.tasks_failed += t->state == TASK_FAILED;
        p.tasks_running += t->state == TASK_RUNNING;
        if (t->state == TASK_RUNNING && t->kind->stage < stage)
            stage = t->kind->stage;
    }
    for (size_t i = 0; i < x->task_count; i++) {
        const struct task_run *t = &x->tasks[i];
        bool whole = t->kind == &task_fetch && t->state != TASK_RUNNING;
        if (t->kind->stage != stage || (!whole && t->state != TASK_RUNNING))
            continue;
        p.bytes_total += expected_bytes(x, t);
        p.bytes_done += t->state == TASK_RUNNING ? t->bytes_done
                        : t->state == TASK_DONE  ? expected_bytes(x, t)
                                                 : 0;
        if (t->state == TASK_RUNNING && t->doing[0])
            p.doing = t->doing;
    }
    p.stage = plan_stage_name(stage);
    return p;
}

static void tell_progress(struct executor *x)
{
    int64_t now = clock_mono_ms();

    if (now >= x->progress_saved_ms + PROGRESS_SAVED_MS) {
        x->progress_saved_ms = now;
        journal_progress(x);
    }
    if (!x->hooks->progress || now < x->progress_at_ms + PROGRESS_MS)
        return;
    x->progress_at_ms = now;
    const struct recover_progress p = count_progress(x);
    x->hooks->progress(x->hooks->arg, &p);
}

/* Starts what can start. Sets when to look again; true while anything runs or may still run. */
static bool start_ready_tasks(struct executor *x, int64_t *look_again_ms, struct err *err)
{
    int64_t now = clock_mono_ms();
    bool busy = false;

    for (size_t i = 0; i < x->shard_count; i++)
        if (x->shards[i].unsure)
            busy |= host_wanted(&x->hosts[x->shards[i].host], now, look_again_ms);
    for (size_t i = 0; i < x->task_count; i++) {
        struct task_run *t = &x->tasks[i];
        struct host_run *h = &x->hosts[t->host];

        busy |= t->state == TASK_RUNNING;
        if (!task_is_ready(x, t) || !host_wanted(h, now, look_again_ms))
            continue;
        busy = true;
        if (t->not_before_ms > now)
            *look_again_ms = t->not_before_ms < *look_again_ms ? t->not_before_ms : *look_again_ms;
        else if (h->state == HOST_READY && !x->shards[t->shard].unsure && host_has_room(h, t) &&
                 task_try_start(x, t, now, look_again_ms, err) < 0)
            return false;
    }
    return busy;
}

struct stop {
    struct executor *x;
    int shard;
};

static void on_stopped(void *ctx, const json_t *result, const struct err *error)
{
    struct stop *q = ctx;
    struct executor *x = q->x;
    struct err err = ERR_INIT;

    (void)result;
    /* One that can't be stopped is no harm: clients can't log in, and the next run asks about it. */
    const struct task_run *started = task_that_starts(x, q->shard);
    if (!error && started->state == TASK_DONE &&
        journal_shard_reset(x, q->shard, "stopped: its database was refused", &err) < 0)
        executor_give_up(x, &err);
    free(q);
    x->stops_awaited--;
    loop_wake(x->loop, x->pump);
}

/*
 * A database with a bad file needs another backup set, and with it all its shards: what was loaded
 * from this one is not left running.
 */
static void stand_down(struct executor *x)
{
    x->stood_down = true;
    for (size_t i = 0; i < x->shard_count; i++) {
        struct shard_run *s = &x->shards[i];
        struct host_run *h = &x->hosts[s->host];
        const struct task_run *started = task_that_starts(x, (int)i);
        if (!x->databases[s->database].refused || h->state != HOST_READY || !started ||
            (started->state != TASK_DONE && !s->landed))
            continue;
        struct stop *q = xmalloc(sizeof(*q));
        *q = (struct stop){x, (int)i};
        x->stops_awaited++;
        link_call(h->link, "stop_shard", shard_params(x, s), STOP_MS, on_stopped, NULL, q);
    }
}

static enum job_step pump_step(void *arg, struct wait *wait, struct err *err)
{
    struct executor *x = arg;
    int64_t look_again_ms = clock_mono_ms() + 1000;
    struct err failure = ERR_INIT;

    (void)err;
    bool busy = start_ready_tasks(x, &look_again_ms, &failure);
    if (failure.code != ERR_NONE) {
        executor_give_up(x, &failure);
        return JOB_DONE;
    }
    tell_progress(x);
    if (!busy && !x->stood_down)
        stand_down(x);
    if (!busy && !x->stops_awaited) {
        loop_stop(x->loop);
        return JOB_DONE;
    }
    wait_until(wait, look_again_ms);
    return JOB_WAIT;
}

static const struct job_ops pump_ops = {"executor", pump_step, NULL};

int executor_run(struct executor *x, struct err *err)
{
    x->loop = loop_new();
    if (x->hooks->interrupt_fd >= 0)
        loop_interrupt_fd(x->loop, x->hooks->interrupt_fd);
    x->pump = loop_add(x->loop, &pump_ops, x);
    int rc = loop_run(x->loop, err);
    bool interrupted = loop_interrupted(x->loop);
    for (size_t i = 0; i < x->host_count; i++) {
        struct link *link = x->hosts[i].link;
        x->hosts[i].link = NULL;
        x->hosts[i].state = HOST_GONE;
        link_close(link);
    }
    loop_free(x->loop);
    if (rc < 0)
        return -1;
    if (x->fatal.code != ERR_NONE) {
        *err = x->fatal;
        return -1;
    }
    if (interrupted) {
        CLEANUP(free_ptr) char *state = shell_word(state_path(x->st));
        err_set(err, ERR_CANCELLED, "interrupted");
        return err_hint(err, "Carry on with: recluster recover --state %s", state);
    }
    return 0;
}
