#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "recluster/aof.h"
#include "recluster/buf.h"

#define SET_A "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n"
#define EMPTY "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"
#define NOTE "#TS:1700000000\r\n"
/* An RDB file without keys; its checksum is switched off. */
#define RDB "REDIS0010\xff\0\0\0\0\0\0\0\0"

static int take(void *arg, const void *data, size_t len, struct err *err)
{
    (void)err;
    buf_add(arg, data, len);
    return 0;
}

/* Feeds `step` bytes at a time. */
static int read_aof(const char *text, size_t len, size_t step, struct aof_facts *facts,
    struct buf *out, struct err *err)
{
    struct aof_reader *r = aof_reader_new(take, out);
    int rc = 0;

    for (size_t at = 0; at < len && rc == 0; at += step)
        rc = aof_reader_feed(r, text + at, len - at < step ? len - at : step, err);
    if (rc == 0)
        rc = aof_reader_end(r, facts, err);
    aof_reader_free(r);
    return rc;
}

/* `whole` is what is handed on and belongs to whole commands, `tail` the bytes to be cut off. */
static void check_whole(const char *text, size_t len, const char *whole, size_t whole_len,
    size_t tail, uint64_t commands)
{
    static const size_t steps[] = {1, 2, 7, 1000};

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct buf out = BUF_INIT;
        struct aof_facts facts;
        struct err err = ERR_INIT;
        if (read_aof(text, len, steps[i], &facts, &out, &err) < 0)
            fail_msg("%s: %s", text, err.message);
        assert_int_equal(facts.bytes, len);
        assert_int_equal(facts.bytes - facts.whole_bytes, tail);
        assert_int_equal(facts.kept_bytes, whole_len);
        assert_memory_equal(out.data, whole, whole_len);
        assert_int_equal(facts.commands, commands);
        buf_release(&out);
    }
}

#define CHECK(text, whole, tail, commands)                                                         \
    check_whole(text, sizeof(text) - 1, whole, sizeof(whole) - 1, tail, commands)

static void whole_files_are_handed_on(void **state)
{
    (void)state;
    CHECK(SET_A, SET_A, 0, 1);
    CHECK(SET_A EMPTY MULTI SET_A EXEC SET_A, SET_A EMPTY MULTI SET_A EXEC SET_A, 0, 6);
    CHECK(RDB, RDB, 0, 0);
    CHECK(RDB SET_A, RDB SET_A, 0, 1);
    CHECK("", "", 0, 0);
}

static void annotations_are_left_out(void **state)
{
    (void)state;
    CHECK(NOTE SET_A NOTE NOTE EMPTY, SET_A EMPTY, 0, 2);
    CHECK(RDB NOTE SET_A, RDB SET_A, 0, 1);
    CHECK(SET_A "#TS:17", SET_A, 6, 1);
}

static void a_tail_is_what_a_crash_leaves(void **state)
{
    (void)state;
    for (size_t n = 1; n < sizeof(SET_A) - 1; n++) {
        char text[128];
        int len = snprintf(text, sizeof(text), "%s%.*s", EMPTY, (int)n, SET_A);
        check_whole(text, (size_t)len, EMPTY, sizeof(EMPTY) - 1, n, 1);
    }
    CHECK(SET_A MULTI SET_A, SET_A, sizeof(MULTI SET_A) - 1, 3);
    CHECK(RDB "*", RDB, 1, 0);
}

static void what_is_no_tail_is_corrupt(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *says;
    } cases[] = {
#define CASE(text, says) {text, sizeof(text) - 1, says}
        CASE("hello world", "not an RDB file"),
        CASE("hel", "no append-only file"),
        CASE(SET_A "\0\0\0\0", "corrupt at byte 28: the begin of a command was expected, 0x00"),
        CASE(SET_A "x" SET_A, "corrupt at byte 28"),
        CASE("*x\r\n", "corrupt at byte 1: a number"),
        CASE("*0\r\n", "possible number of arguments"),
        CASE("*1\r\n$999999999999\r\n", "possible length"),
        CASE("*1\r\n$99999999999999999999\r\n", "a number"),
        CASE("*1\r\n$4\r\nPINGx\r\n", "the end of an argument"),
        CASE("*1\r\n:4\r\n", "an argument was expected"),
        CASE("REDIS0010\xff\1\2\3\4\5\6\7\10" SET_A, "wrong checksum"),
        CASE("REDIS0010\xfa", "cut"),
#undef CASE
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (size_t step = 1; step <= 100; step += 99) {
            struct buf out = BUF_INIT;
            struct aof_facts facts;
            struct err err = ERR_INIT;
            assert_int_equal(-1, read_aof(cases[i].text, cases[i].len, step, &facts, &out, &err));
            assert_int_equal(err.code, ERR_CORRUPT);
            if (!strstr(err.message, cases[i].says))
                fail_msg("%zu: %s", i, err.message);
            buf_release(&out);
        }
}

static void a_manifest_names_its_files_in_order(void **state)
{
    static const char text[] = "file a.2.incr.aof seq 2 type i startoffset 7\n"
                               "# remembered\nfile a.1.base.rdb seq 1 type b\n"
                               "file a.0.base.rdb seq 0 type h\nfile a.3.incr.aof seq 3 type i\n";
    struct aof_manifest m;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(0, aof_manifest_parse(text, sizeof(text) - 1, &m, &err));
    assert_int_equal(m.count, 3);
    assert_string_equal(m.names[0], "a.1.base.rdb");
    assert_string_equal(m.names[1], "a.2.incr.aof");
    assert_string_equal(m.names[2], "a.3.incr.aof");
    aof_manifest_release(&m);
}

static void a_manifest_of_anything_else_is_refused(void **state)
{
    static const char *const texts[] = {"", "\n\n", "file ../x seq 1 type b\n", "nonsense\n",
        "file a seq 1 type z\n", "file .. seq 1 type i\n", "file a type b\nfile b type b\n",
        "file a seq 1\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct aof_manifest m;
        struct err err = ERR_INIT;
        assert_int_equal(-1, aof_manifest_parse(texts[i], strlen(texts[i]), &m, &err));
        assert_int_equal(err.code, ERR_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files_are_handed_on),
        cmocka_unit_test(annotations_are_left_out),
        cmocka_unit_test(a_tail_is_what_a_crash_leaves),
        cmocka_unit_test(what_is_no_tail_is_corrupt),
        cmocka_unit_test(a_manifest_names_its_files_in_order),
        cmocka_unit_test(a_manifest_of_anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
