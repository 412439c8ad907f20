#ifndef RECLUSTER_CURSOR_H
#define RECLUSTER_CURSOR_H

/* A position in the bytes at hand (reader_impl.h), and how numbers are stored in them. */

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum taken { TAKEN = 0, STARVED = 1, FAILED = -1 };

struct cursor {
    const uint8_t *data; /* first byte, at `offset` in the file */
    const uint8_t *atom; /* the start of the current atom */
    const uint8_t *p;
    const uint8_t *end;
    uint64_t offset;
    uint64_t need;
};

/* The packed forms of small collections (packed.h). */
enum packing { PACKED_NONE, PACKED_ZIPLIST, PACKED_LISTPACK, PACKED_INTSET, PACKED_ZIPMAP };
enum { INTEGER_TEXT_MAX = 24 };

static inline uint64_t offset_of(const struct cursor *c, const uint8_t *p)
{
    return c->offset + (uint64_t)(p - c->data);
}

static inline void commit(struct cursor *c)
{
    c->atom = c->p;
}

static inline uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return le16toh(v);
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

/* The atom has n more bytes from the cursor on, and not all are here. */
static inline enum taken starve(struct cursor *c, uint64_t n)
{
    c->need = (uint64_t)(c->p - c->atom) + n;
    return STARVED;
}

static inline enum taken want(struct cursor *c, size_t n)
{
    return (size_t)(c->end - c->p) >= n ? TAKEN : starve(c, n);
}

#endif
