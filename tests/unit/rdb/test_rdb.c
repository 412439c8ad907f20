/* Files of real servers: the reader finds in them what is known to be in them, however it is fed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "recluster/file.h"
#include "trace.h"

/* Arrays of sets are in no order; scores are compared as numbers. */
static bool equal_value(const json_t *found, const json_t *expected)
{
    if (json_is_array(expected)) {
        if (json_array_size(found) != json_array_size(expected))
            return false;
        for (size_t i = 0; i < json_array_size(expected); i++) {
            size_t j = 0, n = json_array_size(found);
            while (j < n && !json_equal(json_array_get(found, j), json_array_get(expected, i)))
                j++;
            if (j == n)
                return false;
        }
        return true;
    }
    if (!json_is_object(expected))
        return json_equal(found, expected);
    const char *key;
    const json_t *value;
    if (json_object_size(found) != json_object_size(expected))
        return false;
    json_object_foreach ((json_t *)(uintptr_t)expected, key, value) {
        const json_t *other = json_object_get(found, key);
        if (!json_equal(other, value) &&
            (!json_is_string(other) ||
                strtod(json_string_value(other), NULL) != strtod(json_string_value(value), NULL)))
            return false;
    }
    return true;
}

static void compare_content(const char *name, const json_t *found, const json_t *expected)
{
    const char *key;
    const json_t *value;

    if (json_array_size(found) != json_array_size(expected))
        fail_msg("%s: %zu databases instead of %zu", name, json_array_size(found),
            json_array_size(expected));
    for (size_t i = 0; i < json_array_size(expected); i++) {
        json_t *db = json_array_get(expected, i);
        const json_t *found_db = json_array_get(found, i);
        if (json_object_size(found_db) != json_object_size(db))
            fail_msg("%s: %zu keys instead of %zu", name, json_object_size(found_db),
                json_object_size(db));
        json_object_foreach (db, key, value)
            if (!equal_value(json_object_get(found_db, key), value))
                fail_msg("%s: key '%s' differs", name, key);
    }
}

/* Lists keep their order, which equal_value() does not look at. */
static void compare_lists(const json_t *found, const json_t *expected, const char *prefix)
{
    const char *key;
    json_t *value;
    size_t lists = 0;

    json_object_foreach (json_array_get(expected, 0), key, value) {
        if (strncmp(key, prefix, strlen(prefix)) != 0)
            continue;
        lists++;
        assert_true(json_equal(json_object_get(json_array_get(found, 0), key), value));
    }
    assert_true(lists > 0);
}

static void check_file(const char *folder, const char *name)
{
    struct buf data = BUF_INIT, content = BUF_INIT;
    char *path = xasprintf("%s/%s.rdb", folder, name);
    char *content_path = xasprintf("%s/%s.json", folder, name);

    read_fixture(path, &data);
    read_fixture(content_path, &content);
    json_t *expected = json_loads(content.data, 0, NULL);
    assert_non_null(expected);
    char *first[2] = {NULL, NULL};
    for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++)
        for (unsigned want = RDB_SKIP; want <= RDB_DECODE; want++) {
            struct trace t;
            struct err err = ERR_INIT;
            trace_init(&t, (enum rdb_want)want);
            if (trace_read(&t, data.data, data.len, (enum feeding)way, NULL, &err) < 0)
                fail_msg("%s: %s", name, err.message);
            if (way == FEED_WHOLE)
                first[want] = xstrdup(t.text.data);
            else
                assert_string_equal(t.text.data, first[want]);
            if (want == RDB_DECODE)
                compare_content(name, t.databases, expected);
            if (want == RDB_DECODE && strstr(name, "list"))
                compare_lists(t.databases, expected, strstr(name, "100") ? "mylist" : "");
            trace_release(&t);
        }
    free(first[0]);
    free(first[1]);
    json_decref(expected);
    buf_release(&data);
    buf_release(&content);
    free(path);
    free(content_path);
}

static void corpus_is_read(void **state)
{
    struct err err = ERR_INIT;
    char **names;
    size_t count, files = 0;

    (void)state;
    assert_int_equal(dir_list(FIXTURES "/rdb-corpus", &names, &count, &err), 0);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        if (len < 5 || strcmp(names[i] + len - 5, ".json") != 0)
            continue;
        names[i][len - 5] = '\0';
        check_file("rdb-corpus", names[i]);
        files++;
    }
    assert_true(files >= 20);
    strv_free(names, count);
}

