#ifndef RECLUSTER_RDB_TWICE_H
#define RECLUSTER_RDB_TWICE_H

/*
 * Finds duplicate keys in a file, which servers refuse. The digests of all keys, 8 bytes each, are
 * kept and compared at the end. Equal digests are a suspicion; a second pass over the file compares
 * the keys themselves.
 */

#include "recluster/mem.h"
#include "recluster/rdb.h"

struct key_list {
    uint64_t *digests;
    size_t count, alloc;
    bool sorted;
};

/* The digest of a key and its database. `seed` makes lists independent of each other. */
uint64_t key_digest(const struct rdb_record *record, uint64_t seed);

static inline void key_list_add(struct key_list *list, uint64_t digest)
{
    GROW(list->digests, list->count, list->alloc);
    list->digests[list->count++] = digest;
    list->sorted = false;
}
void key_list_sort(struct key_list *list);
/* For a sorted list. */
bool key_list_has(const struct key_list *list, uint64_t digest);
/* Appends to ret each digest that occurs more than once in a sorted list. */
void key_list_repeated(const struct key_list *list, struct key_list *ret);
void key_list_release(struct key_list *list);

/* The error for a duplicate key: the offsets of its second record and, if known, its first. */
int fail_repeated(const struct rdb_record *record, int64_t first_offset, struct err *err);

#endif
