#include <string.h>

#include "recluster/catalogue.h"
#include "recluster/clock.h"
#include "sample.h"
#include "temp_dir.h"
#include "test.h"

#define ID "0123456789012345678901234567890123456789"
#define OTHER "abcdefabcdefabcdefabcdefabcdefabcdefabcd"
#define MINUTE_MS INT64_C(1769864700000) /* 2026-01-31T13:05:00Z */

static struct slots all_slots;

static void put(const char *dir, const char *name)
{
    struct buf plain = BUF_INIT;
    const char *const keys[] = {NULL};

    sample_rdb(&plain, keys, 1769864000);
    temp_file(dir, name, plain.data, strncmp(name, "base", 4) == 0 ? plain.len : 10);
    buf_release(&plain);
}

static void put_index(const char *dir, const char *name, const char *cuts)
{
    AUTO_FREE char *text = xasprintf("{\"recluster_cuts\": 1, \"cuts\": [%s]}", cuts);
    temp_file(dir, name, text, strlen(text));
}

#define CUT(ms, id, offset)                                                                        \
    "{\"time\": \"x\", \"time_ms\": 17698647" ms ", \"shards\": {\"4\": {\"repl_id\": \"" id       \
    "\", \"offset\": " offset ", \"slots\": [[0, 16383]]}}}"

/* The slots are those of the cut before. */
#define SAME(ms, id, offset)                                                                       \
    "{\"time\": \"x\", \"time_ms\": 17698647" ms ", \"shards\": {\"4\": {\"repl_id\": \"" id       \
    "\", \"offset\": " offset "}}}"

static struct catalogue look(const char *dir, int64_t at_ms)
{
    const struct slots *const shards[] = {&all_slots};
    const struct catalogue_query query = {.database_uid = "1",
        .database_name = "db",
        .sharded = true,
        .slots = &all_slots,
        .shards = shards,
        .shard_count = 1,
        .at_ms = at_ms};
    struct catalogue found;
    struct err err = ERR_INIT;
    json_t *location = json_string(dir);
    struct store *s = store_open(location, &err);

    json_decref(location);
    slots_fill(&all_slots);
    assert_non_null(s);
    assert_ok(catalogue_read(s, &query, &found, &err), err);
    store_close(s);
    return found;
}

/* "NAME skip take" of each part behind the base, and the base's name. */
static void check_parts(const struct catalogue *c, const char *expected)
{
    struct buf text = BUF_INIT;
    const json_t *part;
    size_t i;

    assert_true(c->chosen >= 0);
    const struct backup_file *file = &c->sets[c->chosen].files[0];
    assert_string_equal(file->kind, "aof-parts");
    json_array_foreach (file->parts, i, part) {
        buf_addf(&text, "%s%.6s %lld %lld", i ? ", " : "",
            json_string_value(json_object_get(part, "name")) + (i ? 52 : 50),
            (long long)json_integer_value(json_object_get(part, "skip")),
            (long long)json_integer_value(json_object_get(part, "take")));
    }
    assert_string_equal(text.data, expected);
    buf_release(&text);
}

static void the_newest_whole_moment_is_found(void **state)
{
    char *dir = temp_dir_make();

    (void)state;
    put(dir, "base-1-4-" ID "-1000.rdb.zst");
    put(dir, "base-1-4-" ID "-1150.rdb.zst");
    put(dir, "stream-1-4-" ID "-1000-1100.zst");
    put(dir, "stream-1-4-" ID "-1100-1200.zst");
    put(dir, "stream-1-4-" ID "-1300-1400.zst");
    put_index(dir, "cuts-1-20260131T1305Z.json",
        CUT("00100", ID, "1000") "," CUT("01000", ID, "1120") "," CUT("02000", ID, "1180") "," CUT(
            "03000", ID, "1350"));
    /* The last one has a gap before it; the one before begins within a segment. */
    struct catalogue c = look(dir, -1);
    check_parts(&c, "1150.r 0 0, 1100-1 50 80");
    assert_int_equal(c.sets[c.chosen].time_ms, MINUTE_MS + 2000);
    assert_int_equal(c.set_count, 2);
    assert_non_null(strstr(c.sets[0].reason, "ends at offset 1200 of 1350"));
    catalogue_release(&c);
    c = look(dir, MINUTE_MS + 1999);
    check_parts(&c, "1000.r 0 0, 1000-1 0 0, 1100-1 0 20");
    catalogue_release(&c);
    c = look(dir, MINUTE_MS + 500);
    check_parts(&c, "1000.r 0 0");
    catalogue_release(&c);
    temp_dir_remove(dir);
}

