#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "recluster/repl.h"

#define SELECT_3 "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
#define PING "*1\r\n$4\r\nping\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"
#define SET "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$12\r\n*1\r\n$4\r\nEXEC\r\n"
enum { START = 1000 };

static int feed(struct repl_stream *s, const char *text, size_t step, struct err *err)
{
    size_t len = strlen(text);

    repl_stream_init(s, START, 0);
    for (size_t at = 0; at < len; at += step)
        if (repl_stream_feed(s, text + at, len - at < step ? len - at : step, err) < 0)
            return -1;
    return 0;
}

/* Whatever the pieces: the last place where the stream could end, and the database there. */
static void check(const char *text, size_t whole, int64_t db)
{
    static const size_t steps[] = {1, 2, 7, 1000};

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct repl_stream s;
        struct err err = ERR_INIT;
        assert_int_equal(feed(&s, text, steps[i], &err), 0);
        assert_int_equal(s.offset, START + strlen(text));
        assert_int_equal(s.whole_at, START + whole);
        assert_int_equal(repl_stream_is_whole(&s), whole == strlen(text));
        assert_int_equal(s.db, db);
    }
}

#define LEN(text) (sizeof(text) - 1)

static void ends_are_found(void **state)
{
    (void)state;
    check("", 0, 0);
    check(PING, LEN(PING), 0);
    check(PING SET, LEN(PING SET), 0);
    check(SET "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$12\r\n*1\r\n$4", LEN(SET), 0);
    check(SET "*", LEN(SET), 0);
    check("*1\r\n$0\r\n\r\n" SET, LEN("*1\r\n$0\r\n\r\n" SET), 0);
}

static void transactions_are_kept_together(void **state)
{
    (void)state;
    check(SET MULTI SET, LEN(SET), 0);
    check(SET MULTI SET EXEC, LEN(SET MULTI SET EXEC), 0);
    check(MULTI EXEC MULTI, LEN(MULTI EXEC), 0);
}

static void databases_are_followed(void **state)
{
    (void)state;
    check(SELECT_3, LEN(SELECT_3), 3);
    check(SELECT_3 SET "*2\r\n$6\r\nSELECT\r\n$2\r\n1", LEN(SELECT_3 SET), 3);
    check("*2\r\n$6\r\nselect\r\n$2\r\n12\r\n", 24, 12);
}

static void damage_is_named(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {SET "SET a b\r\n", "at offset 1039: expected the start of a command, found 0x53"},
        {"\n", "at offset 1000"},
        {"*0\r\n", "at offset 1003"},
        {"*1\r\n$-1\r\n", "at offset 1005: expected a number"},
        {"*1\r\n$4\r\nPINGxx", "at offset 1012: expected the end of an argument"},
        {MULTI MULTI, "at offset 1015: MULTI in a transaction"},
        {PING EXEC, "at offset 1014: EXEC without MULTI"},
        {"*2\r\n$6\r\nSELECT\r\n$1\r\nx\r\n", "SELECT without a number at offset 1000"},
        {"*1\r\n$6\r\nSELECT\r\n", "SELECT without a number at offset 1000"},
        {"*2\r\n$6\r\nSELECT\r\n$2\r\n-1\r\n", "SELECT without a number at offset 1000"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (size_t step = 1; step < 50; step += 12) {
            struct repl_stream s;
            struct err err = ERR_INIT;
            assert_int_equal(feed(&s, cases[i].text, step, &err), -1);
            assert_int_equal(err.code, ERR_CORRUPT);
            if (!strstr(err.message, cases[i].message))
                fail_msg("%s: %s", cases[i].message, err.message);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_are_found),
        cmocka_unit_test(transactions_are_kept_together),
        cmocka_unit_test(databases_are_followed),
        cmocka_unit_test(damage_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
