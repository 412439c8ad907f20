#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/slots.h"

static void keys_get_the_slots_that_servers_give_them(void **state)
{
    /* As redis-server 7.0.15 answers CLUSTER KEYSLOT. */
    static const struct {
        const char *key;
        unsigned slot;
    } cases[] = {
        {"", 0},
        {"a", 15495},
        {"foo", 12182},
        {"123456789", 0x31c3},
        {"somekey", 11058},
        {"user:1000000000000000000", 7529},
        {"{user1000}.following", 3443},
        {"user1000", 3443},
        {"foo{}{bar}", 8363},
        {"foo{{bar}}zap", 4015},
        {"{bar", 4015},
        {"foo{bar}{zap}", 5061},
        {"bar", 5061},
        {"foo{bar", 15278},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(slot_of_key(cases[i].key, strlen(cases[i].key)), cases[i].slot);
}

static void long_keys_equal_the_bitwise_crc(void **state)
{
    (void)state;
    uint8_t key[100] = {0};
    for (size_t len = 0; len < sizeof(key); len++) {
        unsigned crc = 0;
        for (size_t i = 0; i < len; i++) {
            key[i] = (uint8_t)(i * 37 + len);
            if (key[i] == '{')
                key[i] = 'x';
            crc ^= (unsigned)key[i] << 8;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
        }
        assert_int_equal(slot_of_key(key, len), crc % SLOT_COUNT);
    }
}

static void text_is_read_and_written(void **state)
{
    static const struct {
        const char *in, *out;
        unsigned count;
    } cases[] = {
        {"", "", 0},
        {"0", "0", 1},
        {"0-16383", "0-16383", 16384},
        {"6000,0-5460", "0-5460,6000", 5462},
        {"1-3,4,5-6", "1-6", 6},
        {"63-64,127,128,16383", "63-64,127-128,16383", 5},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct slots s, again;
        struct err err = ERR_INIT;
        struct buf text = BUF_INIT;
        slots_clear(&s);
        slots_clear(&again);
        assert_int_equal(slots_parse(cases[i].in, &s, &err), 0);
        slots_format(&s, &text);
        assert_string_equal(text.data, cases[i].out);
        assert_int_equal(slots_count(&s), cases[i].count);
        assert_int_equal(slots_is_empty(&s), cases[i].count == 0);
        json_t *json = slots_to_json(&s);
        assert_int_equal(slots_from_json(json, &again, &err), 0);
        assert_true(slots_equal(&s, &again));
        json_decref(json);
        buf_release(&text);
    }
}

static void bad_text_is_refused_and_adds_nothing(void **state)
{
    static const char *const bad[] = {"x", "-", "1-", "-1", "1,", ",1", "5-4", "16384", "0-16384",
        "1 2", " 1", "1--2", "99999999999999999999", "1-2-3", "1,,2"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct slots s;
        struct err err = ERR_INIT;
        slots_clear(&s);
        assert_int_equal(slots_parse(bad[i], &s, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.message, bad[i]));
        assert_true(slots_is_empty(&s));
    }
}

static void legacy_slots_are_four_open_ones(void **state)
{
    (void)state;
    struct slots s;
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT;

    slots_clear(&s);
    assert_int_equal(slots_parse_legacy("1,4095-4096", &s, &err), 0);
    slots_format(&s, &text);
    assert_string_equal(text.data, "0,4094-4096,8190-8192,12286-12288,16382-16383");
    assert_int_equal(slots_parse_legacy("0", &s, &err), -1);
    assert_int_equal(slots_parse_legacy("4097", &s, &err), -1);
    slots_clear(&s);
    assert_int_equal(slots_parse_legacy("1-4096", &s, &err), 0);
    assert_int_equal(slots_count(&s), SLOT_COUNT);
    buf_release(&text);
}

/* As redis-cli writes ranges of one slot. */
static void a_range_of_one_slot_may_be_short(void **state)
{
    struct slots s, expected;
    struct err err = ERR_INIT;

    (void)state;
    slots_clear(&s);
    slots_clear(&expected);
    slots_add_range(&expected, 5461, 5461);
    slots_add_range(&expected, 5463, 5470);
    json_t *json = json_loads("[[5461],[5463,5470]]", 0, NULL);
    assert_int_equal(slots_from_json(json, &s, &err), 0);
    assert_true(slots_equal(&s, &expected));
    json_decref(json);
}

static void bad_json_is_refused(void **state)
{
    static const char *const bad[] = {"{}", "[1]", "[[]]", "[[\"5\"]]", "[[1,2,3]]", "[[16384]]",
        "[[-1,2]]", "[[2,1]]", "[[0,16384]]", "[[\"0\",1]]", "[[0.5,1]]"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct slots s;
        struct err err = ERR_INIT;
        slots_clear(&s);
        json_t *json = json_loads(bad[i], 0, NULL);
        assert_non_null(json);
        assert_int_equal(slots_from_json(json, &s, &err), -1);
        assert_int_equal(err.code, ERR_PROTOCOL);
        assert_true(slots_is_empty(&s));
        json_decref(json);
    }
}

static void sets_are_combined(void **state)
{
    (void)state;
    struct slots a, b, all;
    struct err err = ERR_INIT;

    slots_clear(&a);
    slots_clear(&b);
    slots_fill(&all);
    assert_int_equal(slots_count(&all), SLOT_COUNT);
    assert_int_equal(slots_parse("0-99", &a, &err), 0);
    assert_int_equal(slots_parse("50-149", &b, &err), 0);
    assert_true(slots_overlap(&a, &b));
    assert_true(slots_contain(&all, &a));
    assert_false(slots_contain(&a, &b));
    assert_true(slots_has(&a, 99));
    assert_false(slots_has(&a, 100));
    assert_false(slots_has(&all, SLOT_COUNT));

    struct slots both = a, either = a, only_a = a;
    slots_intersect(&both, &b);
    slots_union(&either, &b);
    slots_subtract(&only_a, &b);
    assert_int_equal(slots_count(&both), 50);
    assert_int_equal(slots_count(&either), 150);
    assert_int_equal(slots_count(&only_a), 50);
    assert_false(slots_overlap(&only_a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_get_the_slots_that_servers_give_them),
        cmocka_unit_test(long_keys_equal_the_bitwise_crc),
        cmocka_unit_test(text_is_read_and_written),
        cmocka_unit_test(bad_text_is_refused_and_adds_nothing),
        cmocka_unit_test(legacy_slots_are_four_open_ones),
        cmocka_unit_test(a_range_of_one_slot_may_be_short),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(sets_are_combined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
