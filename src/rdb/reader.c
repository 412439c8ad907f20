#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "reader_impl.h"
#include "recluster/crc64.h"
#include "recluster/key_text.h"

enum {
    REDIS_VERSION_MAX = 14,
    VALKEY_VERSION = 80,
    CHECKSUM_SINCE = 5,
    /* A piece is checksummed and then read, while it is in the processor's cache. */
    PIECE_BYTES = 64 * 1024,
    /* A larger buffer is freed after the value that needed it. */
    KEPT_BYTES = 1024 * 1024,
};

#define STRING_MAX ((size_t)512 * 1024 * 1024)
#define FILE_MAX (UINT64_C(1) << 48) /* for a file without a limit; no real file comes near it */

/* Opcodes that precede a key. */
enum prefix_opcode {
    OPCODE_RAM_LRU = 107,  /* Redis Enterprise */
    OPCODE_SLOT_NUM = 121, /* Redis Enterprise */
    OPCODE_KEY_META = 243, /* Redis 8.6 */
    OPCODE_IDLE = 248,
    OPCODE_FREQ = 249,
    OPCODE_EXPIRE_MS = 252,
    OPCODE_EXPIRE = 253,
};

static step_fn step_header;

enum taken reader_fail(const struct rdb_reader *r, const struct cursor *c, enum err_code code,
    struct err *err, const char *fmt, ...)
{
    char key[KEY_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    char *what = xvasprintf(fmt, args);
    va_end(args);
    uint64_t offset = offset_of(c, c->atom);
    key_text(r->record.key, key);
    if (r->in_record)
        err_set(err, code, "%s at offset %" PRIu64 ", in key '%s' of database %" PRIu64, what,
            offset, key, r->record.db);
    else if (r->has_key)
        err_set(err, code, "%s at offset %" PRIu64 ", after key '%s'", what, offset, key);
    else
        err_set(err, code, "%s at offset %" PRIu64, what, offset);
    free(what);
    if (code == ERR_CORRUPT)
        err_hint(err, "The file is damaged: take another copy of it, or an older backup.");
    return FAILED;
}

struct rdb_reader *rdb_reader_new(
    const struct rdb_events *events, void *arg, const struct rdb_limits *limits)
{
    struct rdb_reader *r = xcalloc(1, sizeof(*r));

    if (events)
        r->events = *events;
    if (limits)
        r->limits = *limits;
    if (!r->limits.file_bytes || r->limits.file_bytes > FILE_MAX)
        r->limits.file_bytes = FILE_MAX;
    if (!r->limits.key_bytes || r->limits.key_bytes > STRING_MAX)
        r->limits.key_bytes = STRING_MAX;
    if (!r->limits.element_bytes || r->limits.element_bytes > STRING_MAX)
        r->limits.element_bytes = STRING_MAX;
    r->arg = arg;
    r->expires_ms = -1;
    r->step = step_header;
    r->checksum = RDB_CHECKSUM_NOT_REACHED;
    buf_init(&r->carry);
    buf_init(&r->key);
    buf_init(&r->scratch[0]);
    buf_init(&r->scratch[1]);
    return r;
}

void rdb_reader_free(struct rdb_reader *r)
{
    if (!r)
        return;
    buf_release(&r->carry);
    buf_release(&r->key);
    buf_release(&r->scratch[0]);
    buf_release(&r->scratch[1]);
    free(r);
}

uint64_t rdb_reader_offset(const struct rdb_reader *r)
{
    return r->offset;
}

/* header */

static enum taken step_header(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    bool valkey = c->p < c->end && *c->p == 'V';
    const char *magic = valkey ? "VALKEY" : "REDIS";
    size_t len = strlen(magic);
    int version = 0;

    if (want(c, RDB_HEADER_BYTES) != TAKEN)
        return STARVED;
    if (memcmp(c->p, magic, len) != 0)
        goto not_rdb;
    for (size_t i = len; i < RDB_HEADER_BYTES; i++) {
        if (!isdigit(c->p[i]))
            goto not_rdb;
        version = version * 10 + c->p[i] - '0';
    }
    if (!version)
        goto not_rdb;
    if (valkey ? version != VALKEY_VERSION : version > REDIS_VERSION_MAX) {
        err_set(err, ERR_UNSUPPORTED, "RDB version %d of %s is not supported", version,
            valkey ? "Valkey" : "Redis");
        err_hint(err,
            "Known are the versions 1 to %d of Redis and %d of Valkey. Use a newer "
            "release of this program, or a backup that an older server saved.",
            REDIS_VERSION_MAX, VALKEY_VERSION);
        return FAILED;
    }
    c->p += RDB_HEADER_BYTES;
    r->header = (struct rdb_header){.valkey = valkey, .version = version};
    r->step = step_opcode;
    if (r->events.header && r->events.header(r->arg, &r->header, err) < 0)
        return FAILED;
    return TAKEN;

not_rdb:
    return fail_magic(c->p, RDB_HEADER_BYTES, err);
}

/* records */

void drop_large(struct buf *b)
{
    if (b->alloc > KEPT_BYTES)
        buf_release(b);
}

/* The key must survive the bytes that hold it, for a record or a message. */
static void keep_key(struct rdb_reader *r)
{
    struct rdb_bytes *key = &r->record.key;

    if (!r->has_key || key->data == r->key.data)
        return;
    size_t len = r->in_record || key->len <= KEY_SHOWN ? key->len : KEY_SHOWN + 1;
    buf_clear(&r->key);
    drop_large(&r->key);
    buf_add(&r->key, key->data, len);
    r->key_cut = len < key->len;
    *key = (struct rdb_bytes){r->key.data, len};
}

static inline enum taken end_record(struct rdb_reader *r, const struct cursor *c, struct err *err)
{
    r->in_record = false;
    r->step = step_opcode;
    if (r->events.record_end &&
        r->events.record_end(r->arg, &r->record, offset_of(c, c->p), err) < 0)
        return FAILED;
    return TAKEN;
}

enum taken step_record_end(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    drop_large(&r->scratch[0]);
    drop_large(&r->scratch[1]);
    return end_record(r, c, err);
}

enum taken fail_type(struct rdb_reader *r, struct cursor *c, uint8_t type, struct err *err)
{
    const char *server = r->header.valkey ? "Valkey" : "Redis";

