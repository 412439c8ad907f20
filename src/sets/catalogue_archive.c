/*
 * The archive of a database (recluster/archive.h) as a backup set: the newest cut that is not after
 * the wanted time, and of which every shard has a base and the stream from there to the cut.
 *
 * A file of the set is a base; its parts are the base and the segments, the last of them up to the
 * cut.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "archive_pieces.h"
#include "recluster/clock.h"
#include "recluster/json.h"

enum { INDEX_BYTES_MAX = 64 << 20, LATE_S = 3600 };

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
    const json_t *described, const json_t *ranges, struct err *err)
{
    struct catalogue *c = a->draft->catalogue;
    const struct target to = {
        uid, json_text(described, "repl_id", ""), json_int(described, "offset", -1)};
    const struct piece *base;
    struct slots slots;
    int64_t gap;

    slots_clear(&slots);
    if (strlen(to.id) != ARCHIVE_ID_HEX || to.offset < 0 ||
        slots_from_json(ranges, &slots, err) < 0)
        return err_set(err, ERR_CORRUPT, "the place of shard:%s is not one", uid);
    json_t *parts = archive_parts(a, &to, &base, &gap);
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

/* They stand in a cut if they are others than in the one before. */
static const json_t *slots_of(const json_t *cuts, size_t at, const char *uid)
{
    for (size_t i = at + 1; i-- > 0;) {
        const json_t *shards = json_object_get(json_array_get(cuts, i), "shards");
        const json_t *slots = json_object_get(json_object_get(shards, uid), "slots");
        if (slots)
            return slots;
    }
    return NULL;
}

/* A bad cut is a set with the reason. */
static void add_cut(struct archive *a, struct set_draft *set, const json_t *cuts, size_t at)
{
    struct err failure = ERR_INIT;
    const char *uid;
    const json_t *shard;
    json_t *shards = json_object_get(json_array_get(cuts, at), "shards");

    json_object_foreach (shards, uid, shard)
        if (add_shard(a, set, uid, shard, slots_of(cuts, at, uid), &failure) < 0) {
            set_draft_error(set, a->draft, &failure);
            return;
        }
}

/* --- the index --- */

static int add_text(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, INDEX_BYTES_MAX, "the index", err);
}

json_t *archive_read_index(
    struct archive *a, const char *name, json_t **ret_document, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (store_read(
            a->draft->store, &(struct store_range){name, 0, -1}, add_text, &text, NULL, err) < 0)
        return NULL;
    json_t *index = json_read(text.data, text.len, 0, name, err);
    json_t *cuts = json_incref(json_object_get(index, "cuts"));
    if (json_int(index, "recluster_cuts", 0) == 1 && json_is_array(cuts)) {
        if (ret_document)
            *ret_document = json_incref(index);
        json_decref(index);
        return cuts;
    }
    json_decref(index);
    json_decref(cuts);
    err_set(err, ERR_CORRUPT, "'%s' is not an index of moments", name);
    return NULL;
}

/* Adds the newest cut that is complete, or else the newest one, with what it lacks. */
static bool take_cuts(struct archive *a, const json_t *cuts, bool *told)
{
    struct catalogue *c = a->draft->catalogue;
    int64_t at_ms = a->draft->query->at_ms;

    for (size_t i = json_array_size(cuts); i-- > 0;) {
        const json_t *cut = json_array_get(cuts, i);
        int64_t time_ms = json_int(cut, "time_ms", -1);
        struct set_draft set = SET_DRAFT_INIT;
        if (time_ms < 0 || (at_ms >= 0 && time_ms > at_ms))
            continue;
        add_cut(a, &set, cuts, i);
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
            return true;
    }
    return false;
}

/*
 * An index has the cuts of its minute; after a location was out of order, those of the minutes before
 * as well.
 */
static bool is_much_later(const char *name, int64_t at_ms)
{
    char minute[32];
    time_t t = (time_t)(at_ms / 1000) + LATE_S;
    const char *own = strrchr(name, '-');
    struct tm tm;

    if (at_ms < 0)
        return false;
    gmtime_r(&t, &tm);
    strftime(minute, sizeof(minute), "-%Y%m%dT%H%MZ.json", &tm);
    return strcmp(own, minute) > 0;
}

int archive_find_cut(struct archive *a, struct err *err)
{
    const struct store_list *list = a->draft->list;
    bool told = false, found = false;

    /* Names sort by time. */
    for (size_t i = list->count; i-- > 0 && !found;) {
        const char *name = list->entries[i].name;
        if (!archive_is_index(name, a->draft->query->database_uid) ||
            is_much_later(name, a->draft->query->at_ms))
            continue;
        struct err failure = ERR_INIT;
        json_t *cuts = archive_read_index(a, name, NULL, &failure);
        if (!cuts && !catalogue_is_fault_of_file(failure.code)) {
            *err = failure;
            return -1;
        }
        found = cuts && take_cuts(a, cuts, &told);
        json_decref(cuts);
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
    archive_find_pieces(&a);
    int rc = a.base_count ? archive_find_cut(&a, err) : 0;
    archive_release(&a);
    return rc;
}
