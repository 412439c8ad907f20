/*
 * Carries out the tasks of a plan. One job, the pump, starts every task whose turn has come;
 * answers of the agents wake it. Hosts are connected when something is to be done on them:
 *
 *     IDLE ──(a task wants it)──> CONNECTING ──hello, lock, questions──> READY
 *      ▲                              │                                   │
 *      └── backoff <── lost, failed ──┴───────────────────────────────────┘
 *                         └── CONNECTS_MAX times ──> GONE: its tasks fail
 *
 * Questions: in a run that resumes, each shard whose server was started is asked for its status
 * before anything else is done with it; records that are no longer true are taken back.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "recluster/clock.h"
#include "recluster/protocol.h"
#include "recluster/rpc.h"

enum {
    CONNECTS_MAX = 4,
    HELLO_MS = 20 * 1000,
    LOCK_MS = 30 * 1000,
    STATUS_MS = 60 * 1000,
    FETCHES_PER_HOST = 4,
    PROGRESS_MS = 200,
};

static void host_failed(struct host_run *h, const struct err *error);

/* The state file could not be written: going on would be acting without a record. */
static void give_up(struct executor *x, const struct err *err)
{
    if (x->fatal.code == ERR_NONE)
        x->fatal = *err;
    loop_stop(x->loop);
}

json_t *shard_params(const struct executor *x, const struct shard_run *s)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s?}", "base_dir", x->hosts[s->host].base_dir,
        "recovery", x->recovery, "dir", s->dir, "recovery_password", x->recovery_password,
        "password", x->databases[s->database].password);
}

static struct task_run *pending_task(struct executor *x, const struct host_run *h, size_t database)
{
    for (size_t i = 0; i < x->task_count; i++) {
        struct task_run *t = &x->tasks[i];
        if (&x->hosts[t->host] == h && t->database == (int)database && t->state == TASK_PENDING)
            return t;
    }
    return NULL;
}

static bool is_unsure_about(const struct executor *x, const struct host_run *h, size_t database)
{
    for (size_t i = 0; i < x->shard_count; i++)
        if (&x->hosts[x->shards[i].host] == h && x->shards[i].database == (int)database &&
            x->shards[i].unsure)
            return true;
    return false;
}

/* One failed task per database says why; what waits for it stays pending. */
static int give_up_host(struct host_run *h, struct err *err)
{
    struct executor *x = h->x;
    CLEANUP(free_ptr)
    char *message = xasprintf("host '%s' is given up: %s", h->name, h->error.message);
    const struct event event = {
        .severity = "error", .code = "host-lost", .host = h->name, .message = message};

    if (state_event(x->st, &event, err) < 0)
        return -1;
    for (size_t d = 0; d < x->database_count; d++) {
        struct task_run *t = pending_task(x, h, d);
        if (t && journal_task_failed(x, t, &h->error, err) < 0)
            return -1;
        if (!t && is_unsure_about(x, h, d))
            x->databases[d].state = "failed";
    }
    return 0;
}

static bool host_is_asked(struct host_run *h)
{
    if (h->questions)
        return false;
    h->state = HOST_READY;
    loop_wake(h->x->loop, h->x->pump);
    return true;
}

struct question {
    struct executor *x;
    int shard;
};

static void on_status(void *ctx, const json_t *result, const struct err *error)
{
    struct question *q = ctx;
    struct executor *x = q->x;
    struct shard_run *s = &x->shards[q->shard];
    struct host_run *h = &x->hosts[s->host];
    struct err err = ERR_INIT;

    /* A lost link answers nothing: the question is asked again when the host is back. */
    bool answered = !error || (error->code != ERR_LINK && error->code != ERR_CANCELLED);
    shard_set_unsure(x, s, !answered);
    if (answered && (error || !json_is_true(json_object_get(result, "running"))) &&
        journal_shard_reset(x, q->shard, error ? error->message : "its server does not run", &err) <
            0)
        give_up(x, &err);
    free(q);
    h->questions--;
    if (h->state == HOST_CONNECTING)
        host_is_asked(h);
}

static void ask_about_shards(struct host_run *h)
{
    struct executor *x = h->x;

    for (size_t i = 0; i < x->shard_count; i++) {
        struct shard_run *s = &x->shards[i];
        if (&x->hosts[s->host] != h || !s->unsure)
            continue;
        struct question *q = xmalloc(sizeof(*q));
        *q = (struct question){x, (int)i};
        h->questions++;
        link_call(h->link, "shard_status", shard_params(x, s), STATUS_MS, on_status, NULL, q);
    }
    host_is_asked(h);
}

