/* Decodes requested values: element by element, or packed string by packed string. */

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "packed.h"
#include "reader_impl.h"

enum { SCORE_TEXT_MAX = 255, CONTAINER_PLAIN = 1, CONTAINER_PACKED = 2 };

static step_fn step_string, step_count, step_elements, step_packed;

void decode_start(struct rdb_reader *r)
{
    r->left = 1;
    r->least_expiry = 0;
    r->record.empty = r->type->layout != LAYOUT_STRING;
    r->step = r->type->layout == LAYOUT_STRING ? step_string : step_count;
}

static enum taken emit(struct rdb_reader *r, const struct rdb_element *element, struct err *err)
{
    r->record.empty = false;
    if (r->events.element && r->events.element(r->arg, &r->record, element, err) < 0)
        return FAILED;
    return TAKEN;
}

static enum taken step_string(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    struct raw_string raw;
    struct rdb_element element = {.expires_ms = -1};

    enum taken t = take_string(r, c, r->limits.element_bytes, &raw, err);
    if (t == TAKEN)
        t = string_bytes(r, c, &raw, 0, &element.value, err);
    if (t != TAKEN)
        return t;
    r->step = step_record_end;
    return emit(r, &element, err);
}

/* Reads what precedes the elements: the least expiry, the count. */
static enum taken step_count(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    enum layout layout = r->type->layout;
    int64_t least = 0;

    if (r->type->expiry == EXPIRY_BEFORE_RELATIVE) {
        if (want(c, 8) != TAKEN)
            return STARVED;
        least = (int64_t)load64(c->p);
        c->p += 8;
    }
    if (layout != LAYOUT_PACKED) {
        uint64_t count;
        enum taken t = take_length(r, c, &count, err);
        if (t == TAKEN)
            t = reader_fits(r, c, count, "count", err);
        if (t != TAKEN)
            return t;
        r->left = count;
    }
    r->least_expiry = least;
    r->step = layout == LAYOUT_ELEMENTS ? step_elements : step_packed;
    return TAKEN;
}

static enum taken score_of(const struct rdb_reader *r, const struct cursor *c, const void *text,
    size_t len, double *ret, struct err *err)
{
    char copy[SCORE_TEXT_MAX + 1];
    char *end = copy;

    if (len && len <= SCORE_TEXT_MAX) {
        memcpy(copy, text, len);
        copy[len] = '\0';
        *ret = strtod(copy, &end);
    }
    if (!len || end != copy + len || isnan(*ret))
        return reader_fail(r, c, ERR_CORRUPT, err, "score is not a number");
    return TAKEN;
}

static enum taken take_score(
    const struct rdb_reader *r, struct cursor *c, double *ret, struct err *err)
{
    if (r->type->score == SCORE_DOUBLE) {
        if (want(c, sizeof(*ret)) != TAKEN)
            return STARVED;
        uint64_t bits = load64(c->p);
        memcpy(ret, &bits, sizeof(*ret));
        c->p += sizeof(*ret);
        return isnan(*ret) ? reader_fail(r, c, ERR_CORRUPT, err, "score is not a number") : TAKEN;
    }
    if (want(c, 1) != TAKEN)
        return STARVED;
    size_t len = *c->p;
    if (len >= 253) {
        c->p++;
        *ret = len == 254 ? HUGE_VAL : -HUGE_VAL;
        return len == 253 ? reader_fail(r, c, ERR_CORRUPT, err, "score is not a number") : TAKEN;
    }
    if (want(c, 1 + len) != TAKEN)
        return STARVED;
    c->p += 1 + len;
    return score_of(r, c, c->p - len, len, ret, err);
}

/* 0: never; else the time itself, or its distance to the least expiry plus one. */
static enum taken expiry_of(const struct rdb_reader *r, const struct cursor *c, uint64_t stored,
    bool relative, int64_t *ret, struct err *err)
{
    int64_t expiry;

    if (!stored)
        *ret = -1;
    else if (stored > INT64_MAX ||
             __builtin_add_overflow(
                 (int64_t)stored - relative, relative ? r->least_expiry : 0, &expiry) ||
             expiry < 0)
        return reader_fail(r, c, ERR_CORRUPT, err, "expiry of a field is out of range");
    else
        *ret = expiry;
    return TAKEN;
}

static enum taken take_expiry_behind(struct cursor *c, int64_t *ret)
{
    if (want(c, 8) != TAKEN)
        return STARVED;
    *ret = (int64_t)load64(c->p);
    c->p += 8;
    return TAKEN;
}

