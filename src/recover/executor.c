/*
 * One job, the pump, starts every task that is ready; answers of the agents wake it. A step of the
 * pump is one transaction: it records the answers that came and the starts of tasks that became
 * ready. The calls are made only when that is on disk.
 */

#include "executor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host_run.h"
#include "journal.h"
#include "ready.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/shell_quote.h"
#include "relay.h"
#include "shard_params.h"

enum { STOP_MS = 60 * 1000, LOOK_MS = 1000, PROGRESS_MS = 200, PROGRESS_SAVED_MS = 1000 };

enum { PREPARES_PER_HOST = 32 };

/* Tasks whose start is recorded and whose call is not made yet. */
struct starts {
    struct task_run **tasks;
    size_t count, alloc;
};

/* --- lanes --- */

bool lane_has_room(const struct host_run *h, enum lane lane)
{
    json_int_t cores = json_int(h->facts, "cores", 0);

    switch (lane) {
    case LANE_PREPARE:
        return h->running[lane] < PREPARES_PER_HOST;
    case LANE_FETCH:
        return h->running[lane] < PLAN_FETCHES_PER_HOST &&
               h->x->running[lane] < h->x->hooks->fetches;
    case LANE_LOAD:
        return h->running[lane] < (cores > 1 ? cores : 1);
    case LANE_FREE:
    case LANE_COUNT:
        break;
    }
    return true;
}

static void count_lanes(struct task_run *t, int by)
{
    for (size_t lane = 0; lane < LANE_COUNT; lane++)
        if (t->lanes & 1u << lane) {
            t->x->hosts[t->host].running[lane] += by;
            t->x->running[lane] += by;
        }
}

/* --- calls --- */

static void on_answer(void *ctx, const json_t *result, const struct err *error)
{
    struct task_run *t = ctx;
    struct executor *x = t->x;
    struct host_run *h = &x->hosts[t->host];

    count_lanes(t, -1);
    t->lanes = 0;
    t->landing = false;
    x->tasks_relayed -= t->relayed;
    t->relayed = false;
    relay_end(t->relay);
    t->relay = NULL;
    /* A stop by the operator is not an outcome: the task stays "running" for the next run. */
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
    journal_answer(t, result, error);
    loop_wake(x->loop, x->pump);
}

static void on_task_progress(void *ctx, const json_t *params)
{
    struct task_run *t = ctx;
    const json_t *total = json_object_get(params, "total");
    const char *phase = json_text(params, "phase", NULL);
    const char *doing = phase ? phase : t->kind->doing ? t->kind->doing : "";

    if (strcmp(doing, t->doing) != 0)
        t->bytes_total = 0;
    snprintf(t->doing, sizeof(t->doing), "%s", doing);
    t->bytes_done = json_int(params, "bytes", 0);
    if (json_integer_value(total) > 0)
        t->bytes_total = json_integer_value(total);
    t->told = false;
    loop_wake(t->x->loop, t->x->pump);
}

static void make_call(struct executor *x, struct task_run *t)
{
    struct link *link = x->hosts[t->host].link;

    /* If the link was lost meanwhile, the host is connected again, and the task waits. */
    if (!link) {
        const struct err lost = {.code = ERR_LINK, .message = "the link was lost"};
        on_answer(t, NULL, &lost);
        return;
    }
    json_t *params = shard_params(x, &x->shards[t->shard]);
    if (t->kind->params)
        t->kind->params(x, t, params);
    uint64_t call = link_call(
        link, t->kind->method, params, t->kind->timeout_ms, on_answer, on_task_progress, t);
    if (t->kind->called)
        t->kind->called(x, t, call);
}

/* --- starting --- */

static int task_start(
    struct executor *x, struct task_run *t, struct starts *starts, struct err *err)
{
    t->lanes = 1u << t->kind->lane;
    t->with_count = 0;
    if (t->kind->begin)
        t->kind->begin(x, t);
    for (size_t i = 0; i < t->with_count; i++)
        if (journal_task_started(x, t->with[i], err) < 0)
            return -1;
    if (journal_task_started(x, t, err) < 0)
        return -1;
    count_lanes(t, 1);
    GROW(starts->tasks, starts->count, starts->alloc);
    starts->tasks[starts->count++] = t;
    return 0;
}

/* The task is ready and its host is connected. */
static int task_try_start(struct executor *x, struct task_run *t, struct starts *starts,
    int64_t *look_again_ms, struct err *err)
{
    struct err failure = ERR_INIT;
    bool ready = true;

    if (t->kind->sources && t->kind->sources(x, t, look_again_ms, &ready, &failure) < 0)
        return journal_task_failed(x, t, &failure, err);
    return ready ? task_start(x, t, starts, err) : 0;
}

static void sooner(int64_t *look_again_ms, int64_t at_ms)
{
    if (at_ms < *look_again_ms)
        *look_again_ms = at_ms;
}

/* Starts at most one task of the lane, so that hosts share the lanes' total. 1: one was started. */
static int start_one(struct executor *x, struct host_run *h, enum lane lane, struct starts *starts,
    int64_t *look_again_ms, struct err *err)
{
    int64_t now = clock_mono_ms();
    struct task_run *t;

    for (size_t at = 0; lane_has_room(h, lane) && (t = ready_next(x, h, lane, &at)); at++) {
        if (!host_wanted(h, look_again_ms) || h->state != HOST_READY)
            return 0;
        if (t->not_before_ms > now) {
            sooner(look_again_ms, t->not_before_ms);
            continue;
        }
        if (x->shards[t->shard].unsure)
            continue;
        if (task_try_start(x, t, starts, look_again_ms, err) < 0)
            return -1;
        if (t->state == TASK_RUNNING)
            return 1;
    }
    return 0;
}

