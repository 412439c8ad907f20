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

static int count_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    (void)data;
    (void)err;
    *(uint64_t *)arg += len;
    return 0;
}

/* Feeds `step` bytes at a time. */
static int read_aof(const char *text, size_t len, size_t step, struct aof_facts *facts,
    struct buf *out, struct err *err)
{
    struct aof_reader *r = aof_reader_new(take, out, NULL);
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
        CASE("hello world", "corrupt at byte 0: expected the start of a command or of an RDB file"),
        CASE("REDIX0010", "corrupt at byte 0"),
        CASE("hel", "corrupt at byte 0"),
        CASE("RED", "not an append-only file"),
        CASE("SET a b\r\n", "corrupt at byte 0"),
        CASE("\0\0\0\0\0\0\0\0", "corrupt at byte 0: expected the start of a command or of an RDB "
                                 "file, found 0x00"),
        CASE(SET_A "\r\nSET a b\r\n", "corrupt at byte 28"),
        CASE(MULTI MULTI EXEC EXEC, "corrupt at byte 15: MULTI in a transaction"),
        CASE(SET_A EXEC, "corrupt at byte 28: EXEC without MULTI"),
        CASE("*1\r\n$65\r\n", "the length of a command's name"),
        CASE(SET_A "\0\0\0\0", "corrupt at byte 28: expected the start of a command, found 0x00"),
        CASE(SET_A "x" SET_A, "corrupt at byte 28"),
        CASE("*x\r\n", "corrupt at byte 1: expected a number"),
        CASE("*0\r\n", "possible number of arguments"),
        CASE("*2\r\n$3\r\nSET\r\n$999999999999\r\n", "possible length"),
        CASE("*1\r\n$99999999999999999999\r\n", "a number"),
        CASE("*1\r\n$4\r\nPINGx\r\n", "the end of an argument"),
        CASE("*1\r\n:4\r\n", "expected an argument"),
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

/* With lengths, as a client sends it. */
static void add_command(struct buf *out, const char *const *words)
{
    size_t count = 0;

    while (words[count])
        count++;
    buf_addf(out, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++)
        buf_addf(out, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
}

#define ADD(out, ...) add_command(out, (const char *const[]){__VA_ARGS__, NULL})

static void commands_that_are_no_data_are_refused(void **state)
{
    static const char *const names[] = {"MODULE", "config", "Debug", "REPLICAOF", "SLAVEOF",
        "MIGRATE", "EVAL", "evalsha", "EVAL_RO", "FCALL", "SAVE", "BGREWRITEAOF", "SHUTDOWN", "ACL",
        "FAILOVER", "RESET", "MONITOR", "CLUSTER", "TMOD.SET", "setx", "se", "DISCARD", "WATCH"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        for (size_t step = 1; step <= 1000; step += 999)
            for (int inside = 0; inside < 2; inside++) {
                struct buf text = BUF_INIT, out = BUF_INIT, says = BUF_INIT;
                struct aof_facts facts;
                struct err err = ERR_INIT;
                buf_adds(&text, inside ? SET_A MULTI : SET_A);
                buf_addf(&says, "'%s' at byte %zu", names[i], text.len);
                size_t before = text.len;
                ADD(&text, names[i], "LOAD", "/x.so");
                ADD(&text, "SET", "b", "1");
                assert_int_equal(-1, read_aof(text.data, text.len, step, &facts, &out, &err));
                assert_int_equal(err.code, ERR_CHECK);
                if (!strstr(err.message, says.data))
                    fail_msg("%s: %s", names[i], err.message);
                assert_true(out.len <= before);
                buf_release(&text);
                buf_release(&out);
                buf_release(&says);
            }
}

static void names_may_not_hide(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
#define CASE(text) {text, sizeof(text) - 1}
        CASE("*2\r\n$4\r\nSET\0\r\n$1\r\na\r\n"),
        CASE("*1\r\n$0\r\n\r\n"),
        CASE("*1\r\n$8\r\nFUNCTION\r\n"),
        CASE("*2\r\n$8\r\nFUNCTION\r\n$4\r\nKILL\r\n"),
        CASE("*2\r\n$8\r\nFUNCTION\r\n$5\r\nLOAD\0\r\n"),
#undef CASE
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (size_t step = 1; step <= 100; step += 99) {
            struct buf out = BUF_INIT;
            struct aof_facts facts;
            struct err err = ERR_INIT;
            assert_int_equal(-1, read_aof(cases[i].text, cases[i].len, step, &facts, &out, &err));
            assert_int_equal(err.code, ERR_CHECK);
            buf_release(&out);
        }
}

static void what_changes_nothing_is_left_out(void **state)
{
    struct buf text = BUF_INIT, whole = BUF_INIT;

    (void)state;
    ADD(&text, "SCRIPT", "LOAD", "return 1");
    ADD(&text, "function", "load", "#!lua name=a");
    ADD(&whole, "function", "load", "#!lua name=a");
    ADD(&text, "Multi");
    ADD(&whole, "Multi");
    ADD(&text, "PUBLISH", "channel", "words");
    ADD(&text, "rpush", "list", "1");
    ADD(&whole, "rpush", "list", "1");
    ADD(&text, "EXEC");
    ADD(&whole, "EXEC");
    ADD(&text, "PING");
    check_whole(text.data, text.len, whole.data, whole.len, 0, 7);
    size_t len = text.len;
    ADD(&text, "SCRIPT", "FLUSH");
    check_whole(text.data, text.len - 3, whole.data, whole.len, text.len - 3 - len, 7);
    buf_release(&text);
    buf_release(&whole);
}

static void the_operator_may_allow_more(void **state)
{
    static const char *const also[] = {"eval", "TMOD.SET", "CONFIG", NULL};
    struct buf text = BUF_INIT, out = BUF_INIT;
    struct aof_facts facts;
    struct err err = ERR_INIT;

    (void)state;
    ADD(&text, "EVAL", "return redis.call('set','a','1')", "0");
    ADD(&text, "tmod.set", "t:1", "1");
    struct aof_reader *r = aof_reader_new(take, &out, also);
    assert_int_equal(0, aof_reader_feed(r, text.data, text.len, &err));
    assert_int_equal(0, aof_reader_end(r, &facts, &err));
    assert_memory_equal(out.data, text.data, text.len);
    aof_reader_free(r);
    buf_clear(&text);
    ADD(&text, "CONFIG", "SET", "port", "6666");
    r = aof_reader_new(take, &out, also);
    assert_int_equal(-1, aof_reader_feed(r, text.data, text.len, &err));
    aof_reader_free(r);
    buf_release(&text);
    buf_release(&out);
}

/* The limit of 512 MB is for clients. */
static void values_may_be_long(void **state)
{
    enum { PIECE = 1 << 20, PIECES = 600 };
    static const char head[] = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$629145600\r\n";
    static char zeros[PIECE];
    struct aof_facts facts;
    struct err err = ERR_INIT;
    uint64_t bytes = 0;

    (void)state;
    struct aof_reader *r = aof_reader_new(count_bytes, &bytes, NULL);
    assert_int_equal(0, aof_reader_feed(r, head, sizeof(head) - 1, &err));
    for (int i = 0; i < PIECES; i++)
        assert_int_equal(0, aof_reader_feed(r, zeros, PIECE, &err));
    assert_int_equal(0, aof_reader_feed(r, "\r\n", 2, &err));
    assert_int_equal(0, aof_reader_end(r, &facts, &err));
    assert_int_equal(facts.commands, 1);
    assert_int_equal(facts.bytes, bytes);
    aof_reader_free(r);
}

static void names_may_stand_in_quotes(void **state)
{
    static const char text[] = "file \"with space.1.base.rdb\" seq 1 type b\n"
                               "file \"a\\\"b\\x41.1.incr.aof\" seq 1 type i startoffset 7\n"
                               "  file 'it\\'s.2' seq 2 type i\r\n";
    struct aof_manifest m;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(0, aof_manifest_parse(text, sizeof(text) - 1, &m, &err));
    assert_int_equal(m.count, 3);
    assert_string_equal(m.names[0], "with space.1.base.rdb");
    assert_string_equal(m.names[1], "a\"bA.1.incr.aof");
    assert_string_equal(m.names[2], "it's.2");
    aof_manifest_release(&m);
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
        "file a seq 1\n", "file a seq 1 type i\nfile a seq 1 type i\n",
        "file a seq 2 type i\nfile b seq 1 type i\n", "file \"a seq 1 type i\n",
        "file \"a\"b seq 1 type i\n"};

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
        cmocka_unit_test(commands_that_are_no_data_are_refused),
        cmocka_unit_test(names_may_not_hide),
        cmocka_unit_test(what_changes_nothing_is_left_out),
        cmocka_unit_test(the_operator_may_allow_more),
        cmocka_unit_test(values_may_be_long),
        cmocka_unit_test(names_may_stand_in_quotes),
        cmocka_unit_test(a_manifest_names_its_files_in_order),
        cmocka_unit_test(a_manifest_of_anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
