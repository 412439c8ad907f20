#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/memory_limit.h"
#include "recluster/relay.h"
#include "recluster/store.h"

enum {
    READ_BYTES = 64 * 1024,
    READS_PER_STEP = 8,
    READ_FILE_MS = 23 * 3600 * 1000, /* only a bound for the whole, as for a fetch */
};

struct relay {
    struct executor *x;
    struct link *to;
    uint64_t call;
    json_t *files;
    struct reader *reader; /* NULL: no read is running */
};

/* One read, by a process of ours or by the agent of another host. */
struct reader {
    struct relay *relay; /* NULL: cancelled */
    const json_t *file;
    const char *name;
    json_int_t stream, offset, length;
    bool ended; /* that was told */

    struct job *job;
    pid_t pid;
    int fd;
    struct rpc_input in;
    struct buf out;

    struct link *from; /* NULL: a process of ours */
    uint64_t from_call;
};

bool relay_is_needed(const json_t *files)
{
    const json_t *file;
    size_t i;

    json_array_foreach (files, i, file)
        if (json_object_get(file, "relay"))
            return true;
    return false;
}

json_t *relay_label(const json_t *location)
{
    struct err ignored = ERR_INIT;
    struct store *store = store_open(location, &ignored);
    json_t *label = json_string(store ? store_label(store) : "?");

    store_close(store);
    return label;
}

static void tell_end(struct reader *r, const struct err *error)
{
    if (!r->ended)
        link_tell(
            r->relay->to, "end", relay_end_params(r->relay->call, r->stream, error, 0), NULL, 0);
    r->ended = true;
}

static void forward_message(struct reader *r, const struct rpc_message *m)
{
    bool end = strcmp(m->method, "end") == 0;

    if (!end && strcmp(m->method, "begin") != 0 && strcmp(m->method, "data") != 0)
        return;
    json_t *params = json_copy(m->payload);
    json_object_set_new(params, "id", json_integer((json_int_t)r->relay->call));
    json_object_set_new(params, "stream", json_integer(r->stream));
    link_tell(r->relay->to, m->method, params, m->data, m->data_len);
    r->ended |= end;
}

static void reader_free(struct reader *r)
{
    if (r->relay && r->relay->reader == r)
        r->relay->reader = NULL;
    rpc_input_release(&r->in);
    buf_release(&r->out);
    free(r);
}

/* --- a process of ours --- */

/* Must not keep the links of the parent open. */
static void close_all_but(int fd)
{
    if (fd > STDERR_FILENO + 1)
        close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0U, 0);
}

static int read_in_child(void *arg, int fd)
{
    struct reader *r = arg;
    const json_t *location = json_object_get(json_object_get(r->file, "from"), "location");
    const struct relay_read read = {.id = r->relay->call,
        .stream = r->stream,
        .name = r->name,
        .offset = r->offset,
        .length = r->length};
    struct rpc_input in = RPC_INPUT_INIT;
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    json_t *below = NULL;

    close_all_but(fd);
    memory_limit_name("'%s', which is read for a host,", r->name);
    relay_tell_memory_limit(fd, &read);
    if (json_object_get(r->file, "parts"))
        below = store_location_below(location, json_text(r->file, "name", NULL));
    struct store *store = store_open(below ? below : location, &err);
    int rc = store ? relay_send(fd, &in, &read, store, &err) : -1;
    rpc_add_notification(&out, "end",
        relay_end_params(
            read.id, read.stream, rc < 0 ? &err : NULL, store ? store_retry_after_ms(store) : 0));
    return file_write_all(fd, out.data, out.len, "relay", &err) < 0;
}

static void write_to_child(struct reader *r, struct wait *wait)
{
    while (r->out.len) {
        ssize_t n = write(r->fd, r->out.data, r->out.len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            wait_fd(wait, r->fd, POLLOUT);
            return;
        }
        buf_consume(&r->out, n < 0 ? r->out.len : (size_t)n); /* reading shows that it has ended */
    }
}

static int forward_messages(struct reader *r, struct err *err)
{
    struct rpc_message m;
    int rc;

    while ((rc = rpc_take(&r->in, &m, err)) > 0) {
        if (m.kind == RPC_NOTIFICATION)
            forward_message(r, &m);
        rpc_message_release(&m);
    }
    return rc;
}

static enum job_step child_step(void *arg, struct wait *wait, struct err *err)
{
    struct reader *r = arg;
    char chunk[READ_BYTES];

    write_to_child(r, wait);
    for (int i = 0; i < READS_PER_STEP; i++) {
        if (link_backlog(r->relay->to) >= LINK_BACKLOG) { /* woken when there is room */
            wait_until(wait, clock_mono_ms() + WAIT_MAX_MS);
            return JOB_WAIT;
        }
        ssize_t n = read(r->fd, chunk, sizeof(chunk));
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            wait_fd(wait, r->fd, POLLIN);
            return JOB_WAIT;
        }
        if (n <= 0) {
            pid_t pid = r->pid;
            r->pid = 0;
            return child_wait(pid, err) < 0 ? JOB_FAIL : JOB_DONE;
        }
        buf_add(&r->in.buf, chunk, (size_t)n);
        if (forward_messages(r, err) < 0)
            return JOB_FAIL;
    }
    return JOB_AGAIN;
}

static void child_done(void *arg, const struct err *err)
{
    struct reader *r = arg;
    struct err failure = ERR_INIT;

    close(r->fd);
    if (r->pid)
        child_kill(r->pid);
    err_set(&failure, ERR_FAILED, "the process that read it for the host %s",
        err->code ? err->message : "ended before its answer was complete");
    if (r->relay)
        tell_end(r, &failure);
    reader_free(r);
}

