#include "unpack.h"

#include <stdbool.h>
#include <string.h>

#include "recluster/pack.h"
#include "sample.h"
#include "test.h"

static int collect(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, 64 << 20, "test", err);
}

/* Feeds in pieces of `piece` bytes. */
static int unpack_all(
    const void *data, size_t len, size_t piece, struct buf *out, const char **kind, struct err *err)
{
    struct unpack *u = unpack_new(collect, out);
    const char *p = data;
    int rc = 0;

    buf_clear(out);
    for (size_t n; len && rc == 0; p += n, len -= n) {
        n = len < piece ? len : piece;
        rc = unpack_feed(u, p, n, err);
    }
    if (rc == 0)
        rc = unpack_end(u, err);
    if (kind)
        *kind = unpack_compression(u);
    unpack_free(u);
    return rc;
}

/* A member with all that a header can have. */
static void add_full_header_member(struct buf *out, const void *data, size_t len)
{
    struct buf plain = BUF_INIT;
    sample_gzip(&plain, data, len);
    buf_add(out, "\x1f\x8b\x08\x1c\0\0\0\0\0\x03", 10); /* extra, name, comment */
    buf_add(out, "\x05\0extra", 7);
    buf_add(out, "a name.rdb", 11);
    buf_add(out, "a comment", 10);
    buf_add(out, plain.data + 10, plain.len - 10);
    buf_release(&plain);
}

static const size_t pieces[] = {1, 2, 7, 15, 16, 17, 1000, (size_t)1 << 30};

static void check_all_pieces(const struct buf *packed, const struct buf *plain, const char *kind)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        struct err err = ERR_INIT;
        const char *got;
        assert_ok(unpack_all(packed->data, packed->len, pieces[i], &out, &got, &err), err);
        assert_string_equal(got, kind);
        assert_int_equal(out.len, plain->len);
        assert_memory_equal(out.data, plain->data, plain->len);
    }
    buf_release(&out);
}

static void plain_bytes_pass(void **state)
{
    (void)state;
    static const char *const texts[] = {"R", "REDIS0010", "VALKEY080", "REDIS0010-and-much-more"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct buf b = BUF_INIT;
        buf_adds(&b, texts[i]);
        check_all_pieces(&b, &b, "none");
        buf_release(&b);
    }
}

static void gzip_is_inflated(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT;

    buf_adds(&plain, "REDIS0010");
    sample_noise(&plain, 3000);
    for (int i = 0; i < 100000; i++)
        buf_addf(&plain, "line %d\n", i % 1000);
    sample_gzip(&packed, plain.data, plain.len);
    check_all_pieces(&packed, &plain, "gzip");

    /* Several members, one empty, one with a full header. */
    size_t once = plain.len;
    buf_reserve(&plain, once); /* what is added to it is itself */
    buf_add(&plain, plain.data, once);
    sample_gzip(&packed, "", 0);
    add_full_header_member(&packed, plain.data, once);
    check_all_pieces(&packed, &plain, "gzip");
    buf_release(&plain);
    buf_release(&packed);
}

