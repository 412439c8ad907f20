#include "recluster/expiry.h"

#include <stdlib.h>
#include <string.h>

#include "lock.h"
#include "recluster/catalogue.h"
#include "recluster/clock.h"
#include "recluster/json.h"

enum { MANIFEST_BYTES_MAX = 64 << 20 };

static const char manifest_end[] = "-recluster-manifest.json";

/* One set, as its manifest and the list of the location say. */
struct set {
    json_t *entry; /* as in the plan */
    const char *uid;
    int64_t time_ms;
    bool complete, kept;
};

struct finding {
    struct store *store;
    const struct expiry_policy *policy;
    struct store_list list;
    struct set *sets;
    size_t count, alloc;
};

static bool is_manifest(const char *name)
{
    size_t len = strlen(name), end = sizeof(manifest_end) - 1;

    return len > end && strncmp(name, "bk", 2) == 0 && strcmp(name + len - end, manifest_end) == 0;
}

static int add_text(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, MANIFEST_BYTES_MAX, "the manifest", err);
}

/* Why the set is incomplete; NULL: it is complete. The caller's. */
static json_t *fault_of(const struct finding *f, const json_t *files)
{
    const json_t *file;
    size_t i;

    json_array_foreach (files, i, file) {
        const char *name = json_text(file, "name", NULL);
        const struct store_entry *there = name ? store_list_find(&f->list, name) : NULL;
        json_int_t bytes = json_int(file, "bytes", -1);
        if (!there)
            return json_sprintf("the file '%s' is not there", name ? name : "?");
        if (bytes >= 0 && there->bytes >= 0 && there->bytes != bytes)
            return json_sprintf("'%s' has %lld bytes instead of %lld", name,
                (long long)there->bytes, (long long)bytes);
    }
    return json_array_size(files) ? NULL : json_string("it has no files");
}

/* Names of a manifest that are no names of a backup are somebody else's: they are left alone. */
static json_t *names_of(const json_t *manifest, int64_t *ret_bytes)
{
    json_t *names = json_array();
    const json_t *file;
    size_t i;

    *ret_bytes = 0;
    json_array_foreach (json_object_get(manifest, "files"), i, file) {
        const char *name = json_text(file, "name", "");
        *ret_bytes += json_int(file, "bytes", 0);
        if (strncmp(name, "bk", 2) == 0 && !strchr(name, '/'))
            json_array_append_new(names, json_string(name));
    }
    return names;
}

static int add_set(struct finding *f, const char *name, const json_t *manifest, struct err *err)
{
    const json_t *database = json_object_get(manifest, "database");
    const char *time = json_text(manifest, "time", NULL);
    struct set set = {.kept = false};
    int64_t bytes;

    if (!time || !json_is_object(database) || clock_parse(time, &set.time_ms, err) < 0) {
        err_set(err, ERR_CORRUPT, "the manifest '%s' in '%s' is not one of a backup", name,
            store_label(f->store));
        return err_hint(err, "Look at it, and remove it and its files by hand if they are bad.");
    }
    json_t *fault = fault_of(f, json_object_get(manifest, "files"));
    set.complete = !fault;
    json_t *names = names_of(manifest, &bytes);
    set.entry = json_pack("{s:O*, s:s, s:{s:O*, s:O*}, s:s, s:o, s:I, s:b, s:o*, s:O*}", "set",
        json_object_get(manifest, "set"), "time", time, "database", "uid",
        json_object_get(database, "uid"), "name", json_object_get(database, "name"), "manifest",
        name, "files", names, "bytes", (json_int_t)bytes, "complete", set.complete, "reason", fault,
        "ccs", json_object_get(json_object_get(manifest, "ccs"), "name"));
    set.uid = json_text(json_object_get(set.entry, "database"), "uid", "");
    GROW(f->sets, f->count, f->alloc);
    f->sets[f->count++] = set;
    return 0;
}

