/* Which dated copies are kept. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recluster/capture.h"

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS };
#define NOW_MS (INT64_C(20000) * DAY_MS + 13 * HOUR_MS)

static struct capture_keep keep_of(const char *text)
{
    struct capture_keep keep;
    struct err err = ERR_INIT;

    if (capture_keep_parse(text, &keep, &err) < 0)
        fail_msg("%s", err.message);
    return keep;
}

static size_t count_kept(const bool *kept, size_t from, size_t to)
{
    size_t count = 0;
    for (size_t i = from; i < to; i++)
        count += kept[i];
    return count;
}

/* A copy each minute for 40 days. */
static void a_minute_each(void **state)
{
    enum { COUNT = 40 * 24 * 60 };
    const struct capture_keep keep = keep_of("24h:5m,30d:1d");
    static int64_t times[COUNT];
    static bool kept[COUNT];

    (void)state;
    for (int64_t i = 0; i < COUNT; i++)
        times[i] = NOW_MS - i * MINUTE_MS;
    capture_keep_choose(&keep, NOW_MS, times, COUNT, kept);
    assert_true(kept[0]);
    assert_in_range(count_kept(kept, 0, 24 * 60), 288, 290);
    assert_in_range(count_kept(kept, 24 * 60 + 1, 30 * 24 * 60), 28, 30);
    assert_int_equal(count_kept(kept, 30 * 24 * 60 + 1, COUNT), 0);
}

/* What is kept stays kept while time goes on, until it is too old. */
static void it_is_stable(void **state)
{
    enum { COUNT = 500 };
    const struct capture_keep keep = keep_of("24h:1h");
    int64_t times[COUNT];
    bool first[COUNT], again[COUNT];

    (void)state;
    for (int64_t i = 0; i < COUNT; i++)
        times[i] = NOW_MS - i * 3 * MINUTE_MS;
    capture_keep_choose(&keep, NOW_MS, times, COUNT, first);
    size_t count = 0;
    for (size_t i = 0; i < COUNT; i++)
        if (first[i])
            times[count++] = times[i];
    capture_keep_choose(&keep, NOW_MS + 10 * MINUTE_MS, times, count, again);
    assert_int_equal(count_kept(again, 0, count - 1), count - 1);
}

static void the_newest_is_always_kept(void **state)
{
    const struct capture_keep keep = keep_of("1h:1m");
    const int64_t times[] = {NOW_MS - 400 * (int64_t)DAY_MS, NOW_MS - 401 * (int64_t)DAY_MS};
    bool kept[2];

    (void)state;
    capture_keep_choose(&keep, NOW_MS, times, 2, kept);
    assert_true(kept[0]);
    assert_false(kept[1]);
    capture_keep_choose(&keep, NOW_MS, times, 0, kept);
}

static void rules_that_are_none(void **state)
{
    static const char *const bad[] = {"", "24h", "24h:", ":5m", "24h:5m,", "x:5m", "0s:5m",
        "24h:0s", "1h:1m,1h:1m,1h:1m,1h:1m,1h:1m,1h:1m,1h:1m,1h:1m,1h:1m"};
    struct capture_keep keep;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct err err = ERR_INIT;
        if (capture_keep_parse(bad[i], &keep, &err) == 0)
            fail_msg("'%s' is taken", bad[i]);
        assert_int_equal(err.code, ERR_USAGE);
    }
}

static void names(void **state)
{
    static const char *const foreign[] = {"ccs-redis.rdb", "ccs-redis-20260131T130509Z.rdb.tmp",
        "ccs-redis-20261331T130509Z.rdb", "ccs-redis-2026-131T130509Z.rdb", "x", ""};
    char name[CAPTURE_NAME_MAX];
    int64_t ms;

    (void)state;
    capture_dated_name(INT64_C(1769864709123), name);
    assert_string_equal(name, "ccs-redis-20260131T130509Z.rdb");
    assert_true(capture_dated_time(name, &ms));
    assert_int_equal(ms, INT64_C(1769864709000));
    for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
        assert_false(capture_dated_time(foreign[i], &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minute_each),
        cmocka_unit_test(it_is_stable),
        cmocka_unit_test(the_newest_is_always_kept),
        cmocka_unit_test(rules_that_are_none),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
