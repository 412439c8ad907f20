#include "unpack.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/igzip_lib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "recluster/sealed.h"

enum {
    TELLING_BYTES = 16, /* bytes that tell the kind of the file */
    OUT_BYTES = 256 * 1024,
    FEED_BYTES_MAX = 1 << 30, /* ISA-L counts in 32 bits */
    ZSTD_WINDOW_LOG_MAX = 27, /* 128 MiB, the limit of zstd(1) without options */
};

enum place {
    AT_BEGINNING, /* fewer than TELLING_BYTES have arrived */
    IN_PLAIN,
    IN_GZIP_HEADER,
    IN_GZIP_BODY,
    BEHIND_GZIP_MEMBER, /* a member has ended; another one may follow */
    IN_ZSTD,
    BEHIND_ZSTD_FRAME,
    IN_SEALED, /* `inner` gets what is decrypted */
};

struct unpack {
    store_sink sink;
    void *arg;
    enum place place;
    unsigned char beginning[TELLING_BYTES];
    size_t beginning_len;
    unsigned members;
    bool padded;        /* zero bytes followed the last gzip member */
    uint64_t piece_end; /* offset after the bytes that are being fed */
    struct inflate_state inflate;
    struct isal_gzip_header header;
    ZSTD_DStream *zstd; /* NULL: unused */
    const char *key;    /* NULL: none */
    struct sealed_stream *sealed;
    struct unpack *inner;
    uint8_t out[OUT_BYTES];
};

struct unpack *unpack_new(store_sink sink, void *arg)
{
    struct unpack *u = xmalloc(sizeof(*u));
    u->sink = sink;
    u->arg = arg;
    u->place = AT_BEGINNING;
    u->beginning_len = 0;
    u->members = 0;
    u->padded = false;
    u->piece_end = 0;
    u->zstd = NULL;
    u->key = NULL;
    u->sealed = NULL;
    u->inner = NULL;
    isal_inflate_init(&u->inflate);
    return u;
}

void unpack_free(struct unpack *u)
{
    if (!u)
        return;
    ZSTD_freeDStream(u->zstd);
    sealed_free(u->sealed);
    unpack_free(u->inner);
    free(u);
}

void unpack_use_key(struct unpack *u, const char *text)
{
    u->key = text;
}

const char *unpack_compression(const struct unpack *u)
{
    if (u->place == IN_SEALED) {
        const char *inner = unpack_compression(u->inner);
        return strcmp(inner, "none") == 0 ? "encrypted" : inner;
    }
    return u->place >= IN_ZSTD ? "zstd" : u->place > IN_PLAIN ? "gzip" : "none";
}

static void begin_member(struct unpack *u)
{
    isal_inflate_reset(&u->inflate);
    /* A call of its own reads the header. Checksum and length at the end are verified. */
    u->inflate.crc_flag = ISAL_GZIP_NO_HDR_VER;
    isal_gzip_header_init(&u->header);
    u->inflate.avail_out = OUT_BYTES;
    u->place = IN_GZIP_HEADER;
}

/* `left`: bytes of the piece that were not looked at. */
static int fail_packed(const struct unpack *u, size_t left, const char *what, struct err *err)
{
    err_set(
        err, ERR_CORRUPT, "%s at offset %" PRIu64 " of the packed file", what, u->piece_end - left);
    return err_hint(err, "Take another copy of it, or an older backup.");
}

static int no_member(const struct unpack *u, struct err *err)
{
    return fail_packed(u, u->inflate.avail_in,
        u->members ? "something that is not gzip follows the gzip data,"
                   : "the gzip header is damaged",
        err);
}

static int read_header(struct unpack *u, struct err *err)
{
    int rc = isal_read_gzip_header(&u->inflate, &u->header);

    if (rc == ISAL_DECOMP_OK)
        u->place = IN_GZIP_BODY;
    return rc < 0 ? no_member(u, err) : 0;
}