static int read_manifest(struct finding *f, const char *name, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (store_read(f->store, &(struct store_range){name, 0, -1}, add_text, &text, NULL, err) < 0)
        return -1;
    json_t *manifest = json_read(text.data, text.len, 0, name, err);
    if (!manifest)
        return -1;
    /* A manifest may also be written by hand, for files of others. */
    bool ours = strncmp(json_text(manifest, "made_by", ""), "recluster ", 10) == 0;
    int rc = ours ? add_set(f, name, manifest, err) : 0;
    json_decref(manifest);
    return rc;
}

static int newest_first(const void *a, const void *b)
{
    const struct set *x = a, *y = b;

    return (x->time_ms < y->time_ms) - (x->time_ms > y->time_ms);
}

static bool is_chosen(const struct finding *f, const struct set *set)
{
    const json_t *database = json_object_get(set->entry, "database");
    const char *wanted = f->policy->database;

    return !wanted || strcmp(set->uid, wanted) == 0 ||
           strcmp(json_text(database, "name", ""), wanted) == 0;
}

static void keep(struct set *set, const char *why)
{
    if (!set->kept)
        json_object_set_new(set->entry, "why", json_string(why));
    set->kept = true;
}

/* Rules choose among the complete sets of one database. */
static void apply_rules(struct finding *f, const char *uid)
{
    const struct expiry_policy *policy = f->policy;
    int64_t *times = xcalloc(f->count + 1, sizeof(*times));
    bool *kept = xcalloc(f->count + 1, sizeof(*kept));
    struct set **complete = xcalloc(f->count + 1, sizeof(*complete));
    size_t count = 0;

    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->sets[i].uid, uid) == 0 && f->sets[i].complete) {
            complete[count] = &f->sets[i];
            times[count++] = f->sets[i].time_ms;
        }
    if (count)
        keep(complete[0], "it is the newest complete set of its database");
    if (policy->keep.count)
        capture_keep_choose(&policy->keep, policy->now_ms, times, count, kept);
    for (size_t i = 0; i < count; i++)
        complete[i]->kept |= kept[i] || (int64_t)i < policy->keep_last;
    /* What is newer than the last good one may be looked into. */
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->sets[i].uid, uid) == 0 &&
            (!count || f->sets[i].time_ms > complete[0]->time_ms))
            keep(&f->sets[i], "no newer set of its database is complete");
    free(times);
    free(kept);
    free(complete);
}

static void choose(struct finding *f)
{
    if (f->count)
        qsort(f->sets, f->count, sizeof(*f->sets), newest_first);
    for (size_t i = 0; i < f->count; i++)
        if (!is_chosen(f, &f->sets[i]))
            keep(&f->sets[i], "its database was not asked for");
    for (size_t i = 0; i < f->count; i++) {
        size_t first = 0;
        while (strcmp(f->sets[first].uid, f->sets[i].uid) != 0)
            first++;
        if (first == i)
            apply_rules(f, f->sets[i].uid);
    }
}

static json_t *plan_of(const struct finding *f)
{
    json_t *kept = json_array(), *removed = json_array();

    for (size_t i = 0; i < f->count; i++)
        json_array_append(f->sets[i].kept ? kept : removed, f->sets[i].entry);
    return json_pack("{s:o, s:o}", "kept", kept, "removed", removed);
}

static int64_t bytes_of(const struct finding *f, const json_t *names)
{
    const json_t *name;
    size_t i;
    int64_t bytes = 0;

    json_array_foreach (names, i, name) {
        const struct store_entry *entry = store_list_find(&f->list, json_string_value(name));
        bytes += entry && entry->bytes > 0 ? entry->bytes : 0;
    }
    return bytes;
}

