#ifndef RECLUSTER_READER_IMPL_H
#define RECLUSTER_READER_IMPL_H

/*
 * The inside of the RDB reader.
 *
 * The reader is a state machine: `step` is the state, a function that reads from a cursor over the
 * bytes at hand. An atom is what must be read in one piece: a length, a key with its type byte, or
 * a requested element. Rules:
 *
 *  1. A function that takes from the cursor returns TAKEN, FAILED or STARVED. STARVED sets
 *     cursor.need to a lower bound of the atom's length, changes nothing but the cursor, and means
 *     that the function is called again with the whole atom from its first byte.
 *  2. commit() ends an atom: the reader has recorded all before the cursor.
 *  3. The bytes of an unfinished atom are kept in `carry`, at most `need` of them. So when an atom
 *     in the carry succeeds, it ends exactly at its end, and reading continues in the caller's
 *     bytes.
 *  4. Bytes that are not needed are counted in `skip` and passed without being read.
 *
 * So the same code reads from the caller's buffer and, across its borders, from the carry.
 */

#include "cursor.h"
#include "recluster/buf.h"
#include "recluster/rdb.h"

typedef enum taken step_fn(struct rdb_reader *r, struct cursor *c, struct err *err);

/* The layout of a type's values, besides its skip program. */
enum layout {
    LAYOUT_OPAQUE,   /* never decoded */
    LAYOUT_STRING,   /* one string, the value itself */
    LAYOUT_ELEMENTS, /* a count, then elements of strings */
    LAYOUT_PACKED,   /* one string that holds all elements */
    LAYOUT_NODES,    /* a count, then packed strings */
};

enum score { SCORE_NONE, SCORE_TEXT, SCORE_DOUBLE };
enum expiry {
    EXPIRY_NONE,
    EXPIRY_BEFORE, /* elements: a length before the field, 0 none; packed: third entry */
    /* 8 bytes before the count; elements: relative to these, plus 1; packed: as EXPIRY_BEFORE. */
    EXPIRY_BEFORE_RELATIVE,
    EXPIRY_BEHIND, /* 8 bytes after the value; -1: none */
};

struct type_info {
    const char *skip; /* program of step_skip(); NULL: unknown */
    enum rdb_kind kind;
    enum layout layout;
    enum packing packing;
    enum score score;
    enum expiry expiry;
    bool containers; /* nodes: a container byte precedes each */
};

const struct type_info *type_info_of(bool valkey, uint8_t type); /* NULL: unknown */

enum { SKIP_DEPTH = 4, KEY_SHOWN = 64 };

struct skip_loop {
    const char *body;
    uint64_t left;
};

struct rdb_reader {
    struct rdb_events events;
    void *arg;
    struct rdb_limits limits;

    step_fn *step;
    uint64_t offset; /* of all bytes taken by feed */
    uint64_t skip;
    struct buf carry;
    uint64_t carry_offset, carry_need;

    uint64_t crc;        /* of the bytes before this piece */
    uint64_t crc_data;   /* of the bytes before the end opcode */
    uint64_t crc_stored; /* in the file */
    uint64_t body_end;   /* offset after the end opcode; 0: not reached */
    enum rdb_checksum checksum;
    bool more_follows;    /* bytes after the end are allowed */
    uint64_t trailing;    /* bytes after the end */
    unsigned mark_digits; /* the end mark of a diskless transfer was among them */
    bool mark_ended, trailing_bad;

    struct rdb_header header;
    uint64_t db;
    bool in_unit; /* the opcode was read, not yet the rest */
    struct rdb_unit unit;
    uint8_t prefixes;
    bool prefixed;      /* opcodes of the next record were read; the first is at record.offset */
    int64_t expires_ms; /* of the next record */
    bool in_record, has_key;
    struct rdb_record record;
    struct buf key; /* holds record.key once the caller's buffer is gone */
    bool key_cut;   /* it lacks a part of the last record's key */

    const struct type_info *type;

    /* step_skip() */
    const char *program;
    uint64_t number; /* the last length that it read */
    struct skip_loop loops[SKIP_DEPTH];
    unsigned depth;
    step_fn *after_skip;

    /* decoding */
    uint64_t left; /* elements or nodes */
    int64_t least_expiry;
    struct buf scratch[2]; /* string_bytes() */
    char text[2][INTEGER_TEXT_MAX];

    struct err failure;
};

/* A string in the file. */
enum string_form { STRING_PLAIN, STRING_INTEGER, STRING_LZF };
struct raw_string {
    enum string_form form;
    const uint8_t *data;
    uint64_t stored; /* bytes at data */
    uint64_t full;   /* LZF: bytes when decompressed */
};
/* Sets the error: "WHAT at offset N, in key 'k'". Returns FAILED. */
enum taken reader_fail(const struct rdb_reader *r, const struct cursor *c, enum err_code code,
    struct err *err, const char *fmt, ...) PRINTF_LIKE(5, 6);