static int inflate_some(struct unpack *u, struct err *err)
{
    u->inflate.next_out = u->out;
    u->inflate.avail_out = OUT_BYTES;
    uint32_t before = u->inflate.avail_in;
    int rc = isal_inflate(&u->inflate);
    bool stuck = before && u->inflate.avail_in == before && u->inflate.avail_out == OUT_BYTES;
    size_t made = OUT_BYTES - u->inflate.avail_out;

    if (made && u->sink(u->arg, u->out, made, err) < 0)
        return -1;
    if (rc == ISAL_INCORRECT_CHECKSUM)
        return fail_packed(u, u->inflate.avail_in,
            "the gzip data is damaged: its checksum or length is wrong", err);
    if (rc < 0 || stuck)
        return fail_packed(u, u->inflate.avail_in, "the gzip data is damaged", err);
    if (u->inflate.block_state == ISAL_BLOCK_FINISH) {
        u->members++;
        u->place = BEHIND_GZIP_MEMBER;
    }
    return 0;
}

/* After a member: padding of zero bytes up to the end, as on tapes, or another member. */
static int next_member(struct unpack *u, struct err *err)
{
    uint8_t *next = u->inflate.next_in;
    uint32_t left = u->inflate.avail_in;

    while (left && !*next) {
        u->padded = true;
        next++;
        left--;
    }
    u->inflate.next_in = next;
    u->inflate.avail_in = left;
    if (!left)
        return 0;
    if (*next != 0x1f || u->padded)
        return no_member(u, err);
    begin_member(u);
    u->inflate.next_in = next;
    u->inflate.avail_in = left;
    return 0;
}

