#include "recluster/catalogue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue_draft.h"
#include "recluster/backup_name.h"

enum { NAMED_MAX = 8 }; /* a message lists this many things, then "…" */

/* --- sets by vendor names --- */

struct named {
    struct backup_name name;
    const struct store_entry *entry;
};

/* Groups runs, newest first; within a run by index. */
static int by_run(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    int order = strcmp(y->name.stamp, x->name.stamp);

    if (order)
        return order;
    if (x->name.index != y->name.index)
        return x->name.index < y->name.index ? -1 : 1;
    return strcmp(x->entry->name, y->entry->name);
}

/* The open slots in a name; none if they do not fit the slots policy of the database. */
static void slots_of_name(const struct backup_name *name, bool legacy, struct slots *ret)
{
    slots_clear(ret);
    if (!legacy) {
        slots_add_range(ret, name->first_slot, name->last_slot);
        return;
    }
    if (name->first_slot < 1 || name->last_slot > LEGACY_SLOT_COUNT)
        return;
    for (unsigned k = 0; k < SLOT_COUNT; k += LEGACY_SLOT_COUNT)
        slots_add_range(ret, name->first_slot - 1 + k, name->last_slot - 1 + k);
}

/* A second copy of a file, such as a decompressed one. */
static bool is_copy(const struct named *a, const struct named *b)
{
    return a->name.index == b->name.index && a->name.total == b->name.total &&
           a->name.first_slot == b->name.first_slot && a->name.last_slot == b->name.last_slot &&
           strcmp(a->name.shard_uid, b->name.shard_uid) == 0;
}

/* "file 2 of 3 is not there" */
static void find_gaps(struct set_draft *set, const struct named *run, size_t count)
{
    unsigned total = run[0].name.total, gaps = 0;
    size_t i = 0;
    struct buf list = BUF_INIT;

    for (unsigned index = 1; index <= total; index++) {
        while (i < count && run[i].name.index < index)
            i++;
        if (i < count && run[i].name.index == index)
            continue;
        if (gaps < NAMED_MAX)
            buf_addf(&list, "%s%u", gaps ? ", " : "", index);
        gaps++;
    }
    if (gaps == 1)
        set_draft_fault(set, "file %s of %u is not there", list.data, total);
    else if (gaps)
        set_draft_fault(
            set, "files %s%s of %u are not there", list.data, gaps > NAMED_MAX ? ", …" : "", total);
    buf_release(&list);
}

static void add_named_file(struct set_draft *set, struct catalogue_draft *draft,
    const struct named *named, struct slots *taken)
{
    const struct catalogue_query *query = draft->query;
    struct backup_file *file = set_draft_add(set, draft, named->entry);

    file->shard_uid = arena_strdup(&draft->catalogue->arena, named->name.shard_uid);
    if (!query->sharded) {
        file->slots = *query->slots;
        return;
    }
    slots_of_name(&named->name, query->legacy, &file->slots);
    if (slots_is_empty(&file->slots))
        set_draft_fault(set, "'%s' names slots that the policy of the database does not have",
            named->entry->name);
    else if (slots_overlap(taken, &file->slots))
        set_draft_fault(set, "'%s' names slots that another file has too", named->entry->name);
    slots_union(taken, &file->slots);
}

static void add_run(struct catalogue_draft *draft, const struct named *run, size_t count)
{
    struct set_draft set = SET_DRAFT_INIT;
    struct slots taken;
    unsigned total = run[0].name.total;

    slots_clear(&taken);
    for (size_t i = 0; i < count; i++) {
        if (i && is_copy(&run[i - 1], &run[i]))
            continue;
        if (run[i].name.total != total)
            set_draft_fault(&set, "'%s' and '%s' do not agree on how many files there are",
                run[0].entry->name, run[i].entry->name);
        else if (i && run[i - 1].name.index == run[i].name.index)
            set_draft_fault(&set, "'%s' and '%s' both are file %u of %u", run[i - 1].entry->name,
                run[i].entry->name, run[i].name.index, total);
        add_named_file(&set, draft, &run[i], &taken);
    }
    if (!draft->query->sharded && total > 1)
        set_draft_fault(&set, "its run has %u files, but the database is not sharded", total);
    if (!draft->query->some_files)
        find_gaps(&set, run, count);
    set_draft_end(&set, draft, run[0].name.stamp, run[0].name.time_ms);
    struct catalogue *c = draft->catalogue;
    struct backup_set *made = &c->sets[c->set_count - 1];
    made->database_uid = arena_strdup(&c->arena, run[0].name.database_uid);
    made->database_name = arena_strdup(&c->arena, run[0].name.database_name);
}

