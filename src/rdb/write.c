#include "recluster/rdb_write.h"

#include <endian.h>
#include <string.h>

#include "recluster/crc64.h"

static void add_byte(struct buf *out, unsigned byte)
{
    buf_addc(out, (char)byte);
}

static void add_length(struct buf *out, uint64_t n)
{
    if (n < 1 << 6) {
        add_byte(out, (unsigned)n);
    } else if (n < 1 << 14) {
        add_byte(out, 0x40 | (unsigned)(n >> 8));
        add_byte(out, n & 0xff);
    } else if (n <= UINT32_MAX) {
        uint32_t big = htobe32((uint32_t)n);
        add_byte(out, 0x80);
        buf_add(out, &big, sizeof(big));
    } else {
        uint64_t big = htobe64(n);
        add_byte(out, 0x81);
        buf_add(out, &big, sizeof(big));
    }
}

static void add_bytes(struct buf *out, struct rdb_bytes bytes)
{
    add_length(out, bytes.len);
    buf_add(out, bytes.data, bytes.len);
}

static void add_text(struct buf *out, const char *text)
{
    add_bytes(out, (struct rdb_bytes){text, strlen(text)});
}

void rdb_write_begin(struct buf *out)
{
    buf_adds(out, "REDIS0009");
}

void rdb_write_aux(struct buf *out, const char *key, const char *value)
{
    add_byte(out, RDB_OPCODE_AUX);
    add_text(out, key);
    add_text(out, value);
}

void rdb_write_string(struct buf *out, const char *key, struct rdb_bytes value)
{
    add_byte(out, RDB_STRING);
    add_text(out, key);
    add_bytes(out, value);
}

void rdb_write_set(struct buf *out, const char *key, const struct rdb_bytes *members, size_t count)
{
    if (count == 0)
        return;
    add_byte(out, RDB_SET);
    add_text(out, key);
    add_length(out, count);
    for (size_t i = 0; i < count; i++)
        add_bytes(out, members[i]);
}

void rdb_write_hash(struct buf *out, const char *key, const struct rdb_pair *pairs, size_t count)
{
    if (count == 0)
        return;
    add_byte(out, RDB_HASH);
    add_text(out, key);
    add_length(out, count);
    for (size_t i = 0; i < count; i++) {
        add_bytes(out, pairs[i].field);
        add_bytes(out, pairs[i].value);
    }
}

void rdb_write_end(struct buf *out)
{
    add_byte(out, RDB_OPCODE_EOF);
    uint64_t crc = htole64(crc64(0, out->data, out->len));
    buf_add(out, &crc, sizeof(crc));
}
