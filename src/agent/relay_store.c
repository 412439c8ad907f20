#include "relay_store.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/json.h"
#include "recluster/relay.h"
#include "serve.h"

/* The operator's side has shorter deadlines and reports its failures. */
enum { SILENCE_MS = 5 * 60 * 1000, TELL_BYTES = RELAY_WINDOW / 8 };

struct relayed_file {
    struct agent_call *call;
    json_int_t file;
    int64_t retry_after_ms;
};

/* One answer that is being received. */
struct answer {
    struct agent_call *call;
    json_int_t stream;
    const struct store_receiver *receiver;
    bool begun;
    int64_t unreported; /* bytes received */
    int64_t retry_after_ms;
};

static void tell_taken(struct answer *a)
{
    agent_notify(a->call, "more",
        json_pack("{s:I, s:I}", "stream", a->stream, "bytes", (json_int_t)a->unreported));
    a->unreported = 0;
}

static int take_begin(struct answer *a, const json_t *params, struct err *err)
{
    struct store_object object;
    int64_t first_byte;

    relay_object(params, &object, &first_byte);
    if (a->begun || first_byte < 0)
        return err_set(err, ERR_PROTOCOL, "the relay begins an answer that can't be");
    a->begun = true;
    return a->receiver->begin(a->receiver->arg, &object, first_byte, err);
}

static int take_data(struct answer *a, const struct rpc_message *m, struct err *err)
{
    if (!a->begun)
        return err_set(err, ERR_PROTOCOL, "the relay brings bytes before it has begun");
    if (m->data_len && a->receiver->data(a->receiver->arg, m->data, m->data_len, err) < 0)
        return -1;
    a->unreported += (int64_t)m->data_len;
    if (a->unreported >= TELL_BYTES)
        tell_taken(a);
    return 0;
}

static int take_end(struct answer *a, const json_t *params, struct err *err)
{
    const json_t *error = json_object_get(params, "error");

    a->retry_after_ms = json_int(params, "retry_after_ms", 0);
    if (error) {
        err_from_json(error, err);
        return -1;
    }
    return a->begun ? 0 : err_set(err, ERR_PROTOCOL, "the relay ends before it has begun");
}

/* 1: the answer continues; 0: it ended; -1. */
static int take(struct answer *a, const struct rpc_message *m, struct err *err)
{
    const json_t *stream = json_object_get(m->payload, "stream");

    /* Skips the rest of a cancelled read. */
    if (m->kind != RPC_NOTIFICATION || !json_is_integer(stream) ||
        json_integer_value(stream) != a->stream)
        return 1;
    if (strcmp(m->method, "begin") == 0)
        return take_begin(a, m->payload, err) < 0 ? -1 : 1;
    if (strcmp(m->method, "data") == 0)
        return take_data(a, m, err) < 0 ? -1 : 1;
    return strcmp(m->method, "end") == 0 ? take_end(a, m->payload, err) : 1;
}

static int relay_read(void *arg, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    struct relayed_file *f = arg;
    struct agent_channel *channel = agent_channel(f->call);
    struct answer a = {.call = f->call, .stream = ++channel->streams, .receiver = receiver};
    int rc = 1;

    agent_notify(f->call, "read",
        json_pack("{s:I, s:I, s:s, s:I, s:I}", "stream", a.stream, "file", f->file, "name", name,
            "offset", (json_int_t)offset, "length", (json_int_t)length));
    while (rc > 0) {
        struct rpc_message m;
        if (relay_await(channel->fd, &channel->in, SILENCE_MS, &m, err) < 0)
            return -1;
        rc = take(&a, &m, err);
        rpc_message_release(&m);
    }
    f->retry_after_ms = a.retry_after_ms;
    if (rc < 0)
        agent_notify(f->call, "stop", json_pack("{s:I}", "stream", a.stream));
    return rc;
}

static int64_t retry_after_ms(void *arg)
{
    const struct relayed_file *f = arg;
    return f->retry_after_ms;
}

struct store *relay_store_open(struct agent_call *call, const char *label, json_int_t file)
{
    struct relayed_file *f = xmalloc(sizeof(*f));

    *f = (struct relayed_file){.call = call, .file = file};
    const struct store_relay relay = {
        .read = relay_read, .retry_after_ms = retry_after_ms, .close = free, .arg = f};
    return store_open_relay(label, &relay);
}