static void on_lock(void *ctx, const json_t *result, const struct err *error)
{
    struct host_run *h = ctx;

    (void)result;
    if (error)
        host_failed(h, error);
    else
        ask_about_shards(h);
}

static char *operator_name(void)
{
    char host[256] = "?";
    const char *user = getenv("USER");

    gethostname(host, sizeof(host) - 1);
    return xasprintf("%s@%s pid %d", user ? user : "?", host, (int)getpid());
}

static void on_hello(void *ctx, const json_t *result, const struct err *error)
{
    struct host_run *h = ctx;
    CLEANUP(free_ptr) char *operator= operator_name();

    (void)result;
    if (error) {
        host_failed(h, error);
        return;
    }
    link_call(h->link, "lock",
        json_pack("{s:s, s:s, s:s}", "base_dir", h->base_dir, "recovery", h->x->recovery,
            "operator", operator),
        LOCK_MS, on_lock, NULL, h);
}

static void on_lost(void *arg, const struct err *err)
{
    host_failed(arg, err);
}

static void host_connect(struct host_run *h)
{
    struct executor *x = h->x;
    const struct link_target target = {.host = h->name, .kind = h->link_kind, .spec = h->spec};
    static const struct link_events events = {on_lost};
    struct err err = ERR_INIT;

    h->state = HOST_CONNECTING;
    h->connects++;
    h->questions = 0;
    if (link_open(x->loop, &target, &events, h, &h->link, &err) < 0) {
        host_failed(h, &err);
        return;
    }
    link_call(h->link, "hello", json_pack("{s:i}", "protocol", PROTOCOL_VERSION), HELLO_MS,
        on_hello, NULL, h);
}

static void host_failed(struct host_run *h, const struct err *error)
{
    struct executor *x = h->x;
    struct link *link = h->link;
    struct err err = ERR_INIT;

    if (h->state == HOST_GONE || h->state == HOST_IDLE)
        return;
    h->error = *error;
    h->link = NULL;
    bool again = err_code_is_retried(error->code) && h->connects < CONNECTS_MAX;
    h->state = again ? HOST_IDLE : HOST_GONE;
    h->retry_at_ms = clock_mono_ms() + (500LL << h->connects);
    link_close(link); /* its open calls are answered now */
    if (h->state == HOST_GONE && give_up_host(h, &err) < 0)
        give_up(x, &err);
    loop_wake(x->loop, x->pump);
}

static void on_answer(void *ctx, const json_t *result, const struct err *error)
{
    struct task_run *t = ctx;
    struct executor *x = t->x;
    struct host_run *h = &x->hosts[t->host];
    struct err err = ERR_INIT;

    h->running_fetches -= t->kind == &task_fetch;
    h->running_loads -= t->kind == &task_load_shard;
    /* A stop by the operator is no outcome: the task stays "running" for the next run to look at.
     */
    if (error && error->code == ERR_CANCELLED) {
        task_set_state(x, t, TASK_PENDING);
        return;
    }
    if (error && error->code == ERR_LINK && h->state != HOST_GONE)
        t->attempts = 0; /* the host's connects are counted instead */
    if (!error && h->state == HOST_READY)
        h->connects = 0;
    if (journal_task_answered(x, t, result, error, &err) < 0 ||
        journal_databases_finished(x, &err) < 0)
        give_up(x, &err);
    loop_wake(x->loop, x->pump);
}

static void on_task_progress(void *ctx, const json_t *params)
{
    struct task_run *t = ctx;
    const json_t *total = json_object_get(params, "total");

    t->bytes_done = json_integer_value(json_object_get(params, "bytes"));
    if (json_integer_value(total) > 0)
        t->bytes_total = json_integer_value(total);
    loop_wake(t->x->loop, t->x->pump);
}

static bool task_is_ready(const struct executor *x, const struct task_run *t)
{
    if (t->state != TASK_PENDING || t->kind->stage > x->hooks->until)
        return false;
    const struct database_run *db = &x->databases[t->database];
    /* The other files of a refused database are still looked at: all that is bad is told at once.
     */
    if (db->refused && (t->kind->stage > STAGE_TRANSFER || x->stood_down))
        return false;
    for (size_t gate = 0; gate < (size_t)t->kind->gate; gate++)
        if (db->undone[gate] || db->unsure)
            return false;
    for (size_t i = 0; i < t->wait_count; i++) {
        const struct task_run *on = &x->tasks[t->waits_for[i]];
        if (on->state != TASK_DONE || x->shards[on->shard].unsure)
            return false;
    }
    return true;
}

