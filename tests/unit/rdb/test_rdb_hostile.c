/* Damaged, cut and hostile files: each is refused with a precise message, within bounded memory. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "trace.h"

#define R9 "REDIS0009"
#define R12 "REDIS0012"
#define HUGE_LENGTH "\x81\x10\x00\x00\x00\x00\x00\x00\x00"

struct hostile_case {
    const char *name, *magic;
    const char *bytes;
    size_t len;
    enum err_code code;
    const char *message; /* a part of it */
};
#define CASE(name, magic, bytes, code, message)                                                    \
    {                                                                                              \
        name, magic, bytes, sizeof(bytes) - 1, code, message                                       \
    }

/* clang-format off */
static const struct hostile_case cases[] = {
    CASE("huge key", R9, "\x00" HUGE_LENGTH "k", ERR_CORRUPT, "length 1152921504606846976 is more than the file can hold at offset 9"),
    CASE("key over the limit", R9, "\x00\x80\x00\x20\x00\x00", ERR_LIMIT, "string of 2097152 bytes is over the limit of 1048576 at offset 9"),
    CASE("huge string", R9, "\x00\x01k" HUGE_LENGTH "v", ERR_CORRUPT, "length 1152921504606846976 is more than the file can hold at offset 12, in key 'k' of database 0"),
    CASE("longest string", R9, "\x00\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff", ERR_CORRUPT, "length 18446744073709551615 is more"),
    CASE("string over the limit", R9, "\x00\x01k\x80\x00\x20\x00\x00v", ERR_LIMIT, "over the limit of 1048576 at offset 12, in key 'k'"),
    CASE("huge packed value", R9, "\x10\x01k" HUGE_LENGTH, ERR_CORRUPT, "more than the file can hold"),
    CASE("huge count of a set", R9, "\x02\x01k" HUGE_LENGTH "\x01" "a", ERR_CORRUPT, "count 1152921504606846976 is more than the file can hold"),
    CASE("count of a set that ends early", R9, "\x02\x01k\x80\x7f\xff\xff\xff\x01" "a", ERR_CORRUPT, NULL),
    CASE("huge count of a stream", R9, "\x0f\x01k" HUGE_LENGTH, ERR_CORRUPT, "count 1152921504606846976"),
    CASE("huge database number as a string", R9, "\xfe\xc3", ERR_CORRUPT, "0xc3 is not a length at offset 9"),
    CASE("form of string that is not known", R9, "\x00\xc4", ERR_CORRUPT, "0xc4 is not a string encoding at offset 9"),
    CASE("form of length that is not known", R9, "\x00\x82", ERR_CORRUPT, "0x82 is not a length"),
    CASE("LZF bomb", R9, "\x00\x01k\xc3\x0a\x80\x10\x00\x00\x00" "0123456789", ERR_CORRUPT, "compressed string claims 268435456 bytes out of 10"),
    CASE("LZF over the limit", R9, "\x00\x01k\xc3\x80\x00\x01\x00\x00\x80\x00\x20\x00\x00", ERR_LIMIT, "over the limit"),
    CASE("LZF of nothing", R9, "\x00\x01k\xc3\x00\x05", ERR_CORRUPT, "out of 0"),
    CASE("LZF that is damaged, in a key", R9, "\x00\xc3\x03\x05\x20\x00\x05\x00", ERR_CORRUPT, "compressed string is damaged at offset 9"),
    CASE("LZF that is too short", R9, "\x00\x01k\xc3\x02\x05\x00" "a", ERR_CORRUPT, "compressed string is damaged at offset 12, in key 'k'"),
    CASE("LZF that is too long", R9, "\x00\x01k\xc3\x07\x05\x05" "abcdef", ERR_CORRUPT, "compressed string is damaged"),
    CASE("listpack with a wrong size", R9, "\x10\x01k\x07\x08\x00\x00\x00\x00\x00\xff", ERR_CORRUPT, "damaged listpack (its size is not what its header says) at offset 12, in key 'k'"),
    CASE("listpack that is too short", R9, "\x10\x01k\x06\x06\x00\x00\x00\x00\x00", ERR_CORRUPT, "it is cut"),
    CASE("listpack without an end", R9, "\x10\x01k\x07\x07\x00\x00\x00\x00\x00\xfe", ERR_CORRUPT, "end mark is missing"),
    CASE("listpack with a wrong count", R9, "\x14\x01k\x09\x09\x00\x00\x00\x02\x00\x01\x01\xff", ERR_CORRUPT, "its number of entries differs"),
    CASE("listpack with a wrong back-length", R9, "\x14\x01k\x09\x09\x00\x00\x00\x01\x00\x01\x02\xff", ERR_CORRUPT, "back-length"),
    CASE("listpack whose entry leaves it", R9, "\x14\x01k\x0a\x0a\x00\x00\x00\x01\x00\x85" "a\x02\xff", ERR_CORRUPT, "it is cut"),
    CASE("listpack with a huge entry", R9, "\x14\x01k\x0d\x0d\x00\x00\x00\x01\x00\xf0\xff\xff\xff\xff\x05\xff", ERR_CORRUPT, "it is cut"),
    CASE("listpack with an end within", R9, "\x14\x01k\x09\x09\x00\x00\x00\x01\x00\xff\x01\xff", ERR_CORRUPT, "encoding"),
    CASE("odd hash", R9, "\x10\x01k\x09\x09\x00\x00\x00\x01\x00\x01\x01\xff", ERR_CORRUPT, "last element is not whole"),
    CASE("score of a listpack that is no number", R9, "\x11\x01k\x0c\x0c\x00\x00\x00\x02\x00\x01\x01\x81x\x02\xff", ERR_CORRUPT, "score is not a number"),
    CASE("ziplist with a wrong back-length", R9, "\x0a\x01k\x0e\x0e\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x01\x01" "a\xff", ERR_CORRUPT, "damaged ziplist (an entry's back-length is wrong)"),
    CASE("ziplist with a wrong tail", R9, "\x0a\x01k\x0e\x0e\x00\x00\x00\x0b\x00\x00\x00\x01\x00\x00\x01" "a\xff", ERR_CORRUPT, "last entry"),
    CASE("ziplist whose entry leaves it", R9, "\x0a\x01k\x0e\x0e\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x03" "a\xff", ERR_CORRUPT, "it is cut"),
    CASE("ziplist with a huge entry", R9, "\x0a\x01k\x11\x11\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x80\xff\xff\xff\xff\xff", ERR_CORRUPT, "it is cut"),
    CASE("ziplist with a strange encoding", R9, "\x0a\x01k\x0e\x0e\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\xc7" "a\xff", ERR_CORRUPT, "encoding"),
    CASE("ziplist that is an integer", R9, "\x0a\x01k\xc0\x05", ERR_CORRUPT, "it is cut"),
    CASE("intset of a strange width", R9, "\x0b\x01k\x0b\x03\x00\x00\x00\x01\x00\x00\x00" "abc", ERR_CORRUPT, "damaged intset (its integers have no known width)"),
    CASE("intset with a huge count", R9, "\x0b\x01k\x0a\x02\x00\x00\x00\xff\xff\xff\xff" "ab", ERR_CORRUPT, "its size"),
    CASE("intset out of order", R9, "\x0b\x01k\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x02\x00\x01\x00", ERR_CORRUPT, "order"),
    CASE("zipmap whose entry leaves it", R9, "\x09\x01k\x04\x01\x05" "a\xff", ERR_CORRUPT, "damaged zipmap (it is cut)"),
    CASE("zipmap whose free space leaves it", R9, "\x09\x01k\x07\x01\x01" "a\x01\x09v\xff", ERR_CORRUPT, "it is cut"),
    CASE("zipmap without a value", R9, "\x09\x01k\x04\x01\x01" "a\xff", ERR_CORRUPT, "its number of entries differs"),
    CASE("score that is not a number", R9, "\x03\x01k\x01\x01" "a\xfd", ERR_CORRUPT, "score is not a number"),
    CASE("score that is text", R9, "\x03\x01k\x01\x01" "a\x03" "1.x", ERR_CORRUPT, "score is not a number"),
    CASE("score that is empty", R9, "\x03\x01k\x01\x01" "a\x00", ERR_CORRUPT, "score is not a number"),
    CASE("binary score that is not a number", R9, "\x05\x01k\x01\x01" "a\x00\x00\x00\x00\x00\x00\xf8\x7f", ERR_CORRUPT, "score is not a number"),
    CASE("expiry of a field out of range", R12, "\x18\x01k\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x02\x01" "a\x01" "b", ERR_CORRUPT, "expiry of a field is out of range"),
    CASE("expiry of a field before 1970", R12, "\x18\x01k\x00\x00\x00\x00\x00\x00\x00\x80\x01\x02\x01" "a\x01" "b", ERR_CORRUPT, "expiry of a field is out of range"),
    CASE("expiry of a field that is text", R12, "\x19\x01k" "12345678" "\x0e\x0e\x00\x00\x00\x03\x00\x01\x01\x02\x01\x81x\x02\xff", ERR_CORRUPT, "expiry of a field is not a number"),
    CASE("negative expiry of a field", R12, "\x19\x01k" "12345678" "\x0e\x0e\x00\x00\x00\x03\x00\x01\x01\x02\x01\xdf\xff\x02\xff", ERR_CORRUPT, "expiry of a field is not a number"),
    CASE("container of a quicklist", R9, "\x12\x01k\x01\x03\x01" "a", ERR_CORRUPT, "3 is not a container of a quicklist"),
    CASE("opcode of a module", R9, "\x07\x01k\x01\x06", ERR_CORRUPT, "6 is not an opcode of module values at offset 13, in key 'k'"),
    CASE("module of a release candidate", R9, "\x06\x01k", ERR_UNSUPPORTED, "release candidate of Redis 4.0 saved it (type 6) at offset 9"),
    CASE("unknown type", R12, "\x00\x05" "ab'\n\\" "\x01v\x1d\x01l", ERR_UNSUPPORTED, "unknown type or opcode 29 (RDB version 12 of Redis) at offset 18, after key 'ab\\x27\\x0a\\x5c'"),
    CASE("unknown opcode", R12, "\xf0", ERR_UNSUPPORTED, "unknown type or opcode 240 (RDB version 12 of Redis) at offset 9"),
    CASE("type of Redis 7.4 in a file of Valkey", "VALKEY080", "\x18\x01k", ERR_UNSUPPORTED, "unknown type or opcode 24 (RDB version 80 of Valkey)"),
    CASE("opcode of Redis Enterprise in a file of Valkey", "VALKEY080", "\x6b\x01", ERR_UNSUPPORTED, "unknown type or opcode 107"),
    CASE("type 8", R9, "\x08\x01k", ERR_UNSUPPORTED, "unknown type or opcode 8"),
    CASE("next version of Redis", "REDIS0015", "", ERR_UNSUPPORTED, "RDB version 15 of Redis is not supported"),
    CASE("next version of Valkey", "VALKEY081", "", ERR_UNSUPPORTED, "RDB version 81 of Valkey is not supported"),
    CASE("version 0", "REDIS0000", "", ERR_CORRUPT, "not an RDB file"),
    CASE("no version", "REDIS00x1", "", ERR_CORRUPT, "not an RDB file"),
    CASE("gzip", "\x1f\x8b\x08", "", ERR_CORRUPT, "not an RDB file"),
    CASE("text", "hello", "", ERR_CORRUPT, "not an RDB file"),
    CASE("bytes behind the end", R9, "\xff\0\0\0\0\0\0\0\0", ERR_CORRUPT, "bytes after the end of the data at offset 18"),
    CASE("bytes behind the end, without a checksum", "REDIS0004", "\xff", ERR_CORRUPT, "bytes after the end of the data at offset 10"),
};
/* clang-format on */

