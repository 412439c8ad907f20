/*
 * Every type, opcode and encoding in files made by hand, where no server at hand writes it. The
 * bytes follow the public sources of the servers named.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "trace.h"

#define R9 "REDIS0009"
#define R12 "REDIS0012"
#define V80 "VALKEY080"

#define STREAM_LISTPACKS                                                                           \
    "\x01\x10"                                                                                     \
    "0123456789abcdef"                                                                             \
    "\x03"                                                                                         \
    "lp!"
#define PENDING                                                                                    \
    "\x01"                                                                                         \
    "0123456789abcdef"                                                                             \
    "12345678"                                                                                     \
    "\x02"
#define NAMED(n) "\x02" n

struct file_case {
    const char *name, *magic;
    const char *bytes;
    size_t len;
    const char *expected; /* the trace behind the header's line */
};
#define CASE(name, magic, bytes, expected)                                                         \
    {                                                                                              \
        name, magic, bytes, sizeof(bytes) - 1, expected                                            \
    }

/* clang-format off */
static const struct file_case cases[] = {
    CASE("integers as strings", R9,
        "\x00\xc0\xff\xc0\x80" "\x00\xc1\xff\x7f\xc1\x00\x80" "\x00\xc2\xff\xff\xff\x7f\xc2\x00\x00\x00\x80",
        "record @9 db=0 type=0 string -1 expires=-1\n -128\nend @14\n"
        "record @14 db=0 type=0 string 32767 expires=-1\n -32768\nend @21\n"
        "record @21 db=0 type=0 string 2147483647 expires=-1\n -2147483648\nend @32\n"),
    CASE("all forms of a length", R9,
        "\x00\x01" "a\x00" "\x00\x40\x01" "b\x40\x02xy" "\x00\x80\x00\x00\x00\x01" "c\x80\x00\x00\x00\x01z"
        "\x00\x81\x00\x00\x00\x00\x00\x00\x00\x01" "d\x81\x00\x00\x00\x00\x00\x00\x00\x00",
        "record @9 db=0 type=0 string a expires=-1\n \nend @13\n"
        "record @13 db=0 type=0 string b expires=-1\n xy\nend @21\n"
        "record @21 db=0 type=0 string c expires=-1\n z\nend @34\n"
        "record @34 db=0 type=0 string d expires=-1\n \nend @54\n"),
    CASE("old form of a length", "REDIS0003", "\x00\x85\x00\x00\x00\x01k\xbf\x00\x00\x00\x01v",
        "record @9 db=0 type=0 string k expires=-1\n v\nend @22\n"),
    CASE("compressed key and value", R9, "\x00\xc3\x05\x0a\x00k\xe0\x00\x00" "\xc3\x06\x0b\x01xy\xe0\x00\x00",
        "record @9 db=0 type=0 string kkkkkkkkkk expires=-1\n xyyyyyyyyyy\nend @27\n"),
    CASE("no records at all", "REDIS0001", "", ""),
    CASE("list, set and hash", R9,
        "\x01\x01l\x03\x01" "a\xc0\x07\x00" "\x02\x01s\x01\x01m" "\x04\x01h\x02\x01" "f\x01v\xc0\x01\x00",
        "record @9 db=0 type=1 list l expires=-1\n a\n 7\n \nend @18\n"
        "record @18 db=0 type=2 set s expires=-1\n m\nend @24\n"
        "record @24 db=0 type=4 hash h expires=-1\n f=v\n 1=\nend @35\n"),
    CASE("scores", R9,
        "\x03\x01z\x04\x01" "a\x03" "1.5" "\x01" "b\xfe" "\x01" "c\xff" "\x01" "d\x04-1e3"
        "\x05\x01y\x02\x01" "a\x00\x00\x00\x00\x00\x00\xf8\x3f" "\x01" "b\x00\x00\x00\x00\x00\x00\xf0\xff",
        "record @9 db=0 type=3 zset z expires=-1\n a 1.5\n b inf\n c -inf\n d -1000\nend @32\n"
        "record @32 db=0 type=5 zset y expires=-1\n a 1.5\n b -inf\nend @56\n"),
    CASE("empty collections", R9, "\x01\x01l\x00\x04\x01h\x00\x12\x01q\x00",
        "record @9 db=0 type=1 list l expires=-1\nend @13\n"
        "record @13 db=0 type=4 hash h expires=-1\nend @17\n"
        "record @17 db=0 type=18 list q expires=-1\nend @21\n"),
    /* The name is nine characters of six bits: "ReJSON-RL", version 3. */
    CASE("module value", R9,
        "\x07\x01m\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03"
        "\x01\x05\x02\x40\xff\x03" "abcd" "\x04" "abcdefgh" "\x05\x03str" "\x05\xc0\x01\x00" "\x00\x01n\x01v",
        "record @9 db=0 type=7 module m expires=-1 module=ReJSON-RL\nend @49\n"
        "record @49 db=0 type=0 string n expires=-1\n v\nend @54\n"),
    CASE("zipmap", R9, "\x09\x01h\x11\x02\x01" "a\x01\x00" "1\x02" "bc\x02\x03" "23xyz\xff",
        "record @9 db=0 type=9 hash h expires=-1\n a=1\n bc=23\nend @30\n"),
    CASE("zipmap with a long length", R9, "\x09\x01h\x0c\x01\x01" "a\xfe\x02\x00\x00\x00\x00xy\xff", 
        "record @9 db=0 type=9 hash h expires=-1\n a=xy\nend @25\n"),
    CASE("intset", R9, "\x0b\x01s\x0c\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x07\x00",
        "record @9 db=0 type=11 set s expires=-1\n -1\n 7\nend @25\n"),
    CASE("ziplist, all encodings", R9,
        "\x0a\x01l\x40\x41"
        "\x41\x00\x00\x00" "\x3c\x00\x00\x00" "\x0b\x00"
        "\x00\x01x" "\x03\x40\x01y" "\x04\x80\x00\x00\x00\x01z" "\x07\xfe\x80" "\x03\xc0\x00\x80"
        "\x04\xf0\xff\xff\x7f" "\x05\xd0\x00\x00\x00\x80" "\x06\xe0\xff\xff\xff\xff\xff\xff\xff\x7f"
        "\x0a\xf1" "\xfe\x02\x00\x00\x00\xfd" "\x06\x02xy" "\xff",
        "record @9 db=0 type=10 list l expires=-1\n x\n y\n z\n -128\n -32768\n 8388607\n -2147483648\n"
        " 9223372036854775807\n 0\n 12\n xy\nend @79\n"),
    CASE("sorted set and hash as ziplists", R9,
        "\x0c\x01z\x13" "\x13\x00\x00\x00\x0d\x00\x00\x00\x02\x00" "\x00\x01" "a" "\x03\x03" "1.5" "\xff"
        "\x0d\x01h\x10" "\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00" "\x00\x01" "f" "\x03\xf6" "\xff",
        "record @9 db=0 type=12 zset z expires=-1\n a 1.5\nend @32\n"
        "record @32 db=0 type=13 hash h expires=-1\n f=5\nend @52\n"),
    CASE("quicklist of ziplists", R9,
        "\x0e\x01q\x02" "\x0e" "\x0e\x00\x00\x00\x0a\x00\x00\x00\x01\x00" "\x00\x01" "a" "\xff"
        "\x0b" "\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff",
        "record @9 db=0 type=14 list q expires=-1\n a\nend @40\n"),
    CASE("listpack, all encodings", R12,
        "\x14\x01s\x37" "\x37\x00\x00\x00\x0a\x00"
        "\x7f\x01" "\x82xy\x03" "\xd0\x00\x02" "\xcf\xff\x02" "\xe0\x01z\x03" "\xf0\x01\x00\x00\x00w\x06"
        "\xf1\x00\x80\x03" "\xf2\x00\x00\x80\x04" "\xf3\x00\x00\x00\x80\x05"
        "\xf4\x00\x00\x00\x00\x00\x00\x00\x80\x09" "\xff",
        "record @9 db=0 type=20 set s expires=-1\n 127\n xy\n -4096\n 4095\n z\n w\n -32768\n -8388608\n"
        " -2147483648\n -9223372036854775808\nend @68\n"),
    CASE("hash and sorted set as listpacks", R12,
        "\x10\x01h\x0c" "\x0c\x00\x00\x00\x02\x00" "\x81" "f\x02" "\x05\x01" "\xff"
        "\x11\x01z\x0f" "\x0f\x00\x00\x00\x02\x00" "\x81" "m\x02" "\x83" "2.5\x04" "\xff",
        "record @9 db=0 type=16 hash h expires=-1\n f=5\nend @25\n"
        "record @25 db=0 type=17 zset z expires=-1\n m 2.5\nend @44\n"),
    CASE("quicklist 2", R12, "\x12\x01q\x02" "\x01\x03raw" "\x02\x09" "\x09\x00\x00\x00\x01\x00\x01\x01\xff",
        "record @9 db=0 type=18 list q expires=-1\n raw\n 1\nend @29\n"),
    CASE("streams", R12,
        "\x0f\x01" "a" STREAM_LISTPACKS "\x01\x05\x06" "\x01" NAMED("g1") "\x01\x02" PENDING
            "\x01" NAMED("c1") "12345678" "\x01" "0123456789abcdef"
        "\x13\x01" "b" STREAM_LISTPACKS "\x01\x05\x06\x01\x02\x03\x04\x05" "\x01" NAMED("g1") "\x01\x02\x03" PENDING
            "\x02" NAMED("c1") "12345678" "\x01" "0123456789abcdef" NAMED("c2") "12345678" "\x00"
        "\x15\x01" "c" STREAM_LISTPACKS "\x01\x05\x06\x01\x02\x03\x04\x05" "\x02" NAMED("g1") "\x01\x02\x03" PENDING
            "\x01" NAMED("c1") "12345678" "87654321" "\x01" "0123456789abcdef" NAMED("g2") "\x01\x02\x03\x00\x00"
        "\x15\x01" "d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" "\x00\x01n\x01v",
        "record @9 db=0 type=15 stream a expires=-1\nend @98\n"
        "record @98 db=0 type=19 stream b expires=-1\nend @205\n"
        "record @205 db=0 type=21 stream c expires=-1\nend @316\n"
        "record @316 db=0 type=21 stream d expires=-1\nend @329\n"
        "record @329 db=0 type=0 string n expires=-1\n v\nend @334\n"),
    CASE("fields that expire, candidates of Redis 7.4", R12,
        "\x16\x01h\x02" "\x00\x01" "a\x01" "1" "\x50\x00\x01" "b\x01" "2"
        "\x17\x01p\x15" "\x15\x00\x00\x00\x06\x00" "\x81" "f\x02" "\x01\x01" "\x00\x01" "\x81" "g\x02" "\x02\x01" "\x63\x01" "\xff",
        "record @9 db=0 type=22 hash h expires=-1\n a=1\n b=2 until 4096\nend @24\n"
        "record @24 db=0 type=23 hash p expires=-1\n f=1\n g=2 until 99\nend @49\n"),
    CASE("fields that expire, Redis 7.4", R12,
        "\x18\x01h" "\x00\x10\x00\x00\x00\x00\x00\x00" "\x03" "\x00\x01" "a\x01" "1" "\x01\x01" "b\x01" "2" "\x0b\x01" "c\x01" "3"
        "\x19\x01p" "\x63\x00\x00\x00\x00\x00\x00\x00" "\x0d" "\x0d\x00\x00\x00\x03\x00" "\x01\x01" "\x02\x01" "\x63\x01" "\xff",
        "record @9 db=0 type=24 hash h expires=-1\n a=1\n b=2 until 4096\n c=3 until 4106\nend @36\n"
        "record @36 db=0 type=25 hash p expires=-1\n 1=2 until 99\nend @61\n"),
    CASE("fields that expire, Valkey 9", V80,
        "\x16\x01h\x02" "\x01" "a\x01" "1" "\xff\xff\xff\xff\xff\xff\xff\xff" "\x01" "b\x01" "2" "\x00\x10\x00\x00\x00\x00\x00\x00",
        "record @9 db=0 type=22 hash h expires=-1\n a=1\n b=2 until 4096\nend @37\n"),
    CASE("opcodes before a record", R12,
        "\xfe\x05" "\xfb\x03\x01" "\xf4\x05\x01\x00"
        "\xfc\x00\x10\x00\x00\x00\x00\x00\x00" "\xf9\x07" "\xf8\x40\x80" "\x6b\x03" "\x79\x50\x00" "\x00\x01k\x01v"
        "\xfd\x02\x00\x00\x00" "\x00\x01l\x01w" "\x00\x01m\x01x",
        "record @18 db=5 type=0 string k expires=4096\n v\nend @42\n"
        "record @42 db=5 type=0 string l expires=2000\n w\nend @52\n"
        "record @52 db=5 type=0 string m expires=-1\n x\nend @57\n"),
    CASE("opcodes of other things", R12,
        "\xfa\x03key\xc0\x05" "\xf6\x03lib\x03LUA\x01\x04" "desc" "\x04" "code" "\xf6\x01l\x01" "e\x00\x03" "two"
        "\xf5\x05" "three" "\xf7\x00\x02\x01\x05\x03" "abc\x00" "\xf7\x00\x00",
        "aux key=5\nfunction code\nfunction two\nfunction three\nmodule-aux AAAAAAAAA\nmodule-aux AAAAAAAAA\n"),
    CASE("opcode 243 of Redis", "REDIS0013",
        "\xf3\x02" "spec" "\x02\x05\x00" "spec" "\x05\x02hi\x00" "\x00\x01k\x01v",
        "record @9 db=0 type=0 string k expires=-1\n v\nend @32\n"),
    CASE("opcode 243 of Valkey", V80,
        "\xf3\x03job\x02\x01\x02\x50\x00\x50\x01" "\x00\x01k\x01v", 
        "record @21 db=0 type=0 string k expires=-1\n v\nend @26\n"),
    CASE("newest version of Redis that is known", "REDIS0014", "\x00\x01k\x01v",
        "record @9 db=0 type=0 string k expires=-1\n v\nend @14\n"),
};
/* clang-format on */