/* Whether n more bytes are possible. `what` names n: "length", "count". */
enum taken reader_fits(const struct rdb_reader *r, const struct cursor *c, uint64_t n,
    const char *what, struct err *err);

/* Reads a length of one or two bytes, if it has that form and is here. */
static inline bool take_short_length(struct cursor *c, uint64_t *ret)
{
    const uint8_t *p = c->p;

    if (p < c->end && p[0] < 0x40) {
        *ret = p[0];
        c->p = p + 1;
        return true;
    }
    if (c->end - p > 1 && p[0] < 0x80) {
        *ret = (uint64_t)(p[0] & 0x3f) << 8 | p[1];
        c->p = p + 2;
        return true;
    }
    return false;
}

enum taken take_length_slow(
    const struct rdb_reader *r, struct cursor *c, uint64_t *ret, struct err *err);

/* A plain length or number. */
static inline enum taken take_length(
    const struct rdb_reader *r, struct cursor *c, uint64_t *ret, struct err *err)
{
    return take_short_length(c, ret) ? TAKEN : take_length_slow(r, c, ret, err);
}

enum taken take_string_head_slow(
    const struct rdb_reader *r, struct cursor *c, struct raw_string *ret, struct err *err);

/* Reads a string up to its bytes: form, stored, full. */
static inline enum taken take_string_head(
    const struct rdb_reader *r, struct cursor *c, struct raw_string *ret, struct err *err)
{
    if (take_short_length(c, &ret->stored)) {
        ret->form = STRING_PLAIN;
        return TAKEN;
    }
    return take_string_head_slow(r, c, ret, err);
}

static inline enum taken skip_string(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    struct raw_string s;
    enum taken t = take_string_head(r, c, &s, err);
    if (t != TAKEN)
        return t;
    r->record.strings++;
    r->record.string_bytes += s.form == STRING_PLAIN ? s.stored : s.form == STRING_LZF ? s.full : 0;
    uint64_t here = (uint64_t)(c->end - c->p);
    if (s.stored <= here) {
        c->p += s.stored;
    } else {
        if (reader_fits(r, c, s.stored, "length", err) != TAKEN)
            return FAILED;
        c->p = c->end;
        r->skip = s.stored - here;
    }
    return TAKEN;
}

enum taken take_string_slow(const struct rdb_reader *r, struct cursor *c, size_t limit,
    struct raw_string *ret, struct err *err);

/* Reads a string with its bytes, if full is at most `limit`. */
static inline enum taken take_string(const struct rdb_reader *r, struct cursor *c, size_t limit,
    struct raw_string *ret, struct err *err)
{
    size_t here = (size_t)(c->end - c->p);
    if (here && *c->p < 0x40 && *c->p < here && *c->p <= limit) {
        *ret = (struct raw_string){.form = STRING_PLAIN, .data = c->p + 1, .stored = *c->p};
        c->p += 1 + ret->stored;
        return TAKEN;
    }
    return take_string_slow(r, c, limit, ret, err);
}

/*
 * The text of the string: plain bytes in place, an integer as text in r->text[n], LZF decompressed
 * into r->scratch[n]. Call it when the atom is complete.
 */
enum taken string_bytes(struct rdb_reader *r, const struct cursor *c, const struct raw_string *s,
    int n, struct rdb_bytes *ret, struct err *err);

/* Skips what `program` describes, then continues with `after`. See skip.c. */
void skip_start(struct rdb_reader *r, const char *program, step_fn *after);
step_fn step_skip;

/* A packed value. Of its elements only their presence is checked. */
enum taken skip_packed(struct rdb_reader *r, struct cursor *c, struct err *err);

/* trailer.c: the error for a file with a wrong beginning; the checksum and the bytes after it. */
enum taken fail_magic(const uint8_t *bytes, size_t len, struct err *err);
step_fn step_checksum, step_end;

/* opcode.c: reads the beginning of a unit or all of it; the rest is skipped, up to step_opcode. */
enum taken take_unit(struct rdb_reader *r, struct cursor *c, uint8_t opcode, struct err *err);
step_fn step_opcode;
enum taken fail_type(struct rdb_reader *r, struct cursor *c, uint8_t type, struct err *err);
void drop_large(struct buf *b); /* frees the buffers of one large value */
void module_name(uint64_t id, char name[10]);

/* Decodes the value of r->record, then continues with step_record_end. */
void decode_start(struct rdb_reader *r);
step_fn step_record_end;

#endif