static void a_failover_is_followed_and_a_dead_branch_is_not(void **state)
{
    char *dir = temp_dir_make();

    (void)state;
    put(dir, "base-1-4-" ID "-1000.rdb.zst");
    put(dir, "stream-1-4-" ID "-1000-1100.zst");
    put(dir, "stream-1-4-" OTHER "-1100-1300.zst");
    put(dir, "stream-1-4-" ID "-1100-1200.zst"); /* lost writes of the old primary */
    put_index(dir, "cuts-1-20260131T1305Z.json", CUT("01000", OTHER, "1250"));
    struct catalogue c = look(dir, -1);
    check_parts(&c, "1000.r 0 0, 1000-1 0 0, 1100-1 0 150");
    const json_t *last = json_array_get(c.sets[0].files[0].parts, 2);
    assert_non_null(strstr(json_string_value(json_object_get(last, "name")), OTHER));
    catalogue_release(&c);
    temp_dir_remove(dir);
}

static void what_a_failed_primary_sent_is_named(void **state)
{
    char *dir = temp_dir_make();
    struct store_list list = STORE_LIST_INIT;
    struct err err = ERR_INIT;
    json_t *location = json_string(dir), *archives;

    (void)state;
    put(dir, "base-1-4-" ID "-1000.rdb.zst");
    put(dir, "stream-1-4-" ID "-1000-1100.zst");
    put(dir, "stream-1-4-" ID "-1100-1200.zst");
    put(dir, "stream-1-4-" OTHER "-1150-1300.zst");
    put(dir, "stream-1-5-" OTHER "-1000-9000.zst"); /* of another shard */
    put_index(dir, "cuts-1-20260131T1305Z.json", CUT("01000", ID, "1120"));
    struct store *s = store_open(location, &err);
    assert_non_null(s);
    assert_ok(store_list(s, &list, &err), err);
    assert_ok(catalogue_archives(s, &list, &archives, &err), err);
    const json_t *branches = json_object_get(json_array_get(archives, 0), "branches");
    assert_int_equal(json_array_size(branches), 1);
    const json_t *branch = json_array_get(branches, 0);
    assert_string_equal(json_string_value(json_object_get(branch, "repl_id")), ID);
    assert_int_equal(json_integer_value(json_object_get(branch, "from")), 1150);
    assert_int_equal(json_integer_value(json_object_get(branch, "to")), 1200);
    json_decref(archives);
    json_decref(location);
    store_list_release(&list);
    store_close(s);
    temp_dir_remove(dir);
}

/* What anybody may have written there. */
static void odd_objects_are_nobodys(void **state)
{
    static const char *const names[] = {"base-1-4-short-1000.rdb", "stream-1-4-" ID "-9-8.zst",
        "stream-1-4-" ID "--5-8.zst", "stream-1-4-" ID "-99999999999999999999-8.zst", "stream-1--",
        "base-1-4-" ID "-.rdb", "base-2-4-" ID "-1000.rdb", "cuts-1-x-y.json"};
    static const char *const indexes[] = {"{}", "[]", "{\"recluster_cuts\": 2, \"cuts\": []}",
        "{\"recluster_cuts\": 1, \"cuts\": [1, {}, {\"time_ms\": \"x\"}, {\"time_ms\": 5}]}",
        "{\"recluster_cuts\": 1, \"cuts\": [{\"time_ms\": 5, \"shards\": {\"4\": {\"repl_id\": 1}}}]}",
        "{\"recluster_cuts\": 1, \"cuts\": [{\"time_ms\": 5, \"shards\": {\"4\": {\"repl_id\": \"" ID
        "\", \"offset\": -7, \"slots\": [[0, 99999]]}}}]}"};
    char *dir = temp_dir_make();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        put(dir, names[i]);
    put(dir, "base-1-4-" ID "-1000.rdb.zst");
    put(dir, "dump.rdb");
    for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
        AUTO_FREE char *name = xasprintf("cuts-1-20260131T130%zuZ.json", i);
        temp_file(dir, name, indexes[i], strlen(indexes[i]));
    }
    struct catalogue c = look(dir, -1);
    for (size_t i = 0; i < c.set_count; i++)
        assert_false(c.sets[i].complete && c.sets[i].file_count &&
                     c.sets[i].files[0].kind != NULL && c.sets[i].files[0].parts);
    catalogue_release(&c);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_whole_moment_is_found),
        cmocka_unit_test(what_a_failed_primary_sent_is_named),
        cmocka_unit_test(a_failover_is_followed_and_a_dead_branch_is_not),
        cmocka_unit_test(odd_objects_are_nobodys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