static void check(const struct file_case *c, uint32_t *types_seen)
{
    struct buf file = BUF_INIT;

    file_of(&file, c->magic, c->bytes, c->len);
    for (unsigned want = RDB_SKIP; want <= RDB_DECODE; want++) {
        char *first = NULL;
        for (unsigned way = FEED_WHOLE; way < FEED_WAYS; way++) {
            struct trace t;
            struct err err = ERR_INIT;
            trace_init(&t, (enum rdb_want)want);
            if (trace_read(&t, file.data, file.len, (enum feeding)way, NULL, &err) < 0)
                fail_msg("%s: %s", c->name, err.message);
            const char *behind_header = strchr(t.text.data, '\n') + 1;
            if (!first)
                first = xstrdup(behind_header);
            assert_string_equal(behind_header, first);
            if (want == RDB_DECODE)
                assert_string_equal(behind_header, c->expected);
            *types_seen |= t.types_seen;
            trace_release(&t);
        }
        free(first);
    }
    buf_release(&file);
}

static void every_type_is_read(void **state)
{
    uint32_t types_seen = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check(&cases[i], &types_seen);
    for (uint8_t type = 0; type <= RDB_HASH_LISTPACK_EX; type++)
        if (type_info_of(false, type) && !(types_seen >> type & 1))
            fail_msg("no case has type %u", type);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
