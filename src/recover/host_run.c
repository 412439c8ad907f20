#include "host_run.h"

#include <stdlib.h>

#include "journal.h"
#include "moved.h"
#include "ready.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/shell_quote.h"
#include "shard_params.h"

enum {
    STATUS_MS = 60 * 1000,
    REMOVE_MS = 60 * 1000,
    PREPARE_MS = 60 * 60 * 1000,
    BACKOFF_MS = 1000,
    BACKOFF_MAX_MS = 8 * 1000,
};

static void host_failed(struct host_run *h, const struct err *error);

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

static void add_hint(const struct executor *x, struct err *error)
{
    AUTO_FREE char *hint = xstrdup(error->hint);
    AUTO_FREE char *state = shell_word(state_path(x->st));

    err_hint(error,
        "%s%sIf it stays unreachable, its shards can go to other hosts: recluster recover --state %s "
        "--replan-lost",
        hint, *hint ? " " : "", state);
}

/* In each database one failed task has the reason; the tasks that wait for it stay pending. */
static int give_up_host(struct host_run *h, struct err *err)
{
    struct executor *x = h->x;
    struct err error = h->error;
    const struct event event = {.severity = "error", .code = "host-lost", .host = h->name};

    if (h->lost && !x->hooks->replan_lost)
        add_hint(x, &error);
    if (journal_take_answers(x, err) < 0 ||
        state_tell(x->st, &event, err, "host '%s' is given up: %s", h->name, h->error.message) < 0)
        return -1;
    for (size_t d = 0; d < x->database_count; d++) {
        struct task_run *t = pending_task(x, h, d);
        if (t && journal_task_failed(x, t, &error, err) < 0)
            return -1;
        if (!t && is_unsure_about(x, h, d))
            x->databases[d].state = DATABASE_FAILED;
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

    /* If the link is lost, the call is repeated when the host is back. */
    bool answered = !error || (error->code != ERR_LINK && error->code != ERR_CANCELLED);
    shard_set_unsure(x, s, !answered);
    if (answered && (error || !json_flag(result, "running")) &&
        journal_shard_reset(x, q->shard, error ? error->message : "its server does not run", &err) <
            0)
        journal_lost(x, &err);
    free(q);
    h->questions--;
    if (h->state == HOST_CONNECTING)
        host_is_asked(h);
}

struct leftover {
    struct executor *x;
    struct moved_run *moved;
};

static void on_leftover(void *ctx, const json_t *result, const struct err *error)
{
    struct leftover *q = ctx;
    struct executor *x = q->x;
    struct host_run *h = &x->hosts[q->moved->host];
    struct err err = ERR_INIT;
    bool answered = !error || (error->code != ERR_LINK && error->code != ERR_CANCELLED);

    (void)result;
    if (answered &&
        (error ? moved_is_kept(x, q->moved, error, &err) : moved_is_removed(x, q->moved, &err)) < 0)
        journal_lost(x, &err);
    free(q);
    h->questions--;
    if (h->state == HOST_CONNECTING)
        host_is_asked(h);
}

/* New shards on the host need the memory and ports of the old ones. */
static void remove_leftovers(struct host_run *h)
{
    struct moved_run *moved;
    size_t next = 0;

    while ((moved = moved_left_on(h->x, h, &next))) {
        struct leftover *q = xmalloc(sizeof(*q));
        *q = (struct leftover){h->x, moved};
        h->questions++;
        link_call(
            h->link, "remove_shard", moved_params(h->x, moved), REMOVE_MS, on_leftover, NULL, q);
    }
}

static void ask_about_shards(struct host_run *h)
{
    struct executor *x = h->x;

    remove_leftovers(h);

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

static void on_prepared(void *ctx, const json_t *result, const struct err *error)
{
    struct host_run *h = ctx;
    const struct event event = {.code = "host-prepared",
        .host = h->name,
        .stage = "prepare",
        .detail = json_object_get(result, "done")};
    struct err err = ERR_INIT;

    if (error) {
        host_failed(h, error);
        return;
    }
    if (!json_flag(result, "already") &&
        state_tell(
            h->x->st, &event, &err, "host '%s': its \"prepare\" commands were run", h->name) < 0)
        journal_lost(h->x, &err);
    ask_about_shards(h);
}

/* A host that only has files for others is not locked. */
static bool is_only_read(const struct host_run *h)
{
    size_t next = 0;

    for (size_t i = 0; i < h->x->task_count; i++)
        if (&h->x->hosts[h->x->tasks[i].host] == h)
            return false;
    return !moved_left_on(h->x, h, &next);
}

static void on_ready(void *arg)
{
    struct host_run *h = arg;
    json_t *commands = json_object_get(h->spec, "prepare");

    if (is_only_read(h))
        host_is_asked(h);
    else if (commands)
        link_call(h->link, "prepare_host",
            json_pack("{s:s, s:s, s:O}", "base_dir", h->base_dir, "recovery", h->x->recovery,
                "commands", commands),
            PREPARE_MS, on_prepared, NULL, h);
    else
        ask_about_shards(h);
}

static void on_failed(void *arg, const struct err *err)
{
    host_failed(arg, err);
}

static void host_connect(struct host_run *h)
{
    struct executor *x = h->x;
    const struct host_opening opening = {
        .target = {.host = h->name, .kind = h->link_kind, .spec = h->spec},
        .base_dir = h->base_dir,
        .recovery = is_only_read(h) ? NULL : x->recovery,
        .ready = on_ready,
        .failed = on_failed,
        .arg = h,
    };
    struct err err = ERR_INIT;

    h->state = HOST_CONNECTING;
    h->connects++;
    h->questions = 0;
    if (host_link_open(&x->links, x->loop, &opening, &h->link, &err) < 0)
        host_failed(h, &err);
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
    int64_t now = clock_mono_ms(), backoff_ms = BACKOFF_MS;
    for (int i = 1; i < h->connects && backoff_ms < BACKOFF_MAX_MS; i++)
        backoff_ms *= 2;
    if (!h->failing_since_ms)
        h->failing_since_ms = now;
    bool again = err_code_is_retried(error->code) &&
                 now + backoff_ms < h->failing_since_ms + h->x->hooks->patience_ms;
    h->state = again ? HOST_IDLE : HOST_GONE;
    h->lost = !again && err_code_is_retried(error->code);
    h->retry_at_ms = now + backoff_ms;
    link_close(link); /* its open calls are answered now */
    if (h->state == HOST_GONE && give_up_host(h, &err) < 0)
        journal_lost(x, &err);
    loop_wake(x->loop, x->pump);
}

bool host_wanted(struct host_run *h, int64_t *look_again_ms)
{
    if (h->state == HOST_GONE)
        return false;
    if (h->state == HOST_IDLE && h->retry_at_ms > clock_mono_ms())
        *look_again_ms = h->retry_at_ms < *look_again_ms ? h->retry_at_ms : *look_again_ms;
    else if (h->state == HOST_IDLE)
        host_connect(h);
    return true;
}
