#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/rpc.h"

static const struct {
    const char *line;
    int rc; /* of rpc_take() */
    enum rpc_kind kind;
    uint64_t id;
    const char *method;
    const char *payload; /* compact, keys sorted; NULL: none */
} lines[] = {
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"fetch\",\"params\":{\"a\":1}}", 1, RPC_REQUEST, 7,
        "fetch", "{\"a\":1}"},
    {"{\"method\":\"m\",\"id\":9007199254740993,\"jsonrpc\":\"2.0\"}", 1, RPC_REQUEST,
        9007199254740993, "m", NULL},
    {" {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"m\", \"params\": [1, 2], \"new\": 0} \r", 1,
        RPC_REQUEST, 1, "m", "[1,2]"},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"progress\",\"params\":{\"id\":7}}", 1, RPC_NOTIFICATION, 0,
        "progress", "{\"id\":7}"},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"b\":2,\"a\":\"\\u00e9\"}}", 1, RPC_RESULT, 7,
        NULL, "{\"a\":\"\xc3\xa9\",\"b\":2}"},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":null}", 1, RPC_RESULT, 7, NULL, "null"},
    {"{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":-32000,\"message\":\"no\"}}", 1, RPC_ERROR,
        3, NULL, NULL},
    {"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"no\"}}", 1,
        RPC_ERROR, 0, NULL, NULL},
    /* Not JSON. */
    {"", .rc = -1},
    {"Welcome to Debian!", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"fetch\"", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"fetch\"} {}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"id\":8,\"method\":\"fetch\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"a\\u0000b\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"\xff\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":99999999999999999999,\"method\":\"m\"}", .rc = -1},
    /* No message. */
    {"7", .rc = -1},
    {"[]", .rc = -1},
    {"{}", .rc = -1},
    {"{\"id\":7,\"method\":\"m\"}", .rc = -1},
    {"{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"m\"}", .rc = -1},
    {"{\"jsonrpc\":2.0,\"id\":7,\"method\":\"m\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":\"7\",\"method\":\"m\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7.0,\"method\":\"m\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"m\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":-7,\"method\":\"m\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"m\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":true,\"result\":1}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":1}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"result\":1}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":5}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\",\"params\":\"x\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\",\"result\":1}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1,\"error\":{\"code\":1,\"message\":\"m\"}}",
        .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":\"no\"}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":\"1\",\"message\":\"m\"}}", .rc = -1},
    {"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":1}}", .rc = -1},
};

static void check(size_t i, const struct rpc_message *m)
{
    assert_int_equal(m->kind, lines[i].kind);
    assert_int_equal(m->id, lines[i].id);
    assert_int_equal(!m->method, !lines[i].method);
    if (m->method)
        assert_string_equal(m->method, lines[i].method);
    assert_int_equal(!m->payload, !lines[i].payload);
    if (m->payload) {
        char *text = json_dumps(m->payload, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
        assert_string_equal(text, lines[i].payload);
        free(text);
    }
}

static void each_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct rpc_input in = RPC_INPUT_INIT;
        struct rpc_message m;
        struct err err = ERR_INIT;

        buf_addf(&in.buf, "%s\n", lines[i].line);
        int rc = rpc_take(&in, &m, &err);
        if (rc != lines[i].rc)
            print_error("%s\n", lines[i].line);
        assert_int_equal(rc, lines[i].rc);
        if (rc == 1) {
            check(i, &m);
            rpc_message_release(&m);
            assert_int_equal(rpc_take(&in, &m, &err), 0);
        } else {
            assert_int_equal(err.code, ERR_PROTOCOL);
        }
        rpc_input_release(&in);
    }
}

static void byte_by_byte(void **state)
{
    struct rpc_input in = RPC_INPUT_INIT;
    struct err err = ERR_INIT;
    struct rpc_message m;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines) && lines[i].rc == 1; i++) {
        for (const char *p = lines[i].line; *p; p++) {
            buf_addc(&in.buf, *p);
            assert_int_equal(rpc_take(&in, &m, &err), 0);
        }
        buf_addc(&in.buf, '\n');
        assert_int_equal(rpc_take(&in, &m, &err), 1);
        check(i, &m);
        rpc_message_release(&m);
        assert_int_equal(rpc_take(&in, &m, &err), 0);
        assert_int_equal(in.buf.len, 0);
    }
    rpc_input_release(&in);
}

static void garbage_is_shown(void **state)
{
    struct rpc_input in = RPC_INPUT_INIT;
    struct err err = ERR_INIT;
    struct rpc_message m;

    (void)state;
    buf_adds(
        &in.buf, "bash: recluster: command\tnot found, and so on and on and on and on and on\n");
    assert_int_equal(rpc_take(&in, &m, &err), -1);
    assert_non_null(strstr(err.message, "'bash: recluster: command?not found, and so on"));
    assert_non_null(strstr(err.message, "...'"));
    assert_int_equal(rpc_take(&in, &m, &err), -1); /* and stays */
    rpc_input_release(&in);
}

