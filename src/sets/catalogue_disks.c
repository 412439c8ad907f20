#include <stdlib.h>
#include <string.h>

#include "catalogue_draft.h"
#include "recluster/clock.h"
#include "recluster/json.h"

/* The set of files on disks: for each slot range the newest usable file. */

struct candidate {
    const struct disk_folder *folder;
    const json_t *facts;
    char *where;
    size_t range;
    int64_t time_ms;
};

struct disk_draft {
    const struct disk_query *query;
    struct catalogue_draft draft;
    struct set_draft set;
    struct candidate *candidates; /* by range, newest first */
    size_t count, alloc;
    const char **notes;
    size_t note_count, note_alloc;
    int64_t oldest_ms; /* of the files that were taken */
};

static bool is_previous(const struct candidate *c)
{
    return json_flag(c->facts, "previous");
}

static int newest_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->range != y->range)
        return x->range < y->range ? -1 : 1;
    if (x->time_ms != y->time_ms)
        return x->time_ms > y->time_ms ? -1 : 1;
    if (is_previous(x) != is_previous(y))
        return is_previous(x) ? 1 : -1;
    return strcmp(x->where, y->where);
}

static bool is_left_out(const json_t *without, const char *where)
{
    const json_t *word;
    size_t i;

    json_array_foreach (without, i, word) {
        const char *text = json_string_value(word);
        if (text && strncmp(text, "file:", 5) == 0 && strcmp(text + 5, where) == 0)
            return true;
    }
    return false;
}

static const struct disk_shard *find_shard(const struct disk_query *query, const char *uid)
{
    for (size_t i = 0; i < query->shard_count; i++)
        if (strcmp(query->shards[i].uid, uid) == 0)
            return &query->shards[i];
    return NULL;
}

static void add_candidates(struct disk_draft *d, const struct disk_folder *folder)
{
    const json_t *facts;
    size_t i;

    json_array_foreach (folder->files, i, facts) {
        const struct disk_shard *shard = find_shard(d->query, json_text(facts, "shard", ""));
        const json_t *time = json_object_get(facts, "time_ms");
        int64_t time_ms = json_is_integer(time) ? json_integer_value(time) : -1;
        if (!shard || (d->query->at_ms >= 0 && (time_ms < 0 || time_ms > d->query->at_ms)))
            continue;
        bool slash = folder->path[0] && folder->path[strlen(folder->path) - 1] == '/';
        char *where = xasprintf("%s:%s%s%s", folder->owner, folder->path, slash ? "" : "/",
            json_text(facts, "name", ""));
        if (is_left_out(d->query->without, where)) {
            free(where);
            continue;
        }
        GROW(d->candidates, d->count, d->alloc);
        d->candidates[d->count++] = (struct candidate){folder, facts, where, shard->range, time_ms};
    }
}

static const char *error_of(const struct candidate *c)
{
    return json_text(c->facts, "error", NULL);
}

static const char *time_text(const struct candidate *c, char text[CLOCK_TEXT_MAX])
{
    return c->time_ms >= 0 ? clock_format(c->time_ms, text) : "an unknown time";
}

static void note(struct disk_draft *d, const struct candidate *bad, const struct candidate *taken)
{
    char when[CLOCK_TEXT_MAX], instead[CLOCK_TEXT_MAX];
    struct buf slots = BUF_INIT;
    struct arena *arena = &d->draft.catalogue->arena;

    slots_format(d->query->ranges[bad->range], &slots);
    GROW(d->notes, d->note_count, d->note_alloc);
    d->notes[d->note_count++] =
        taken ? arena_printf(arena, "for the slots %s, '%s' of %s is not used (%s), but '%s' of %s",
                    slots.data, bad->where, time_text(bad, when), error_of(bad), taken->where,
                    time_text(taken, instead))
              : arena_printf(arena, "for the slots %s, '%s' of %s can't be used: %s", slots.data,
                    bad->where, time_text(bad, when), error_of(bad));
    buf_release(&slots);
}