static const struct rdb_limits limits = {.key_bytes = 1 << 20, .element_bytes = 1 << 20};

static void hostile_files_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct hostile_case *c = &cases[i];
        struct buf file = BUF_INIT;
        char *first = NULL;
        file_of(&file, c->magic, c->bytes, c->len);
        for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++) {
            struct trace t;
            struct err err = ERR_INIT;
            trace_init(&t, RDB_DECODE);
            if (trace_read(&t, file.data, file.len, (enum feeding)way, &limits, &err) == 0)
                fail_msg("%s: is read", c->name);
            if (err.code != c->code || (c->message && !strstr(err.message, c->message)))
                fail_msg("%s: %s: %s", c->name, err_code_name(err.code), err.message);
            assert_true(err.hint[0] || err.code == ERR_LIMIT || c->bytes[0] == 6);
            if (!first)
                first = xstrdup(err.message);
            assert_string_equal(err.message, first);
            trace_release(&t);
            /* What is skipped may be read to its end, or be refused: either way it ends. */
            trace_init(&t, RDB_SKIP);
            (void)!trace_read(&t, file.data, file.len, (enum feeding)way, &limits, &err);
            trace_release(&t);
        }
        free(first);
        buf_release(&file);
    }
}

static const char *const small_files[] = {
    "rdb/values.rdb",
    "rdb/facts.rdb",
    "rdb-corpus/hash_lp_with_hexpire_v12.rdb",
    "rdb-corpus/hash_zm_v2.rdb",
    "rdb-corpus/module_aux.rdb",
    "rdb-corpus/plain_zset_v6.rdb",
    "rdb-corpus/quicklist.rdb",
    "rdb-corpus/set_expired_v11.rdb",
    "rdb-corpus/set_is_v11.rdb",
    "rdb-corpus/string_lzf.rdb",
    "rdb-corpus/ziplist_v3.rdb",
};

