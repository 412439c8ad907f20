#include "twice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "recluster/key_text.h"

uint64_t key_digest(const struct rdb_record *record, uint64_t seed)
{
    return XXH3_64bits_withSeed(
        record->key.data, record->key.len, seed ^ record->db * UINT64_C(0x9e3779b97f4a7c15));
}

enum { BUCKETS = 256, FEW_SORTED = 128, TOP_BYTE = 56 };

/* Sorts the digests by the byte at `shift`, in place. `end`: where the digests of each byte end. */
static void spread(uint64_t *d, size_t count, int shift, size_t end[BUCKETS])
{
    size_t next[BUCKETS], at = 0;

    memset(end, 0, BUCKETS * sizeof(*end));
    for (size_t i = 0; i < count; i++)
        end[d[i] >> shift & 0xff]++;
    for (size_t b = 0; b < BUCKETS; b++) {
        next[b] = at;
        at += end[b];
        end[b] = at;
    }
    for (size_t b = 0; b < BUCKETS; b++)
        while (next[b] < end[b]) {
            uint64_t value = d[next[b]];
            size_t to = value >> shift & 0xff;
            if (to == b) {
                next[b]++;
            } else {
                d[next[b]] = d[next[to]];
                d[next[to]++] = value;
            }
        }
}

static void sort_few(uint64_t *d, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t value = d[i];
        size_t at = i;
        for (; at && d[at - 1] > value; at--)
            d[at] = d[at - 1];
        d[at] = value;
    }
}

/* Radix sort from the top byte: digests are evenly distributed. */
static void sort(uint64_t *d, size_t count, int shift)
{
    size_t end[BUCKETS];

    if (count <= FEW_SORTED) {
        sort_few(d, count);
        return;
    }
    if (shift < 0) /* all are equal */
        return;
    spread(d, count, shift, end);
    for (size_t b = 0, begin = 0; b < BUCKETS; begin = end[b++])
        sort(d + begin, end[b] - begin, shift - 8);
}

void key_list_sort(struct key_list *list)
{
    if (!list->sorted && list->count)
        sort(list->digests, list->count, TOP_BYTE);
    list->sorted = true;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

bool key_list_has(const struct key_list *list, uint64_t digest)
{
    return list->count &&
           bsearch(&digest, list->digests, list->count, sizeof(digest), by_value) != NULL;
}

void key_list_repeated(const struct key_list *list, struct key_list *ret)
{
    for (size_t i = 1; i < list->count; i++)
        if (list->digests[i] == list->digests[i - 1] &&
            (i == 1 || list->digests[i] != list->digests[i - 2]))
            key_list_add(ret, list->digests[i]);
    ret->sorted = true;
}

void key_list_release(struct key_list *list)
{
    free(list->digests);
    *list = (struct key_list){.digests = NULL};
}

int fail_repeated(const struct rdb_record *record, int64_t first_offset, struct err *err)
{
    char key[KEY_TEXT_MAX], first[64] = "";

    if (first_offset >= 0)
        snprintf(first, sizeof(first), "at offset %" PRId64 " and ", first_offset);
    err_set(err, ERR_CORRUPT,
        "the key '%s' of database %" PRIu64 " is there twice: %sat offset %" PRIu64 "%s",
        key_text(record->key, key), record->db, first, record->offset,
        record->key.len ? "" : ", where zero bytes begin that are not data");
    return err_hint(err,
        "Servers refuse a file that has a key twice: take another copy of it, or an "
        "older backup. To save the other keys, cut out the slots that are whole: "
        "recluster rdb split --slots SLOTS=NEW FILE");
}
