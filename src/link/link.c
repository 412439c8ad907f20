#include "recluster/link.h"
#include "recluster/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/human.h"
#include "recluster/rpc.h"
#include "recluster/secret.h"

enum {
    READ_BYTES = 64 * 1024,
    READS_PER_STEP = 8, /* then other jobs get their turn */
    END_WAIT_MS =
        2000, /* for an agent that closed its output to end, so that its status is known */
    END_POLL_MS = 20,
};

struct call {
    struct call *next;
    uint64_t id;
    char *method;
    int64_t timeout_ms, deadline_ms;
    link_answer on_answer;
    link_progress on_progress;
    void *ctx;
    struct link_listener listener;
    bool too_long; /* was never sent */
};

struct link {
    struct loop *loop;
    struct job *job; /* lives until the link is closed */
    const struct link_driver *driver;
    void *stream; /* NULL once it is lost */
    char *host;
    struct link_events events;
    void *arg;
    enum { LINK_CONNECTING, LINK_OPEN, LINK_ENDING, LINK_LOST } state;
    int64_t ending_until_ms;
    int64_t received_ms, sent_ms, silence_ms; /* when the last bytes were received and sent */
    struct err lost;                          /* why */
    struct rpc_input in;
    struct buf out;
    size_t sent;        /* of out */
    struct call *calls; /* by id */
    uint64_t last_id;
    bool busy;   /* a callback of ours is running: do not free */
    bool closed; /* by link_close() */
    bool traced;
};

/* Removes the call *at from the list and tells its owner. */
static void end_call(struct call **at, const json_t *result, const struct err *err)
{
    struct call *call = *at;

    *at = call->next;
    call->on_answer(call->ctx, result, err);
    free(call->method);
    free(call);
}

/* Ends the calls that are open now, not those that an on_answer adds, so that the loop ends. */
static void end_calls(struct link *link, const struct err *err)
{
    uint64_t last_id = link->last_id;
    while (link->calls && link->calls->id <= last_id)
        end_call(&link->calls, NULL, err);
}

static struct call **find_call(struct link *link, uint64_t id)
{
    struct call **at = &link->calls;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void lose(struct link *link, const struct err *why)
{
    bool was_open = link->state != LINK_CONNECTING;
    bool passes = was_open || err_code_is_retried(why->code);

