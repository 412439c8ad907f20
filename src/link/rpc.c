#include "recluster/rpc.h"
#include "recluster/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* The beginning of a line for a message: it may be the output of a shell. */
static const char *excerpt(const char *line, size_t len, char text[64])
{
    size_t n = 0;

    for (; n < len && n < 60; n++)
        text[n] = isprint((unsigned char)line[n]) ? line[n] : '?';
    strcpy(text + n, n < len ? "..." : "");
    return text;
}

/* The id of `root`; null counts as 0 if it is allowed. */
static bool read_id(const json_t *value, bool null_ok, uint64_t *ret)
{
    *ret = json_is_integer(value) ? (uint64_t)json_integer_value(value) : 0;
    return (json_is_integer(value) && json_integer_value(value) > 0) ||
           (null_ok && json_is_null(value));
}

static bool read_error(const json_t *value, int *ret_code, struct err *ret)
{
    const json_t *code = json_object_get(value, "code");
    const json_t *message = json_object_get(value, "message");

    if (!json_is_integer(code) || !json_is_string(message))
        return false;
    *ret_code = (int)json_integer_value(code);
    err_from_json(json_object_get(value, "data"), ret);
    struct err parts = *ret;
    err_set(ret, parts.code, "%s", json_string_value(message));
    err_hint(ret, "%s", parts.hint);
    return true;
}

/* The number of bytes that follow the line of a notification. */
static bool read_bytes(const json_t *value, size_t *ret)
{
    *ret = (size_t)json_integer_value(value);
    return !value || (json_is_integer(value) && json_integer_value(value) > 0);
}

/* Sets the other members from m->root. False: not a JSON-RPC message. */
static bool classify(struct rpc_message *m)
{
    const json_t *version = json_object_get(m->root, "jsonrpc");
    const json_t *id = json_object_get(m->root, "id");
    const json_t *method = json_object_get(m->root, "method");
    const json_t *error = json_object_get(m->root, "error");
    json_t *result = json_object_get(m->root, "result");

    if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0)
        return false;
    if (method) {
        m->kind = id ? RPC_REQUEST : RPC_NOTIFICATION;
        m->method = json_string_value(method);
        m->payload = json_object_get(m->root, "params");
        bool params_ok = !m->payload || json_is_object(m->payload) || json_is_array(m->payload);
        if (!id && !read_bytes(json_object_get(m->root, "bytes"), &m->data_len))
            return false;
        return m->method && params_ok && !result && !error && (!id || read_id(id, false, &m->id));
    }
    m->kind = error ? RPC_ERROR : RPC_RESULT;
    m->payload = result;
    return !result != !error && read_id(id, error != NULL, &m->id) &&
           (!error || read_error(error, &m->rpc_code, &m->error));
}

/* The end of the first line; NULL: incomplete. */
static const char *find_end(struct rpc_input *in, struct err *err)
{
    size_t look = in->buf.len <= RPC_LINE_MAX ? in->buf.len : RPC_LINE_MAX + 1;
    const char *end = NULL;

    if (in->looked < look)
        end = memchr(in->buf.data + in->looked, '\n', look - in->looked);
    if (!end && in->buf.len > RPC_LINE_MAX)
        err_set(err, ERR_LIMIT, "a message is longer than %d bytes", RPC_LINE_MAX);
    else if (!end)
        in->looked = look;
    return end;
}

static int parse_line(const char *line, size_t len, struct rpc_message *m, struct err *err)
{
    struct err why = ERR_INIT;
    char text[64];

    m->root = json_read(line, len, JSON_REJECT_DUPLICATES, "a line", &why);
    if (!m->root)
        return err_set(err, why.code == ERR_LIMIT ? ERR_LIMIT : ERR_PROTOCOL, "%s: '%s'",
            why.message, excerpt(line, len, text));
    if (!classify(m))
        err_set(err, ERR_PROTOCOL, "a line is not a JSON-RPC 2.0 message: '%s'",
            excerpt(line, len, text));
    else if (m->data_len > RPC_DATA_MAX)
        err_set(err, ERR_LIMIT, "a message carries more than %d bytes", RPC_DATA_MAX);
    else
        return 0;
    json_decref(m->root);
    return -1;
}

