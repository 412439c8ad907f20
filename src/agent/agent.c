/*
 * The serving loop. One job reads requests and writes answers. Each request that runs in a child
 * process has its own job, which forwards the messages of the child. The child speaks JSON-RPC too
 * and is trusted no more than a peer: its messages about other calls are dropped, and a crash of
 * the child affects nothing else.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/link.h"
#include "recluster/loop.h"
#include "recluster/memory_limit.h"
#include "recluster/protocol.h"
#include "recluster/relay.h"
#include "recluster/rpc.h"
#include "serve.h"

enum {
    READ_BYTES = 64 * 1024,
    READS_PER_STEP = 8,
    OUT_FULL = 4 * 1024 * 1024,       /* stops reading requests and children at that much output */
    CHILDREN_MAX = 256,               /* stops reading requests */
    UNREAD_MAX = 3 * RELAY_WINDOW,    /* for a child that does not read; peers send less */
    SILENCE_MS = 2 * LINK_SILENCE_MS, /* longer, so that the other side notices first */
};

struct agent {
    struct loop *loop;
    struct job *job; /* NULL at the end */
    const struct agent_method *const *methods;
    int in_fd, out_fd;
    struct rpc_input in;
    struct buf out;
    size_t sent; /* of out */
    struct agent_call *children;
    int child_count;
    struct err refused; /* the other side speaks another protocol: why nothing is served */
    struct err failed;  /* why serving ended, if not by the end of the input */
    bool watched;       /* the other side sends "alive": we send it too, and expect more */
    int64_t received_ms, sent_ms;
    struct host_lock lock;
};

struct agent_call {
    struct agent *agent;
    uint64_t id;
    const struct agent_method *method;
    json_t *params;
    int (*run)(struct agent_call *call, const json_t *params, json_t **ret, struct err *err);
    struct agent_channel channel; /* used in the child; elsewhere its fd is -1 */

    /* In the agent, for a call that a child serves: */
    struct agent_call *next;
    struct job *job;
    pid_t pid;
    int fd; /* of the child */
    struct rpc_input in;
    struct buf out; /* notifications for the child */
    size_t sent;    /* of out */
};

static void call_free(struct agent_call *call)
{
    rpc_input_release(&call->in);
    buf_release(&call->out);
    json_decref(call->params);
    free(call);
}

struct host_lock *agent_host_lock(struct agent_call *call)
{
    return &call->agent->lock;
}

struct agent_channel *agent_channel(struct agent_call *call)
{
    return &call->channel;
}

void agent_continue(struct agent_call *call,
    int (*fn)(struct agent_call *call, const json_t *params, json_t **ret, struct err *err))
{
    call->run = fn;
}

static bool out_is_full(const struct agent *agent)
{
    return agent->out.len - agent->sent > OUT_FULL;
}

/* Called when there is output to write, or room for more requests. */
static void wake(struct agent *agent)
{
    if (agent->job)
        loop_wake(agent->loop, agent->job);
}

static void add_error(struct buf *out, uint64_t id, const struct err *err)
{
    /* ERR_PROTOCOL from a method is about its parameters (param_string() and similar). */
    rpc_add_error(out, id, err->code == ERR_PROTOCOL ? RPC_INVALID_PARAMS : RPC_FAILED, err);
}

/* --- in the child --- */

/* A failure is ignored: if the agent is gone, nobody can receive the message. */
static void child_write(struct agent_call *call, const struct buf *lines)
{
    struct err err = ERR_INIT;
    if (file_write_all(call->channel.fd, lines->data, lines->len, "answer", &err) < 0)
        _exit(1);
}

void agent_notify(struct agent_call *call, const char *method, json_t *params)
{
    struct buf own = BUF_INIT;

    json_object_set_new(params, "id", json_integer((json_int_t)call->id));
    rpc_add_notification(call->channel.fd < 0 ? &call->agent->out : &own, method, params);
    if (own.len)
        child_write(call, &own);
    buf_release(&own);
}

