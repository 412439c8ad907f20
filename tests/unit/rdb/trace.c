#include "trace.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "recluster/file.h"

void trace_init(struct trace *t, enum rdb_want want)
{
    *t = (struct trace){.want = want, .text = BUF_INIT};
    t->databases = json_array();
    t->db = UINT64_MAX;
}

void trace_release(struct trace *t)
{
    buf_release(&t->text);
    json_decref(t->databases);
}

static void touch(struct trace *t, struct rdb_bytes bytes)
{
    const uint8_t *p = bytes.data;
    for (size_t i = 0; i < bytes.len; i++)
        t->sum += p[i];
}

static void add_bytes(struct buf *b, struct rdb_bytes bytes)
{
    const uint8_t *p = bytes.data;
    for (size_t i = 0; i < bytes.len; i++)
        if (p[i] >= ' ' && p[i] < 0x7f)
            buf_addc(b, (char)p[i]);
        else
            buf_addf(b, "\\x%02x", p[i]);
}

json_t *trace_json(struct rdb_bytes bytes)
{
    const uint8_t *p = bytes.data;
    bool printable = true;
    for (size_t i = 0; i < bytes.len; i++)
        printable &= p[i] >= ' ' && p[i] < 0x7f;
    if (printable)
        return json_stringn(bytes.data, bytes.len);
    struct buf hex = BUF_INIT;
    buf_adds(&hex, "hex:");
    for (size_t i = 0; i < bytes.len; i++)
        buf_addf(&hex, "%02x", p[i]);
    json_t *json = json_string(hex.data);
    buf_release(&hex);
    return json;
}

static void set_json(json_t *object, struct rdb_bytes key, json_t *value)
{
    json_t *name = trace_json(key);
    json_object_set_new(object, json_string_value(name), value);
    json_decref(name);
}

static int on_header(void *arg, const struct rdb_header *header, struct err *err)
{
    struct trace *t = arg;
    (void)err;
    buf_addf(&t->text, "header %s %d\n", header->valkey ? "valkey" : "redis", header->version);
    return 0;
}

static int on_aux(void *arg, struct rdb_bytes key, struct rdb_bytes value, struct err *err)
{
    struct trace *t = arg;
    (void)err;
    buf_adds(&t->text, "aux ");
    add_bytes(&t->text, key);
    buf_addc(&t->text, '=');
    add_bytes(&t->text, value);
    buf_addc(&t->text, '\n');
    return 0;
}

static int on_module_aux(void *arg, const char *module, struct err *err)
{
    struct trace *t = arg;
    (void)err;
    buf_addf(&t->text, "module-aux %s\n", module);
    return 0;
}

static int on_function(void *arg, struct rdb_bytes code, struct err *err)
{
    struct trace *t = arg;
    (void)err;
    buf_adds(&t->text, "function ");
    add_bytes(&t->text, code);
    buf_addc(&t->text, '\n');
    return 0;
}

static json_t *empty_value(const struct rdb_record *record)
{
    switch (record->kind) {
    case RDB_KIND_LIST:
    case RDB_KIND_SET:
        return json_array();
    case RDB_KIND_ZSET:
    case RDB_KIND_HASH:
        return json_object();
    case RDB_KIND_STRING:
    case RDB_KIND_STREAM:
    case RDB_KIND_MODULE:
    case RDB_KIND_ARRAY:
    case RDB_KIND_COUNT:
        break;
    }
    return json_null();
}

static int on_record(void *arg, const struct rdb_record *record, struct err *err)
{
    struct trace *t = arg;
    (void)err;
    t->types_seen |= UINT32_C(1) << record->type;
    if (t->quiet) {
        touch(t, record->key);
        return (int)t->want;
    }
    buf_addf(&t->text, "record @%" PRIu64 " db=%" PRIu64 " type=%u %s ", record->offset, record->db,
        record->type, rdb_kind_name(record->kind));
    add_bytes(&t->text, record->key);
    buf_addf(&t->text, " expires=%" PRId64, record->expires_ms);
    if (record->module[0])
        buf_addf(&t->text, " module=%s", record->module);
    buf_addc(&t->text, '\n');

    bool is_plain = record->kind != RDB_KIND_STREAM && record->kind != RDB_KIND_MODULE;
    if (t->want == RDB_DECODE && is_plain) {
        if (record->db != t->db)
            json_array_append_new(t->databases, json_object());
        t->db = record->db;
        t->value = empty_value(record);
        set_json(
            json_array_get(t->databases, json_array_size(t->databases) - 1), record->key, t->value);
    }
    return (int)t->want;
}