int rpc_take(struct rpc_input *in, struct rpc_message *ret, struct err *err)
{
    struct rpc_message m = {.root = NULL};
    struct err failure = ERR_INIT;

    buf_consume(&in->buf, in->taken);
    in->taken = 0;
    if (in->buf.len < in->whole)
        return 0;
    const char *end = find_end(in, &failure);
    if (!end && failure.code == ERR_NONE)
        return 0;
    size_t len = end ? (size_t)(end - in->buf.data) + 1 : 0;
    if (!end || parse_line(in->buf.data, len - 1, &m, &failure) < 0) {
        *err = failure;
        return -1;
    }
    in->whole = len + m.data_len;
    if (in->buf.len < in->whole) {
        json_decref(m.root);
        return 0;
    }
    m.data = m.data_len ? in->buf.data + len : NULL;
    in->taken = in->whole;
    in->whole = in->looked = 0;
    *ret = m;
    return 1;
}

void rpc_input_release(struct rpc_input *in)
{
    buf_release(&in->buf);
    *in = (struct rpc_input)RPC_INPUT_INIT;
}

void rpc_message_release(struct rpc_message *m)
{
    json_decref(m->root);
    *m = (struct rpc_message){.root = NULL};
}

static int append(const char *data, size_t len, void *out)
{
    buf_add(out, data, len);
    return 0;
}

/* Takes over `message`. */
static void add_line(struct buf *out, json_t *message)
{
    size_t before = out->len;

    /* Fails only for a message that is not JSON, which is a bug of the caller. */
    if (!message || json_dump_callback(message, append, out, JSON_COMPACT) < 0 ||
        out->len == before)
        die_of_bug("a message that is not JSON");
    buf_addc(out, '\n');
    json_decref(message);
}

static json_t *or_empty(json_t *object)
{
    return object ? object : json_object();
}

void rpc_add_request(struct buf *out, uint64_t id, const char *method, json_t *params)
{
    add_line(out, json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", (json_int_t)id,
                      "method", method, "params", or_empty(params)));
}

void rpc_add_result(struct buf *out, uint64_t id, json_t *result)
{
    add_line(out, json_pack("{s:s, s:I, s:o}", "jsonrpc", "2.0", "id", (json_int_t)id, "result",
                      or_empty(result)));
}

void rpc_add_notification(struct buf *out, const char *method, json_t *params)
{
    add_line(out, json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method, "params",
                      or_empty(params)));
}

void rpc_add_data(struct buf *out, const char *method, json_t *params, const void *data, size_t len)
{
    add_line(out, json_pack("{s:s, s:s, s:o, s:I}", "jsonrpc", "2.0", "method", method, "params",
                      or_empty(params), "bytes", (json_int_t)len));
    buf_add(out, data, len);
}

void rpc_add_error(struct buf *out, uint64_t id, int rpc_code, const struct err *error)
{
    json_t *id_value = id ? json_integer((json_int_t)id) : json_null();

    add_line(
        out, json_pack("{s:s, s:o, s:{s:i, s:o, s:{s:s, s:o}}}", "jsonrpc", "2.0", "id", id_value,
                 "error", "code", rpc_code, "message", json_text_of(error->message), "data", "name",
                 err_code_name(error->code), "hint", json_text_of(error->hint)));
}

json_t *err_to_json(const struct err *err)
{
    return json_pack("{s:s, s:o, s:o}", "name", err_code_name(err->code), "message",
        json_text_of(err->message), "hint", json_text_of(err->hint));
}

void err_from_json(const json_t *value, struct err *ret)
{
    enum err_code code = err_code_by_name(json_text(value, "name", ""));

    /* An error stays an error, whatever code the peer sends. */
    err_set(ret, code == ERR_NONE ? ERR_FAILED : code, "%s", json_text(value, "message", ""));
    err_hint(ret, "%s", json_text(value, "hint", ""));
}
