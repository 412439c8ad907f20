#include "recluster/relay.h"

#include <stdio.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/rpc.h"

enum { HOLD_MS = 100 }; /* that a few bytes wait for more */

struct sending {
    int fd;
    const struct relay_read *read;
    struct buf data, out;
    int64_t sent_ms;
};

json_t *relay_params(uint64_t id, json_int_t stream)
{
    return json_pack("{s:I, s:I}", "id", (json_int_t)id, "stream", stream);
}

static int send_out(struct sending *s, struct err *err)
{
    int rc = file_write_all(s->fd, s->out.data, s->out.len, "relay", err);

    buf_clear(&s->out);
    return rc;
}

static int send_data(struct sending *s, struct err *err)
{
    if (!s->data.len)
        return 0;
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

int relay_send(int fd, const struct relay_read *read, struct store *store, struct err *err)
{
    struct sending s = {.fd = fd, .read = read, .data = BUF_INIT, .out = BUF_INIT};
    const struct store_receiver receiver = {on_begin, on_data, &s};
    struct err unsent = ERR_INIT;

    int rc = store_read_once(store, read->name, read->offset, read->length, &receiver, err);
    /* What came before a failure is good. */
    if (send_data(&s, rc < 0 ? &unsent : err) < 0)
        rc = -1;
    buf_release(&s.data);
    buf_release(&s.out);
    return rc;
}

static int64_t number(const json_t *params, const char *name)
{
    const json_t *value = json_object_get(params, name);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

void relay_object(const json_t *begin, struct store_object *ret, int64_t *ret_first_byte)
{
    const char *validator = json_string_value(json_object_get(begin, "validator"));

    *ret = (struct store_object){
        .bytes = number(begin, "bytes"), .modified_ms = number(begin, "modified_ms")};
    snprintf(ret->validator, sizeof(ret->validator), "%s", validator ? validator : "");
    *ret_first_byte = number(begin, "first_byte");
}
