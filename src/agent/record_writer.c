#include "record_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/child.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/relay.h"
#include "recluster/rpc.h"
#include "recluster/sealed.h"
#include "recluster/store.h"

enum { BACKLOG = 2 << 20, READ_BYTES = 4096, IDLE_MS = 24 * 3600 * 1000 };

struct record_writer {
    pid_t pid;
    int fd;
    struct buf out;
    size_t sent;
    struct rpc_input in;
    json_t *facts; /* NULL: not ready */
    bool committed;
};

/* --- in the child --- */

struct writing {
    const struct record_writer_params *params;
    struct store *store;
    struct store_writer *writer;
    struct pack *pack;
    struct sealed_stream *sealed; /* NULL: it is not encrypted */
    struct digest *digest;
    int64_t bytes, plain_bytes;
};

static int write_stored(void *arg, const void *data, size_t len, struct err *err)
{
    struct writing *w = arg;

    digest_add(w->digest, data, len);
    w->bytes += (int64_t)len;
    return store_write(w->writer, data, len, err);
}

static int write_packed(void *arg, const void *data, size_t len, struct err *err)
{
    struct writing *w = arg;

    return w->sealed ? sealed_feed(w->sealed, data, len, err) : write_stored(w, data, len, err);
}

static int begin_sealed(struct writing *w, struct err *err)
{
    size_t count = json_array_size(w->params->recipients);

    if (!count)
        return 0;
    const char **words = xcalloc(count + 1, sizeof(*words));
    for (size_t i = 0; i < count; i++)
        words[i] = json_string_value(json_array_get(w->params->recipients, i));
    int rc = sealed_begin_seal(words, write_stored, w, &w->sealed, err);
    free(words);
    return rc < 0 ? err_wrap(err, "the file cannot be encrypted") : 0;
}

static void send(int fd, struct buf *line)
{
    struct err ignored = ERR_INIT;

    /* If nobody listens any more, the next read ends us. */
    (void)!file_write_all(fd, line->data, line->len, "answer", &ignored);
    buf_clear(line);
}

static int end(struct writing *w, int fd, struct err *err)
{
    CLEANUP(buf_release) struct buf line = BUF_INIT;
    char sha256[DIGEST_HEX_MAX];

    if (pack_end(w->pack, err) < 0 || (w->sealed && sealed_end(w->sealed, err) < 0))
        return -1;
    digest_end(w->digest, sha256);
    w->digest = NULL;
    rpc_add_notification(&line, "ready",
        json_pack("{s:I, s:I, s:s}", "bytes", (json_int_t)w->bytes, "plain_bytes",
            (json_int_t)w->plain_bytes, "sha256", sha256));
    send(fd, &line);
    return 0;
}

/* 1: goes on; 0: committed. */
static int obey(struct writing *w, int fd, const struct rpc_message *m, struct err *err)
{
    if (strcmp(m->method, "data") == 0) {
        w->plain_bytes += (int64_t)m->data_len;
        return pack_add(w->pack, m->data, m->data_len, err) < 0 ? -1 : 1;
    }
    if (strcmp(m->method, "end") == 0)
        return end(w, fd, err) < 0 ? -1 : 1;
    struct store_writer *writer = w->writer;
    w->writer = NULL;
    return store_write_commit(writer, err);
}

static int write_all(struct writing *w, int fd, struct err *err)
{
    struct rpc_input in = RPC_INPUT_INIT;
    int rc = 1;

    w->store = store_open(w->params->location, err);
    if (!w->store)
        return -1;
    w->writer = store_write_begin(w->store, w->params->name, err);
    if (!w->writer || begin_sealed(w, err) < 0)
        return -1;
    while (rc > 0) {
        struct rpc_message m;
        if (relay_await(fd, &in, IDLE_MS, &m, err) < 0)
            rc = -1;
        else {
            rc = obey(w, fd, &m, err);
            rpc_message_release(&m);
        }
    }
    rpc_input_release(&in);
    return rc;
}