static int find_old_archives(const struct finding *f, json_t *plan, struct err *err)
{
    const struct expiry_policy *policy = f->policy;
    json_t *archives, *old = json_array(), *archive, *names;
    size_t i;
    int rc = 0;

    json_object_set_new(plan, "archives", old);
    if (catalogue_archives(f->store, &f->list, &archives, err) < 0)
        return -1;
    json_array_foreach (archives, i, archive) {
        const char *uid = json_text(archive, "database_uid", "");
        const char *name = json_text(archive, "database_name", "");
        if (rc < 0 || (policy->database && strcmp(policy->database, uid) != 0 &&
                          strcmp(policy->database, name) != 0))
            continue;
        rc = catalogue_archive_old(
            f->store, &f->list, uid, policy->now_ms - policy->archive_ms, &names, err);
        if (rc == 0)
            json_array_append_new(old, json_pack("{s:s, s:I, s:o}", "database_uid", uid, "bytes",
                                           (json_int_t)bytes_of(f, names), "names", names));
    }
    json_decref(archives);
    return rc;
}

int expiry_find(
    struct store *store, const struct expiry_policy *policy, json_t **ret, struct err *err)
{
    struct finding f = {.store = store, .policy = policy, .list = STORE_LIST_INIT};

    int rc = store_list(store, &f.list, err);
    for (size_t i = 0; rc == 0 && i < f.list.count; i++)
        if (is_manifest(f.list.entries[i].name))
            rc = read_manifest(&f, f.list.entries[i].name, err);
    if (rc == 0) {
        choose(&f);
        *ret = plan_of(&f);
        if (policy->archive_ms)
            rc = find_old_archives(&f, *ret, err);
        if (rc < 0)
            json_decref(*ret);
    }
    for (size_t i = 0; i < f.count; i++)
        json_decref(f.sets[i].entry);
    free(f.sets);
    store_list_release(&f.list);
    return rc;
}

/* --- removing --- */

/* Whether a set that stays, or goes later, has the CCS file too. */
static bool is_used(const json_t *plan, const char *ccs, const json_t *by)
{
    static const char *const lists[] = {"kept", "removed"};
    const json_t *set;
    size_t i;

    for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
        json_array_foreach (json_object_get(plan, lists[k]), i, set)
            if (set != by && strcmp(json_text(set, "ccs", ""), ccs) == 0 &&
                (k == 0 || !json_flag(set, "gone")))
                return true;
    return false;
}

static int remove_set(struct store *store, const json_t *plan, json_t *set, struct err *err)
{
    const char *ccs = json_text(set, "ccs", NULL);
    const json_t *name;
    size_t i;

    if (store_remove(store, json_text(set, "manifest", ""), err) < 0)
        return -1;
    json_object_set_new(set, "gone", json_true());
    json_array_foreach (json_object_get(set, "files"), i, name)
        if (store_remove(store, json_string_value(name), err) < 0)
            return -1;
    bool ours = ccs && strncmp(ccs, "bk", 2) == 0 && !strchr(ccs, '/');
    return ours && !is_used(plan, ccs, set) ? store_remove(store, ccs, err) : 0;
}

static int remove_old(
    struct store *store, const json_t *plan, struct backup_lock *lock, struct err *err)
{
    const json_t *archive, *name;
    size_t i, k;

    json_array_foreach (json_object_get(plan, "archives"), i, archive) {
        json_array_foreach (json_object_get(archive, "names"), k, name) {
            if (store_remove(store, json_string_value(name), err) < 0)
                return -1;
            backup_lock_renew(lock);
        }
    }
    return 0;
}

int expiry_remove(struct store *store, const json_t *plan, struct err *err)
{
    struct backup_lock *lock;
    json_t *none = json_array(), *set;
    size_t i;

    int rc = backup_lock_take(store, none, &lock, err);
    json_decref(none);
    if (rc < 0)
        return -1;
    json_array_foreach (json_object_get(plan, "removed"), i, set) {
        if (rc == 0)
            rc = remove_set(store, plan, set, err);
        backup_lock_renew(lock);
    }
    if (rc == 0)
        rc = remove_old(store, plan, lock, err);
    backup_lock_release(lock);
    return rc;
}