void agent_progress(struct agent_call *call, json_t *params)
{
    agent_notify(call, "progress", params);
}

static int on_memory_limit(void *arg, const struct err *err)
{
    struct agent_call *call = arg;
    struct buf line = BUF_INIT;

    add_error(&line, call->id, err);
    child_write(call, &line);
    return 0;
}

static int run_in_child(void *arg, int fd)
{
    struct agent_call *call = arg;
    struct agent *agent = call->agent;
    struct err err = ERR_INIT;
    struct buf line = BUF_INIT;
    json_t *result = NULL;

    /* The lock's descriptor stays open: base_dir is locked until the last child has ended. */
    close(agent->in_fd);
    close(agent->out_fd);
    for (const struct agent_call *other = agent->children; other; other = other->next)
        close(other->fd);
    signal(SIGPIPE, SIG_IGN); /* a server that closes its socket must not end us */
    call->channel = (struct agent_channel){.fd = fd, .id = call->id, .in = RPC_INPUT_INIT};
    memory_limit_name("what '%s' reads", call->method->name);
    memory_limit_tell(on_memory_limit, call);
    if (call->run(call, call->params, &result, &err) < 0)
        add_error(&line, call->id, &err);
    else
        rpc_add_result(&line, call->id, result);
    if (line.len > RPC_LINE_MAX) {
        buf_clear(&line);
        err_set(&err, ERR_LIMIT, "the answer of '%s' is longer than %d bytes", call->method->name,
            RPC_LINE_MAX);
        add_error(&line, call->id, &err);
    }
    child_write(call, &line);
    return 0;
}

/* --- a child's job --- */

static void add_notification(struct buf *out, const struct rpc_message *notification)
{
    const struct rpc_message *m = notification;

    if (m->data_len)
        rpc_add_data(out, m->method, json_incref(m->payload), m->data, m->data_len);
    else
        rpc_add_notification(out, m->method, json_incref(m->payload));
}

/* Forwards a message of the child. True if it was the answer. */
static bool forward_message(struct agent_call *call, struct rpc_message *m)
{
    struct buf *out = &call->agent->out;
    const json_t *of = json_object_get(m->payload, "id");

    switch (m->kind) {
    case RPC_NOTIFICATION:
        if ((uint64_t)json_integer_value(of) == call->id)
            add_notification(out, m);
        return false;
    case RPC_RESULT:
        if (m->id == call->id)
            rpc_add_result(out, m->id, json_incref(m->payload));
        return m->id == call->id;
    case RPC_ERROR:
        if (m->id == call->id)
            rpc_add_error(out, m->id, m->rpc_code, &m->error);
        return m->id == call->id;
    case RPC_REQUEST:
        break;
    }
    return false;
}

/* 1: it has answered; 0: not yet; -1: it can no longer answer. */
static int forward_messages(struct agent_call *call, struct err *err)
{
    struct rpc_message m;
    int rc;

    while ((rc = rpc_take(&call->in, &m, err)) > 0) {
        bool answered = forward_message(call, &m);
        rpc_message_release(&m);
        if (answered)
            return 1;
    }
    return rc;
}

static void answer_for_dead_child(struct agent_call *call)
{
    struct err how = ERR_INIT, err = ERR_INIT;

    /* Its socket closes only when it ends, so this kills only a child that hangs. */
    kill(call->pid, SIGKILL);
    int rc = child_wait(call->pid, &how);
    call->pid = 0;
    err_set(&err, ERR_FAILED, "the process that served '%s' %s", call->method->name,
        rc < 0 ? how.message : "ended without an answer");
    err_hint(&err, "Nothing else on the host is affected. If it was reading a backup file, check "
                   "that file with `recluster verify`, or take another backup.");
    add_error(&call->agent->out, call->id, &err);
}