static const struct job_ops child_ops = {"relay", child_step, child_done};

static int start_child(struct reader *r, struct err *err)
{
    if (child_fork(read_in_child, r, &r->pid, &r->fd, err) < 0)
        return -1;
    r->job = loop_add(r->relay->x->loop, &child_ops, r);
    return 0;
}

/* --- the agent of another host --- */

static void on_host_notice(void *ctx, const struct rpc_message *m)
{
    struct reader *r = ctx;

    if (r->relay && strcmp(m->method, "end") != 0)
        forward_message(r, m);
}

static void on_host_answer(void *ctx, const json_t *result, const struct err *error)
{
    struct reader *r = ctx;

    (void)result;
    if (r->relay)
        tell_end(r, error);
    reader_free(r);
}

static int ask_host(struct reader *r, const json_t *from, struct err *err)
{
    const struct link_listener listener = {.notice = on_host_notice, .ctx = r};
    const char *name = json_text(from, "host", NULL);
    const char *folder = json_text(from, "folder", NULL);
    const struct host_run *h = executor_host(r->relay->x, name);

    if (!h || h->state != HOST_READY)
        return err_set(
            err, ERR_LINK, "host '%s', which has the file, cannot be reached", name ? name : "?");
    AUTO_FREE char *below = json_object_get(r->file, "parts")
                                ? path_join(folder, json_text(r->file, "name", NULL))
                                : xstrdup(folder);
    r->from = h->link;
    r->from_call = link_call(h->link, "read_file",
        json_pack("{s:s, s:s, s:I, s:I, s:I}", "folder", below, "name", r->name, "stream",
            r->stream, "offset", r->offset, "length", r->length),
        READ_FILE_MS, on_host_answer, NULL, r);
    link_listen(h->link, r->from_call, &listener);
    return 0;
}

/* --- requests of the host --- */

static void give_up_reader(struct relay *relay)
{
    struct reader *r = relay->reader;

    if (!r)
        return;
    relay->reader = NULL;
    r->relay = NULL;
    if (r->from)
        link_tell(r->from, "stop", relay_params(r->from_call, r->stream), NULL, 0);
    else
        loop_cancel(relay->x->loop, r->job);
}

/* The name of the file or of one of its parts; the host gets no other files. */
static const char *allowed_name(const json_t *file, const char *wanted)
{
    json_t *parts = json_object_get(file, "parts"), *part;
    const char *name = json_text(file, "name", NULL);
    size_t i;

    if (!wanted || !name)
        return NULL;
    if (!parts)
        return strcmp(name, wanted) == 0 ? name : NULL;
    json_array_foreach (parts, i, part) {
        name = json_text(part, "name", NULL);
        if (name && strcmp(name, wanted) == 0)
            return name;
    }
    return NULL;
}

static void begin_read(struct relay *relay, const json_t *params)
{
    json_int_t at = json_int(params, "file", -1);
    const json_t *file = json_array_get(relay->files, at < 0 ? SIZE_MAX : (size_t)at);
    const json_t *from = json_object_get(file, "from");
    struct reader *r = xmalloc(sizeof(*r));
    struct err err = ERR_INIT;

    give_up_reader(relay);
    *r = (struct reader){
        .relay = relay,
        .file = file,
        .name = allowed_name(file, json_text(params, "name", NULL)),
        .stream = json_int(params, "stream", -1),
        .offset = json_int(params, "offset", -1),
        .length = json_int(params, "length", -1),
        .in = RPC_INPUT_INIT,
        .out = BUF_INIT,
    };
    relay->reader = r;
    int rc = -1;
    if (!r->name || !from || r->offset < 0)
        err_set(&err, ERR_PROTOCOL, "the host asks for a file that does not belong to its fetch");
    else
        rc = json_object_get(from, "host") ? ask_host(r, from, &err) : start_child(r, &err);
    if (rc == 0)
        return;
    tell_end(r, &err);
    reader_free(r);
}

static void request_more(struct reader *r, const json_t *params)
{
    if (json_int(params, "stream", -1) != r->stream)
        return;
    json_t *more = relay_params(r->from ? r->from_call : r->relay->call, r->stream);
    json_object_set_new(more, "bytes", json_integer(json_int(params, "bytes", -1)));
    if (r->from) {
        link_tell(r->from, "more", more, NULL, 0);
        return;
    }
    rpc_add_notification(&r->out, "more", more);
    loop_wake(r->relay->x->loop, r->job);
}

static void on_notice(void *ctx, const struct rpc_message *m)
{
    struct relay *relay = ctx;
    struct reader *r = relay->reader;

    if (strcmp(m->method, "read") == 0)
        begin_read(relay, m->payload);
    else if (r && strcmp(m->method, "more") == 0)
        request_more(r, m->payload);
    else if (r && strcmp(m->method, "stop") == 0 && json_int(m->payload, "stream", -1) == r->stream)
        give_up_reader(relay);
}

static void on_room(void *ctx)
{
    struct relay *relay = ctx;

    if (relay->reader && !relay->reader->from)
        loop_wake(relay->x->loop, relay->reader->job);
}

struct relay *relay_begin(struct executor *x, struct link *to, uint64_t call, const json_t *files)
{
    if (!relay_is_needed(files))
        return NULL;
    struct relay *relay = xmalloc(sizeof(*relay));
    *relay = (struct relay){.x = x, .to = to, .call = call, .files = json_deep_copy(files)};
    const struct link_listener listener = {.notice = on_notice, .room = on_room, .ctx = relay};
    link_listen(to, call, &listener);
    return relay;
}

void relay_end(struct relay *relay)
{
    if (!relay)
        return;
    give_up_reader(relay);
    json_decref(relay->files);
    free(relay);
}
