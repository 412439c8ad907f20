/*
 * The archive of a database (recluster/archive.h) as a backup set: the newest cut that is not after
 * the wanted time, and of which every shard has a base and the stream from there to the cut.
 *
 * A file of the set is a base; its parts are the base and the segments, the last of them up to the
 * cut.
 */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "catalogue_draft.h"
#include "recluster/clock.h"
#include "recluster/json.h"

enum { INDEX_BYTES_MAX = 64 << 20, ID_HEX = 40, LOOK_BACK = 16 };

/* A base (first == last) or a segment, by its name. */
struct piece {
    const struct store_entry *entry;
    char shard[64], id[ID_HEX + 1];
    int64_t first, last;
};

struct archive {
    struct catalogue_draft *draft;
    struct piece *bases, *segments; /* segments sorted by shard and first offset */
    size_t base_count, base_alloc, segment_count, segment_alloc;
};

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

/* "base-<database>-<shard>-<id>-<offset>.rdb…", "stream-<database>-<shard>-<id>-<first>-<last>…" */
static bool parse_piece(const char *name, const char *kind, const char *uid, struct piece *ret)
{
    bool base = strcmp(kind, "base") == 0;
    size_t len = strlen(kind);
    char database[64];
    const char *at = name;

    if (strncmp(name, kind, len) != 0 || name[len] != '-')
        return false;
    at += len + 1;
    if (!take_word(&at, database, sizeof(database), '-') || strcmp(database, uid) != 0 ||
        !take_word(&at, ret->shard, sizeof(ret->shard), '-') ||
        !take_word(&at, ret->id, sizeof(ret->id), '-') || strlen(ret->id) != ID_HEX)
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

static int by_place(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    int order = strcmp(x->shard, y->shard);

    return order ? order : (x->first > y->first) - (x->first < y->first);
}

static void find_pieces(struct archive *a)
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
}

/* --- the way from a base to a cut --- */

struct target {
    const char *shard, *id;
    int64_t offset;
};