static void cut_files_are_refused_everywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(small_files); i++) {
        struct buf file = BUF_INIT;
        read_fixture(small_files[i], &file);
        for (unsigned want = RDB_SKIP; want <= RDB_DECODE; want++)
            for (size_t len = 0; len < file.len; len++) {
                struct trace t;
                struct err err = ERR_INIT;
                char *expected = xasprintf("file is cut: it ends at offset %zu", len);
                trace_init(&t, (enum rdb_want)want);
                t.quiet = true;
                assert_int_equal(trace_read(&t, file.data, len, FEED_WHOLE, &limits, &err), -1);
                assert_int_equal(err.code, ERR_CORRUPT);
                if (strncmp(err.message, expected, strlen(expected)) != 0)
                    fail_msg("%s: %s", small_files[i], err.message);
                free(expected);
                trace_release(&t);
            }
        buf_release(&file);
    }
}

/*
 * Each byte inverted, and each bit flipped alone (of larger files one bit of each byte), with the
 * checksum off.
 */
static void damaged_files_hurt_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(small_files); i++) {
        struct buf file = BUF_INIT;
        size_t refused = 0;
        read_fixture(small_files[i], &file);
        if (memcmp(file.data, "REDIS0005", 9) >= 0)
            memset(file.data + file.len - 8, 0, 8);
        for (size_t at = 0; at < file.len; at++)
            for (unsigned bit = 0; bit <= 8; bit++) {
                if (file.len > 2000 && bit < 8 && bit != at % 8)
                    continue;
                char old = file.data[at];
                struct trace t;
                struct err err = ERR_INIT;
                file.data[at] = (char)(old ^ (bit < 8 ? 1 << bit : 0xff));
                trace_init(&t, RDB_DECODE);
                t.quiet = true;
                refused += trace_read(&t, file.data, file.len, FEED_WHOLE, &limits, &err) < 0;
                trace_release(&t);
                file.data[at] = old;
            }
        assert_true(refused > 0);
        buf_release(&file);
    }
}

