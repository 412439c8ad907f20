#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "recluster/digest.h"
#include "recluster/rdb_scan.h"
#include "trace.h"

static json_t *scan(const void *data, size_t len, const struct rdb_scan_options *options)
{
    struct rdb_scan *s = rdb_scan_new(options);
    struct err err = ERR_INIT;

    if (rdb_scan_feed(s, data, len, &err) < 0 || rdb_scan_end(s, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(rdb_scan_offset(s), len);
    json_t *facts = rdb_scan_json(s);
    rdb_scan_free(s);
    return facts;
}

static json_int_t number(const json_t *facts, const char *key)
{
    const json_t *value = json_object_get(facts, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void facts_of_a_server_are_found(void **state)
{
    (void)state;
    struct buf data = BUF_INIT, text = BUF_INIT;
    const char *key;
    json_t *value;
    char digest[DIGEST_HEX_MAX];

    read_fixture("rdb/facts.rdb", &data);
    read_fixture("rdb/facts.json", &text);
    json_t *expected = json_loads(text.data, 0, NULL);
    struct rdb_scan_options options = {
        .now_ms = 4102444800000, .samples = 5, .seed = 1, .sha256 = true};
    json_t *facts = scan(data.data, data.len, &options);
    json_object_foreach (expected, key, value)
        if (!json_equal(json_object_get(facts, key), value))
            fail_msg("'%s' differs", key);
    assert_int_equal(number(facts, "bytes"), data.len);
    assert_int_equal(number(facts, "expired"), 1);
    assert_string_equal(json_string_value(json_object_get(facts, "sha256")),
        digest_of(data.data, data.len, digest));
    const json_t *aux = json_object_get(facts, "aux");
    assert_string_equal(json_string_value(json_object_get(aux, "redis-ver")), "7.0.15");
    assert_int_equal(json_array_size(json_object_get(facts, "samples")), 5);
    json_decref(facts);

    facts = scan(data.data, data.len, NULL);
    assert_int_equal(number(facts, "expired"), 0);
    assert_null(json_object_get(facts, "sha256"));
    assert_int_equal(json_array_size(json_object_get(facts, "samples")), 0);
    json_decref(facts);
    json_decref(expected);
    buf_release(&data);
    buf_release(&text);
}

static void slots_and_foreign_keys_are_found(void **state)
{
    (void)state;
    struct buf file = BUF_INIT, text = BUF_INIT;
    struct err err = ERR_INIT;
    struct slots allowed, found;

    /* "foo" is of slot 12182, "bar" of 5061; "somekey" (11058) stands in database 1. */
    FILE_OF(&file, "REDIS0009",
        "\xfe\x00\x00\x03"
        "foo\x01v\x00\x03"
        "bar\x01v\xfe\x01\x00\x07somekey\x01v");
    slots_clear(&allowed);
    slots_clear(&found);
    slots_add_range(&allowed, 0, 5460);
    struct rdb_scan_options options = {.allowed = &allowed};
    json_t *facts = scan(file.data, file.len, &options);
    const json_t *slots = json_object_get(facts, "slots");
    assert_int_equal(number(slots, "covered"), 2);
    assert_int_equal(slots_from_json(json_object_get(slots, "ranges"), &found, &err), 0);
    slots_format(&found, &text);
    assert_string_equal(text.data, "5061,12182");
    const json_t *foreign = json_object_get(facts, "foreign");
    const json_t *first = json_object_get(foreign, "first");
    assert_int_equal(number(foreign, "keys"), 2);
    assert_int_equal(number(first, "slot"), 12182);
    assert_string_equal(json_string_value(json_object_get(first, "key")), "666f6f");
    json_decref(facts);
    buf_release(&file);
    buf_release(&text);
}

/* "7.0/7.2", "-" where no server will do. */
static void assert_oldest(const json_t *object, const char *expected)
{
    const char *redis = json_string_value(json_object_get(object, "redis"));
    const char *valkey = json_string_value(json_object_get(object, "valkey"));
    char text[32];

    snprintf(text, sizeof(text), "%s/%s", redis ? redis : "-", valkey ? valkey : "-");
    assert_string_equal(text, expected);
}

static void oldest_server_is_told_by_type_and_opcode(void **state)
{
    (void)state;
    static const struct {
        const char *magic, *bytes;
        size_t len;
        const char *oldest, *by_content;
    } cases[] = {
#define FILE_NEEDS(magic, bytes, oldest, by_content)                                               \
    {magic, bytes, sizeof(bytes) - 1, oldest, by_content}
        FILE_NEEDS("REDIS0003", "\x00\x01k\x01v", "2.6/7.2", "1.0/7.2"),
        FILE_NEEDS("REDIS0011", "\x00\x01k\x01v", "7.2/7.2", "1.0/7.2"),
        FILE_NEEDS("REDIS0012", "\x00\x01k\x01v", "7.4/-", "1.0/7.2"),
        FILE_NEEDS("REDIS0009", "\xf8\x01\x00\x01k\x01v", "5.0/7.2", "5.0/7.2"),
        FILE_NEEDS("REDIS0010", "\xf5\x01x", "7.0/7.2", "7.0/7.2"),
        FILE_NEEDS("REDIS0011", "\xf4\x01\x00\x00", "7.4/8.0", "7.4/8.0"),
        FILE_NEEDS("REDIS0012", "\x18\x01k\1\1\1\1\1\1\1\1\x00", "7.4/-", "7.4/-"),
        FILE_NEEDS("VALKEY080", "\x16\x01k\x00", "-/9.0", "-/9.0"),
        FILE_NEEDS("REDIS0009", "\x6b\x01\x00\x01k\x01v", "-/-", "-/-"),
    };
    struct buf file = BUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        file_of(&file, cases[i].magic, cases[i].bytes, cases[i].len);
        json_t *facts = scan(file.data, file.len, NULL);
        const json_t *oldest = json_object_get(facts, "oldest");
        assert_oldest(oldest, cases[i].oldest);
        assert_oldest(json_object_get(oldest, "by_content"), cases[i].by_content);
        json_decref(facts);
    }
    read_fixture("rdb-corpus/hash_lp_with_hexpire_v12.rdb", &file);
    json_t *facts = scan(file.data, file.len, NULL);
    const json_t *type = json_array_get(json_object_get(facts, "types"), 0);
    assert_oldest(type, "7.4/-");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(type, "first"), "key")), "6d7968617368");
    json_decref(facts);
    buf_release(&file);
}