/* The number of segments of shards before this one, and of this one before the offset. */
static size_t lower_bound(const struct archive *a, const char *shard, int64_t first)
{
    size_t low = 0, high = a->segment_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(a->segments[middle].shard, shard);
        if (order < 0 || (order == 0 && a->segments[middle].first < first))
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
    for (size_t i = lower_bound(a, to->shard, offset + 1); i-- > 0 && looked < LOOK_BACK;
         looked++) {
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

/* From the newest base that leads to the target. */
static json_t *parts_of(const struct archive *a, const struct target *to,
    const struct piece **ret_base, int64_t *ret_gap)
{
    int64_t below = INT64_MAX;

    *ret_gap = -1;
    for (;;) {
        const struct piece *base = NULL;
        for (size_t i = 0; i < a->base_count; i++) {
            const struct piece *b = &a->bases[i];
            if (strcmp(b->shard, to->shard) == 0 && b->first <= to->offset && b->first < below &&
                (!base || b->first > base->first))
                base = b;
        }
        if (!base)
            return NULL;
        below = base->first;
        json_t *parts = follow(a, base, to, ret_gap);
        if (parts) {
            *ret_base = base;
            return parts;
        }
    }
}

/* --- one cut --- */

static int64_t sum_of(const json_t *parts)
{
    const json_t *part;
    size_t i;
    int64_t sum = 0;

    json_array_foreach (parts, i, part)
        sum += json_int(part, "bytes", 0);
    return sum;
}

static int add_shard(struct archive *a, struct set_draft *set, const char *uid,
    const json_t *described, struct err *err)
{
    struct catalogue *c = a->draft->catalogue;
    const struct target to = {
        uid, json_text(described, "repl_id", ""), json_int(described, "offset", -1)};
    const json_t *ranges = json_object_get(described, "slots");
    const struct piece *base;
    struct slots slots;
    int64_t gap;

    slots_clear(&slots);
    if (strlen(to.id) != ID_HEX || to.offset < 0 || slots_from_json(ranges, &slots, err) < 0)
        return err_set(err, ERR_CORRUPT, "the place of shard:%s is not one", uid);
    json_t *parts = parts_of(a, &to, &base, &gap);
    if (!parts) {
        if (gap < 0)
            set_draft_fault(set, "shard:%s has no data set before it", uid);
        else
            set_draft_fault(set, "the stream of shard:%s ends at offset %" PRId64 " of %" PRId64,
                uid, gap, to.offset);
        return 0;
    }
    json_array_append_new(c->parts, parts);
    struct backup_file *file = set_draft_add(set, a->draft, base->entry);
    file->bytes = sum_of(parts);
    file->slots = a->draft->query->sharded ? slots : *a->draft->query->slots;
    file->shard_uid = arena_strdup(&c->arena, uid);
    file->kind = "aof-parts";
    file->aof = true;
    file->parts = parts;
    return 0;
}

/* -1: the cut is bad; its set is listed with the reason. */
static void add_cut(struct archive *a, struct set_draft *set, const json_t *cut)
{
    struct err failure = ERR_INIT;
    const char *uid;
    const json_t *shard;

    json_object_foreach ((json_t *)(uintptr_t)json_object_get(cut, "shards"), uid, shard)
        if (add_shard(a, set, uid, shard, &failure) < 0) {
            set_draft_error(set, a->draft, &failure);
            return;
        }
}

/* --- the index --- */

static int add_text(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, INDEX_BYTES_MAX, "the index", err);
}

/* The cuts of one minute; NULL: it cannot be read, or is none. */
static json_t *read_index(struct archive *a, const char *name, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (store_read(
            a->draft->store, &(struct store_range){name, 0, -1}, add_text, &text, NULL, err) < 0)
        return NULL;
    json_t *index = json_read(text.data, text.len, 0, name, err);
    json_t *cuts = json_incref(json_object_get(index, "cuts"));
    json_int_t format = json_int(index, "recluster_cuts", 0);
    json_decref(index);
    if (format == 1 && json_is_array(cuts))
        return cuts;
    json_decref(cuts);
    err_set(err, ERR_CORRUPT, "'%s' is not an index of moments", name);
    return NULL;
}

static bool is_index(const char *name, const char *uid)
{
    AUTO_FREE char *prefix = xasprintf("cuts-%s-", uid);
    size_t len = strlen(name), front = strlen(prefix);

    return len > front + 5 && strncmp(name, prefix, front) == 0 &&
           strcmp(name + len - 5, ".json") == 0 && !strchr(name + front, '-');
}

/* Adds the newest cut that is complete, or else the newest one, with what it lacks. 1: complete. */
static int take_cuts(struct archive *a, const json_t *cuts, bool *told, struct err *err)
{
    struct catalogue *c = a->draft->catalogue;
    int64_t at_ms = a->draft->query->at_ms;

    (void)err;
    for (size_t i = json_array_size(cuts); i-- > 0;) {
        const json_t *cut = json_array_get(cuts, i);
        int64_t time_ms = json_int(cut, "time_ms", -1);
        struct set_draft set = SET_DRAFT_INIT;
        if (time_ms < 0 || (at_ms >= 0 && time_ms > at_ms))
            continue;
        add_cut(a, &set, cut);
        bool complete = !set.faults.len;
        if (!complete && *told) {
            set_draft_release(&set);
            continue;
        }
        AUTO_FREE char *id = xasprintf("archive-%" PRId64, time_ms);
        set_draft_end(&set, a->draft, id, time_ms);
        c->sets[c->set_count - 1].database_uid = a->draft->query->database_uid;
        *told = true;
        if (complete)
            return 1;
    }
    return 0;
}

static int find_cut(struct archive *a, struct err *err)
{
    const struct store_list *list = a->draft->list;
    bool told = false;

    /* Names sort by time. */
    for (size_t i = list->count; i-- > 0;) {
        if (!is_index(list->entries[i].name, a->draft->query->database_uid))
            continue;
        struct err failure = ERR_INIT;
        json_t *cuts = read_index(a, list->entries[i].name, &failure);
        if (!cuts && !catalogue_is_fault_of_file(failure.code)) {
            *err = failure;
            return -1;
        }
        int rc = cuts ? take_cuts(a, cuts, &told, err) : 0;
        json_decref(cuts);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
    }
    return 0;
}

int catalogue_add_archive(struct catalogue_draft *draft, struct err *err)
{
    struct archive a = {.draft = draft};

    if (!draft->query->database_uid)
        return 0;
    if (!draft->catalogue->parts)
        draft->catalogue->parts = json_array();
    find_pieces(&a);
    int rc = a.base_count ? find_cut(&a, err) : 0;
    free(a.bases);
    free(a.segments);
    return rc;
}

/* --- all archives of a location --- */

/* "cuts-<database>-20260131T1305Z.json" */
static bool database_of_index(const char *name, char *ret, size_t size)
{
    const char *at = name;

    return strncmp(name, "cuts-", 5) == 0 && (at += 5, take_word(&at, ret, size, '-')) &&
           is_index(name, ret);
}

static const char *time_text(const json_t *cuts, bool last)
{
    size_t count = json_array_size(cuts);
    return json_text(json_array_get(cuts, last && count ? count - 1 : 0), "time", NULL);
}

static int read_name(struct archive *a, const char *index, json_t *entry, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (store_read(
            a->draft->store, &(struct store_range){index, 0, -1}, add_text, &text, NULL, err) < 0)
        return -1;
    json_t *document = json_read(text.data, text.len, 0, index, err);
    json_t *name = json_object_get(json_object_get(document, "database"), "name");
    if (json_is_string(name))
        json_object_set(entry, "database_name", name);
    json_decref(document);
    return document ? 0 : -1;
}

static int add_bounds(
    struct archive *a, const char *first, const char *last, json_t *entry, struct err *err)
{
    json_t *oldest = read_index(a, first, err), *newest = oldest ? read_index(a, last, err) : NULL;
    int rc = newest ? read_name(a, last, entry, err) : -1;

    if (rc == 0 && time_text(oldest, false))
        json_object_set_new(entry, "first", json_string(time_text(oldest, false)));
    if (rc == 0 && time_text(newest, true))
        json_object_set_new(entry, "last", json_string(time_text(newest, true)));
    json_decref(oldest);
    json_decref(newest);
    return rc;
}

/* What find_cut() has found: the sets of the draft. */
static void add_newest(const struct catalogue *c, json_t *entry)
{
    char time[CLOCK_TEXT_MAX];

    for (size_t i = 0; i < c->set_count; i++) {
        const struct backup_set *set = &c->sets[i];
        if (set->complete)
            json_object_set_new(entry, "newest", json_string(clock_format(set->time_ms, time)));
        else
            json_object_set_new(entry, "reason", json_string(set->reason));
    }
}

static void add_sums(const struct archive *a, json_t *entry)
{
    int64_t bytes = 0;

    for (size_t i = 0; i < a->base_count; i++)
        bytes += a->bases[i].entry->bytes;
    for (size_t i = 0; i < a->segment_count; i++)
        bytes += a->segments[i].entry->bytes;
    json_object_set_new(entry, "bases", json_integer((json_int_t)a->base_count));
    json_object_set_new(entry, "segments", json_integer((json_int_t)a->segment_count));
    json_object_set_new(entry, "bytes", json_integer(bytes));
}

/* A draft of nothing but the archive of one database. */
struct lone_draft {
    struct slots all;
    struct catalogue catalogue;
    struct catalogue_query query;
    struct catalogue_draft draft;
    struct archive archive;
};

static void lone_draft_begin(struct lone_draft *d, struct store *s, const struct store_list *list,
    const char *uid, int64_t at_ms)
{
    *d = (struct lone_draft){.catalogue = {.arena = ARENA_INIT, .chosen = -1}};
    slots_fill(&d->all);
    d->query = (struct catalogue_query){
        .database_uid = uid, .sharded = true, .slots = &d->all, .at_ms = at_ms};
    d->draft = (struct catalogue_draft){
        .store = s, .query = &d->query, .list = list, .catalogue = &d->catalogue};
    d->catalogue.parts = json_array();
    d->archive.draft = &d->draft;
    find_pieces(&d->archive);
}

static void lone_draft_end(struct lone_draft *d)
{
    free(d->archive.bases);
    free(d->archive.segments);
    catalogue_release(&d->catalogue);
}

static int add_archive(struct store *s, const struct store_list *list, const char *uid,
    json_t *archives, struct err *err)
{
    const char *first = NULL, *last = NULL;
    struct lone_draft d;

    for (size_t i = 0; i < list->count; i++)
        if (is_index(list->entries[i].name, uid)) {
            first = first ? first : list->entries[i].name;
            last = list->entries[i].name;
        }
    lone_draft_begin(&d, s, list, uid, -1);
    json_t *entry = json_pack("{s:s}", "database_uid", uid);
    int rc = add_bounds(&d.archive, first, last, entry, err);
    if (rc == 0)
        rc = find_cut(&d.archive, err);
    if (rc == 0) {
        add_newest(&d.catalogue, entry);
        add_sums(&d.archive, entry);
        json_array_append(archives, entry);
    }
    json_decref(entry);
    lone_draft_end(&d);
    return rc;
}

int catalogue_archives(
    struct store *s, const struct store_list *list, json_t **ret, struct err *err)
{
    json_t *archives = json_array(), *seen = json_object();
    char uid[64];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < list->count; i++)
        if (database_of_index(list->entries[i].name, uid, sizeof(uid)) &&
            !json_object_get(seen, uid)) {
            json_object_set_new(seen, uid, json_true());
            rc = add_archive(s, list, uid, archives, err);
        }
    json_decref(seen);
    if (rc == 0)
        *ret = archives;
    else
        json_decref(archives);
    return rc;
}