static void length_of_the_file_is_a_limit(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    struct trace t;
    struct err err = ERR_INIT;
    struct rdb_limits of_file = {0};

    FILE_OF(&file, R9, "\x00\x01k\x40\xc8v");
    of_file.file_bytes = file.len;
    trace_init(&t, RDB_SKIP);
    assert_int_equal(trace_read(&t, file.data, file.len, FEED_BYTES, &of_file, &err), -1);
    assert_string_equal(err.message,
        "length 200 is more than the file can hold at offset 12, in key 'k' of database 0");
    of_file.file_bytes = 12;
    assert_int_equal(trace_read(&t, file.data, file.len, FEED_BYTES, &of_file, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.message, "longer than 12 bytes"));
    trace_release(&t);
    buf_release(&file);
}

/* A large claim makes the reader hold what it got, not what was claimed. */
static void claims_allocate_nothing(void **state)
{
    (void)state;
    struct buf file = BUF_INIT;
    struct err err = ERR_INIT;

    FILE_OF(&file, R9,
        "\x00\x80\x1f\xff\xff\xff"
        "key");
    struct rdb_reader *r = rdb_reader_new(NULL, NULL, NULL);
    assert_int_equal(rdb_reader_feed(r, file.data, file.len, &err), 0);
    assert_true(r->carry.alloc < 1024);
    assert_true(r->key.alloc + r->scratch[0].alloc < 1024);
    assert_int_equal(rdb_reader_end(r, &err), -1);
    rdb_reader_free(r);
    buf_release(&file);
}

static int refuse_record(void *arg, const struct rdb_record *record, struct err *err)
{
    (void)arg;
    (void)record;
    return err_set(err, ERR_CHECK, "not this one");
}

static void callbacks_stop_the_reader_for_good(void **state)
{
    (void)state;
    static const struct rdb_events events = {.record = refuse_record};
    struct buf file = BUF_INIT;

    FILE_OF(&file, R9, "\x00\x01k\x01v");
    struct rdb_reader *r = rdb_reader_new(&events, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        struct err err = ERR_INIT;
        assert_int_equal(rdb_reader_feed(r, file.data, file.len, &err), -1);
        assert_int_equal(err.code, ERR_CHECK);
        assert_string_equal(err.message, "not this one");
        assert_int_equal(rdb_reader_end(r, &err), -1);
    }
    rdb_reader_free(r);
    buf_release(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(cut_files_are_refused_everywhere),
        cmocka_unit_test(damaged_files_hurt_nothing),
        cmocka_unit_test(length_of_the_file_is_a_limit),
        cmocka_unit_test(claims_allocate_nothing),
        cmocka_unit_test(callbacks_stop_the_reader_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