    if (type == RDB_MODULE)
        return reader_fail(r, c, ERR_UNSUPPORTED, err,
            "value of a module as a release candidate of Redis 4.0 saved it (type 6)");
    reader_fail(r, c, ERR_UNSUPPORTED, err, "unknown type or opcode %u (RDB version %d of %s)",
        type, r->header.version, server);
    err_hint(err, "If the server that saved the file can load it, a newer release of this program "
                  "may know the type; else the file is damaged.");
    return FAILED;
}

static bool is_last_key(const struct rdb_reader *r, struct rdb_bytes key)
{
    const struct rdb_bytes *last = &r->record.key;
    const uint8_t *a = key.data, *b = last->data;

    if (!r->has_key || key.len != last->len || r->record.db != r->db || r->key_cut)
        return false;
    /* From the end, where key names usually differ. */
    return !key.len || (a[key.len - 1] == b[key.len - 1] && memcmp(a, b, key.len) == 0);
}

/* Type, key and a module's id are one atom. */
static enum taken take_key(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    const uint8_t *start = c->p;
    uint8_t type = *c->p++;
    const struct type_info *info = type_info_of(r->header.valkey, type);
    struct raw_string raw;
    uint64_t module = 0;

    if (!info)
        return fail_type(r, c, type, err);
    enum taken t = take_string(r, c, r->limits.key_bytes, &raw, err);
    if (t == TAKEN && type == RDB_MODULE_2)
        t = take_length(r, c, &module, err);
    struct rdb_bytes key = {raw.data, raw.stored};
    if (t == TAKEN && raw.form != STRING_PLAIN)
        t = string_bytes(r, c, &raw, 0, &key, err);
    if (t != TAKEN)
        return t;

    r->record.repeated = is_last_key(r, key);
    /* Field by field: a struct copy would be stored in halves and loaded whole, which stalls. */
    r->record.key.data = key.data;
    r->record.key.len = key.len;
    r->key_cut = false;
    r->record.type = type;
    r->record.kind = info->kind;
    r->record.db = r->db;
    r->record.expires_ms = r->expires_ms;
    r->record.prefixes = r->prefixes;
    r->record.strings = r->record.string_bytes = 0;
    r->record.empty = false;
    if (!r->prefixed)
        r->record.offset = offset_of(c, start);
    if (type == RDB_MODULE_2)
        module_name(module, r->record.module);
    else
        r->record.module[0] = '\0';
    r->type = info;
    r->has_key = r->in_record = true;
    r->prefixed = false;
    r->prefixes = 0;
    r->expires_ms = -1;
    if (raw.form != STRING_PLAIN) {
        keep_key(r);
        drop_large(&r->scratch[0]);
    }
    return TAKEN;
}

static enum taken take_record(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    enum taken t = take_key(r, c, err);
    if (t != TAKEN)
        return t;
    commit(c);
    int want_it = r->events.record ? r->events.record(r->arg, &r->record, err) : RDB_SKIP;
    if (want_it < 0)
        return FAILED;
    if (want_it == RDB_DECODE && r->type->layout != LAYOUT_OPAQUE) {
        decode_start(r);
        return TAKEN;
    }
    skip_start(r, r->type->skip, step_record_end);
    if (r->type->layout != LAYOUT_STRING &&
        (r->type->layout != LAYOUT_PACKED || r->type->skip[0] != 'p'))
        return TAKEN;

    /* Most values are one string: the steps are skipped if it is all here. */
    t = r->type->layout == LAYOUT_STRING ? skip_string(r, c, err) : skip_packed(r, c, err);
    if (t != TAKEN)
        return t;
    r->program++;
    return r->skip ? TAKEN : end_record(r, c, err);
}

/* opcodes */

static enum taken take_expiry(struct rdb_reader *r, struct cursor *c, bool ms)
{
    if (want(c, ms ? 8 : 4) != TAKEN)
        return STARVED;
    if (ms) {
        r->expires_ms = (int64_t)load64(c->p);
        c->p += 8;
    } else {
        r->expires_ms = (int64_t)(int32_t)load32(c->p) * 1000;
        c->p += 4;
    }
    return TAKEN;
}

/* Opcodes that belong to the next record. */
static bool is_prefix(const struct rdb_reader *r, uint8_t opcode)
{
    switch (opcode) {
    case OPCODE_EXPIRE:
    case OPCODE_EXPIRE_MS:
    case OPCODE_IDLE:
    case OPCODE_FREQ:
        return true;
    case OPCODE_RAM_LRU:
    case OPCODE_SLOT_NUM:
    case OPCODE_KEY_META:
        return !r->header.valkey;
    default:
        return false;
    }
}

static enum taken skip_prefix(struct rdb_reader *r, enum rdb_prefix prefix, const char *program)
{
    r->prefixes |= (uint8_t)prefix;
    skip_start(r, program, step_opcode);
    return TAKEN;
}

static enum taken take_prefix(struct rdb_reader *r, struct cursor *c, uint8_t opcode)
{
    if (!r->prefixed) {
        /* The offset of the first one; already set when the record is read again. */
        r->record.offset = offset_of(c, c->atom);
        r->prefixed = true;
    }
    switch (opcode) {
    case OPCODE_FREQ:
        return skip_prefix(r, RDB_PREFIX_FREQ, "1");
    case OPCODE_IDLE:
        return skip_prefix(r, RDB_PREFIX_IDLE, "l");
    case OPCODE_KEY_META:
        return skip_prefix(r, RDB_PREFIX_METADATA, "[4m]");
    case OPCODE_RAM_LRU:
    case OPCODE_SLOT_NUM:
        return skip_prefix(r, RDB_PREFIX_ENTERPRISE, "l");
    default:
        return take_expiry(r, c, opcode == OPCODE_EXPIRE_MS);
    }
}

static enum taken end_unit(struct rdb_reader *r, const struct cursor *c, struct err *err)
{
    r->in_unit = false;
    r->unit.end_offset = offset_of(c, c->p);
    r->unit.db = r->db;
    if (r->events.unit && r->events.unit(r->arg, &r->unit, err) < 0)
        return FAILED;
    return TAKEN;
}

static enum taken take_eof(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    r->body_end = offset_of(c, c->p);
    r->step = r->header.version >= CHECKSUM_SINCE ? step_checksum : step_end;
    return end_unit(r, c, err);
}

static enum taken take_opcode(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    uint8_t opcode = *c->p++;

    if (is_prefix(r, opcode))
        return take_prefix(r, c, opcode);
    r->unit = (struct rdb_unit){.opcode = opcode, .offset = offset_of(c, c->atom)};
    if (opcode == RDB_OPCODE_EOF)
        return take_eof(r, c, err);
    enum taken t = take_unit(r, c, opcode, err);
    r->in_unit = t == TAKEN;
    return t;
}

enum taken step_opcode(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    do {
        commit(c);
        if (r->in_unit && end_unit(r, c, err) != TAKEN)
            return FAILED;
        if (want(c, 1) != TAKEN)
            return STARVED;
        enum taken t = *c->p < OPCODE_RAM_LRU ? take_record(r, c, err) : take_opcode(r, c, err);
        if (t != TAKEN)
            return t;
    } while (r->step == step_opcode && !r->skip);
    return TAKEN;
}

/* feeding */

/* Steps until bytes are missing. Only skip and the bytes from c->atom on are left. */
static enum taken run(struct rdb_reader *r, struct cursor *c, struct err *err)
{
    for (;;) {
        if (r->skip) {
            uint64_t here = (uint64_t)(c->end - c->p);
            uint64_t n = r->skip < here ? r->skip : here;
            c->p += n;
            r->skip -= n;
            if (r->skip) {
                commit(c);
                return STARVED;
            }
        }
        commit(c);
        enum taken t = r->step(r, c, err);
        if (t != TAKEN)
            return t;
    }
}

/* Completes the carried atom with bytes of the piece. Returns how many it took. */
static int feed_carry(
    struct rdb_reader *r, const uint8_t *p, size_t len, size_t *ret_used, struct err *err)
{
    size_t missing = (size_t)(r->carry_need - r->carry.len);
    size_t n = missing < len ? missing : len;