static void the_largest_are_found_whatever_their_order(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;

    buf_adds(&file, "REDIS0009");
    for (unsigned i = 0; i < 40; i++) {
        unsigned bytes = i * 17 % 40;
        const char head[] = {0, 1, (char)('0' + bytes), (char)bytes};
        buf_add(&file, head, sizeof(head));
        for (unsigned k = 0; k < bytes; k++)
            buf_addc(&file, 'v');
    }
    buf_add(&file, "\xff\0\0\0\0\0\0\0\0", 9);
    json_t *facts = scan(file.data, file.len, NULL);
    const json_t *largest = json_object_get(facts, "largest");
    assert_int_equal(json_array_size(largest), 10);
    for (unsigned i = 0; i < 10; i++) {
        char key[3];
        const json_t *one = json_array_get(largest, i);
        snprintf(key, sizeof(key), "%02x", (unsigned)('0' + 39 - i));
        assert_string_equal(json_string_value(json_object_get(one, "key")), key);
        assert_int_equal(number(one, "bytes"), 39 - i + 4);
    }
    json_decref(facts);
    buf_release(&file);
}

static void samples_are_random_but_repeatable(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    unsigned picked[100] = {0};

    buf_adds(&file, "REDIS0009");
    for (unsigned i = 0; i < 100; i++) {
        if (i % 2)
            buf_add(&file, "\xfc\1\1\1\1\1\1\1\1", 9); /* expires: never a sample */
        const char record[] = {0, 1, (char)i, 1, 'v'};
        buf_add(&file, record, sizeof(record));
    }
    buf_add(&file, "\xff\0\0\0\0\0\0\0\0", 9);

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct rdb_scan_options options = {.samples = 5, .seed = seed};
        json_t *facts = scan(file.data, file.len, &options);
        json_t *again = scan(file.data, file.len, &options);
        assert_true(json_equal(facts, again));
        const json_t *samples = json_object_get(facts, "samples");
        assert_int_equal(json_array_size(samples), 5);
        for (size_t i = 0; i < 5; i++) {
            const json_t *sample = json_array_get(samples, i);
            assert_string_equal(json_string_value(json_object_get(sample, "kind")), "string");
            assert_int_equal(number(sample, "db"), 0);
            picked[strtoul(json_string_value(json_object_get(sample, "key")), NULL, 16)]++;
        }
        json_decref(facts);
        json_decref(again);
    }
    /* 1,000 picks of 50 keys: 20 each, give or take. */
    for (unsigned i = 0; i < 100; i++)
        assert_true(i % 2 ? picked[i] == 0 : picked[i] > 5 && picked[i] < 45);
    buf_release(&file);
}

