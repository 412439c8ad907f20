#include "ccs_test.h"

#include <stdlib.h>
#include <string.h>

#include "ccs/value.h"
#include "recluster/buf.h"

static void test_bool(void **state)
{
    static const struct {
        const char *text;
        int value; /* -1: unreadable */
    } cases[] = {{"enabled", 1}, {"Disabled", 0}, {"yes", 1}, {"no", 0}, {"TRUE", 1}, {"false", 0},
        {"1", 1}, {"0", 0}, {"on", 1}, {"off", 0}, {"", -1}, {"maybe", -1}, {"2", -1},
        {"enabled ", -1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool value = false;
        bool ok = value_bool(cases[i].text, &value);
        assert_int_equal(ok ? value : -1, cases[i].value);
    }
}

static void test_int_and_bytes(void **state)
{
    static const struct {
        const char *text;
        int64_t number, bytes; /* -1: unreadable */
    } cases[] = {{"0", 0, 0}, {"12000", 12000, 12000}, {" 7 ", 7, 7}, {"7.0", 7, 7}, {"-7", -1, -1},
        {"", -1, -1}, {"7x", -1, -1}, {"1gb", -1, 1 << 30}, {"512 MB", -1, 512 << 20},
        {"1.5G", -1, 3 << 29}, {"9007199254740993", 9007199254740993, 9007199254740993},
        {"99999999999999999999", -1, -1}, {"9223372036854775807", INT64_MAX, INT64_MAX},
        {"lots", -1, -1}, {"nan", -1, -1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t number = -1, bytes = -1;
        assert_int_equal(value_int(cases[i].text, 0, INT64_MAX, &number), cases[i].number >= 0);
        assert_int_equal(number, cases[i].number);
        assert_int_equal(value_bytes(cases[i].text, &bytes), cases[i].bytes >= 0);
        assert_int_equal(bytes, cases[i].bytes);
    }
    int64_t port = 5;
    assert_false(value_int("65536", 0, 65535, &port));
    assert_int_equal(port, 5);
}

/* The items, each in brackets. */
static char *bracketed(const char *const *items, size_t count)
{
    struct buf out = BUF_INIT;

    for (size_t i = 0; i < count; i++)
        buf_addf(&out, "[%s]", items[i]);
    assert_null(items[count]);
    return buf_take(&out);
}

static void test_list(void **state)
{
    static const struct {
        const char *text, *ids, *parallel;
    } cases[] = {
        {"4,5,6", "[4][5][6]", "[4][5][6]"},
        {"4 5 6", "[4][5][6]", "[4 5 6]"},
        {"4, 5,,6,", "[4][5][6]", "[4][ 5][][6][]"},
        {"[4,5,\"6\"]", "[4][5][6]", "[4][5][6]"},
        {"[\"1:1\",\"\",null]", "[1:1]", "[1:1][][]"},
        {"[{\"uid\":4},{\"module_name\":\"search\",\"x\":1}]", "[4][search]", "[4][search]"},
        {"['4', '5']", "[4][5]", "[['4'][ '5']]"},
        {"", "", ""},
        {"[]", "", ""},
        {",WORKERS 6,,", "[WORKERS][6]", "[][WORKERS 6][][]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena arena = ARENA_INIT;
        size_t count;
        const char *const *items = value_list(&arena, cases[i].text, VALUE_IDS, &count);
        char *text = bracketed(items, count);
        assert_string_equal(text, cases[i].ids);
        free(text);
        items = value_list(&arena, cases[i].text, VALUE_PARALLEL, &count);
        text = bracketed(items, count);
        assert_string_equal(text, cases[i].parallel);
        free(text);
        arena_release(&arena);
    }
}

static void test_prefixed_list(void **state)
{
    static const struct {
        const char *text, *items; /* NULL: unreadable */
    } cases[] = {
        {"003abc00112", NULL},
        {"003abc002xy", "[abc][xy]"},
        {"012.*\\{(?<tag>.*)\\}.*00a(?<tag>.*)", "[.*\\{(?<tag>.*)\\}.*][(?<tag>.*)]"},
        {"", ""},
        {"000000", "[][]"},
        {"002\xc3\xa9x", "[\xc3\xa9x]"}, /* characters */
        {"003\xc3\xa9x", "[\xc3\xa9x]"}, /* bytes */
        {"00", NULL},
        {"fffabc", NULL},
        {"xyz", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena arena = ARENA_INIT;
        const char *const *items;
        size_t count;
        bool ok = value_prefixed_list(&arena, cases[i].text, &items, &count);
        assert_int_equal(ok, cases[i].items != NULL);
        if (ok) {
            char *text = bracketed(items, count);
            assert_string_equal(text, cases[i].items);
            free(text);
        }
        arena_release(&arena);
    }
}

static void test_slots(void **state)
{
    static const struct {
        const char *text;
        enum ccs_slots_policy policy;
        const char *slots; /* NULL: unreadable */
    } cases[] = {
        {"0-16383", CCS_SLOTS_16K, "0-16383"},
        {"0-5,7,9-10", CCS_SLOTS_16K, "0-5,7,9-10"},
        {"", CCS_SLOTS_16K, ""},
        {"1-4096", CCS_SLOTS_LEGACY, "0-16383"},
        {"1", CCS_SLOTS_LEGACY, "0,4096,8192,12288"},
        {"1-2048", CCS_SLOTS_LEGACY, "0-2047,4096-6143,8192-10239,12288-14335"},
        {"0-5", CCS_SLOTS_LEGACY, NULL},
        {"4097", CCS_SLOTS_LEGACY, NULL},
        {"0-16384", CCS_SLOTS_16K, NULL},
        {"9-3", CCS_SLOTS_16K, NULL},
        {"-1", CCS_SLOTS_16K, NULL},
        {"zero", CCS_SLOTS_16K, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf text = BUF_INIT;
        struct slots slots;
        bool ok = value_slots(cases[i].text, cases[i].policy, &slots);
        assert_int_equal(ok, cases[i].slots != NULL);
        if (ok) {
            slots_format(&slots, &text);
            assert_string_equal(text.data, cases[i].slots);
        }
        buf_release(&text);
    }
}

static void test_words(void **state)
{
    bool flag = false;
    enum ccs_persistence persistence;

    (void)state;
    assert_true(value_role("MASTER", &flag) && flag);
    assert_true(value_role("slave", &flag) && !flag);
    assert_true(value_role("primary", &flag) && flag);
    assert_true(value_role("replica", &flag) && !flag);
    assert_false(value_role("leader", &flag));

    assert_string_equal(value_eviction_policy("volatile_lru"), "volatile-lru");
    assert_string_equal(value_eviction_policy("NoEviction"), "noeviction");
    assert_string_equal(value_eviction_policy("no-eviction"), "noeviction");
    assert_null(value_eviction_policy("lru"));
    assert_null(value_eviction_policy(""));

    assert_true(value_persistence("aof", &persistence) && persistence == CCS_PERSIST_AOF);
    assert_true(value_persistence("appendfsync-every-sec", &persistence));
    assert_int_equal(persistence, CCS_PERSIST_AOF);
    assert_true(value_persistence("snapshot", &persistence));
    assert_int_equal(persistence, CCS_PERSIST_SNAPSHOT);
    assert_true(value_persistence("disabled", &persistence));
    assert_int_equal(persistence, CCS_PERSIST_NONE);
    assert_false(value_persistence("sometimes", &persistence));

    assert_true(value_fsync("appendfsync-always", &flag) && flag);
    assert_true(value_fsync("always", &flag) && flag);
    assert_true(value_fsync("appendfsync-every-sec", &flag) && !flag);
    assert_true(value_fsync("everysec", &flag) && !flag);
    assert_true(value_fsync("aof-every-1-second", &flag) && !flag);
    assert_false(value_fsync("never mind", &flag));
}

static void test_save_points(void **state)
{
    static const struct {
        const char *text, *points; /* NULL: unreadable */
    } cases[] = {
        {"900 1", "900/1 "},
        {"900 1 300 10", "900/1 300/10 "},
        {"900/1,300/10", "900/1 300/10 "},
        {"[{\"secs\":900,\"writes\":1},{\"secs\":\"60\",\"writes\":\"1000\"}]", "900/1 60/1000 "},
        {"{\"seconds\":900,\"changes\":1}", "900/1 "},
        {"[[900,1],[300,10]]", "900/1 300/10 "},
        {"[900,1]", "900/1 "},
        {"[\"900 1\",\"300/10\"]", "900/1 300/10 "},
        {"", NULL},
        {"[]", NULL},
        {"900", NULL},
        {"900 1 300", NULL},
        {"0 1", NULL},
        {"-900 1", NULL},
        {"900 99999999999999999999", NULL},
        {"every day", NULL},
        {"[{\"secs\":900}]", NULL},
        {"[true]", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena arena = ARENA_INIT;
        struct buf text = BUF_INIT;
        struct ccs_save_point *points = NULL;
        size_t count = 0;
        bool ok = value_save_points(&arena, cases[i].text, &points, &count);
        for (size_t k = 0; k < count; k++)
            buf_addf(&text, "%d/%d ", (int)points[k].seconds, (int)points[k].changes);
        assert_string_equal(ok ? text.data : "", cases[i].points ? cases[i].points : "");
        buf_release(&text);
        arena_release(&arena);
    }
}

static void test_location(void **state)
{
    static const struct {
        const char *text, *json; /* NULL: unreadable */
    } cases[] = {
        {"{\"type\":\"mount_point\",\"path\":\"/b\"}",
            "{\"path\":\"/b\",\"type\":\"mount_point\"}"},
        {"{\"path\":\"/b\"}", "{\"path\":\"/b\",\"type\":\"mount_point\"}"},
        {"{\"bucket_name\":\"b\",\"access_key_id\":\"k\"}",
            "{\"access_key_id\":\"k\",\"bucket_name\":\"b\",\"type\":\"s3\"}"},
        {"/mnt/b", "{\"path\":\"/mnt/b\",\"type\":\"mount_point\"}"},
        {"ftps://u:p@h/b", "{\"type\":\"url\",\"url\":\"ftps://u:p@h/b\"}"},
        {"sftp://h/b", "{\"sftp_url\":\"sftp://h/b\",\"type\":\"sftp\"}"},
        {"https://h/b", "{\"type\":\"http\",\"url\":\"https://h/b\"}"},
        {"{}", NULL},
        {"[1]", NULL},
        {"{\"type\":7}", NULL},
        {"{\"type\":", NULL},
        {"somewhere", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *location = value_location(cases[i].text);
        if (!cases[i].json) {
            assert_null(location);
            continue;
        }
        assert_non_null(location);
        char *text = json_dumps(location, JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(text, cases[i].json);
        free(text);
        json_decref(location);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bool),
        cmocka_unit_test(test_int_and_bytes),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_prefixed_list),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_save_points),
        cmocka_unit_test(test_location),
    };

    return cmocka_run_group_tests_name("ccs_value", tests, NULL, NULL);
}