static int start_ready_tasks(
    struct executor *x, struct starts *starts, int64_t *look_again_ms, struct err *err)
{
    bool more = true;

    while (more) {
        more = false;
        for (size_t i = 0; i < x->host_count; i++)
            for (enum lane lane = LANE_FREE; lane < LANE_COUNT; lane++) {
                int started = start_one(x, &x->hosts[i], lane, starts, look_again_ms, err);
                if (started < 0)
                    return -1;
                more |= started > 0;
            }
    }
    return 0;
}

static bool has_ready_task(struct executor *x, struct host_run *h)
{
    for (enum lane lane = LANE_FREE; lane < LANE_COUNT; lane++) {
        size_t at = 0;
        if (ready_next(x, h, lane, &at))
            return true;
    }
    return false;
}

/* Connects hosts that have tasks. True: one of them is not given up. */
static bool want_hosts(struct executor *x, int64_t *look_again_ms)
{
    bool wanted = false;

    for (size_t i = 0; i < x->host_count; i++)
        if (has_ready_task(x, &x->hosts[i]))
            wanted |= host_wanted(&x->hosts[i], look_again_ms);
    return wanted;
}

/* Connects hosts of shards whose status is unknown. True: one of them is not given up. */
static bool ask_hosts(struct executor *x, int64_t *look_again_ms)
{
    bool asked = false;

    for (size_t i = 0; x->unsure && i < x->shard_count; i++)
        if (x->shards[i].unsure)
            asked |= host_wanted(&x->hosts[x->shards[i].host], look_again_ms);
    return asked;
}

/* --- progress --- */

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
        bool running = t->state == TASK_RUNNING;
        if (t->kind->stage != stage || (!running && !t->kind->bytes))
            continue;
        int64_t bytes = t->kind->bytes ? t->kind->bytes(x, t) : t->bytes_total;
        p.bytes_total += bytes;
        p.bytes_done += running ? t->bytes_done : t->state == TASK_DONE ? bytes : 0;
        if (running && t->doing[0])
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

/* --- databases that were refused --- */

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
    /* A failure here is harmless: clients cannot log in, and the next run asks about the shard. */
    const struct task_run *started = task_that_starts(x, q->shard);
    if (!error && started->state == TASK_DONE &&
        journal_shard_reset(x, q->shard, "stopped: its database was refused", &err) < 0)
        journal_lost(x, &err);
    free(q);
    x->stops_awaited--;
    loop_wake(x->loop, x->pump);
}

/*
 * A database with a bad file needs another backup set for all its shards, so the servers that
 * loaded this set are stopped.
 */
static void stop_refused(struct executor *x)
{
    x->refused_stopped = true;
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

/* --- the pump --- */

/* Whether the step writes anything; most steps only report progress. */
static bool anything_starts(struct executor *x)
{
    for (size_t i = 0; i < x->host_count; i++)
        for (enum lane lane = LANE_FREE; lane < LANE_COUNT; lane++) {
            struct host_run *h = &x->hosts[i];
            size_t at = 0;
            if (h->state == HOST_READY && lane_has_room(h, lane) && ready_next(x, h, lane, &at))
                return true;
        }
    return false;
}

static int record_step(
    struct executor *x, struct starts *starts, int64_t *look_again_ms, struct err *err)
{
    if (!x->answer_count && !anything_starts(x))
        return 0;
    if (state_begin(x->st, err) < 0)
        return -1;
    int rc = journal_take_answers(x, err);
    if (rc == 0)
        rc = start_ready_tasks(x, starts, look_again_ms, err);
    if (rc == 0)
        rc = state_commit(x->st, err);
    if (rc < 0)
        state_rollback(x->st);
    return rc;
}

static enum job_step pump_step(void *arg, struct wait *wait, struct err *err)
{
    struct executor *x = arg;
    int64_t look_again_ms = clock_mono_ms() + LOOK_MS;
    struct starts starts = {.tasks = NULL};
    struct err failure = ERR_INIT;

    (void)err;
    int rc = record_step(x, &starts, &look_again_ms, &failure);
    for (size_t i = 0; rc == 0 && i < starts.count; i++)
        make_call(x, starts.tasks[i]);
    free(starts.tasks);
    if (rc < 0) {
        journal_lost(x, &failure);
        return JOB_DONE;
    }
    bool busy = ask_hosts(x, &look_again_ms);
    busy |= want_hosts(x, &look_again_ms);
    busy |= x->tasks_running > 0 || x->answer_count > 0;
    tell_progress(x);
    if (!busy && !x->refused_stopped)
        stop_refused(x);
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
    ready_begin(x);
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
    /* answers that came with the interrupt */
    if (journal_take_answers(x, err) < 0)
        return -1;
    if (interrupted) {
        AUTO_FREE char *state = shell_word(state_path(x->st));
        err_set(err, ERR_CANCELLED, "interrupted");
        return err_hint(err, "Resume with: recluster recover --state %s", state);
    }
    return 0;
}
