#include "archive_pieces.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_BACK = 16 };

/* --- names --- */

static bool take_word(const char **at, char *ret, size_t size, char after)
{
    const char *end = strchr(*at, after);
    size_t len = end ? (size_t)(end - *at) : 0;

    if (!len || len >= size)
        return false;
    memcpy(ret, *at, len);
    ret[len] = '\0';
    *at = end + 1;
    return true;
}

static bool take_number(const char **at, char after, int64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoll(*at, &end, 10);
    if (end == *at || !isdigit((unsigned char)**at) || errno || *end != after)
        return false;
    *at = end + 1;
    return true;
}

/*
 * "base-<database>-<shard>-<id>-<offset>.rdb…", "stream-<database>-<shard>-<id>-<first>-<last>…".
 * `uid` NULL: of any database.
 */
static bool parse_piece(const char *name, const char *kind, const char *uid, struct piece *ret)
{
    bool base = strcmp(kind, "base") == 0;
    size_t len = strlen(kind);
    char database[ARCHIVE_WORD_MAX];
    const char *at = name;

    if (strncmp(name, kind, len) != 0 || name[len] != '-')
        return false;
    at += len + 1;
    if (!take_word(&at, database, sizeof(database), '-') || (uid && strcmp(database, uid) != 0) ||
        !take_word(&at, ret->shard, sizeof(ret->shard), '-') ||
        !take_word(&at, ret->id, sizeof(ret->id), '-') || strlen(ret->id) != ARCHIVE_ID_HEX)
        return false;
    if (base)
        return take_number(&at, '.', &ret->first) && strncmp(at, "rdb", 3) == 0 &&
               (ret->last = ret->first) >= 0;
    /* ".zst", ".gz", or nothing, if it is not compressed. */
    if (!take_number(&at, '-', &ret->first))
        return false;
    size_t digits = strspn(at, "0123456789");
    errno = 0;
    ret->last = strtoll(at, NULL, 10);
    return digits && !errno && (at[digits] == '.' || !at[digits]) && ret->last > ret->first;
}

int64_t catalogue_segment_bytes(const char *name)
{
    struct piece piece;

    return parse_piece(name, "stream", NULL, &piece) ? piece.last - piece.first : -1;
}

static int by_place(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    int order = strcmp(x->shard, y->shard);

    return order ? order : (x->first > y->first) - (x->first < y->first);
}

void archive_find_pieces(struct archive *a)
{
    const struct store_list *list = a->draft->list;
    const char *uid = a->draft->query->database_uid;

    for (size_t i = 0; i < list->count; i++) {
        struct piece piece = {.entry = &list->entries[i]};
        if (parse_piece(piece.entry->name, "base", uid, &piece)) {
            GROW(a->bases, a->base_count, a->base_alloc);
            a->bases[a->base_count++] = piece;
        } else if (parse_piece(piece.entry->name, "stream", uid, &piece)) {
            GROW(a->segments, a->segment_count, a->segment_alloc);
            a->segments[a->segment_count++] = piece;
        }
    }
    if (a->segment_count)
        qsort(a->segments, a->segment_count, sizeof(*a->segments), by_place);
    if (a->base_count)
        qsort(a->bases, a->base_count, sizeof(*a->bases), by_place);
}

void archive_release(struct archive *a)
{
    free(a->bases);
    free(a->segments);
}

/* --- the way from a base to a cut --- */

/* The number of pieces of shards before this one, and of this one before the offset. */
static size_t lower_bound(
    const struct piece *pieces, size_t count, const char *shard, int64_t first)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(pieces[middle].shard, shard);
        if (order < 0 || (order == 0 && pieces[middle].first < first))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/*
 * The segment of the shard that has the byte at the offset: a data set may begin within one. Of two
 * histories that share it, the wanted one comes first, then the one that was followed so far.
 */
static const struct piece *segment_with(
    const struct archive *a, const struct target *to, int64_t offset, const char *so_far)
{
    const struct piece *found = NULL;
    unsigned looked = 0;

    /* Segments of one history do not overlap, so the one is among the last that begin before it. */
    for (size_t i = lower_bound(a->segments, a->segment_count, to->shard, offset + 1);
         i-- > 0 && looked < LOOK_BACK; looked++) {
        const struct piece *s = &a->segments[i];
        if (strcmp(s->shard, to->shard) != 0)
            break;
        if (s->last <= offset)
            continue;
        if (strcmp(s->id, to->id) == 0)
            return s;
        if (!found || strcmp(s->id, so_far) == 0)
            found = s;
    }
    return found;
}