/* Files of one database. */
static void add_runs_of(struct catalogue_draft *draft, struct named *named, size_t count)
{
    if (count)
        qsort(named, count, sizeof(*named), by_run);
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin; end < count; end++)
            if (strcmp(named[end].name.stamp, named[begin].name.stamp) != 0)
                break;
        add_run(draft, named + begin, end - begin);
    }
}

/* The files with vendor names that no manifest claims, of one database, or of all (NULL). */
static struct named *find_named(
    const struct catalogue_draft *draft, const char *database_uid, size_t *ret_count)
{
    const struct store_list *list = draft->list;
    struct named *named = xcalloc(list->count + 1, sizeof(*named));
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        struct named *n = &named[count];
        n->entry = &list->entries[i];
        if (backup_name_parse(n->entry->name, &n->name) &&
            (!database_uid || strcmp(n->name.database_uid, database_uid) == 0) &&
            !catalogue_is_claimed(draft, n->entry->name))
            count++;
    }
    *ret_count = count;
    return named;
}

static void add_runs(struct catalogue_draft *draft)
{
    size_t count;
    struct named *named = find_named(draft, draft->query->database_uid, &count);

    add_runs_of(draft, named, count);
    free(named);
}

/* --- the choice --- */

static int newest_first(const void *a, const void *b)
{
    const struct backup_set *x = a, *y = b;
    return (x->time_ms < y->time_ms) - (x->time_ms > y->time_ms);
}

/* Reads the heads of all files. A file that is not a backup makes the set incomplete. */
static int check_heads(struct catalogue_draft *draft, struct backup_set *set, struct err *err)
{
    for (size_t i = 0; i < set->file_count && set->complete; i++) {
        struct err failure = ERR_INIT;
        if (set->files[i].head || catalogue_read_head(draft, &set->files[i], NULL, &failure) == 0)
            continue;
        if (!catalogue_is_fault_of_file(failure.code)) {
            *err = failure;
            return -1;
        }
        set->complete = false;
        set->reason = set->cause = arena_strdup(&draft->catalogue->arena, failure.message);
        set->hint =
            failure.hint[0] ? arena_strdup(&draft->catalogue->arena, failure.hint) : set->hint;
    }
    return 0;
}

static int choose_among(struct catalogue_draft *draft, bool future, struct err *err)
{
    struct catalogue *c = draft->catalogue;
    int64_t at_ms = draft->query->at_ms;

    for (size_t i = 0; i < c->set_count && c->chosen < 0; i++) {
        struct backup_set *set = &c->sets[i];
        bool old_enough = at_ms < 0 || (set->time_ms >= 0 && set->time_ms <= at_ms);
        if (!set->complete || !old_enough || set->future != future)
            continue;
        if (check_heads(draft, set, err) < 0)
            return -1;
        if (set->complete)
            c->chosen = (int)i;
    }
    return 0;
}

static int choose(struct catalogue_draft *draft, struct err *err)
{
    return choose_among(draft, false, err) < 0 ? -1 : choose_among(draft, true, err);
}

/* Adds a word unless it is in the list "a, b" already. Returns whether the list is full. */
static bool list_once(struct buf *list, unsigned *count, const char *word)
{
    AUTO_FREE char *hay = xasprintf(", %s,", list->data);
    AUTO_FREE char *needle = xasprintf(", %s,", word);

    if (strstr(hay, needle))
        return false;
    buf_addf(list, "%s%s", list->len ? ", " : "", *count < NAMED_MAX ? word : "…");
    return ++*count > NAMED_MAX;
}

static int nothing_found(const struct catalogue_draft *draft, struct err *err)
{
    const struct store_list *list = draft->list;
    const struct catalogue_query *query = draft->query;
    struct buf others = BUF_INIT;
    unsigned count = 0;
    struct backup_name name;

    for (size_t i = 0; i < list->count; i++)
        if (backup_name_parse(list->entries[i].name, &name) &&
            list_once(&others, &count, name.database_uid))
            break;
    AUTO_FREE char *what = xasprintf("'%s' holds no backup of the database db:%s '%s'",
        store_label(draft->store), query->database_uid, query->database_name);
    if (!list->count && list->folder_count) {
        for (size_t i = 0; i < list->folder_count && count <= NAMED_MAX; i++, count++)
            buf_addf(
                &others, "%s'%s'", count ? ", " : "", count < NAMED_MAX ? list->folders[i] : "…");
        err_set(err, ERR_NOT_FOUND, "%s: it has no file, only the folder%s %s", what,
            list->folder_count == 1 ? "" : "s", others.data);
        err_hint(err, "Name one of them as the location.");
    } else if (!list->count) {
        err_set(err, ERR_NOT_FOUND, "%s: it is empty", what);
        err_hint(err, "Is the storage mounted? Is this the right folder?");
    } else if (others.len) {
        err_set(err, ERR_NOT_FOUND, "%s, but of the databases with the uids %s", what, others.data);
    } else {
        err_set(err, ERR_NOT_FOUND, "%s: it has %zu file%s, such as '%s'", what, list->count,
            list->count == 1 ? "" : "s", list->entries[0].name);
    }
    buf_release(&others);
    return -1;
}