/* Writes the notifications for the child. If it has ended, reading from it shows that. */
static void write_to_child(struct agent_call *call, struct wait *wait)
{
    while (call->sent < call->out.len) {
        ssize_t n = write(call->fd, call->out.data + call->sent, call->out.len - call->sent);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            wait_fd(wait, call->fd, POLLOUT);
            break;
        }
        call->sent = n < 0 ? call->out.len : call->sent + (size_t)n;
    }
    if (call->sent < call->out.len / 2) /* else it is worth to move the rest */
        return;
    buf_consume(&call->out, call->sent);
    call->sent = 0;
}

static enum job_step call_step(void *arg, struct wait *wait, struct err *err)
{
    struct agent_call *call = arg;
    char chunk[READ_BYTES];

    write_to_child(call, wait);
    for (int i = 0; i < READS_PER_STEP; i++) {
        if (out_is_full(call->agent)) { /* woken when there is room again */
            wait_until(wait, clock_mono_ms() + WAIT_MAX_MS);
            return JOB_WAIT;
        }
        ssize_t n = read(call->fd, chunk, sizeof(chunk));
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            wait_fd(wait, call->fd, POLLIN);
            return JOB_WAIT;
        }
        if (n <= 0) {
            answer_for_dead_child(call);
            return JOB_DONE;
        }
        buf_add(&call->in.buf, chunk, (size_t)n);
        int rc = forward_messages(call, err);
        if (rc < 0) {
            err_wrap(err, "the process that served '%s' failed", call->method->name);
            rpc_add_error(&call->agent->out, call->id, RPC_FAILED, err);
        }
        if (rc != 0)
            return JOB_DONE;
        wake(call->agent);
    }
    return JOB_AGAIN;
}

static void call_done(void *arg, const struct err *err)
{
    struct agent_call *call = arg;
    struct agent_call **at = &call->agent->children;

    (void)err;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    call->agent->child_count--;
    close(call->fd);
    if (call->pid) /* it has sent its answer, or is no longer needed */
        child_kill(call->pid);
    wake(call->agent);
    call_free(call);
}

static const struct job_ops call_ops = {"call", call_step, call_done};

/* --- the agent's job --- */

/* Takes over the call. */
static void start_child(struct agent_call *call)
{
    struct agent *agent = call->agent;
    struct err err = ERR_INIT;

    if (child_fork(run_in_child, call, &call->pid, &call->fd, &err) < 0) {
        err_wrap(&err, "cannot serve '%s'", call->method->name);
        add_error(&agent->out, call->id, &err);
        call_free(call);
        return;
    }
    call->next = agent->children;
    agent->children = call;
    agent->child_count++;
    call->job = loop_add(agent->loop, &call_ops, call);
}

/* Takes over the call. */
static void run_here(struct agent_call *call)
{
    struct agent *agent = call->agent;
    struct err err = ERR_INIT;
    json_t *result = NULL;

    call->run = NULL;
    int rc = call->method->run(call, call->params, &result, &err);
    if (rc == 0 && call->run) {
        start_child(call);
        return;
    }
    if (rc == 0) {
        rpc_add_result(&agent->out, call->id, result);
    } else {
        add_error(&agent->out, call->id, &err);
        if (call->method == &agent_hello && err.code == ERR_UNSUPPORTED)
            agent->refused = err;
    }
    call_free(call);
}

static void serve(struct agent *agent, const struct rpc_message *m)
{
    const struct agent_method *const *method = agent->methods;
    struct err err = ERR_INIT;

    while (*method && strcmp((*method)->name, m->method) != 0)
        method++;
    if (*method == &agent_hello)
        agent->refused.code = ERR_NONE;
    if (agent->refused.code != ERR_NONE) {
        add_error(&agent->out, m->id, &agent->refused);
    } else if (!*method) {
        err_set(&err, ERR_UNSUPPORTED, "unknown method '%s'", m->method);
        rpc_add_error(&agent->out, m->id, RPC_METHOD_NOT_FOUND, &err);
    } else if (json_is_array(m->payload)) {
        err_set(&err, ERR_PROTOCOL, "the parameters of '%s' are not an object", m->method);
        add_error(&agent->out, m->id, &err);
    } else {
        struct agent_call *call = xcalloc(1, sizeof(*call));
        *call = (struct agent_call){
            .agent = agent,
            .id = m->id,
            .method = *method,
            .params = m->payload ? json_incref(m->payload) : json_object(),
            .run = (*method)->run,
            .channel.fd = -1,
            .fd = -1,
            .in = RPC_INPUT_INIT,
            .out = BUF_INIT,
        };
        if ((*method)->in_agent)
            run_here(call);
        else
            start_child(call);
    }
}