    link->driver->close(link->stream);
    link->stream = NULL;
    link->state = LINK_LOST;
    err_set(&link->lost, passes ? ERR_LINK : why->code,
        was_open ? "lost the link to host '%s': %s" : "cannot reach host '%s': %s", link->host,
        why->message);
    if (why->hint[0])
        err_hint(&link->lost, "%s", why->hint);
    end_calls(link, &link->lost);
    if (!link->closed && link->events.lost)
        link->events.lost(link->arg, &link->lost);
}

/* If RECLUSTER_TRACE is set: prints each message on standard error. */
static void trace(const struct link *link, const char *way, const char *what, const json_t *payload)
{
    if (!link->traced)
        return;
    json_t *masked = payload ? secret_mask_json(payload) : NULL;
    char *text = masked ? json_dumps(masked, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    fprintf(stderr, "%s %s %s %s\n", link->host, way, what, text ? text : "");
    free(text);
    json_decref(masked);
}

static void begin_end(struct link *link)
{
    link->state = LINK_ENDING;
    link->ending_until_ms = clock_mono_ms() + END_WAIT_MS;
}

static void try_end(struct link *link)
{
    struct err why = ERR_INIT;

    if (link->driver->end(link->stream, &why) == LINK_IO_WAIT) {
        if (clock_mono_ms() < link->ending_until_ms)
            return;
        err_set(&why, ERR_LINK, "the agent closed the link");
    }
    lose(link, &why);
}

static void try_connect(struct link *link)
{
    struct err err = ERR_INIT;
    int rc = link->driver->connect ? link->driver->connect(link->stream, &err) : 0;

    if (rc == 0) {
        int64_t now = clock_mono_ms();
        link->state = LINK_OPEN;
        link->received_ms = now;
        link->sent_ms = now - LINK_ALIVE_MS; /* the agent expects it from the beginning */
        for (struct call *call = link->calls; call; call = call->next)
            call->deadline_ms = now + call->timeout_ms;
    } else if (rc != LINK_IO_WAIT) {
        lose(link, &err);
    }
}

/*
 * After reading: sends "alive", and fails the link if the agent was silent too long: a cut network
 * tells neither side. Returns the time of the next look; *more: now.
 */
static int64_t keep_alive(struct link *link, bool *more)
{
    int64_t now = clock_mono_ms(), silent_at = link->received_ms + link->silence_ms;
    struct err why = ERR_INIT;
    char text[HUMAN_TEXT_MAX];

    if (now >= silent_at) {
        err_set(&why, ERR_LINK, "no message came from it for %s",
            human_duration(link->silence_ms, text));
        lose(link, &why);
        return now;
    }
    if (now >= link->sent_ms + LINK_ALIVE_MS) {
        rpc_add_notification(&link->out, "alive", NULL);
        *more = true;
        link->sent_ms = now;
    }
    return link->sent_ms + LINK_ALIVE_MS < silent_at ? link->sent_ms + LINK_ALIVE_MS : silent_at;
}

size_t link_backlog(const struct link *link)
{
    return link->out.len - link->sent;
}

static void report_room(const struct link *link)
{
    for (const struct call *call = link->calls; call; call = call->next)
        if (call->listener.room)
            call->listener.room(call->listener.ctx);
}

static void write_out(struct link *link)
{
    struct err err = ERR_INIT;
    bool was_full = link_backlog(link) >= LINK_BACKLOG;

    while (link->sent < link->out.len) {
        ssize_t n = link->driver->write(
            link->stream, link->out.data + link->sent, link->out.len - link->sent, &err);
        if (n == LINK_IO_WAIT)
            break;
        if (n < 0) { /* the agent's status says more than a broken pipe */
            begin_end(link);
            return;
        }
        link->sent += (size_t)n;
    }
    if (was_full && link_backlog(link) < LINK_BACKLOG)
        report_room(link);
    if (link->sent < link->out.len / 2) /* otherwise moving the rest is worth it */
        return;
    buf_consume(&link->out, link->sent);
    link->sent = 0;
}

/* -1: the message is invalid, and the link cannot be used any more. */
static int handle(struct link *link, const struct rpc_message *m, struct err *err)
{
    uint64_t id = m->id;
    const struct call *asked = m->kind == RPC_NOTIFICATION ? NULL : *find_call(link, id);

    trace(link, "<",
        m->kind == RPC_ERROR ? m->error.message
        : asked              ? asked->method
        : m->method          ? m->method
                             : "?",
        m->payload);
    if (m->kind == RPC_REQUEST)
        return err_set(err, ERR_PROTOCOL, "the agent asks for '%s'", m->method);
    if (m->kind == RPC_ERROR && id == 0) {
        *err = m->error;
        return -1;
    }
    if (m->kind == RPC_NOTIFICATION) {
        json_int_t of = json_int(m->payload, "id", 0);
        const struct call *call = *find_call(link, of > 0 ? (uint64_t)of : 0);
        if (!call)
            return 0;
        if (call->on_progress && strcmp(m->method, "progress") == 0)
            call->on_progress(call->ctx, m->payload);
        else if (call->listener.notice)
            call->listener.notice(call->listener.ctx, m);
        return 0;
    }
    if (id > link->last_id)
        return err_set(err, ERR_PROTOCOL, "the agent answers a call that was never made");
    struct call **at = find_call(link, id);
    if (*at) { /* else the call has already ended */
        end_call(at, m->payload, m->kind == RPC_ERROR ? &m->error : NULL);
    }
    return 0;
}

static void handle_lines(struct link *link)
{
    while (link->state == LINK_OPEN && !link->closed) {
        struct err err = ERR_INIT;
        struct rpc_message m;
        int rc = rpc_take(&link->in, &m, &err);
        if (rc == 0)
            return;
        if (rc > 0) {
            rc = handle(link, &m, &err);
            rpc_message_release(&m);
        }
        if (rc < 0 && !link->closed)
            lose(link, &err);
    }
}

/* True if there may be more to read. */
static bool read_in(struct link *link)
{
    char chunk[READ_BYTES];

    for (int i = 0; i < READS_PER_STEP; i++) {
        struct err err = ERR_INIT;
        ssize_t n = link->driver->read(link->stream, chunk, sizeof(chunk), &err);
        if (n == LINK_IO_WAIT)
            return false;
        if (n < 0) {
            lose(link, &err);
            return false;
        }
        if (n == 0) {
            begin_end(link);
            return false;
        }
        link->received_ms = clock_mono_ms();
        buf_add(&link->in.buf, chunk, (size_t)n);
        handle_lines(link);
        if (link->state != LINK_OPEN || link->closed)
            return false;
    }
    return true;
}

/* Ends calls that have timed out; returns the next deadline. While connecting, none times out. */
static int64_t expire_calls(struct link *link)
{
    uint64_t last_id = link->last_id;
    int64_t next_ms = clock_mono_ms() + WAIT_MAX_MS;

    for (struct call **at = &link->calls; *at && (*at)->id <= last_id;) {
        const struct call *call = *at;
        struct err err = ERR_INIT;
        char text[HUMAN_TEXT_MAX];
        if (call->too_long) {
            err_set(&err, ERR_LIMIT, "the parameters of '%s' are longer than %d bytes",
                call->method, RPC_LINE_MAX);
        } else if (link->state != LINK_CONNECTING && call->deadline_ms <= clock_mono_ms()) {
            err_set(&err, ERR_TIMEOUT, "host '%s' did not answer '%s' within %s", link->host,
                call->method, human_duration(call->timeout_ms, text));
        } else {
            if (link->state != LINK_CONNECTING && call->deadline_ms < next_ms)
                next_ms = call->deadline_ms;
            at = &(*at)->next;
            continue;
        }
        end_call(at, NULL, &err);
        if (link->closed)
            break;
    }
    return next_ms;
}

static enum job_step turn(struct link *link, struct wait *wait)
{
    bool more = false;
    int64_t alive_ms = INT64_MAX;

    if (link->state == LINK_CONNECTING)
        try_connect(link);
    if (link->state == LINK_OPEN)
        write_out(link); /* before reading, which may consume what poll(2) would report */
    if (link->state == LINK_OPEN)
        more = read_in(link);
    if (link->state == LINK_OPEN && !link->closed)
        alive_ms = keep_alive(link, &more);
    if (link->state == LINK_ENDING && !link->closed)
        try_end(link);
    if (link->state == LINK_LOST && !link->closed)
        end_calls(link, &link->lost);
    if (link->closed)
        return JOB_DONE;
    int64_t next_ms = expire_calls(link);
    if (link->closed)
        return JOB_DONE;
    if (more)
        return JOB_AGAIN;
    wait_until(wait, next_ms < alive_ms ? next_ms : alive_ms);
    if (link->state == LINK_CONNECTING || link->state == LINK_OPEN)
        link->driver->wait(link->stream, link->sent < link->out.len, wait);
    else if (link->state == LINK_ENDING)
        wait_until(wait, clock_mono_ms() + END_POLL_MS);
    return JOB_WAIT;
}

static enum job_step link_step(void *arg, struct wait *wait, struct err *err)
{
    struct link *link = arg;

    (void)err;
    link->busy = true;
    enum job_step step = turn(link, wait);
    link->busy = false;
    return step;
}

static void link_free(struct link *link)
{
    rpc_input_release(&link->in);
    buf_release(&link->out);
    free(link->host);
    free(link);
}

static void link_done(void *arg, const struct err *err)
{
    struct link *link = arg;

    link->job = NULL;
    if (!link->closed) { /* the loop was freed first */
        link->busy = true;
        end_calls(link, err);
        link->busy = false;
    }
    if (link->closed)
        link_free(link);
}

static const struct job_ops link_ops = {"link", link_step, link_done};

static const struct link_driver *find_driver(const char *kind)
{
    static const struct link_driver *const drivers[] = {&link_local, &link_ssh, &link_command};

    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
        if (strcmp(drivers[i]->kind, kind) == 0)
            return drivers[i];
    return NULL;
}

int link_open(struct loop *loop, const struct link_target *target, const struct link_events *events,
    void *arg, struct link **ret, struct err *err)
{
    const struct link_driver *driver = find_driver(target->kind);
    void *stream;

    if (!driver) {
        err_set(err, ERR_UNSUPPORTED,
            "cannot reach host '%s': links of the kind '%s' are not supported", target->host,
            target->kind);
        return err_hint(err, "The links are local, ssh and command.");
    }
    if (driver->open(target, &stream, err) < 0)
        return err_wrap(err, "cannot reach host '%s'", target->host);
    struct link *link = xcalloc(1, sizeof(*link));
    *link = (struct link){
        .loop = loop,
        .driver = driver,
        .stream = stream,
        .host = xstrdup(target->host),
        .silence_ms = target->silence_ms ? target->silence_ms : LINK_SILENCE_MS,
        .traced = getenv("RECLUSTER_TRACE") != NULL,
        .arg = arg,
        .in = RPC_INPUT_INIT,
        .out = BUF_INIT,
    };
    if (events)
        link->events = *events;
    link->job = loop_add(loop, &link_ops, link);
    *ret = link;
    return 0;
}

static void send_request(struct link *link, struct call *call, json_t *params)
{
    size_t before = link->out.len;

    trace(link, ">", call->method, params);
    rpc_add_request(&link->out, call->id, call->method, params);
    if (link->out.len - before <= RPC_LINE_MAX)
        return;
    link->out.len = before;
    link->out.data[before] = '\0';
    call->too_long = true;
}

uint64_t link_call(struct link *link, const char *method, json_t *params, int64_t timeout_ms,
    link_answer on_answer, link_progress on_progress, void *ctx)
{
    struct call *call = xcalloc(1, sizeof(*call));
    *call = (struct call){
        .id = ++link->last_id,
        .method = xstrdup(method),
        .timeout_ms = timeout_ms,
        .deadline_ms = clock_mono_ms() + timeout_ms,
        .on_answer = on_answer,
        .on_progress = on_progress,
        .ctx = ctx,
    };
    struct call **end = &link->calls;
    while (*end)
        end = &(*end)->next;
    *end = call;
    if (link->state == LINK_ENDING || link->state == LINK_LOST)
        json_decref(params);
    else
        send_request(link, call, params);
    if (link->job)
        loop_wake(link->loop, link->job);
    return call->id;
}

void link_listen(struct link *link, uint64_t call, const struct link_listener *listener)
{
    struct call *found = *find_call(link, call);
    if (found)
        found->listener = *listener;
}

void link_tell(
    struct link *link, const char *method, json_t *params, const void *data, size_t data_len)
{
    if (link->state == LINK_ENDING || link->state == LINK_LOST) {
        json_decref(params);
        return;
    }
    trace(link, ">", method, params);
    if (data_len)
        rpc_add_data(&link->out, method, params, data, data_len);
    else
        rpc_add_notification(&link->out, method, params);
    if (link->job)
        loop_wake(link->loop, link->job);
}

void link_close(struct link *link)
{
    struct err err = ERR_INIT;

    if (!link || link->closed)
        return;
    link->closed = true;
    if (link->stream)
        link->driver->close(link->stream);
    link->stream = NULL;
    link->state = LINK_LOST;
    bool was_busy = link->busy;
    link->busy = true;
    err_set(&err, ERR_CANCELLED, "the link to host '%s' was closed", link->host);
    while (link->calls)
        end_calls(link, &err);
    link->busy = was_busy;
    if (link->busy) /* the running step or `done` frees it */
        return;
    if (link->job)
        loop_cancel(link->loop, link->job);
    else
        link_free(link);
}