static void values_of_a_server_are_read(void **state)
{
    struct buf content = BUF_INIT, data = BUF_INIT;
    struct trace t;
    struct err err = ERR_INIT;

    (void)state;
    check_file("rdb", "values");
    read_fixture("rdb/values.json", &content);
    read_fixture("rdb/values.rdb", &data);
    json_t *expected = json_loads(content.data, 0, NULL);
    trace_init(&t, RDB_DECODE);
    assert_int_equal(trace_read(&t, data.data, data.len, FEED_ODD, NULL, &err), 0);
    compare_lists(t.databases, expected, "list:");
    trace_release(&t);
    json_decref(expected);
    buf_release(&content);
    buf_release(&data);
}

static void streams_and_functions_are_passed_over(void **state)
{
    struct buf data = BUF_INIT;
    char *first = NULL;

    (void)state;
    read_fixture("rdb/facts.rdb", &data);
    for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++) {
        struct trace t;
        struct err err = ERR_INIT;
        trace_init(&t, RDB_DECODE);
        if (trace_read(&t, data.data, data.len, (enum feeding)way, NULL, &err) < 0)
            fail_msg("%s", err.message);
        if (way == FEED_WHOLE)
            first = xstrdup(t.text.data);
        assert_string_equal(t.text.data, first);
        assert_non_null(strstr(first, "stream stream:grouped expires=-1\nend @"));
        assert_non_null(strstr(first, "stream stream:empty expires=-1\nend @"));
        assert_non_null(strstr(first, "string later:20 expires=4102444800000\n 20\n"));
        assert_non_null(strstr(first, "db=2 type=16 hash hash expires=4102444800000\n a=b\n"));
        assert_non_null(strstr(first, "function #!lua name=first\\x0aredis.register_function"));
        trace_release(&t);
    }
    free(first);
    buf_release(&data);
}

static void wrong_checksum_is_found(void **state)
{
    struct buf data = BUF_INIT;

    (void)state;
    read_fixture("rdb-corpus/invalid_chksum_v8.rdb", &data);
    for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++) {
        struct trace t;
        struct err err = ERR_INIT;
        trace_init(&t, RDB_SKIP);
        assert_int_equal(trace_read(&t, data.data, data.len, (enum feeding)way, NULL, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
        assert_non_null(strstr(err.message, "wrong checksum"));
        trace_release(&t);
    }
    buf_release(&data);
}

static void checksum_is_reported(void **state)
{
    struct buf data = BUF_INIT;
    struct err err = ERR_INIT;

    (void)state;
    read_fixture("rdb/values.rdb", &data);
    for (int round = 0; round < 3; round++) {
        if (round == 1)
            memset(data.data + data.len - 8, 0, 8);
        if (round == 2)
            data.data[data.len - 1] = 1;
        struct rdb_reader *r = rdb_reader_new(NULL, NULL, NULL);
        assert_int_equal(rdb_reader_feed(r, data.data, data.len, &err), 0);
        assert_int_equal(rdb_reader_end(r, &err), round == 2 ? -1 : 0);
        static const enum rdb_checksum expected[] = {
            RDB_CHECKSUM_OK, RDB_CHECKSUM_ABSENT, RDB_CHECKSUM_BAD};
        assert_int_equal(rdb_reader_checksum(r), expected[round]);
        assert_int_equal(rdb_reader_offset(r), data.len);
        rdb_reader_free(r);
    }
    buf_release(&data);
}

/* A server's file whose pieces are larger than what the reader checksums at a time. */
static void large_files_are_read(void **state)
{
    struct buf small = BUF_INIT, large = BUF_INIT;
    struct err err = ERR_INIT;
    char *first = NULL;

    (void)state;
    read_fixture("rdb-corpus/100_lists.rdb", &small);
    buf_add(&large, small.data, small.len - 9);
    for (int i = 0; i < 4; i++)
        buf_add(&large, small.data + 9, small.len - 18);
    buf_add(&large, "\xff\0\0\0\0\0\0\0\0", 9);
    for (unsigned want = RDB_SKIP; want <= RDB_DECODE; want++)
        for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++) {
            struct trace t;
            trace_init(&t, (enum rdb_want)want);
            if (trace_read(&t, large.data, large.len, (enum feeding)way, NULL, &err) < 0)
                fail_msg("%s", err.message);
            if (way == FEED_WHOLE) {
                free(first);
                first = xstrdup(t.text.data);
            }
            assert_string_equal(t.text.data, first);
            trace_release(&t);
        }
    free(first);
    buf_release(&small);
    buf_release(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corpus_is_read),
        cmocka_unit_test(values_of_a_server_are_read),
        cmocka_unit_test(streams_and_functions_are_passed_over),
        cmocka_unit_test(wrong_checksum_is_found),
        cmocka_unit_test(checksum_is_reported),
        cmocka_unit_test(large_files_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