static void databases_are_limited(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    struct err err = ERR_INIT;

    buf_adds(&file, "REDIS0009");
    for (uint32_t i = 0; i <= 16384; i++) {
        uint32_t db = htobe32(i * 2654435761u);
        buf_add(&file, "\xfe\x80", 2);
        buf_add(&file, &db, 4);
        buf_add(&file, "\0\1k\1v", 5);
    }
    struct rdb_scan *s = rdb_scan_new(NULL);
    assert_int_equal(rdb_scan_feed(s, file.data, file.len, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    json_t *facts = rdb_scan_json(s);
    assert_int_equal(json_object_size(json_object_get(facts, "keys_by_db")), 16384);
    assert_int_equal(number(facts, "keys"), 16384);
    json_decref(facts);
    rdb_scan_free(s);
    buf_release(&file);
}

static void aux_fields_are_limited(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;

    buf_adds(&file, "REDIS0009");
    buf_add(&file, "\xfa\1a\2\xff\xfe", 6); /* not UTF-8 */
    buf_add(&file, "\xfa\2a\0\1v", 6);      /* a NUL in its name */
    for (unsigned i = 0; i < 1000; i++)
        buf_addf(&file, "\xfa\x04%04u\x01v", i);
    buf_add(&file, "\xff\0\0\0\0\0\0\0\0", 9);
    json_t *facts = scan(file.data, file.len, NULL);
    const json_t *aux = json_object_get(facts, "aux");
    assert_int_equal(json_object_size(aux), 256);
    assert_null(json_object_get(aux, "a"));
    json_decref(facts);
    buf_release(&file);
}

static void modules_are_named_once(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;

    FILE_OF(&file, "REDIS0009",
        "\xf7\x00\x00\x07\x01"
        "a\x00\x00\x07\x01"
        "b\x00\x00\x07\x01"
        "c\x81\x04\x00\x00\x00\x00\x00\x00\x00\x00");
    json_t *facts = scan(file.data, file.len, NULL);
    const json_t *modules = json_object_get(facts, "modules");
    assert_int_equal(json_array_size(modules), 2);
    assert_string_equal(json_string_value(json_array_get(modules, 0)), "AAAAAAAAA");
    assert_string_equal(json_string_value(json_array_get(modules, 1)), "BAAAAAAAA");
    assert_int_equal(number(json_object_get(facts, "kinds"), "module"), 3);
    json_decref(facts);
    buf_release(&file);
}

static void what_was_seen_before_an_error_is_told(void **state)
{
    (void)state;
    struct buf data = BUF_INIT;
    struct err err = ERR_INIT;

    read_fixture("rdb/facts.rdb", &data);
    struct rdb_scan_options options = {.sha256 = true};
    struct rdb_scan *s = rdb_scan_new(&options);
    assert_int_equal(rdb_scan_feed(s, data.data, data.len / 2, &err), 0);
    assert_int_equal(rdb_scan_end(s, &err), -1);
    json_t *facts = rdb_scan_json(s);
    assert_int_equal(number(facts, "rdb_version"), 10);
    assert_int_equal(number(facts, "bytes"), data.len / 2);
    assert_true(number(facts, "functions") == 2);
    assert_string_equal(json_string_value(json_object_get(facts, "checksum")), "not reached");
    assert_null(json_object_get(facts, "sha256"));
    json_decref(facts);
    rdb_scan_free(s);
    buf_release(&data);
}

static json_t *scan_of(const char *magic, const void *bytes, size_t len)
{
    struct buf file = BUF_INIT;

    file_of(&file, magic, bytes, len);
    json_t *facts = scan(file.data, file.len, &(struct rdb_scan_options){.samples = 50});
    buf_release(&file);
    return facts;
}
#define SCAN_OF(magic, bytes) scan_of(magic, bytes, sizeof(bytes) - 1)

/* Old servers saved them; servers since 6.2.6 leave them out. */
static void empty_collections_are_counted(void **state)
{
    (void)state;
    json_t *facts = SCAN_OF("REDIS0011",
        "\x01\x01"
        "a\x00\x02\x01"
        "b\x00\x03\x01"
        "c\x00\x04\x01"
        "d\x00\x05\x01"
        "e\x00"
        "\x0a\x01"
        "f\x0b\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff"
        "\x10\x01g\x07\x07\x00\x00\x00\x00\x00\xff\x14\x01h\x07\x07\x00\x00\x00\x00\x00\xff"
        "\x0e\x01i\x00\x0e\x01j\x01\x0b\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff"
        "\x12\x01k\x02\x02\x07\x07\x00\x00\x00\x00\x00\xff\x02\x07\x07\x00\x00\x00\x00\x00\xff"
        "\x00\x01s\x00\x12\x01t\x01\x01\x01x\x01\x01u\x01\x01x"
        "\x12\x01v\x02\x02\x07\x07\x00\x00\x00\x00\x00\xff\x02\x09\x09\x00\x00\x00\x01\x00\x01\x01\xff");
    assert_int_equal(number(facts, "keys"), 15);
    assert_int_equal(number(facts, "empty"), 11);
    /* No sample is a key that a server leaves out. */
    assert_int_equal(json_array_size(json_object_get(facts, "samples")), 4);
    json_decref(facts);
}

static int scan_error(const struct buf *file, const struct rdb_suspects *suspects,
    struct rdb_suspects **ret, struct err *err)
{
    const struct rdb_scan_options options = {.suspects = suspects};
    struct rdb_scan *s = rdb_scan_new(&options);
    int rc = rdb_scan_feed(s, file->data, file->len, err);

    if (rc == 0)
        rc = rdb_scan_end(s, err);
    *ret = rdb_scan_suspects(s);
    rdb_scan_free(s);
    return rc;
}

static void a_key_twice_is_found(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    struct err err = ERR_INIT;
    struct rdb_suspects *suspects, *none;

    FILE_OF(&file, "REDIS0009",
        "\x00\x01"
        "a\x01"
        "1\x00\x01"
        "b\x01"
        "2\x00\x01"
        "a\x01"
        "3");
    assert_int_equal(scan_error(&file, NULL, &suspects, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_non_null(suspects);
    err = (struct err)ERR_INIT;
    assert_int_equal(scan_error(&file, suspects, &none, &err), -1);
    assert_string_equal(
        err.message, "the key 'a' of database 0 is there twice: at offset 9 and at offset 19");
    assert_null(none);
    rdb_suspects_free(suspects);

    /* Of two databases it is another key; behind one another it is found at once. */
    FILE_OF(&file, "REDIS0009",
        "\x00\x01"
        "a\x01"
        "1\xfe\x01\x00\x01"
        "a\x01"
        "2");
    err = (struct err)ERR_INIT;
    assert_int_equal(scan_error(&file, NULL, &suspects, &err), 0);
    assert_null(suspects);
    FILE_OF(&file, "REDIS0009",
        "\x00\x01"
        "a\x01"
        "1\x00\x01"
        "a\x01"
        "2");
    assert_int_equal(scan_error(&file, NULL, &suspects, &err), -1);
    assert_non_null(strstr(err.message, "'a' of database 0 is there twice: at offset 14"));
    assert_null(suspects);
    FILE_OF(&file, "REDIS0009",
        "\x00\x01"
        "a\x01"
        "1\0\0\0\0\0\0\0\0\0");
    err = (struct err)ERR_INIT;
    assert_int_equal(scan_error(&file, NULL, &suspects, &err), -1);
    assert_non_null(strstr(err.message, "zero bytes"));
    buf_release(&file);
}

/* Many keys, of which none or one is there twice. */
static void a_key_twice_is_found_among_many(void **state)
{
    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        struct buf text = BUF_INIT, file = BUF_INIT;
        struct err err = ERR_INIT;
        struct rdb_suspects *suspects = NULL, *none = NULL;
        for (int i = 0; i < 300000; i++) {
            buf_addc(&text, 0);
            buf_addc(&text, 10);
            buf_addf(&text, "key:%06d", i == 40000 && twice ? 77 : i);
            buf_addc(&text, 1);
            buf_addc(&text, 'v');
        }
        file_of(&file, "REDIS0009", text.data, text.len);
        int rc = scan_error(&file, NULL, &suspects, &err);
        assert_int_equal(rc, -twice);
        if (twice)
            assert_int_equal(scan_error(&file, suspects, &none, &err), -1);
        if (twice)
            assert_non_null(strstr(err.message, "'key:000077' of database 0 is there twice"));
        rdb_suspects_free(suspects);
        buf_release(&text);
        buf_release(&file);
    }
}

static void bytes_of_a_pipe_behind_the_end_do_no_harm(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } tails[] = {{"", true}, {"\n", true}, {"\r\n", true},
        {"4e0367cbc2c3a44ed03a8bbb470d46c381a8236b", true},
        {"4e0367cbc2c3a44ed03a8bbb470d46c381a8236b\r\n", true},
        {"\n4e0367cbc2c3a44ed03a8bbb470d46c381a8236b\n\n", true},
        {"4e0367cbc2c3a44ed03a8bbb470d46c381a8236", false},
        {"4e0367cbc2c3a44ed03a8bbb470d46c381a8236b0", false},
        {"4e0367cbc2c3a44ed03a\n8bbb470d46c381a8236b", false},
        {"4e0367cbc2c3a44ed03a8bbb470d46c381a8236b\n4e0367cbc2c3a44ed03a8bbb470d46c381a8236b",
            false},
        {"x", false}, {" ", false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
        struct buf file = BUF_INIT;
        struct err err = ERR_INIT;
        struct rdb_suspects *none;
        read_fixture("rdb/values.rdb", &file);
        size_t whole = file.len;
        buf_adds(&file, tails[i].text);
        int rc = scan_error(&file, NULL, &none, &err);
        if ((rc == 0) != tails[i].good)
            fail_msg("'%s': %s", tails[i].text, err.message);
        AUTO_FREE char *cut = xasprintf("head -c %zu ", whole);
        if (rc < 0)
            assert_true(strstr(err.message, "its checksum fits") && strstr(err.hint, cut));
        buf_release(&file);
    }
}

static void false_hints_are_noted(void **state)
{
    (void)state;
    json_t *facts =
        SCAN_OF("REDIS0009", "\xfe\x00\xfb\x81\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x01k\x01v");
    assert_non_null(strstr(
        json_string_value(json_array_get(json_object_get(facts, "notes"), 0)), "8589934592 keys"));
    json_decref(facts);
    facts = SCAN_OF("REDIS0009", "\xfe\x00\xfb\x05\x01\x00\x01k\x01v");
    assert_null(json_object_get(facts, "notes"));
    json_decref(facts);
}

/* Made by what public readers say of these types. */
static void types_of_redis_8_6_and_8_8_are_read(void **state)
{
    (void)state;
    json_t *facts = SCAN_OF("REDIS0014", "\x1a\x01"
                                         "a\x01\x10"
                                         "0123456789abcdef\x03lp!"
                                         "\1\1\1\1\1\1\1\1"
                                         "\x00"
                                         "\x0a\x32\x01\x02p1\x01\x02id\x01\x02\x05\x06"
                                         "\x1b\x01"
                                         "b\x00"
                                         "\1\1\1\1\1\1\1\1"
                                         "\x01\x02gr\x01\x02\x03"
                                         "\x01"
                                         "0123456789abcdef12345678\x02"
                                         "\x01\x02me"
                                         "1234567812345678\x01"
                                         "0123456789abcdef"
                                         "\x01"
                                         "0123456789abcdef"
                                         "\x00\x00\x00\x00\x00"
                                         "\x1c\x01"
                                         "c\x04\x01\x09"
                                         "\x00\x01"
                                         "12345678\x01\x02"
                                         "12345678\x02\x03\x02xy\x03\x00\x01z"
                                         "\x1c\x01"
                                         "d\x01\x00\x05\x03\x01z"
                                         "\x00\x01k\x01v");
    assert_int_equal(number(facts, "keys"), 5);
    assert_int_equal(number(json_object_get(facts, "kinds"), "stream"), 2);
    assert_int_equal(number(json_object_get(facts, "kinds"), "array"), 2);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(facts, "oldest"), "redis")), "8.8");
    json_decref(facts);
}