static bool takes_requests(const struct agent *agent)
{
    return agent->failed.code == ERR_NONE && !out_is_full(agent) &&
           agent->child_count < CHILDREN_MAX;
}

/* A notification, for the link or for the child that serves the named call. */
static void forward_notification(struct agent *agent, const struct rpc_message *m)
{
    const json_t *id = json_object_get(m->payload, "id");
    struct agent_call *call = agent->children;

    if (strcmp(m->method, "alive") == 0)
        agent->watched = true;
    while (call && call->id != (uint64_t)json_integer_value(id))
        call = call->next;
    if (!call || !json_is_integer(id)) /* it may just have ended */
        return;
    if (call->out.len - call->sent > UNREAD_MAX) {
        err_set(&agent->failed, ERR_PROTOCOL, "more bytes arrived than were requested");
        return;
    }
    add_notification(&call->out, m);
    loop_wake(agent->loop, call->job);
}

static void serve_lines(struct agent *agent)
{
    while (takes_requests(agent)) {
        struct rpc_message m;
        int rc = rpc_take(&agent->in, &m, &agent->failed);
        if (rc == 0)
            return;
        if (rc > 0 && m.kind == RPC_REQUEST)
            serve(agent, &m);
        if (rc > 0 && m.kind == RPC_NOTIFICATION)
            forward_notification(agent, &m);
        if (rc > 0 && (m.kind == RPC_RESULT || m.kind == RPC_ERROR))
            err_set(&agent->failed, ERR_PROTOCOL, "an answer came where requests are expected");
        if (rc > 0)
            rpc_message_release(&m);
        if (agent->failed.code != ERR_NONE)
            rpc_add_error(&agent->out, 0, RPC_PARSE_ERROR, &agent->failed);
    }
}

/* False if the link has ended. */
static bool write_out(struct agent *agent)
{
    bool was_full = out_is_full(agent);

    while (agent->sent < agent->out.len) {
        ssize_t n =
            write(agent->out_fd, agent->out.data + agent->sent, agent->out.len - agent->sent);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n < 0)
            break;
        agent->sent += (size_t)n;
    }
    if (was_full && !out_is_full(agent))
        for (const struct agent_call *call = agent->children; call; call = call->next)
            loop_wake(agent->loop, call->job);
    if (agent->sent < agent->out.len / 2) /* else it is worth to move the rest */
        return true;
    buf_consume(&agent->out, agent->sent);
    agent->sent = 0;
    return true;
}

/* Reads once and serves all complete requests. 1: some bytes; 0: none now; -1: the end. */
static int read_in(struct agent *agent)
{
    char chunk[READ_BYTES];
    ssize_t n = read(agent->in_fd, chunk, sizeof(chunk));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    agent->received_ms = clock_mono_ms();
    buf_add(&agent->in.buf, chunk, (size_t)n);
    serve_lines(agent);
    return 1;
}

/*
 * If the network is cut, neither side gets an error. Without this check the agent of an operator
 * who vanished would hold the lock until TCP gives up, hours later. False: the link is lost.
 */
