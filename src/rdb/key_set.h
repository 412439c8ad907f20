#ifndef RECLUSTER_RDB_KEY_SET_H
#define RECLUSTER_RDB_KEY_SET_H

/*
 * The digests of all keys of a file, 8 bytes each; a digest may occur more than once. They are
 * stored in groups by their first byte. A group is small enough to be compared within the
 * processor's cache, and a growing set moves no digest.
 *
 *     struct key_set set = {.slab = NULL};
 *     key_set_add(&set, digest) …
 *     key_set_repeated(&set, &list), key_set_release(&set)
 */

#include "twice.h"

enum { KEY_GROUPS = 256 };

struct key_set {
    struct key_slab *slab; /* the last one, in which chunks are made */
    struct key_group {
        uint64_t *next, *end;    /* where the next digest goes; of the chunk */
        struct key_chunk *chunk; /* the last one */
    } groups[KEY_GROUPS];
};

/* For key_set_put(). */
void key_group_grow(struct key_set *set, struct key_group *group);
/* Into a group that the caller chooses. */
static inline void key_set_put(struct key_set *set, size_t group, uint64_t digest)
{
    struct key_group *g = &set->groups[group];

    if (g->next == g->end)
        key_group_grow(set, g);
    *g->next++ = digest;
}

static inline void key_set_add(struct key_set *set, uint64_t digest)
{
    key_set_put(set, digest >> 56, digest);
}

/* Appends to ret each digest that was added more than once. */
void key_set_repeated(const struct key_set *set, struct key_list *ret);
/* Moves all digests to the list, which gets sorted. */
void key_set_to_list(struct key_set *set, struct key_list *list);
void key_set_release(struct key_set *set);

#endif