static int on_element(
    void *arg, const struct rdb_record *record, const struct rdb_element *e, struct err *err)
{
    struct trace *t = arg;
    (void)err;
    if (t->quiet) {
        touch(t, e->field);
        touch(t, e->value);
        return 0;
    }
    buf_addc(&t->text, ' ');
    if (record->kind == RDB_KIND_HASH) {
        add_bytes(&t->text, e->field);
        buf_addc(&t->text, '=');
    }
    add_bytes(&t->text, e->value);
    if (record->kind == RDB_KIND_ZSET)
        buf_addf(&t->text, " %.17g", e->score);
    if (e->expires_ms != -1)
        buf_addf(&t->text, " until %" PRId64, e->expires_ms);
    buf_addc(&t->text, '\n');

    if (record->kind == RDB_KIND_STRING)
        set_json(json_array_get(t->databases, json_array_size(t->databases) - 1), record->key,
            trace_json(e->value));
    else if (record->kind == RDB_KIND_HASH)
        set_json(t->value, e->field, trace_json(e->value));
    else if (record->kind == RDB_KIND_ZSET)
        set_json(t->value, e->value, json_sprintf("%.17g", e->score));
    else
        json_array_append_new(t->value, trace_json(e->value));
    return 0;
}

static int on_record_end(
    void *arg, const struct rdb_record *record, uint64_t end_offset, struct err *err)
{
    struct trace *t = arg;
    (void)err;
    assert_true(end_offset > record->offset);
    buf_addf(&t->text, "end @%" PRIu64 "\n", end_offset);
    return 0;
}

/* What a reader holds is bounded by its limits and by the bytes that it got. */
static void check_memory(const struct rdb_reader *r, uint64_t fed)
{
    uint64_t held = r->carry.alloc + r->key.alloc;
    assert_true(held <= 4 * fed + 1024 + 4 * (r->limits.key_bytes + r->limits.element_bytes));
    assert_true(r->carry.alloc <= 2 * fed + 1024);
    for (size_t i = 0; i < ARRAY_SIZE(r->scratch); i++) {
        assert_true(r->scratch[i].alloc <= 89 * fed + 2048);
        assert_true(
            r->scratch[i].alloc <= 2 * (r->limits.element_bytes + r->limits.key_bytes) + 2048);
    }
}

int trace_read(struct trace *t, const void *data, size_t len, enum feeding way,
    const struct rdb_limits *limits, struct err *err)
{
    static const struct rdb_events events = {
        .header = on_header,
        .aux = on_aux,
        .module_aux = on_module_aux,
        .function = on_function,
        .record = on_record,
        .element = on_element,
        .record_end = on_record_end,
    };
    struct rdb_reader *r = rdb_reader_new(&events, t, limits);
    size_t odd = 1;
    int rc = 0;

    for (size_t at = 0, n; rc == 0 && at < len; at += n) {
        n = way == FEED_WHOLE ? len : way == FEED_BYTES ? 1 : odd;
        odd = odd * 7 % 61 + 1;
        if (n > len - at)
            n = len - at;
        /* A block of just this size, gone after the call: a sanitizer sees each step beside it. */
        uint8_t *piece = xmemdup((const uint8_t *)data + at, n);
        rc = rdb_reader_feed(r, piece, n, err);
        memset(piece, 0xdd, n);
        free(piece);
        check_memory(r, at + n);
    }
    if (rc == 0)
        rc = rdb_reader_end(r, err);
    rdb_reader_free(r);
    return rc;
}

void file_of(struct buf *b, const char *magic, const void *bytes, size_t len)
{
    buf_clear(b);
    buf_adds(b, magic);
    buf_add(b, bytes, len);
    buf_addc(b, (char)0xff);
    if (strcmp(magic, "REDIS0005") >= 0)
        buf_add(b, "\0\0\0\0\0\0\0", 8);
}

void read_fixture(const char *name, struct buf *b)
{
    struct err err = ERR_INIT;
    char *path = path_join(FIXTURES, name);

    buf_clear(b);
    if (file_read(path, 1 << 20, b, &err) < 0)
        fail_msg("%s", err.message);
    free(path);
}