static int run(void *arg, int fd)
{
    struct writing w = {.params = arg};
    /* Even if the parent is killed, what was not committed has to be removed. */
    prctl(PR_SET_PDEATHSIG, 0);
    CLEANUP(buf_release) struct buf line = BUF_INIT;
    struct err err = ERR_INIT;

    w.pack = pack_new(w.params->kind, write_packed, &w);
    w.digest = digest_new();
    if (write_all(&w, fd, &err) < 0)
        rpc_add_error(&line, 1, RPC_FAILED, &err);
    else
        rpc_add_result(&line, 1, json_object());
    sealed_free(w.sealed);
    store_write_abort(w.writer);
    store_close(w.store);
    pack_free(w.pack);
    digest_free(w.digest);
    send(fd, &line);
    return 0;
}

/* --- in the parent --- */

int record_writer_start(
    const struct record_writer_params *params, struct record_writer **ret, struct err *err)
{
    struct record_writer_params copy = *params;
    struct record_writer *w = xcalloc(1, sizeof(*w));

    buf_init(&w->out);
    w->in = (struct rpc_input)RPC_INPUT_INIT;
    if (child_fork(run, &copy, &w->pid, &w->fd, err) < 0) {
        free(w);
        return -1;
    }
    *ret = w;
    return 0;
}

/* The child aborts what is not committed when its socket closes. It is waited for. */
void record_writer_free(struct record_writer *w)
{
    struct err ignored = ERR_INIT;

    if (!w)
        return;
    close(w->fd);
    (void)!child_wait(w->pid, &ignored);
    buf_release(&w->out);
    rpc_input_release(&w->in);
    json_decref(w->facts);
    free(w);
}

bool record_writer_has_room(const struct record_writer *w)
{
    return w->out.len - w->sent < BACKLOG;
}

void record_writer_add(struct record_writer *w, const void *data, size_t len)
{
    const char *at = data;

    for (size_t n; len; at += n, len -= n) {
        n = len < RPC_DATA_MAX ? len : RPC_DATA_MAX;
        rpc_add_data(&w->out, "data", json_object(), at, n);
    }
}

void record_writer_end(struct record_writer *w)
{
    rpc_add_notification(&w->out, "end", json_object());
}

void record_writer_commit(struct record_writer *w)
{
    rpc_add_notification(&w->out, "commit", json_object());
}

const json_t *record_writer_facts(const struct record_writer *w)
{
    return w->facts;
}

static int send_more(struct record_writer *w, struct wait *wait, struct err *err)
{
    while (w->sent < w->out.len) {
        ssize_t n = write(w->fd, w->out.data + w->sent, w->out.len - w->sent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            wait_fd(wait, w->fd, POLLOUT);
            break;
        }
        if (n < 0)
            return err_sys(err, ERR_FAILED, "the process that writes the file has ended");
        w->sent += (size_t)n;
    }
    if (w->sent == w->out.len || w->sent > BACKLOG) {
        buf_consume(&w->out, w->sent);
        w->sent = 0;
    }
    return 0;
}

static int take(struct record_writer *w, const struct rpc_message *m, struct err *err)
{
    if (m->kind == RPC_ERROR) {
        *err = m->error;
        return -1;
    }
    if (m->kind == RPC_RESULT)
        w->committed = true;
    else if (!w->facts)
        w->facts = json_incref(m->payload);
    return 0;
}

static int receive(struct record_writer *w, struct wait *wait, struct err *err)
{
    char chunk[READ_BYTES];
    struct rpc_message m;

    for (;;) {
        int rc = rpc_take(&w->in, &m, err);
        if (rc < 0)
            return -1;
        if (rc > 0) {
            rc = take(w, &m, err);
            rpc_message_release(&m);
            if (rc < 0)
                return -1;
            continue;
        }
        ssize_t n = read(w->fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            wait_fd(wait, w->fd, POLLIN);
            return 0;
        }
        if (n <= 0)
            return w->committed
                       ? 0
                       : err_set(err, ERR_FAILED, "the process that writes the file has ended");
        buf_add(&w->in.buf, chunk, (size_t)n);
    }
}

enum record_writer_state record_writer_step(
    struct record_writer *w, struct wait *wait, struct err *err)
{
    struct err failure = ERR_INIT;

    /* What it said last, if anything, says more than a closed socket. */
    int rc = send_more(w, wait, &failure);
    if (receive(w, wait, err) < 0)
        return RECORD_WRITER_FAILED;
    if (rc < 0) {
        *err = failure;
        return RECORD_WRITER_FAILED;
    }
    return w->committed ? RECORD_WRITER_COMMITTED
           : w->facts   ? RECORD_WRITER_READY
                        : RECORD_WRITER_BUSY;
}