static void take(struct disk_draft *d, const struct candidate *c, const struct candidate *next)
{
    struct arena *arena = &d->draft.catalogue->arena;
    const json_t *bytes = json_object_get(c->facts, "bytes");
    const struct store_entry entry = {
        .name = (char *)(uintptr_t)json_text(c->facts, "name", ""),
        .bytes = json_is_integer(bytes) ? json_integer_value(bytes) : -1,
        .modified_ms = c->time_ms,
    };
    struct backup_file *file = set_draft_add(&d->set, &d->draft, &entry);
    char when[CLOCK_TEXT_MAX];

    file->shard_uid = arena_strdup(arena, json_text(c->facts, "shard", ""));
    file->slots = *d->query->ranges[c->range];
    file->head = json_incref(json_object_get(c->facts, "head"));
    file->kind = arena_strdup(arena, json_text(c->facts, "kind", ""));
    file->aof = strcmp(file->kind, "rdb") != 0;
    file->where = arena_strdup(arena, c->where);
    file->host = c->folder->host;
    file->folder = c->folder->path;
    file->location = c->folder->location;
    file->parts = json_object_get(c->facts, "parts");
    file->time_ms = c->time_ms;
    if (next)
        file->next = arena_printf(arena, "'%s' of %s", next->where, time_text(next, when));
    if (c->time_ms >= 0 && (d->oldest_ms < 0 || c->time_ms < d->oldest_ms))
        d->oldest_ms = c->time_ms;
}

/* The candidates of one range, newest first. Unusable ones are skipped with a note. */
static void choose_file(struct disk_draft *d, const struct candidate *c, size_t count)
{
    size_t good = 0, next;

    while (good < count && error_of(&c[good]))
        good++;
    for (size_t i = 0; i < good; i++)
        note(d, &c[i], good < count ? &c[good] : NULL);
    for (next = good + 1; next < count && error_of(&c[next]);)
        next++;
    if (good < count)
        take(d, &c[good], next < count ? &c[next] : NULL);
}

/* "a1, node:2, …", without duplicates. */
static const char *owners_text(struct disk_draft *d)
{
    enum { SHOWN = 6 };
    struct buf text = BUF_INIT;
    size_t shown = 0;

    for (size_t i = 0; i < d->query->folder_count; i++) {
        const struct disk_folder *folder = &d->query->folders[i];
        bool seen = json_array_size(folder->files) == 0;
        for (size_t k = 0; k < i && !seen; k++)
            seen = strcmp(d->query->folders[k].owner, folder->owner) == 0 &&
                   json_array_size(d->query->folders[k].files) > 0;
        if (seen)
            continue;
        if (shown <= SHOWN)
            buf_addf(&text, "%s%s", shown ? ", " : "", shown < SHOWN ? folder->owner : "…");
        shown++;
    }
    const char *owners = arena_printf(&d->draft.catalogue->arena, "the disks of %s", text.data);
    buf_release(&text);
    return owners;
}

/* Newest first, like the other sets; `chosen` moves along. */
static void put_in_order(struct catalogue *c, const struct disk_query *query)
{
    struct backup_set added = c->sets[c->set_count - 1];
    size_t at = c->set_count - 1;

    while (at > 0 && c->sets[at - 1].time_ms < added.time_ms) {
        c->sets[at] = c->sets[at - 1];
        at--;
    }
    c->sets[at] = added;
    if (c->chosen >= (int)at)
        c->chosen++;
    bool old_enough =
        query->set_at_ms < 0 || (added.time_ms >= 0 && added.time_ms <= query->set_at_ms);
    if (added.complete && old_enough && (c->chosen < 0 || (int)at < c->chosen))
        c->chosen = (int)at;
}

void catalogue_add_disks(struct catalogue *c, const struct disk_query *query)
{
    const struct catalogue_query wanted = {.slots = query->slots};
    struct disk_draft d = {
        .query = query,
        .draft = {.query = &wanted, .catalogue = c, .set_alloc = c->set_count},
        .set = SET_DRAFT_INIT,
        .oldest_ms = -1,
    };

    for (size_t i = 0; i < query->folder_count; i++)
        add_candidates(&d, &query->folders[i]);
    if (d.count) {
        qsort(d.candidates, d.count, sizeof(*d.candidates), newest_first);
        for (size_t begin = 0, end; begin < d.count; begin = end) {
            for (end = begin; end < d.count; end++)
                if (d.candidates[end].range != d.candidates[begin].range)
                    break;
            choose_file(&d, d.candidates + begin, end - begin);
        }
        set_draft_end(&d.set, &d.draft, "disks", d.oldest_ms);
        struct backup_set *made = &c->sets[c->set_count - 1];
        made->disks = owners_text(&d);
        made->note_count = d.note_count;
        if (d.note_count)
            made->notes = arena_memdup(&c->arena, d.notes, d.note_count * sizeof(*d.notes));
        put_in_order(c, query);
    }
    for (size_t i = 0; i < d.count; i++)
        free(d.candidates[i].where);
    free(d.candidates);
    free(d.notes);
}