    *ret_used = n;
    buf_add(&r->carry, p, n);
    if (n < missing)
        return 0;

    const uint8_t *data = (const uint8_t *)r->carry.data;
    struct cursor c = {.data = data,
        .atom = data,
        .p = data,
        .end = data + r->carry.len,
        .offset = r->carry_offset};
    if (run(r, &c, err) == FAILED)
        return -1;
    if (c.atom == data) {
        r->carry_need = c.need;
        return 0;
    }
    keep_key(r);
    buf_clear(&r->carry);
    drop_large(&r->carry);
    return 0;
}

static int feed_piece(struct rdb_reader *r, const uint8_t *p, size_t len, struct err *err)
{
    uint64_t offset = r->offset;

    r->offset += len;
    while (len && r->carry.len) {
        size_t used;
        if (feed_carry(r, p, len, &used, err) < 0)
            return -1;
        p += used;
        len -= used;
        offset += used;
    }
    if (!len)
        return 0;
    struct cursor c = {.data = p, .atom = p, .p = p, .end = p + len, .offset = offset};
    if (run(r, &c, err) == FAILED)
        return -1;
    buf_add(&r->carry, c.atom, (size_t)(c.end - c.atom));
    r->carry_offset = offset_of(&c, c.atom);
    r->carry_need = c.need;
    return 0;
}

/* The end opcode, one byte, is in this piece. */
static void end_checksum(
    struct rdb_reader *r, uint64_t before, const uint8_t *piece, uint64_t piece_offset)
{
    const uint8_t *mark = piece + (r->body_end - piece_offset) - 1;

    r->crc_data = crc64(before, piece, (size_t)(mark - piece));
    r->crc = crc64(r->crc_data, mark, 1);
}

static int feed(struct rdb_reader *r, const uint8_t *p, size_t len, struct err *err)
{
    while (len) {
        size_t n = len < PIECE_BYTES ? len : PIECE_BYTES;
        uint64_t offset = r->offset, before = r->crc;
        bool in_body = !r->body_end;

        if (n > r->limits.file_bytes - offset)
            return err_set(
                err, ERR_LIMIT, "RDB file is longer than %" PRIu64 " bytes", r->limits.file_bytes);
        if (in_body)
            r->crc = crc64(before, p, n);
        if (feed_piece(r, p, n, err) < 0)
            return -1;
        if (in_body && r->body_end)
            end_checksum(r, before, p, offset);
        p += n;
        len -= n;
    }
    keep_key(r);
    return 0;
}

int rdb_reader_feed(struct rdb_reader *r, const void *data, size_t len, struct err *err)
{
    if (!r->failure.code && feed(r, data, len, &r->failure) == 0)
        return 0;
    *err = r->failure;
    return -1;
}