/* Cut anywhere, it is cut off; with a bit of it changed, it is damaged. */
static void bad_gzip_is_found(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT, out = BUF_INIT;
    struct err err;

    buf_adds(&plain, "REDIS0010");
    sample_noise(&plain, 300);
    for (int i = 0; i < 100; i++)
        buf_addf(&plain, "line %d\n", i);
    sample_gzip(&packed, plain.data, plain.len);
    for (size_t len = 2; len < packed.len; len++)
        for (size_t i = 0; i < 2; i++)
            assert_error(unpack_all(packed.data, len, i ? 1 : 4096, &out, NULL, &err), err,
                ERR_CORRUPT, "cut off");
    for (size_t at = 10; at < packed.len; at++) {
        packed.data[at] ^= 0x10;
        err = (struct err)ERR_INIT;
        int rc = unpack_all(packed.data, packed.len, 4096, &out, NULL, &err);
        /* The last byte before sum and length may have bits that say nothing. */
        bool harmless = at == packed.len - 9 && out.len == plain.len &&
                        memcmp(out.data, plain.data, out.len) == 0;
        if (rc == 0 ? !harmless : err.code != ERR_CORRUPT)
            fail_msg("byte %zu of %zu: %s", at, packed.len, err.message);
        packed.data[at] ^= 0x10;
    }
    packed.data[packed.len - 1] ^= 1; /* the length behind the data */
    assert_error(unpack_all(packed.data, packed.len, 1, &out, NULL, &err), err, ERR_CORRUPT,
        "checksum or length");
    packed.data[packed.len - 1] ^= 1;
    packed.data[2] = 7;
    assert_error(
        unpack_all(packed.data, packed.len, 4096, &out, NULL, &err), err, ERR_CORRUPT, "header");
    packed.data[2] = 8;
    size_t whole = packed.len;
    buf_adds(&packed, "some garbage");
    assert_error(unpack_all(packed.data, packed.len, 1, &out, NULL, &err), err, ERR_CORRUPT,
        "follows the gzip data");
    assert_true(err.hint[0]);
    packed.len = whole;
    buf_addc(&packed, '\0'); /* zeros pad it, but only up to its end */
    buf_adds(&packed, "some garbage");
    assert_error(unpack_all(packed.data, packed.len, 4096, &out, NULL, &err), err, ERR_CORRUPT,
        "follows the gzip data");
    buf_release(&plain);
    buf_release(&packed);
    buf_release(&out);
}

/* Tapes and stores with blocks pad with zeros; gzip(1) takes them too. */
static void zeros_behind_gzip_are_padding(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT;

    buf_adds(&plain, "REDIS0010 and more");
    sample_gzip(&packed, plain.data, plain.len);
    for (int i = 0; i < 600; i++)
        buf_addc(&packed, '\0');
    check_all_pieces(&packed, &plain, "gzip");
    buf_release(&plain);
    buf_release(&packed);
}

/* pzstd puts one in front; others may stand between frames. */
static void skippable_zstd_frames_are_skipped(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT;

    buf_adds(&plain, "REDIS0010 and more");
    for (int i = 0; i < 2; i++) {
        buf_add(
            &packed, i ? "\x5f\x2a\x4d\x18\x05\0\0\0hello" : "\x50\x2a\x4d\x18\x05\0\0\0hello", 13);
        sample_zstd(&packed, plain.data + 9 * i, 9);
    }
    plain.len = 18;
    buf_add(&packed, "\x51\x2a\x4d\x18\0\0\0\0", 8);
    check_all_pieces(&packed, &plain, "zstd");
    buf_release(&plain);
    buf_release(&packed);
}

static void zstd_is_inflated(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT;

    buf_adds(&plain, "REDIS0010");
    sample_noise(&plain, 300000);
    for (int i = 0; i < 200000; i++)
        buf_addf(&plain, "line %d\n", i % 1000);
    sample_zstd(&packed, plain.data, plain.len);
    check_all_pieces(&packed, &plain, "zstd");

    /* Several frames, one empty. */
    size_t once = plain.len;
    buf_reserve(&plain, once);
    buf_add(&plain, plain.data, once);
    sample_zstd(&packed, "", 0);
    sample_zstd(&packed, plain.data, once);
    check_all_pieces(&packed, &plain, "zstd");
    buf_release(&plain);
    buf_release(&packed);
}

