#ifndef RECLUSTER_RDB_TWICE_H
#define RECLUSTER_RDB_TWICE_H

/*
 * Keys that stand in a file twice: servers refuse such a file. The digests of all keys are kept, 8
 * bytes each, and compared at the end: two that are equal are a suspicion, which a second pass over
 * the file proves by the keys themselves.
 */

#include "recluster/rdb.h"

struct key_list {
    uint64_t *digests;
    size_t count, alloc;
    bool sorted;
};

/* Of the key in its database. `seed` makes lists independent of each other. */
uint64_t key_digest(const struct rdb_record *record, uint64_t seed);

void key_list_add(struct key_list *list, uint64_t digest);
void key_list_sort(struct key_list *list);
/* Of a sorted list. */
bool key_list_has(const struct key_list *list, uint64_t digest);
/* *ret: the digests that are there more than once, each once, sorted. The list's own order changes. */
void key_list_repeated(struct key_list *list, struct key_list *ret);
void key_list_release(struct key_list *list);

/* The error for a key that is there twice: where its second record starts, and the first if known. */
int fail_repeated(const struct rdb_record *record, int64_t first_offset, struct err *err);

#endif