static int fill(struct catalogue_draft *draft, struct err *err)
{
    struct catalogue *c = draft->catalogue;

    if (catalogue_add_manifests(draft, err) < 0)
        return -1;
    add_runs(draft);
    if (catalogue_add_archive(draft, err) < 0)
        return -1;
    if (!c->set_count && catalogue_add_cluster_backup(draft, err) < 0)
        return -1;
    if (!c->set_count && catalogue_add_folder(draft, err) < 0)
        return -1;
    if (!c->set_count)
        return nothing_found(draft, err);
    qsort(c->sets, c->set_count, sizeof(*c->sets), newest_first);
    return choose(draft, err);
}

int catalogue_read(
    struct store *s, const struct catalogue_query *query, struct catalogue *ret, struct err *err)
{
    struct catalogue catalogue = {.arena = ARENA_INIT, .chosen = -1};
    struct store_list list = STORE_LIST_INIT;
    struct catalogue_draft draft = {.store = s,
        .query = query,
        .list = &list,
        .catalogue = &catalogue,
        .claimed = json_object()};

    int rc = store_list(s, &list, err);
    if (rc == 0)
        rc = fill(&draft, err);
    store_list_release(&list);
    json_decref(draft.claimed);
    if (rc == 0)
        *ret = catalogue;
    else
        catalogue_release(&catalogue);
    return rc;
}

/* Slots in the names of a database; the legacy policy counts from 1 to 4096. */
static bool names_are_legacy(const struct named *named, size_t count)
{
    unsigned first = SLOT_COUNT, last = 0;

    for (size_t i = 0; i < count; i++) {
        first = named[i].name.first_slot < first ? named[i].name.first_slot : first;
        last = named[i].name.last_slot > last ? named[i].name.last_slot : last;
    }
    return first >= 1 && last == LEGACY_SLOT_COUNT;
}

static int by_database(const void *a, const void *b)
{
    return strcmp(
        ((const struct named *)a)->name.database_uid, ((const struct named *)b)->name.database_uid);
}

/* The runs of each database that file names mention. */
static void add_all_runs(struct catalogue_draft *draft, struct catalogue_query *query)
{
    size_t count;
    struct named *named = find_named(draft, NULL, &count);

    if (count)
        qsort(named, count, sizeof(*named), by_database);
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin; end < count; end++)
            if (by_database(&named[begin], &named[end]) != 0)
                break;
        query->database_uid = named[begin].name.database_uid;
        query->legacy = names_are_legacy(named + begin, end - begin);
        add_runs_of(draft, named + begin, end - begin);
    }
    query->database_uid = NULL;
    free(named);
}

int catalogue_read_all(
    struct store *s, const struct store_list *list, struct catalogue *ret, struct err *err)
{
    struct slots all;
    struct catalogue catalogue = {.arena = ARENA_INIT, .chosen = -1};
    struct catalogue_query query = {.sharded = true, .slots = &all, .at_ms = -1};
    struct catalogue_draft draft = {.store = s,
        .query = &query,
        .list = list,
        .catalogue = &catalogue,
        .claimed = json_object()};

    slots_fill(&all);
    int rc = catalogue_add_manifests(&draft, err);
    if (rc == 0) {
        add_all_runs(&draft, &query);
        rc = catalogue_add_cluster_backup(&draft, err);
    }
    json_decref(draft.claimed);
    if (rc < 0) {
        catalogue_release(&catalogue);
        return -1;
    }
    if (catalogue.set_count)
        qsort(catalogue.sets, catalogue.set_count, sizeof(*catalogue.sets), newest_first);
    *ret = catalogue;
    return 0;
}

void catalogue_release(struct catalogue *c)
{
    for (size_t i = 0; i < c->set_count; i++) {
        for (size_t f = 0; f < c->sets[i].file_count; f++) {
            json_decref(c->sets[i].files[f].head);
            json_decref(c->sets[i].files[f].facts);
        }
    }
    free(c->sets);
    json_decref(c->parts);
    arena_release(&c->arena);
    *c = (struct catalogue){.arena = ARENA_INIT, .chosen = -1};
}
