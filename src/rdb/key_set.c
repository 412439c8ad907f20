#include "key_set.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct key_slab {
    struct key_slab *before;
    size_t size, used; /* bytes, without this head */
    uint64_t bytes[];
};

struct key_chunk {
    struct key_chunk *before;
    size_t room;
    uint64_t digests[];
};

enum {
    SLAB_MIN = 64 << 10,
    SLAB_MAX = 4 << 20,
    ROOM_MIN = 14,
    ROOM_MAX = 510,
    FEW = 16384, /* digests whose filter fits the first level cache */
    SECOND_BYTE = 48,
};

/*
 * Slabs double, so that a small file takes little memory. Slabs of large files have large pages,
 * which the kernel makes in fewer faults.
 */
static struct key_slab *slab_new(struct key_slab *before)
{
    const size_t page = 4096;
    size_t size = !before ? SLAB_MIN : before->size < SLAB_MAX ? 2 * before->size : SLAB_MAX;
    struct key_slab *slab = xmalloc(sizeof(*slab) + size);
    uintptr_t from = ((uintptr_t)slab + page - 1) / page * page;

    if (size == SLAB_MAX)
        (void)madvise((void *)from, size - page, MADV_HUGEPAGE); /* only for speed */
    *slab = (struct key_slab){.before = before, .size = size};
    return slab;
}

static struct key_chunk *chunk_new(struct key_set *set, size_t room)
{
    size_t bytes = sizeof(struct key_chunk) + room * sizeof(uint64_t);

    if (!set->slab || set->slab->size - set->slab->used < bytes)
        set->slab = slab_new(set->slab);
    struct key_chunk *chunk = (void *)((char *)set->slab->bytes + set->slab->used);
    set->slab->used += bytes;
    return chunk;
}

void key_group_grow(struct key_set *set, struct key_group *group)
{
    struct key_chunk *last = group->chunk;
    size_t twice = last ? 2 * last->room + 2 : ROOM_MIN, room = twice < ROOM_MAX ? twice : ROOM_MAX;
    struct key_chunk *chunk = chunk_new(set, room);

    *chunk = (struct key_chunk){.before = last, .room = room};
    group->chunk = chunk;
    group->next = chunk->digests;
    group->end = chunk->digests + room;
}

void key_set_release(struct key_set *set)
{
    for (struct key_slab *slab = set->slab, *before; slab; slab = before) {
        before = slab->before;
        free(slab);
    }
    *set = (struct key_set){.slab = NULL};
}

static size_t used(const struct key_group *group, const struct key_chunk *chunk)
{
    return chunk == group->chunk ? (size_t)(group->next - chunk->digests) : chunk->room;
}

static size_t count_of(const struct key_group *group)
{
    size_t count = 0;

    for (const struct key_chunk *c = group->chunk; c; c = c->before)
        count += used(group, c);
    return count;
}

/* A filter of a group's digests, 16 bits for each: finds all that it has seen, and few others. */
struct filter {
    uint64_t words[FEW / 4];
    size_t last; /* of the words that are used */
};

static void filter_clear(struct filter *f, size_t count)
{
    f->last = 1;
    while (f->last < count / 4)
        f->last *= 2;
    memset(f->words, 0, f->last * sizeof(*f->words));
    f->last--;
}

static inline uint64_t two_bits(uint64_t digest)
{
    return UINT64_C(1) << (digest & 63) | UINT64_C(1) << (digest >> 6 & 63);
}

static inline bool filter_has(const struct filter *f, uint64_t digest)
{
    return (~f->words[digest >> 12 & f->last] & two_bits(digest)) == 0;
}

static inline void filter_add(struct filter *f, uint64_t digest)
{
    f->words[digest >> 12 & f->last] |= two_bits(digest);
}

/* Leaves few digests to sort: those that may have been seen, and those that may equal them. */
static void compare_few(
    struct filter *f, const struct key_group *group, size_t count, struct key_list *repeated)
{
    struct key_list later = {.digests = NULL}, both = {.digests = NULL};

    filter_clear(f, count);
    for (const struct key_chunk *c = group->chunk; c; c = c->before)
        for (size_t i = 0, end = used(group, c); i < end; i++) {
            if (filter_has(f, c->digests[i]))
                key_list_add(&later, c->digests[i]);
            filter_add(f, c->digests[i]);
        }
    filter_clear(f, count);
    for (size_t i = 0; i < later.count; i++)
        filter_add(f, later.digests[i]);
    for (const struct key_chunk *c = later.count ? group->chunk : NULL; c; c = c->before)
        for (size_t i = 0, end = used(group, c); i < end; i++)
            if (filter_has(f, c->digests[i]))
                key_list_add(&both, c->digests[i]);
    key_list_sort(&both);
    key_list_repeated(&both, repeated);
    key_list_release(&later);
    key_list_release(&both);
}

/* `shift`: of the byte in which the digests of a group differ. */
static void compare(
    struct filter *f, const struct key_group *group, int shift, struct key_list *repeated)
{
    size_t count = count_of(group);
    struct key_set parts = {.slab = NULL};

    if (count <= FEW) {
        compare_few(f, group, count, repeated);
        return;
    }
    if (shift < 0) { /* all are equal */
        key_list_add(repeated, group->chunk->digests[0]);
        return;
    }
    for (const struct key_chunk *c = group->chunk; c; c = c->before)
        for (size_t i = 0, end = used(group, c); i < end; i++)
            key_set_put(&parts, c->digests[i] >> shift & 0xff, c->digests[i]);
    for (size_t i = 0; i < KEY_GROUPS; i++)
        compare(f, &parts.groups[i], shift - 8, repeated);
    key_set_release(&parts);
}

void key_set_repeated(const struct key_set *set, struct key_list *ret)
{
    AUTO_FREE struct filter *filter = xmalloc(sizeof(*filter));

    for (size_t i = 0; i < KEY_GROUPS; i++)
        compare(filter, &set->groups[i], SECOND_BYTE, ret);
}

void key_set_to_list(struct key_set *set, struct key_list *list)
{
    for (size_t g = 0; g < KEY_GROUPS; g++)
        for (const struct key_chunk *c = set->groups[g].chunk; c; c = c->before)
            for (size_t i = 0, end = used(&set->groups[g], c); i < end; i++)
                key_list_add(list, c->digests[i]);
    key_list_sort(list);
    key_set_release(set);
}
