#include "recluster/backup_name.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/mem.h"
#include "test.h"

static const struct {
    const char *text, *stamp, *database_uid, *database_name, *shard_uid;
    unsigned index, total, first_slot, last_slot;
} good[] = {
    {"bk20201130-223654-1-db-1_of_1-2-0-16383.rdb.gz", "20201130-223654", "1", "db", "2", 1, 1, 0,
        16383},
    {"bk20201130-223654-1-db-1_of_1-2-0-16383.rdb", "20201130-223654", "1", "db", "2", 1, 1, 0,
        16383},
    {"bk20240229-000000-12-a-b-c-3_of_4-2-5-2_of_3-77-5461-10922.rdb.gz", "20240229-000000", "12",
        "a-b-c-3_of_4-2-5", "77", 2, 3, 5461, 10922},
    {"prod_bk20201130-223654-1-db-1_of_1-2-1-4096.rdb.gz", "20201130-223654", "1", "db", "2", 1, 1,
        1, 4096},
    {"bkup bk1-bk20201130-223654-1--1_of_1-2-0-0.rdb", "20201130-223654", "1", "", "2", 1, 1, 0, 0},
    {"bk20201130-223654-1-na\"me\n'%+-1_of_1-2-0-9.rdb", "20201130-223654", "1", "na\"me\n'%+", "2",
        1, 1, 0, 9},
};

static const char *const bad[] = {
    "",
    "bk",
    "nodes.json",
    "dump.rdb",
    "bk20201130-223654-1-db-1_of_1-2-0-16383.rdb.bz2",
    "bk20201130-223654-1-db-1_of_1-2-0-16383",
    "bk20201130-223654-1-db-1_of_1-2-0-16383.rdb.gz.part",
    "bk20201130-223654-1-db-2_of_1-2-0-16383.rdb.gz",
    "bk20201130-223654-1-db-0_of_1-2-0-16383.rdb.gz",
    "bk20201130-223654-1-db-1_of_1-2-5-4.rdb.gz",
    "bk20201130-223654-1-db-1_of_1-2-0-16384.rdb.gz",
    "bk20201130-223654-1-db-1_of_1-2-0-99999999999999999999.rdb.gz",
    "bk20201130-223654-1-db-1_of_1-2--1-4.rdb.gz",
    "bk20201130-223654-1-db-1_of_1--0-4.rdb.gz",
    "bk20201130-223654--db-1_of_1-2-0-4.rdb.gz",
    "bk20201130-223654-1-1_of_1-2-0-4.rdb.gz",
    "bk20201130-223654-1_of_1-2-0-4.rdb.gz",
    "bk20210229-000000-1-db-1_of_1-2-0-16383.rdb.gz",
    "bk20201330-223654-1-db-1_of_1-2-0-16383.rdb.gz",
    "bk20201130-243654-1-db-1_of_1-2-0-16383.rdb.gz",
    "bk2020113-0223654-1-db-1_of_1-2-0-16383.rdb.gz",
    "bk20201130 223654-1-db-1_of_1-2-0-16383.rdb.gz",
};

static void names_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct backup_name n;
        if (!backup_name_parse(good[i].text, &n))
            fail_msg("'%s' was not read", good[i].text);
        assert_string_equal(n.stamp, good[i].stamp);
        assert_string_equal(n.database_uid, good[i].database_uid);
        assert_string_equal(n.database_name, good[i].database_name);
        assert_string_equal(n.shard_uid, good[i].shard_uid);
        assert_int_equal(n.index, good[i].index);
        assert_int_equal(n.total, good[i].total);
        assert_int_equal(n.first_slot, good[i].first_slot);
        assert_int_equal(n.last_slot, good[i].last_slot);
    }
}

static void other_names_are_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct backup_name n;
        if (backup_name_parse(bad[i], &n))
            fail_msg("'%s' was read", bad[i]);
    }
}

static void stamp_is_utc(void **state)
{
    (void)state;
    struct backup_name n;
    setenv("TZ", "America/New_York", 1);
    assert_true(backup_name_parse(good[0].text, &n));
    assert_int_equal(n.time_ms, INT64_C(1606775814000));
}

static void long_names_are_cut(void **state)
{
    (void)state;
    struct backup_name n;
    char text[400];
    memset(text, 0, sizeof(text));
    strcpy(text, "bk20201130-223654-1-x");
    for (int i = 0; i < 60; i++)
        strcat(text, "é");
    strcat(text, "-1_of_1-2-0-16383.rdb.gz");
    assert_true(backup_name_parse(text, &n));
    assert_int_equal(strlen(n.database_name), 63); /* x and 31 characters of two bytes */
    AUTO_FREE char *made = backup_name_format(&n, ".rdb.gz");
    struct backup_name again;
    assert_true(backup_name_parse(made, &again));
    assert_int_equal(strlen(again.database_name), 59); /* x and 29 */
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct backup_name n, again;
        assert_true(backup_name_parse(good[i].text, &n));
        AUTO_FREE char *text = backup_name_format(&n, ".rdb.gz");
        assert_true(backup_name_parse(text, &again));
        assert_memory_equal(&n, &again, sizeof(n));
    }
    struct backup_name first;
    assert_true(backup_name_parse(good[0].text, &first));
    AUTO_FREE char *text = backup_name_format(&first, ".rdb.gz");
    assert_string_equal(text, good[0].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read),
        cmocka_unit_test(other_names_are_not),
        cmocka_unit_test(stamp_is_utc),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(what_is_written_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
