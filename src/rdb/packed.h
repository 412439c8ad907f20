#ifndef RECLUSTER_PACKED_H
#define RECLUSTER_PACKED_H

/*
 * The entries of the packed forms of small collections: ziplist, listpack, intset and zipmap.
 * Everything is checked, including back-lengths and counts.
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
    uint64_t claimed;              /* in the header */
    bool counted;                  /* `claimed` is the count */
    bool at_end;
    uint32_t tail;   /* ziplist: offset of the last entry */
    uint32_t back;   /* ziplist: length of the previous entry */
    unsigned width;  /* intset: width of an integer */
    int64_t last;    /* intset: the previous integer */
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