static void too_long(void **state)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"", tail[] = "\"}";
    struct rpc_input in = RPC_INPUT_INIT;
    struct err err = ERR_INIT;
    struct rpc_message m;
    size_t fill = RPC_LINE_MAX - strlen(head) - strlen(tail);

    (void)state;
    for (int over = 0; over < 2; over++) {
        rpc_input_release(&in);
        buf_adds(&in.buf, head);
        buf_reserve(&in.buf, fill + 1);
        memset(in.buf.data + in.buf.len, 'x', fill + 1);
        in.buf.len += fill + (size_t)over;
        in.buf.data[in.buf.len] = '\0';
        buf_adds(&in.buf, tail);
        assert_int_equal(rpc_take(&in, &m, &err), over ? -1 : 0);
        buf_addc(&in.buf, '\n');
        assert_int_equal(rpc_take(&in, &m, &err), over ? -1 : 1);
        if (!over) {
            assert_int_equal(json_string_length(m.payload), fill);
            rpc_message_release(&m);
        }
    }
    assert_int_equal(err.code, ERR_LIMIT);
    rpc_input_release(&in);
}

static void errors_travel_whole(void **state)
{
    struct rpc_input b = RPC_INPUT_INIT;
    struct err err = ERR_INIT, sent = ERR_INIT;
    struct rpc_message m;

    (void)state;
    err_set(&sent, ERR_CORRUPT, "the file 'a\"b\nc\xff' is broken");
    err_hint(&sent, "Take an older one.");
    rpc_add_error(&b.buf, 5, RPC_FAILED, &sent);
    assert_int_equal(b.buf.data[b.buf.len - 1], '\n');
    assert_null(memchr(b.buf.data, '\n', b.buf.len - 1));
    assert_non_null(strstr(b.buf.data, "\"code\":-32000"));
    assert_int_equal(rpc_take(&b, &m, &err), 1);
    assert_int_equal(m.kind, RPC_ERROR);
    assert_int_equal(m.id, 5);
    assert_int_equal(m.error.code, ERR_CORRUPT);
    assert_string_equal(m.error.message, "the file 'a\"b\nc?' is broken");
    assert_string_equal(m.error.hint, "Take an older one.");
    rpc_message_release(&m);
    rpc_input_release(&b);

    json_t *json = err_to_json(&sent);
    struct err back = ERR_INIT;
    err_from_json(json, &back);
    assert_int_equal(back.code, ERR_CORRUPT);
    assert_string_equal(back.message, "the file 'a\"b\nc?' is broken");
    assert_string_equal(back.hint, sent.hint);
    json_decref(json);
    err_from_json(NULL, &back);
    assert_int_equal(back.code, ERR_FAILED);
    assert_string_equal(back.message, "");
}

static void what_is_added_is_taken(void **state)
{
    struct rpc_input b = RPC_INPUT_INIT;
    struct err err = ERR_INIT;
    struct rpc_message m;

    (void)state;
    rpc_add_request(&b.buf, 1, "probe", json_pack("{s:s}", "name", "x\ny"));
    rpc_add_request(&b.buf, 2, "hello", NULL);
    rpc_add_result(&b.buf, 3, NULL);
    rpc_add_notification(&b.buf, "progress", json_pack("{s:i}", "id", 3));
    assert_int_equal(rpc_take(&b, &m, &err), 1);
    assert_string_equal(m.method, "probe");
    assert_string_equal(json_string_value(json_object_get(m.payload, "name")), "x\ny");
    rpc_message_release(&m);
    assert_int_equal(rpc_take(&b, &m, &err), 1);
    assert_true(m.kind == RPC_REQUEST && m.id == 2 && json_is_object(m.payload));
    rpc_message_release(&m);
    assert_int_equal(rpc_take(&b, &m, &err), 1);
    assert_true(m.kind == RPC_RESULT && m.id == 3 && json_is_object(m.payload));
    rpc_message_release(&m);
    assert_int_equal(rpc_take(&b, &m, &err), 1);
    assert_true(m.kind == RPC_NOTIFICATION && m.id == 0);
    rpc_message_release(&m);
    assert_int_equal(rpc_take(&b, &m, &err), 0);
    assert_int_equal(b.buf.len, 0);
    rpc_input_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(garbage_is_shown),
        cmocka_unit_test(too_long),
        cmocka_unit_test(errors_travel_whole),
        cmocka_unit_test(what_is_added_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