static bool host_has_room(const struct host_run *h, const struct task_run *t)
{
    json_int_t cores = json_integer_value(json_object_get(h->facts, "cores"));

    if (t->kind == &task_fetch)
        return h->running_fetches < FETCHES_PER_HOST;
    if (t->kind == &task_load_shard)
        return h->running_loads < (cores > 1 ? cores : 1);
    return true;
}

static int task_start(struct executor *x, struct task_run *t, struct err *err)
{
    struct host_run *h = &x->hosts[t->host];
    json_t *params = shard_params(x, &x->shards[t->shard]);

    if (journal_task_started(x, t, err) < 0) {
        json_decref(params);
        return -1;
    }
    h->running_fetches += t->kind == &task_fetch;
    h->running_loads += t->kind == &task_load_shard;
    if (t->kind->params)
        t->kind->params(x, t, params);
    link_call(
        h->link, t->kind->method, params, t->kind->timeout_ms, on_answer, on_task_progress, t);
    return 0;
}

static void tell_progress(struct executor *x)
{
    struct recover_progress p = {.tasks_total = x->task_count};
    enum plan_stage stage = STAGE_OPEN;
    int64_t now = clock_mono_ms();

    if (!x->hooks->progress || now < x->progress_at_ms + PROGRESS_MS)
        return;
    x->progress_at_ms = now;
    for (size_t i = 0; i < x->task_count; i++) {
        const struct task_run *t = &x->tasks[i];
        p.tasks_done += t->state == TASK_DONE;
        p.tasks_failed += t->state == TASK_FAILED;
        p.tasks_running += t->state == TASK_RUNNING;
        if (t->state == TASK_RUNNING && t->kind->stage < stage)
            stage = t->kind->stage;
        if (t->kind != &task_fetch)
            continue;
        int64_t total =
            x->shards[t->shard].file_bytes > 0 ? x->shards[t->shard].file_bytes : t->bytes_total;
        p.bytes_total += total;
        p.bytes_done += t->state == TASK_DONE ? total : t->bytes_done;
    }
    p.stage = plan_stage_name(stage);
    x->hooks->progress(x->hooks->arg, &p);
}

/* True while the host is needed and not given up; connects it when it is time. */
static bool host_wanted(struct host_run *h, int64_t now, int64_t *look_again_ms)
{
    if (h->state == HOST_GONE)
        return false;
    if (h->state == HOST_IDLE && h->retry_at_ms > now)
        *look_again_ms = h->retry_at_ms < *look_again_ms ? h->retry_at_ms : *look_again_ms;
    else if (h->state == HOST_IDLE)
        host_connect(h);
    return true;
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
                 task_start(x, t, err) < 0)
            return false;
    }
    return busy;
}

static void on_stopped(void *ctx, const json_t *result, const struct err *error)
{
    struct question *q = ctx;
    struct executor *x = q->x;
    struct err err = ERR_INIT;

    (void)result;
    /* One that can't be stopped is no harm: clients can't log in, and the next run asks about it.
     */
    if (!error && journal_shard_reset(x, q->shard, "stopped: its database was refused", &err) < 0)
        give_up(x, &err);
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
        const struct task_run *started =
            task_of(x, s->is_primary ? &task_load_shard : &task_attach_replica, (int)i);
        if (!x->databases[s->database].refused || h->state != HOST_READY || !started ||
            started->state != TASK_DONE)
            continue;
        struct question *q = xmalloc(sizeof(*q));
        *q = (struct question){x, (int)i};
        x->stops_awaited++;
        link_call(h->link, "stop_shard", shard_params(x, s), STATUS_MS, on_stopped, NULL, q);
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
        give_up(x, &failure);
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

/* A database that is done is its clients' now: nothing is asked, nothing is done. */
static bool database_is_over(const struct database_run *db)
{
    return strcmp(db->state, "done") == 0 || strcmp(db->state, "skipped") == 0;
}

/*
 * What a run that resumes takes for granted: nothing. Servers that were started are asked about;
 * what led up to a server that was not started yet is done again, which is cheap where it still
 * holds.
 */
static void doubt_records(struct executor *x)
{
    for (size_t i = 0; i < x->shard_count; i++) {
        struct shard_run *s = &x->shards[i];
        if (database_is_over(&x->databases[s->database]))
            continue;
        const struct task_run *started =
            task_of(x, s->is_primary ? &task_load_shard : &task_attach_replica, (int)i);
        if (started && started->state == TASK_DONE) {
            shard_set_unsure(x, s, true);
            continue;
        }
        for (size_t k = 0; k < x->task_count; k++)
            if (x->tasks[k].shard == (int)i)
                task_set_state(x, &x->tasks[k], TASK_PENDING);
    }
}

static bool is_resumed(struct state *st)
{
    CLEANUP(free_ptr) char *started = state_meta(st, "started_ms");
    return started != NULL;
}

static int open_the_run(struct executor *x, struct err *err)
{
    bool started = is_resumed(x->st);
    CLEANUP(free_ptr) char *now = xasprintf("%lld", (long long)clock_wall_ms());
    const struct event event = {.code = started ? "recovery-resumed" : "recovery-started",
        .message = started ? "the recovery is carried on" : "the recovery begins"};

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
        ret->done += strcmp(db->state, "done") == 0;
        ret->skipped += strcmp(db->state, "skipped") == 0;
        ret->failed += strcmp(db->state, "failed") == 0;
    }
    ret->waiting = x->database_count - ret->done - ret->skipped - ret->failed;
}

