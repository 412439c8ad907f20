#include "output.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/crc64.h"
#include "scan_impl.h"

enum {
    DATABASES_HINTED = 1024,
    HINTS_SINCE = 7, /* RDB versions */
    CHECKSUM_SINCE = 5,
    HINT_BYTES = 1 + 4, /* a length of 32 bits */
};

/* Three aux fields; %s is the id, of RDB_REPL_ID_HEX digits. */
#define STAMP_FORMAT                                                                               \
    "\xfa\x0erepl-stream-db\x01"                                                                   \
    "0\xfa\x07repl-id\x28%s\xfa\x0brepl-offset\x01"                                                \
    "1"
_Static_assert(RDB_REPL_ID_HEX == 0x28, "the length that stands before the id");

void output_init(struct output *o, const struct rdb_split_params *params, size_t index)
{
    *o = (struct output){.params = params,
        .index = index,
        .scan = params->outputs[index].scan,
        .selected = UINT64_MAX,
        .buffer = xmalloc(OUTPUT_BUFFER_BYTES)};
    if (!params->stamp)
        return;
    o->digest = xchecked(XXH3_createState(), 0);
    XXH3_128bits_reset(o->digest);
}

void output_release(struct output *o)
{
    free(o->buffer);
    free(o->databases);
    XXH3_freeState(o->digest);
}

void output_own_data(struct output *o, const void *bytes, size_t len)
{
    XXH3_128bits_update(o->digest, bytes, len);
    o->digest_bytes += len;
}

static int write_out(struct output *o, const void *bytes, size_t len, struct err *err)
{
    o->crc = crc64(o->crc, bytes, len);
    if (o->digest && o->data)
        output_own_data(o, bytes, len);
    o->offset += len;
    return o->params->write(o->params->arg, o->index, bytes, len, err);
}

static int flush(struct output *o, struct err *err)
{
    size_t len = o->len;

    o->len = 0;
    return len ? write_out(o, o->buffer, len, err) : 0;
}

static int add_slow(struct output *o, const void *bytes, size_t len, struct err *err)
{
    if (flush(o, err) < 0)
        return -1;
    if (len >= OUTPUT_BUFFER_BYTES / 2)
        return write_out(o, bytes, len, err);
    memcpy(o->buffer, bytes, len);
    o->len = len;
    return 0;
}

static inline int add(struct output *o, const void *bytes, size_t len, struct err *err)
{
    if (len > OUTPUT_BUFFER_BYTES - o->len || len >= OUTPUT_BUFFER_BYTES / 2)
        return add_slow(o, bytes, len, err);
    memcpy(o->buffer + o->len, bytes, len);
    o->len += len;
    return 0;
}

/* Tells whether the following bytes are data. */
static inline int set_data(struct output *o, bool data, struct err *err)
{
    if (o->data == data)
        return 0;
    if (flush(o, err) < 0)
        return -1;
    o->data = data;
    return 0;
}

int output_data(struct output *o, const void *bytes, size_t len, struct err *err)
{
    return set_data(o, true, err) < 0 ? -1 : add(o, bytes, len, err);
}

int output_aux(struct output *o, const void *bytes, size_t len, struct err *err)
{
    return set_data(o, false, err) < 0 ? -1 : add(o, bytes, len, err);
}

void output_own_end(struct output *o, uint64_t bytes, uint64_t crc)
{
    o->facts.end_offset = o->offset = bytes;
    o->crc = crc;
}

static void format_header(const struct rdb_header *header, char text[16])
{
    if (header->valkey)
        snprintf(text, 16, "VALKEY%03d", header->version);
    else
        snprintf(text, 16, "REDIS%04d", header->version);
}

int output_header(struct output *o, const struct rdb_header *header, struct err *err)
{
    char text[16];

    o->header = *header;
    if (o->scan && rdb_scan_events.header(o->scan, header, err) < 0)
        return -1;
    if (o->params->stamp_only)
        return 0;
    format_header(header, text);
    return output_aux(o, text, RDB_HEADER_BYTES, err);
}

static size_t put_length(uint8_t *to, uint64_t n)
{
    if (n < 0x40) {
        to[0] = (uint8_t)n;
        return 1;
    }
    if (n <= UINT32_MAX) {
        uint32_t big = htobe32((uint32_t)n);
        to[0] = 0x80;
        memcpy(to + 1, &big, sizeof(big));
        return 1 + sizeof(big);
    }
    uint64_t big = htobe64(n);
    to[0] = 0x81;
    memcpy(to + 1, &big, sizeof(big));
    return 1 + sizeof(big);
}