static bool keep_alive(struct agent *agent, struct wait *wait)
{
    int64_t now = clock_mono_ms(), silent_at = agent->received_ms + SILENCE_MS;

    if (!agent->watched || !takes_requests(agent))
        return true;
    if (now >= silent_at)
        return false;
    if (now >= agent->sent_ms + LINK_ALIVE_MS) {
        if (!agent->out.len)
            rpc_add_notification(&agent->out, "alive", NULL);
        agent->sent_ms = now;
    }
    wait_until(wait, silent_at);
    wait_until(wait, agent->sent_ms + LINK_ALIVE_MS);
    return true;
}

static enum job_step agent_step(void *arg, struct wait *wait, struct err *err)
{
    struct agent *agent = arg;
    bool hung_up = wait_revents(wait, agent->in_fd) & (POLLHUP | POLLERR);
    int got = 0;

    (void)err;
    if (!write_out(agent))
        return JOB_DONE;
    if (takes_requests(agent)) {
        if (agent->in.buf.len)
            serve_lines(agent); /* requests that had to wait because too much was running */
        for (int i = 0; i < READS_PER_STEP && takes_requests(agent); i++)
            if ((got = read_in(agent)) <= 0)
                break;
    } else if (hung_up) {
        got = -1; /* nobody waits for the remaining output */
    }
    if (got < 0 || !keep_alive(agent, wait) || !write_out(agent) || agent->failed.code != ERR_NONE)
        return JOB_DONE;
    if (got > 0)
        return JOB_AGAIN;
    wait_fd(wait, agent->in_fd, takes_requests(agent) ? POLLIN : 0);
    if (agent->out.len)
        wait_fd(wait, agent->out_fd, POLLOUT);
    return JOB_WAIT;
}

static void agent_done(void *arg, const struct err *err)
{
    struct agent *agent = arg;

    (void)err;
    agent->job = NULL;
    while (agent->children)
        loop_cancel(agent->loop, agent->children->job);
}

/* A copy of fd above the standard descriptors, which programs and libraries may use. */
static int take_fd(int fd, int *ret_flags, struct err *err)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    int flags = own < 0 ? -1 : fcntl(own, F_GETFL);

    if (flags < 0 || fcntl(own, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_sys(err, ERR_IO, "cannot use descriptor %d", fd);
    *ret_flags = flags;
    if (fd > STDERR_FILENO)
        return own;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, fd) < 0)
        return err_sys(err, ERR_IO, "cannot open '/dev/null'");
    close(null_fd);
    return own;
}

/* The variables that servers and systemctl may need. They must not see the operator's logins. */
static const char *const kept_environment[] = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_*",
    "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS", "MALLOC_CONF",
    "JE_MALLOC_CONF", NULL};

int agent_serve_methods(
    const struct agent_method *const *methods, int in_fd, int out_fd, struct err *err)
{
    static const struct job_ops agent_ops = {"agent", agent_step, agent_done};
    struct agent agent = {
        .methods = methods,
        .in = RPC_INPUT_INIT,
        .out = BUF_INIT,
        .lock = {.fd = -1},
    };
    int in_flags, out_flags;

    child_restrict(&(struct child_rights){.environment = kept_environment});
    agent.in_fd = take_fd(in_fd, &in_flags, err);
    if (agent.in_fd < 0)
        return -1;
    agent.out_fd = take_fd(out_fd, &out_flags, err);
    if (agent.out_fd < 0) {
        close(agent.in_fd);
        return -1;
    }
    signal(SIGINT, SIG_IGN);
    agent.loop = loop_new();
    agent.job = loop_add(agent.loop, &agent_ops, &agent);
    int rc = loop_run(agent.loop, err);
    loop_free(agent.loop);
    if (rc == 0 && agent.failed.code != ERR_NONE) {
        *err = agent.failed;
        rc = -1;
    }
    fcntl(agent.in_fd, F_SETFL, in_flags);
    fcntl(agent.out_fd, F_SETFL, out_flags);
    close(agent.in_fd);
    close(agent.out_fd);
    if (agent.lock.fd >= 0)
        close(agent.lock.fd);
    rpc_input_release(&agent.in);
    buf_release(&agent.out);
    return rc;
}
