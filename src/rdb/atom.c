/* The atoms of RDB files: lengths and strings. */

#include <inttypes.h>
#include <liblzf/lzf.h>
#include <stdio.h>

#include "reader_impl.h"

enum taken reader_fits(const struct rdb_reader *r, const struct cursor *c, uint64_t n,
    const char *what, struct err *err)
{
    uint64_t here = offset_of(c, c->p);
    if (here <= r->limits.file_bytes && n <= r->limits.file_bytes - here)
        return TAKEN;
    return reader_fail(
        r, c, ERR_CORRUPT, err, "%s %" PRIu64 " is more than the file can hold", what, n);
}

/* The number after a first byte of 0x40 to 0xbf. */
enum taken take_length_slow(
    const struct rdb_reader *r, struct cursor *c, uint64_t *ret, struct err *err)
{
    if (want(c, 1) != TAKEN)
        return STARVED;

    uint8_t first = *c->p;
    size_t size = first < 0x40 ? 1 : first < 0x80 ? 2 : first == 0x81 ? 9 : 5;
    if (first > 0x81 && (first >= 0xc0 || r->header.valkey || r->header.version >= 9))
        return reader_fail(r, c, ERR_CORRUPT, err, "0x%02x is not a length", first);
    if (want(c, size) != TAKEN)
        return STARVED;
    uint64_t value = first & 0x3f;
    if (size > 2)
        value = 0;
    for (size_t i = 1; i < size; i++)
        value = value << 8 | c->p[i];
    c->p += size;
    *ret = value;
    return TAKEN;
}

/* Three bytes of LZF expand to at most 264, and nothing expands more. */
static bool lzf_can_be(uint64_t stored, uint64_t full)
{
    return stored && full && full / 88 <= stored + 3;
}

enum taken take_string_head_slow(
    const struct rdb_reader *r, struct cursor *c, struct raw_string *ret, struct err *err)
{
    if (want(c, 1) != TAKEN)
        return STARVED;

    uint8_t first = *c->p;
    if (first < 0xc0) {
        ret->form = STRING_PLAIN;
        return take_length_slow(r, c, &ret->stored, err);
    }
    if (first <= 0xc2) {
        ret->form = STRING_INTEGER;
        ret->stored = UINT64_C(1) << (first - 0xc0);
        c->p++;
        return TAKEN;
    }
    if (first != 0xc3)
        return reader_fail(r, c, ERR_CORRUPT, err, "0x%02x is not a string encoding", first);

    ret->form = STRING_LZF;
    c->p++;
    enum taken t = take_length(r, c, &ret->stored, err);
    if (t == TAKEN)
        t = take_length(r, c, &ret->full, err);
    if (t == TAKEN && !lzf_can_be(ret->stored, ret->full))
        return reader_fail(r, c, ERR_CORRUPT, err,
            "compressed string claims %" PRIu64 " bytes out of %" PRIu64, ret->full, ret->stored);
    return t;
}

enum taken take_string_slow(const struct rdb_reader *r, struct cursor *c, size_t limit,
    struct raw_string *ret, struct err *err)
{
    enum taken t = take_string_head(r, c, ret, err);
    if (t != TAKEN)
        return t;

    uint64_t full = ret->form == STRING_LZF ? ret->full : ret->stored;
    if (reader_fits(r, c, ret->stored, "length", err) != TAKEN)
        return FAILED;
    if (full > limit || ret->stored > limit)
        return reader_fail(r, c, ERR_LIMIT, err,
            "string of %" PRIu64 " bytes is over the limit of %zu", full, limit);
    if (want(c, ret->stored) != TAKEN)
        return STARVED;
    ret->data = c->p;
    c->p += ret->stored;
    return TAKEN;
}

enum taken string_bytes(struct rdb_reader *r, const struct cursor *c, const struct raw_string *s,
    int n, struct rdb_bytes *ret, struct err *err)
{
    struct buf *scratch = &r->scratch[n];

    switch (s->form) {
    case STRING_PLAIN:
        *ret = (struct rdb_bytes){s->data, s->stored};
        return TAKEN;
    case STRING_INTEGER: {
        int32_t value = s->stored == 1   ? (int8_t)*s->data
                        : s->stored == 2 ? (int16_t)load16(s->data)
                                         : (int32_t)load32(s->data);
        int len = snprintf(r->text[n], INTEGER_TEXT_MAX, "%" PRId32, value);
        *ret = (struct rdb_bytes){r->text[n], (size_t)len};
        return TAKEN;
    }
    case STRING_LZF:
        break;
    }
    /* The limits keep both lengths below 4 GiB. */
    buf_clear(scratch);
    buf_reserve(scratch, s->full);
    if (lzf_decompress(s->data, (unsigned)s->stored, scratch->data, (unsigned)s->full) != s->full)
        return reader_fail(r, c, ERR_CORRUPT, err, "compressed string is damaged");
    scratch->len = s->full;
    scratch->data[scratch->len] = '\0';
    *ret = (struct rdb_bytes){scratch->data, scratch->len};
    return TAKEN;
}