int output_select(struct output *o, uint64_t db, struct err *err)
{
    uint8_t bytes[16] = {RDB_OPCODE_SELECT_DB};

    if (o->selected == db)
        return 0;
    o->selected = db;
    if (o->params->stamp_only)
        return 0;
    if (output_data(o, bytes, 1 + put_length(bytes + 1, db), err) < 0)
        return -1;
    for (o->database = 0; o->database < o->database_count; o->database++)
        if (o->databases[o->database].number == db)
            return 0;
    if (o->database_count == DATABASES_HINTED ||
        (!o->header.valkey && o->header.version < HINTS_SINCE))
        return 0;
    GROW(o->databases, o->database_count, o->database_alloc);
    o->databases[o->database_count++] =
        (struct output_database){.number = db, .offset = o->offset + o->len + 1};
    static const char hints[] = {
        (char)RDB_OPCODE_RESIZE_DB, (char)0x80, 0, 0, 0, 0, (char)0x80, 0, 0, 0, 0};
    static const struct rdb_unit unit = {.opcode = RDB_OPCODE_RESIZE_DB};
    if (o->scan && rdb_scan_events.unit(o->scan, &unit, err) < 0)
        return -1;
    return output_data(o, hints, sizeof(hints), err);
}

/* Replaces bytes, which must all be written already. */
static int patch(struct output *o, uint64_t offset, const void *old, const void *bytes, size_t len,
    struct err *err)
{
    const uint8_t *a = old, *b = bytes;
    uint8_t change[RDB_HEADER_BYTES] = {0};

    if (memcmp(old, bytes, len) == 0)
        return 0;
    for (size_t i = 0; i < len; i++)
        change[i] = a[i] ^ b[i];
    o->crc ^= crc64_zeros(crc64(0, change, len), o->offset - offset - len);
    return o->params->patch(o->params->arg, o->index, offset, bytes, len, err);
}

/* A hint only affects speed, so a number that does not fit is limited. */
static uint32_t hint(uint64_t n)
{
    return htobe32(n > UINT32_MAX ? UINT32_MAX : (uint32_t)n);
}

static int patch_hints(struct output *o, struct err *err)
{
    for (size_t i = 0; i < o->database_count; i++) {
        const struct output_database *db = &o->databases[i];
        uint32_t keys = hint(db->keys), expires = hint(db->expires), none = 0;
        if (patch(o, db->offset + 1, &none, &keys, sizeof(keys), err) < 0 ||
            patch(o, db->offset + HINT_BYTES + 1, &none, &expires, sizeof(expires), err) < 0)
            return -1;
    }
    return 0;
}

static int add_stamp(struct output *o, struct err *err)
{
    char stamp[sizeof(STAMP_FORMAT) + RDB_REPL_ID_HEX];
    XXH128_hash_t digest = XXH3_128bits_digest(o->digest);

    snprintf(o->facts.repl_id, sizeof(o->facts.repl_id), "%016" PRIx64 "%016" PRIx64 "%08" PRIx32,
        digest.high64, digest.low64, (uint32_t)o->digest_bytes);
    int len = snprintf(stamp, sizeof(stamp), STAMP_FORMAT, o->facts.repl_id);
    return output_aux(o, stamp, (size_t)len, err);
}

static int patch_version(struct output *o, const struct rdb_header *header, struct err *err)
{
    char old[16], text[16];

    format_header(&o->header, old);
    format_header(header, text);
    return patch(o, 0, old, text, RDB_HEADER_BYTES, err);
}

static int tell_scan(
    struct output *o, const struct rdb_header *header, bool checksum, struct err *err)
{
    static const char *const stamp[][2] = {
        {"repl-stream-db", "0"}, {"repl-id", NULL}, {"repl-offset", "1"}};
    static const struct rdb_unit unit = {.opcode = RDB_OPCODE_AUX};
    const struct rdb_events *events = &rdb_scan_events;

    if (!o->scan)
        return 0;
    if (events->header(o->scan, header, err) < 0)
        return -1;
    for (size_t i = 0; o->params->stamp && i < ARRAY_SIZE(stamp); i++) {
        const char *name = stamp[i][0], *value = stamp[i][1] ? stamp[i][1] : o->facts.repl_id;
        if (events->aux(o->scan, (struct rdb_bytes){name, strlen(name)},
                (struct rdb_bytes){value, strlen(value)}, err) < 0 ||
            events->unit(o->scan, &unit, err) < 0)
            return -1;
    }
    return rdb_scan_written(
        o->scan, o->facts.bytes, checksum ? RDB_CHECKSUM_OK : RDB_CHECKSUM_ABSENT, err);
}

int output_end(struct output *o, const struct rdb_header *header, struct err *err)
{
    static const uint8_t end = RDB_OPCODE_EOF;
    bool checksum = !o->params->no_checksum && header->version >= CHECKSUM_SINCE;

    if (flush(o, err) < 0 || patch_hints(o, err) < 0 || patch_version(o, header, err) < 0)
        return -1;
    if ((o->digest && add_stamp(o, err) < 0) || output_aux(o, &end, sizeof(end), err) < 0 ||
        flush(o, err) < 0)
        return -1;
    if (header->version >= CHECKSUM_SINCE) {
        uint64_t crc = checksum ? htole64(o->crc) : 0;
        if (output_aux(o, &crc, sizeof(crc), err) < 0 || flush(o, err) < 0)
            return -1;
    }
    o->facts.bytes = o->offset;
    return tell_scan(o, header, checksum, err);
}