/* --- what is no longer needed --- */

/* The base that the oldest moment to be kept needs of the shard; NULL: it needs none. */
static const struct piece *kept_base(const struct archive *a, const char *shard)
{
    const struct catalogue *c = a->draft->catalogue;

    for (size_t i = 0; i < c->set_count; i++)
        for (size_t f = 0; c->sets[i].complete && f < c->sets[i].file_count; f++)
            for (size_t b = 0; b < a->base_count; b++)
                if (strcmp(a->bases[b].entry->name, c->sets[i].files[f].name) == 0 &&
                    strcmp(a->bases[b].shard, shard) == 0)
                    return &a->bases[b];
    return NULL;
}

/* Index objects of minutes before the horizon; segments and bases that lie before what is kept. */
static json_t *old_names(const struct archive *a, const char *uid, int64_t horizon_ms)
{
    const struct store_list *list = a->draft->list;
    json_t *names = json_array();
    char minute[32];
    time_t t = (time_t)(horizon_ms / 1000);
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(minute, sizeof(minute), "%Y%m%dT%H%MZ.json", &tm);
    AUTO_FREE char *oldest = xasprintf("cuts-%s-%s", uid, minute);
    for (size_t i = 0; i < list->count; i++)
        if (is_index(list->entries[i].name, uid) && strcmp(list->entries[i].name, oldest) < 0)
            json_array_append_new(names, json_string(list->entries[i].name));
    for (size_t i = 0; i < a->segment_count; i++) {
        const struct piece *base = kept_base(a, a->segments[i].shard);
        if (base && a->segments[i].last <= base->first && strcmp(a->segments[i].id, base->id) == 0)
            json_array_append_new(names, json_string(a->segments[i].entry->name));
    }
    for (size_t i = 0; i < a->base_count; i++) {
        const struct piece *base = kept_base(a, a->bases[i].shard);
        if (base && a->bases[i].first < base->first && strcmp(a->bases[i].id, base->id) == 0)
            json_array_append_new(names, json_string(a->bases[i].entry->name));
    }
    return names;
}

int catalogue_archive_old(struct store *s, const struct store_list *list, const char *database_uid,
    int64_t horizon_ms, json_t **ret_names, struct err *err)
{
    struct lone_draft d;

    lone_draft_begin(&d, s, list, database_uid, horizon_ms);
    int rc = find_cut(&d.archive, err);
    bool any = false;
    for (size_t i = 0; rc == 0 && i < d.catalogue.set_count; i++)
        any |= d.catalogue.sets[i].complete;
    if (rc == 0)
        *ret_names = any ? old_names(&d.archive, database_uid, horizon_ms) : json_array();
    lone_draft_end(&d);
    return rc;
}