/* Reads one element, which is one atom. */
static enum taken take_element(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    const struct type_info *type = r->type;
    size_t limit = r->limits.element_bytes;
    struct rdb_element element = {.expires_ms = -1};
    struct raw_string field, value;
    bool has_field = type->kind == RDB_KIND_HASH;
    enum taken t = TAKEN;

    if (type->expiry == EXPIRY_BEFORE || type->expiry == EXPIRY_BEFORE_RELATIVE) {
        uint64_t stored;
        bool relative = type->expiry == EXPIRY_BEFORE_RELATIVE;
        t = take_length(r, c, &stored, err);
        if (t == TAKEN)
            t = expiry_of(r, c, stored, relative, &element.expires_ms, err);
    }
    if (t == TAKEN && has_field)
        t = take_string(r, c, limit, &field, err);
    if (t == TAKEN)
        t = take_string(r, c, limit, &value, err);
    if (t == TAKEN && type->score != SCORE_NONE)
        t = take_score(r, c, &element.score, err);
    if (t == TAKEN && type->expiry == EXPIRY_BEHIND)
        t = take_expiry_behind(c, &element.expires_ms);

    if (t == TAKEN && has_field)
        t = string_bytes(r, c, &field, 0, &element.field, err);
    if (t == TAKEN)
        t = string_bytes(r, c, &value, 1, &element.value, err);
    return t == TAKEN ? emit(r, &element, err) : t;
}

static enum taken step_elements(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    for (; r->left; r->left--) {
        commit(c);
        enum taken t = take_element(r, c, err);
        if (t != TAKEN)
            return t;
    }
    r->step = step_record_end;
    return TAKEN;
}

/* Builds an element of `width` entries of a packed value. */
static enum taken emit_entries(struct rdb_reader *r, const struct cursor *c,
    const struct packed_entry *entries, struct err *err)
{
    struct rdb_element element = {.value = entries[0].bytes, .expires_ms = -1};
    enum taken t = TAKEN;

    if (r->record.kind == RDB_KIND_ZSET) {
        t = score_of(r, c, entries[1].bytes.data, entries[1].bytes.len, &element.score, err);
    } else if (r->record.kind == RDB_KIND_HASH) {
        element.field = entries[0].bytes;
        element.value = entries[1].bytes;
    }
    if (r->type->expiry != EXPIRY_NONE) {
        char text[INTEGER_TEXT_MAX] = "", *end = text;
        struct rdb_bytes expiry = entries[2].bytes;
        uint64_t stored = 0;
        if (expiry.len && expiry.len < sizeof(text)) {
            memcpy(text, expiry.data, expiry.len);
            text[expiry.len] = '\0';
            errno = 0;
            stored = strtoull(text, &end, 10);
        }
        if (text[0] < '0' || text[0] > '9' || end != text + expiry.len || errno)
            return reader_fail(r, c, ERR_CORRUPT, err, "expiry of a field is not a number");
        t = expiry_of(r, c, stored, false, &element.expires_ms, err);
    }
    return t == TAKEN ? emit(r, &element, err) : t;
}

static const char *const packing_names[] = {
    [PACKED_NONE] = "value",
    [PACKED_ZIPLIST] = "ziplist",
    [PACKED_LISTPACK] = "listpack",
    [PACKED_INTSET] = "intset",
    [PACKED_ZIPMAP] = "zipmap",
};

static enum taken decode_packed(
    struct rdb_reader *r, const struct cursor *c, struct rdb_bytes bytes, struct err *err)
{
    enum packing packing = r->type->packing;
    unsigned width = r->type->expiry != EXPIRY_NONE    ? 3
                     : r->record.kind == RDB_KIND_HASH ? 2
                     : r->record.kind == RDB_KIND_ZSET ? 2
                                                       : 1;
    struct packed it;
    struct packed_entry entries[3];
    unsigned have = 0;
    const char *why = packed_open(&it, packing, bytes.data, bytes.len);

    while (!why) {
        why = packed_next(&it, &entries[have]);
        if (why || it.at_end)
            break;
        if (++have < width)
            continue;
        have = 0;
        if (emit_entries(r, c, entries, err) != TAKEN)
            return FAILED;
    }
    if (!why && have)
        why = "its last element is not whole";
    if (why)
        return reader_fail(r, c, ERR_CORRUPT, err, "damaged %s (%s)", packing_names[packing], why);
    return TAKEN;
}

static enum taken take_packed(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    uint64_t container = CONTAINER_PACKED;
    struct raw_string raw;
    struct rdb_bytes bytes;
    enum taken t = TAKEN;

    if (r->type->containers)
        t = take_length(r, c, &container, err);
    if (t == TAKEN && container != CONTAINER_PACKED && container != CONTAINER_PLAIN)
        return reader_fail(
            r, c, ERR_CORRUPT, err, "%" PRIu64 " is not a container of a quicklist", container);
    if (t == TAKEN)
        t = take_string(r, c, r->limits.element_bytes, &raw, err);
    if (t == TAKEN)
        t = string_bytes(r, c, &raw, 0, &bytes, err);
    if (t != TAKEN)
        return t;
    if (container == CONTAINER_PACKED)
        return decode_packed(r, c, bytes, err);
    struct rdb_element element = {.value = bytes, .expires_ms = -1};
    return emit(r, &element, err);
}

static enum taken step_packed(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    for (; r->left; r->left--) {
        commit(c);
        enum taken t = take_packed(r, c, err);
        if (t != TAKEN)
            return t;
    }
    r->step = step_record_end;
    return TAKEN;
}