static void bad_zstd_is_found(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT, out = BUF_INIT;
    struct err err;

    buf_adds(&plain, "REDIS0010");
    sample_noise(&plain, 300);
    for (int i = 0; i < 100; i++)
        buf_addf(&plain, "line %d\n", i);
    sample_zstd(&packed, plain.data, plain.len);
    for (size_t len = 4; len < packed.len; len++)
        assert_error(
            unpack_all(packed.data, len, 4096, &out, NULL, &err), err, ERR_CORRUPT, "cut off");
    for (size_t at = 4; at < packed.len; at++) {
        packed.data[at] ^= 0x10;
        err = (struct err)ERR_INIT;
        int rc = unpack_all(packed.data, packed.len, 4096, &out, NULL, &err);
        /* A few bits say nothing. */
        bool harmless = out.len == plain.len && memcmp(out.data, plain.data, out.len) == 0;
        if (rc == 0 ? !harmless : err.code != ERR_CORRUPT && err.code != ERR_LIMIT)
            fail_msg("byte %zu of %zu: %s", at, packed.len, err.message);
        packed.data[at] ^= 0x10;
    }
    buf_adds(&packed, "some garbage");
    assert_error(
        unpack_all(packed.data, packed.len, 4096, &out, NULL, &err), err, ERR_CORRUPT, "damaged");
    buf_release(&plain);
    buf_release(&packed);
    buf_release(&out);
}

static void other_content_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err_code code;
        const char *message;
    } cases[] = {
        {"", ERR_CORRUPT, "empty"},
        {"\x28\xb5\x2f\xfd and so on and on", ERR_CORRUPT, "zstd"},
        {"\x28\xb5\x2f\xfd", ERR_CORRUPT, "cut off"},
        {"BZh91AY", ERR_UNSUPPORTED, "bzip2"},
        {"<html><body>Please log in", ERR_CORRUPT, "web page"},
        {"\xef\xbb\xbf\r\n  <!DOCTYPE html>", ERR_CORRUPT, "web page"},
        {"\x1f\x8b", ERR_CORRUPT, "cut off"},
    };
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
            struct err err;
            assert_error(
                unpack_all(cases[i].text, strlen(cases[i].text), pieces[k], &out, NULL, &err), err,
                cases[i].code, cases[i].message);
        }
    buf_release(&out);
}

static int refuse(void *arg, const void *data, size_t len, struct err *err)
{
    (void)arg, (void)data, (void)len;
    return err_set(err, ERR_CANCELLED, "no more");
}

static void refusal_of_the_sink_comes_back(void **state)
{
    (void)state;
    struct buf packed = BUF_INIT;
    struct err err;
    sample_gzip(&packed, "REDIS0010", 9);
    struct unpack *u = unpack_new(refuse, NULL);
    assert_error(unpack_feed(u, packed.data, packed.len, &err), err, ERR_CANCELLED, "no more");
    unpack_free(u);
    buf_release(&packed);
}

static void packed_files_are_unpacked(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 300 * 1024, 3 << 20};

    (void)state;
    for (int kind = PACK_NONE; kind <= PACK_ZSTD; kind++)
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            struct err err = ERR_INIT;
            struct buf plain = BUF_INIT, packed = BUF_INIT;
            struct pack *p = pack_new((enum pack_kind)kind, collect, &packed);
            buf_adds(&plain, "REDIS0011");
            for (uint32_t k = 0, x = 1; k < sizes[i]; k++, x = x * 1103515245 + 12345)
                buf_addc(&plain, (char)(k % 50 ? 'a' : x >> 24));
            for (size_t at = 0; at < plain.len; at += 70000)
                assert_ok(pack_add(p, plain.data + at,
                              plain.len - at < 70000 ? plain.len - at : 70000, &err),
                    err);
            assert_ok(pack_end(p, &err), err);
            pack_free(p);
            check_all_pieces(&packed, &plain, pack_name((enum pack_kind)kind));
            if (kind != PACK_NONE && sizes[i] > 1000)
                assert_true(packed.len < plain.len / 2);
            buf_release(&plain);
            buf_release(&packed);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_bytes_pass),
        cmocka_unit_test(gzip_is_inflated),
        cmocka_unit_test(bad_gzip_is_found),
        cmocka_unit_test(zeros_behind_gzip_are_padding),
        cmocka_unit_test(zstd_is_inflated),
        cmocka_unit_test(skippable_zstd_frames_are_skipped),
        cmocka_unit_test(bad_zstd_is_found),
        cmocka_unit_test(other_content_is_told),
        cmocka_unit_test(packed_files_are_unpacked),
        cmocka_unit_test(refusal_of_the_sink_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