static int feed_gzip(struct unpack *u, const void *data, size_t len, struct err *err)
{
    /* ISA-L lacks the const; it only reads. */
    u->inflate.next_in = (uint8_t *)(uintptr_t)data;
    u->inflate.avail_in = (uint32_t)len;
    while (u->inflate.avail_in || u->inflate.avail_out == 0) {
        if (u->place == BEHIND_GZIP_MEMBER) {
            if (next_member(u, err) < 0)
                return -1;
            if (!u->inflate.avail_in)
                break;
        }
        int rc = u->place == IN_GZIP_HEADER ? read_header(u, err) : inflate_some(u, err);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int begin_zstd(struct unpack *u, struct err *err)
{
    u->zstd = ZSTD_createDStream();
    if (!u->zstd)
        return err_set(err, ERR_FAILED, "cannot start libzstd");
    ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    u->place = IN_ZSTD;
    return 0;
}

/* Several frames may follow each other; libzstd verifies their checksums. */
static int feed_zstd(struct unpack *u, const void *data, size_t len, struct err *err)
{
    ZSTD_inBuffer in = {.src = data, .size = len};
    bool full = true;

    /* A full output buffer may hide more output. */
    while (in.pos < in.size || full) {
        ZSTD_outBuffer out = {.dst = u->out, .size = OUT_BYTES};
        size_t rc = ZSTD_decompressStream(u->zstd, &out, &in);
        if (ZSTD_isError(rc) && ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge)
            return err_set(err, ERR_LIMIT, "the zstd data needs a window of more than 128 MB");
        if (ZSTD_isError(rc)) {
            AUTO_FREE char *what =
                xasprintf("the zstd data is damaged (%s)", ZSTD_getErrorName(rc));
            return fail_packed(u, in.size - in.pos, what, err);
        }
        u->place = rc == 0 ? BEHIND_ZSTD_FRAME : IN_ZSTD;
        full = out.pos == OUT_BYTES;
        if (out.pos && u->sink(u->arg, u->out, out.pos, err) < 0)
            return -1;
        if (rc == 0 && in.pos == in.size)
            break;
    }
    return 0;
}

static bool begins_with(const struct unpack *u, const char *magic, size_t len)
{
    return u->beginning_len >= len && memcmp(u->beginning, magic, len) == 0;
}

static bool is_markup(const struct unpack *u)
{
    size_t at = begins_with(u, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < u->beginning_len && isspace(u->beginning[at]))
        at++;
    return at < u->beginning_len && u->beginning[at] == '<';
}

static int feed_inner(void *arg, const void *data, size_t len, struct err *err)
{
    return unpack_feed(arg, data, len, err);
}

/* A file that is encrypted twice is not one of ours. */
static int begin_sealed(struct unpack *u, struct err *err)
{
    if (!u->key) {
        err_set(err, ERR_USAGE, "it is encrypted");
        return err_hint(err, "Give the private key: --key FILE, or --key gpg for OpenPGP.");
    }
    u->inner = unpack_new(u->sink, u->arg);
    u->place = IN_SEALED;
    return sealed_begin_open(
               u->key, u->beginning, u->beginning_len, feed_inner, u->inner, &u->sealed, err) < 0
               ? -1
               : sealed_feed(u->sealed, u->beginning, u->beginning_len, err);
}

/* All bytes that tell the kind are there: chooses the decoder and feeds them to it. */
static int tell(struct unpack *u, struct err *err)
{
    static const struct {
        const char *magic;
        size_t len;
        const char *name;
    } unknown[] = {{"\xfd"
                    "7zXZ",
                       5, "xz"},
        {"BZh", 3, "bzip2"}, {"\x04\x22\x4d\x18", 4, "lz4"}, {"PK\x03\x04", 4, "zip"}};

    if (!u->beginning_len)
        return err_set(err, ERR_CORRUPT, "the file is empty");
    if (sealed_is(u->beginning, u->beginning_len))
        return begin_sealed(u, err);
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        if (!begins_with(u, unknown[i].magic, unknown[i].len))
            continue;
        err_set(err, ERR_UNSUPPORTED, "the file is compressed with %s", unknown[i].name);
        return err_hint(err, "Unpack it, or compress it with gzip or zstd.");
    }
    if (is_markup(u)) {
        err_set(err, ERR_CORRUPT, "this is a web page or XML, not a backup file");
        return err_hint(err, "It may be a login or error page: look at it in a browser.");
    }
    /* Skippable frames: zstd(1) ignores them; pzstd writes one first. */
    bool skippable = u->beginning_len >= 4 && (u->beginning[0] & 0xf0) == 0x50 &&
                     memcmp(u->beginning + 1, "\x2a\x4d\x18", 3) == 0;
    if (skippable || begins_with(u, "\x28\xb5\x2f\xfd", 4))
        return begin_zstd(u, err) < 0 ? -1 : feed_zstd(u, u->beginning, u->beginning_len, err);
    if (!begins_with(u, "\x1f\x8b", 2)) {
        u->place = IN_PLAIN;
        return u->sink(u->arg, u->beginning, u->beginning_len, err);
    }
    begin_member(u);
    return feed_gzip(u, u->beginning, u->beginning_len, err);
}

int unpack_feed(struct unpack *u, const void *data, size_t len, struct err *err)
{
    const char *p = data;

    if (u->place == AT_BEGINNING) {
        size_t room = TELLING_BYTES - u->beginning_len;
        size_t taken = len < room ? len : room;
        memcpy(u->beginning + u->beginning_len, p, taken);
        u->beginning_len += taken;
        u->piece_end += taken;
        if (u->beginning_len < TELLING_BYTES)
            return 0;
        if (tell(u, err) < 0)
            return -1;
        p += taken;
        len -= taken;
    }
    u->piece_end += len;
    if (u->place == IN_SEALED)
        return len ? sealed_feed(u->sealed, p, len, err) : 0;
    if (u->place == IN_PLAIN)
        return len ? u->sink(u->arg, p, len, err) : 0;
    if (u->place >= IN_ZSTD)
        return len ? feed_zstd(u, p, len, err) : 0;
    for (size_t n; len; p += n, len -= n) {
        n = len < FEED_BYTES_MAX ? len : FEED_BYTES_MAX;
        if (feed_gzip(u, p, n, err) < 0)
            return -1;
    }
    return 0;
}

static int fail_cut(const struct unpack *u, const char *what, struct err *err)
{
    err_set(err, ERR_CORRUPT, "the %s data is cut off at byte %" PRIu64, what, u->piece_end);
    return err_hint(err, "Take another copy of it, or an older backup.");
}

int unpack_end(struct unpack *u, struct err *err)
{
    if (u->place == AT_BEGINNING && tell(u, err) < 0)
        return -1;
    if (u->place == IN_SEALED)
        return sealed_end(u->sealed, err) < 0 ? -1 : unpack_end(u->inner, err);
    if (u->place == IN_GZIP_HEADER || u->place == IN_GZIP_BODY)
        return fail_cut(u, "gzip", err);
    if (u->place == IN_ZSTD)
        return fail_cut(u, "zstd", err);
    return 0;
}
