/* What the writer writes, the reader reads back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recluster/rdb_write.h"
#include "trace.h"

#define BYTES(literal) ((struct rdb_bytes){(literal), sizeof(literal) - 1})

static void read_back(const struct buf *file, const char *expected)
{
    for (enum feeding way = FEED_WHOLE; way < FEED_WAYS; way++) {
        struct trace t;
        struct err err = ERR_INIT;
        trace_init(&t, RDB_DECODE);
        if (trace_read(&t, file->data, file->len, way, NULL, &err) < 0)
            fail_msg("%s", err.message);
        assert_string_equal(t.text.data, expected);
        trace_release(&t);
    }
}

static void each_kind_of_value(void **state)
{
    struct buf out = BUF_INIT;
    const struct rdb_pair pairs[] = {{BYTES("name"), BYTES("it's \"here\"")},
        {BYTES(""), BYTES("")}, {BYTES("n"), BYTES("a\0b")}};
    const struct rdb_bytes members[] = {BYTES("1"), BYTES("1:1")};

    (void)state;
    rdb_write_begin(&out);
    rdb_write_aux(&out, "ctime", "1700000000");
    rdb_write_string(&out, "s", BYTES("v"));
    rdb_write_set(&out, "node:all", members, 2);
    rdb_write_set(&out, "none:all", NULL, 0);
    rdb_write_hash(&out, "node:1", pairs, 3);
    rdb_write_hash(&out, "node:2", NULL, 0);
    rdb_write_end(&out);
    read_back(&out, "header redis 9\n"
                    "aux ctime=1700000000\n"
                    "record @27 db=0 type=0 string s expires=-1\n"
                    " v\n"
                    "end @32\n"
                    "record @32 db=0 type=2 set node:all expires=-1\n"
                    " 1\n"
                    " 1:1\n"
                    "end @49\n"
                    "record @49 db=0 type=4 hash node:1 expires=-1\n"
                    " name=it's \"here\"\n"
                    " =\n"
                    " n=a\\x00b\n"
                    "end @83\n");
    buf_release(&out);
}

/* The forms of a length: 6, 14 and 32 bits. */
static void lengths(void **state)
{
    static const size_t sizes[] = {63, 64, 16383, 16384, 100000};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct buf out = BUF_INIT;
        struct trace t;
        struct err err = ERR_INIT;
        char *value = xmalloc(sizes[i]);
        memset(value, 'x', sizes[i]);
        rdb_write_begin(&out);
        rdb_write_string(&out, "k", (struct rdb_bytes){value, sizes[i]});
        rdb_write_end(&out);
        trace_init(&t, RDB_DECODE);
        if (trace_read(&t, out.data, out.len, FEED_ODD, NULL, &err) < 0)
            fail_msg("%s", err.message);
        const json_t *found = json_object_get(json_array_get(t.databases, 0), "k");
        assert_int_equal(json_string_length(found), sizes[i]);
        trace_release(&t);
        free(value);
        buf_release(&out);
    }
}

static void a_changed_byte_shows(void **state)
{
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    struct trace t;

    (void)state;
    rdb_write_begin(&out);
    rdb_write_string(&out, "k", BYTES("value"));
    rdb_write_end(&out);
    out.data[out.len - 10] ^= 1;
    trace_init(&t, RDB_DECODE);
    assert_int_equal(trace_read(&t, out.data, out.len, FEED_WHOLE, NULL, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    trace_release(&t);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_value),
        cmocka_unit_test(lengths),
        cmocka_unit_test(a_changed_byte_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
