/* The archives of a location: which moments they have, and what of them is no longer needed. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "archive_pieces.h"
#include "recluster/clock.h"
#include "recluster/json.h"

static const char *time_text(const json_t *cuts, bool last)
{
    size_t count = json_array_size(cuts);
    return json_text(json_array_get(cuts, last && count ? count - 1 : 0), "time", NULL);
}

static int add_bounds(
    struct archive *a, const char *first, const char *last, json_t *entry, struct err *err)
{
    json_t *oldest = archive_read_index(a, first, NULL, err), *document = NULL;
    json_t *newest = oldest ? archive_read_index(a, last, &document, err) : NULL;
    json_t *name = json_object_get(json_object_get(document, "database"), "name");

    if (json_is_string(name))
        json_object_set(entry, "database_name", name);
    if (newest && time_text(oldest, false))
        json_object_set_new(entry, "first", json_string(time_text(oldest, false)));
    if (newest && time_text(newest, true))
        json_object_set_new(entry, "last", json_string(time_text(newest, true)));
    int rc = newest ? 0 : -1;
    json_decref(oldest);
    json_decref(newest);
    json_decref(document);
    return rc;
}

/* What archive_find_cut() has found: the sets of the draft. */
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
    json_object_set_new(entry, "branches", archive_branches(a));
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
    archive_find_pieces(&d->archive);
}

static void lone_draft_end(struct lone_draft *d)
{
    archive_release(&d->archive);
    catalogue_release(&d->catalogue);
}

static int add_archive(struct store *s, const struct store_list *list, const char *uid,
    json_t *archives, struct err *err)
{
    const char *first = NULL, *last = NULL;
    struct lone_draft d;

    for (size_t i = 0; i < list->count; i++)
        if (archive_is_index(list->entries[i].name, uid)) {
            first = first ? first : list->entries[i].name;
            last = list->entries[i].name;
        }
    lone_draft_begin(&d, s, list, uid, -1);
    json_t *entry = json_pack("{s:s}", "database_uid", uid);
    int rc = add_bounds(&d.archive, first, last, entry, err);
    if (rc == 0)
        rc = archive_find_cut(&d.archive, err);
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
    char uid[ARCHIVE_WORD_MAX];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < list->count; i++)
        if (archive_database_of_index(list->entries[i].name, uid) && !json_object_get(seen, uid)) {
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

/*
 * Offsets of another history cannot be compared, times can: this one was written before the base
 * that precedes the kept one, so it is behind no base that is kept.
 */
static bool is_of_an_old_history(
    const struct archive *a, const struct piece *piece, const struct piece *kept)
{
    const struct piece *before = kept > a->bases ? kept - 1 : NULL;
    int64_t modified_ms = piece->entry->modified_ms;

    return strcmp(piece->id, kept->id) != 0 && modified_ms >= 0 && before &&
           strcmp(before->shard, kept->shard) == 0 && before->entry->modified_ms > modified_ms &&
           before->entry->modified_ms < kept->entry->modified_ms;
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
        if (archive_is_index(list->entries[i].name, uid) &&
            strcmp(list->entries[i].name, oldest) < 0)
            json_array_append_new(names, json_string(list->entries[i].name));
    for (size_t i = 0; i < a->segment_count; i++) {
        const struct piece *base = kept_base(a, a->segments[i].shard);
        if (base &&
            ((a->segments[i].last <= base->first && strcmp(a->segments[i].id, base->id) == 0) ||
                is_of_an_old_history(a, &a->segments[i], base)))
            json_array_append_new(names, json_string(a->segments[i].entry->name));
    }
    for (size_t i = 0; i < a->base_count; i++) {
        const struct piece *base = kept_base(a, a->bases[i].shard);
        if (base && ((a->bases[i].first < base->first && strcmp(a->bases[i].id, base->id) == 0) ||
                        is_of_an_old_history(a, &a->bases[i], base)))
            json_array_append_new(names, json_string(a->bases[i].entry->name));
    }
    return names;
}

int catalogue_archive_old(struct store *s, const struct store_list *list, const char *database_uid,
    int64_t horizon_ms, json_t **ret_names, struct err *err)
{
    struct lone_draft d;

    lone_draft_begin(&d, s, list, database_uid, horizon_ms);
    int rc = archive_find_cut(&d.archive, err);
    bool any = false;
    for (size_t i = 0; rc == 0 && i < d.catalogue.set_count; i++)
        any |= d.catalogue.sets[i].complete;
    if (rc == 0)
        *ret_names = any ? old_names(&d.archive, database_uid, horizon_ms) : json_array();
    lone_draft_end(&d);
    return rc;
}