static void an_aux_field_with_a_nul_is_left_out(void **state)
{
    (void)state;
    json_t *facts =
        SCAN_OF("REDIS0009", "\xfa\x03lua\x0areturn \"\0\"\xfa\x01x\x01y\x00\x01k\x01v");
    assert_int_equal(json_object_size(json_object_get(facts, "aux")), 1);
    assert_int_equal(number(facts, "keys"), 1);
    json_decref(facts);
}

static void head_is_read(void **state)
{
    (void)state;
    struct buf data = BUF_INIT;
    struct err err = ERR_INIT;
    json_t *facts = NULL;

    read_fixture("rdb/values.rdb", &data);
    assert_int_equal(rdb_scan_head(data.data, 1024, &facts, &err), 0);
    assert_int_equal(number(facts, "rdb_version"), 10);
    assert_true(json_is_false(json_object_get(facts, "valkey")));
    const json_t *aux = json_object_get(facts, "aux");
    assert_string_equal(json_string_value(json_object_get(aux, "redis-bits")), "64");
    json_decref(facts);

    assert_int_equal(rdb_scan_head(data.data, 9, &facts, &err), 0);
    assert_int_equal(json_object_size(json_object_get(facts, "aux")), 0);
    json_decref(facts);
    assert_int_equal(rdb_scan_head("VALKEY080\xf0", 10, &facts, &err), 0);
    assert_true(json_is_true(json_object_get(facts, "valkey")));
    assert_int_equal(err.code, ERR_NONE);
    json_decref(facts);

    assert_int_equal(rdb_scan_head(data.data, 8, &facts, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(rdb_scan_head("{\"json\": 1}", 11, &facts, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(rdb_scan_head("REDIS9999", 9, &facts, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    buf_release(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_of_a_server_are_found),
        cmocka_unit_test(slots_and_foreign_keys_are_found),
        cmocka_unit_test(oldest_server_is_told_by_type_and_opcode),
        cmocka_unit_test(the_largest_are_found_whatever_their_order),
        cmocka_unit_test(samples_are_random_but_repeatable),
        cmocka_unit_test(databases_are_limited),
        cmocka_unit_test(aux_fields_are_limited),
        cmocka_unit_test(modules_are_named_once),
        cmocka_unit_test(what_was_seen_before_an_error_is_told),
        cmocka_unit_test(head_is_read),
        cmocka_unit_test(empty_collections_are_counted),
        cmocka_unit_test(a_key_twice_is_found),
        cmocka_unit_test(a_key_twice_is_found_among_many),
        cmocka_unit_test(bytes_of_a_pipe_behind_the_end_do_no_harm),
        cmocka_unit_test(false_hints_are_noted),
        cmocka_unit_test(types_of_redis_8_6_and_8_8_are_read),
        cmocka_unit_test(an_aux_field_with_a_nul_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