static void add_part(json_t *parts, const struct piece *p, int64_t skip, int64_t take)
{
    json_t *part =
        json_pack("{s:s, s:I}", "name", p->entry->name, "bytes", (json_int_t)p->entry->bytes);

    if (p->last > p->first)
        json_object_set_new(part, "stream_bytes", json_integer(p->last - p->first));
    if (skip > 0)
        json_object_set_new(part, "skip", json_integer(skip));
    if (take >= 0)
        json_object_set_new(part, "take", json_integer(take));
    json_array_append_new(parts, part);
}

/* The parts up to the target; NULL: *ret_gap is the offset at which they end. The caller's. */
static json_t *follow(
    const struct archive *a, const struct piece *base, const struct target *to, int64_t *ret_gap)
{
    json_t *parts = json_array();
    int64_t at = base->first;
    const char *id = base->id;

    add_part(parts, base, 0, -1);
    while (at < to->offset) {
        const struct piece *s = segment_with(a, to, at, id);
        if (!s)
            break;
        add_part(parts, s, at - s->first, s->last > to->offset ? to->offset - s->first : -1);
        at = s->last;
        id = s->id;
    }
    if (at >= to->offset && strcmp(id, to->id) == 0)
        return parts;
    *ret_gap = at;
    json_decref(parts);
    return NULL;
}

json_t *archive_parts(const struct archive *a, const struct target *to,
    const struct piece **ret_base, int64_t *ret_gap)
{
    *ret_gap = -1;
    for (size_t i = lower_bound(a->bases, a->base_count, to->shard, to->offset + 1); i-- > 0;) {
        const struct piece *base = &a->bases[i];
        if (strcmp(base->shard, to->shard) != 0)
            break;
        json_t *parts = follow(a, base, to, ret_gap);
        if (parts) {
            *ret_base = base;
            return parts;
        }
    }
    return NULL;
}

/* --- histories that ended --- */

/* What the archive has of one history of a shard. */
struct history {
    const char *shard, *id;
    int64_t first, last;
};

static void widen(struct history *histories, size_t *count, const struct piece *s)
{
    size_t i = 0;

    while (i < *count &&
           (strcmp(histories[i].id, s->id) != 0 || strcmp(histories[i].shard, s->shard) != 0))
        i++;
    if (i == *count)
        histories[(*count)++] = (struct history){s->shard, s->id, s->first, s->last};
    if (s->first < histories[i].first)
        histories[i].first = s->first;
    if (s->last > histories[i].last)
        histories[i].last = s->last;
}

/* Another history of the shard begins within this one and goes further. */
static bool is_branch_of(const struct history *dead, const struct history *living)
{
    return dead != living && strcmp(dead->shard, living->shard) == 0 &&
           living->first < dead->last && living->last > dead->last;
}

json_t *archive_branches(const struct archive *a)
{
    struct history *histories = xcalloc(a->segment_count + 1, sizeof(*histories));
    json_t *branches = json_array();
    size_t count = 0;

    for (size_t i = 0; i < a->segment_count; i++)
        widen(histories, &count, &a->segments[i]);
    for (size_t i = 0; i < count; i++) {
        const struct history *dead = &histories[i];
        int64_t from = INT64_MAX;
        for (size_t k = 0; k < count; k++)
            if (is_branch_of(dead, &histories[k]) && histories[k].first < from)
                from = histories[k].first;
        if (from == INT64_MAX)
            continue;
        from = from < dead->first ? dead->first : from;
        json_array_append_new(
            branches, json_pack("{s:s, s:s, s:I, s:I, s:I}", "shard", dead->shard, "repl_id",
                          dead->id, "from", (json_int_t)from, "to", (json_int_t)dead->last, "bytes",
                          (json_int_t)(dead->last - from)));
    }
    free(histories);
    return branches;
}

/* --- the index --- */

bool archive_is_index(const char *name, const char *uid)
{
    AUTO_FREE char *prefix = xasprintf("cuts-%s-", uid);
    size_t len = strlen(name), front = strlen(prefix);

    return len > front + 5 && strncmp(name, prefix, front) == 0 &&
           strcmp(name + len - 5, ".json") == 0 && !strchr(name + front, '-');
}

/* "cuts-<database>-20260131T1305Z.json" */
bool archive_database_of_index(const char *name, char ret_uid[ARCHIVE_WORD_MAX])
{
    const char *at = name;

    return strncmp(name, "cuts-", 5) == 0 &&
           (at += 5, take_word(&at, ret_uid, ARCHIVE_WORD_MAX, '-')) &&
           archive_is_index(name, ret_uid);
}