static int close_the_run(struct executor *x, const struct recover_result *result, struct err *err)
{
    CLEANUP(free_ptr) char *now = xasprintf("%lld", (long long)clock_wall_ms());
    const char *state = result->failed + result->skipped + result->waiting == 0 ? "done"
                        : result->waiting                                       ? "planned"
                        : result->done                                          ? "partly"
                                                                                : "failed";
    CLEANUP(free_ptr)
    char *message = xasprintf("the run ends: %zu databases done, %zu failed, %zu left out",
        result->done, result->failed, result->skipped);
    const struct event event = {.code = "recovery-ended", .message = message};

    if (state_begin(x->st, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < x->database_count && rc == 0; i++)
        if (strcmp(x->databases[i].state, "failed") == 0)
            rc = state_run(x->st, err, "UPDATE target SET state = 'failed' WHERE database_uid = ?",
                "s", x->databases[i].uid);
    if (rc < 0 || state_set_meta(x->st, "state", state, err) < 0 ||
        state_set_meta(x->st, "ended_ms", now, err) < 0 || state_event(x->st, &event, err) < 0 ||
        state_commit(x->st, err) < 0) {
        state_rollback(x->st);
        return -1;
    }
    return 0;
}

/* The first failure that isn't just what follows from another. */
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

/* The last run was killed when all was done but the saying so. */
static bool was_cut_short(struct state *st)
{
    CLEANUP(free_ptr) char *state = state_meta(st, "state");
    return state && strcmp(state, "running") == 0;
}

static bool anything_to_do(const struct executor *x)
{
    for (size_t i = 0; i < x->database_count; i++)
        if (!database_is_over(&x->databases[i]))
            return true;
    return false;
}

static int run_tasks(struct executor *x, struct err *err)
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
        err_set(err, ERR_CANCELLED, "interrupted");
        return err_hint(err, "Carry on with: recluster recover --state %s", state_path(x->st));
    }
    return 0;
}

int recover_run(struct state *st, const struct recover_hooks *hooks, struct recover_result *ret,
    struct err *err)
{
    struct executor x = {.st = st, .hooks = hooks};
    int rc = -1;

    *ret = (struct recover_result){.first_error = ERR_INIT};
    if (journal_load(&x, err) < 0)
        goto out;
    if (!anything_to_do(&x)) {
        count_result(&x, ret);
        rc = was_cut_short(st) ? close_the_run(&x, ret, err) : 0;
        goto out;
    }
    if (is_resumed(st) && old_cluster_check_again(st, x.ccs, hooks->old_cluster_is_dead, err) < 0)
        goto out;
    doubt_records(&x);
    for (size_t i = 0; i < x.database_count; i++)
        if (!database_is_over(&x.databases[i]))
            x.databases[i].state = "running";
    /* A run may have been killed between a database's last task and its own mark. */
    if (open_the_run(&x, err) < 0 || journal_databases_finished(&x, err) < 0 ||
        run_tasks(&x, err) < 0)
        goto out;
    count_result(&x, ret);
    if (close_the_run(&x, ret, err) < 0 || find_first_error(&x, &ret->first_error, err) < 0)
        goto out;
    rc = 0;
out:
    journal_release(&x);
    return rc;
}
