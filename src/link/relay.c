#include "recluster/relay.h"
#include "recluster/json.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/memory_limit.h"

enum {
    HOLD_MS = 100, /* how long a few bytes wait for more */
    READ_BYTES = 64 * 1024,
    TAKEN_MS = 15 * 60 * 1000, /* for the other side to accept bytes; its disk may be slow */
};

struct sending {
    int fd;
    struct rpc_input *in;
    int64_t on_their_way; /* bytes */
    const struct relay_read *read;
    struct buf data, out;
    int64_t sent_ms;
};

json_t *relay_params(uint64_t id, json_int_t stream)
{
    return json_pack("{s:I, s:I}", "id", (json_int_t)id, "stream", stream);
}

json_t *relay_end_params(
    uint64_t id, json_int_t stream, const struct err *error, int64_t retry_after_ms)
{
    json_t *params = relay_params(id, stream);

    if (error)
        json_object_set_new(params, "error", err_to_json(error));
    if (retry_after_ms > 0)
        json_object_set_new(params, "retry_after_ms", json_integer(retry_after_ms));
    return params;
}

int relay_await(
    int fd, struct rpc_input *in, int timeout_ms, struct rpc_message *ret, struct err *err)
{
    char chunk[READ_BYTES];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    int rc;

    while ((rc = rpc_take(in, ret, err)) == 0) {
        int n = poll(&ready, 1, timeout_ms);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            return err_set(
                err, ERR_TIMEOUT, "the other side of the relay does not answer any more");
        ssize_t got = n < 0 ? -1 : read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_set(err, ERR_LINK, "the other side of the relay is gone");
        buf_add(&in->buf, chunk, (size_t)got);
    }
    return rc < 0 ? -1 : 0;
}

static int send_out(struct sending *s, struct err *err)
{
    int rc = file_write_all(s->fd, s->out.data, s->out.len, "relay", err);

    buf_clear(&s->out);
    return rc;
}

static int await_room(struct sending *s, struct err *err)
{
    while (s->on_their_way >= RELAY_WINDOW) {
        struct rpc_message m;
        if (relay_await(s->fd, s->in, TAKEN_MS, &m, err) < 0)
            return -1;
        bool ours =
            m.kind == RPC_NOTIFICATION && json_int(m.payload, "stream", -1) == s->read->stream;
        int64_t taken = json_int(m.payload, "bytes", -1);
        bool stop = ours && strcmp(m.method, "stop") == 0;
        if (ours && strcmp(m.method, "more") == 0 && taken > 0)
            s->on_their_way -= taken < s->on_their_way ? taken : s->on_their_way;
        rpc_message_release(&m);
        if (stop)
            return err_set(err, ERR_CANCELLED, "the other side cancelled the read");
    }
    return 0;
}

static int send_data(struct sending *s, struct err *err)
{
    if (!s->data.len)
        return 0;
    if (await_room(s, err) < 0)
        return -1;
    s->on_their_way += (int64_t)s->data.len;
    rpc_add_data(
        &s->out, "data", relay_params(s->read->id, s->read->stream), s->data.data, s->data.len);
    buf_clear(&s->data);
    s->sent_ms = clock_mono_ms();
    return send_out(s, err);
}

static int on_begin(
    void *arg, const struct store_object *object, int64_t first_byte, struct err *err)
{
    struct sending *s = arg;
    json_t *params = relay_params(s->read->id, s->read->stream);

    json_object_set_new(params, "bytes", json_integer(object->bytes));
    json_object_set_new(params, "modified_ms", json_integer(object->modified_ms));
    json_object_set_new(params, "validator", json_string(object->validator));
    json_object_set_new(params, "first_byte", json_integer(first_byte));
    rpc_add_notification(&s->out, "begin", params);
    return send_out(s, err);
}

static int on_data(void *arg, const void *data, size_t len, struct err *err)
{
    struct sending *s = arg;
    const char *from = data;

    while (len) {
        size_t room = RELAY_FRAME - s->data.len, n = len < room ? len : room;
        buf_add(&s->data, from, n);
        from += n;
        len -= n;
        bool late = clock_mono_ms() >= s->sent_ms + HOLD_MS;
        if ((late || s->data.len == RELAY_FRAME) && send_data(s, err) < 0)
            return -1;
    }
    return 0;
}

int relay_send(int fd, struct rpc_input *in, const struct relay_read *read, struct store *store,
    struct err *err)
{
    struct sending s = {.fd = fd, .in = in, .read = read, .data = BUF_INIT, .out = BUF_INIT};
    const struct store_receiver receiver = {on_begin, on_data, &s};
    struct err unsent = ERR_INIT;

    int rc = store_read_once(store, read->name, read->offset, read->length, &receiver, err);
    /* The bytes before a failure are valid. */
    if (send_data(&s, rc < 0 ? &unsent : err) < 0)
        rc = -1;
    buf_release(&s.data);
    buf_release(&s.out);
    return rc;
}

/* The descriptor and the read of the one child that this process is. */
static struct {
    int fd;
    const struct relay_read *read;
} child;

static int on_memory_limit(void *arg, const struct err *err)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT;
    struct err unsaid = ERR_INIT;

    (void)arg;
    rpc_add_notification(&out, "end", relay_end_params(child.read->id, child.read->stream, err, 0));
    return file_write_all(child.fd, out.data, out.len, "relay", &unsaid) < 0;
}

void relay_tell_memory_limit(int fd, const struct relay_read *read)
{
    child.fd = fd;
    child.read = read;
    memory_limit_tell(on_memory_limit, NULL);
}

void relay_object(const json_t *begin, struct store_object *ret, int64_t *ret_first_byte)
{
    const char *validator = json_text(begin, "validator", NULL);

    *ret = (struct store_object){
        .bytes = json_int(begin, "bytes", -1), .modified_ms = json_int(begin, "modified_ms", -1)};
    snprintf(ret->validator, sizeof(ret->validator), "%s", validator ? validator : "");
    *ret_first_byte = json_int(begin, "first_byte", -1);
}
