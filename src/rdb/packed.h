#ifndef RECLUSTER_PACKED_H
#define RECLUSTER_PACKED_H

/*
 * Entries of the packed forms in which servers keep small collections: ziplist, listpack, intset
 * and zipmap. Everything in them is checked, back-lengths and counts too.
 *
 *     struct packed it;
 *     const char *why = packed_open(&it, PACKED_ZIPLIST, data, len);
 *     while (!why && (why = packed_next(&it, &entry)) == NULL && !it.at_end) …
 */

#include "cursor.h"
#include "recluster/rdb.h"

struct packed {
    enum packing packing;
    const uint8_t *data, *p, *end; /* end: of the entries */
    uint64_t count;                /* seen so far */
    uint64_t claimed;              /* by the header */
    bool counted;                  /* is `claimed` the count? */
    bool at_end;
    uint32_t tail;   /* ziplist: offset of the last entry */
    uint32_t back;   /* ziplist: bytes of the entry before */
    unsigned width;  /* intset: bytes of an integer */
    int64_t last;    /* intset: the integer before */
    bool value_next; /* zipmap */
};

struct packed_entry {
    struct rdb_bytes bytes; /* for an integer: its text */
    char text[INTEGER_TEXT_MAX];
};

/* NULL, or what is wrong. */
const char *packed_open(struct packed *it, enum packing packing, const void *data, size_t len);

/* The next entry, or sets it->at_end. NULL, or what is wrong. */
const char *packed_next(struct packed *it, struct packed_entry *ret);

#endif
