#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue_draft.h"
#include "recluster/clock.h"
#include "recluster/json.h"

/* Sets by their manifests; recluster(5) describes the format. */

enum { MANIFEST_BYTES_MAX = 64 << 20, SHA256_DIGITS = 64 };

bool catalogue_is_manifest(const char *name)
{
    static const char ending[] = "recluster-manifest.json";
    size_t len = strlen(name), n = sizeof(ending) - 1;
    return len >= n && strcmp(name + len - n, ending) == 0;
}

bool catalogue_is_claimed(const struct catalogue_draft *draft, const char *name)
{
    return json_object_get(draft->claimed, name) != NULL;
}

static bool is_sha256(const char *text)
{
    return strlen(text) == SHA256_DIGITS && strspn(text, "0123456789abcdef") == SHA256_DIGITS;
}

/* A manifest whose files are being read. */
struct manifest {
    struct catalogue_draft *draft;
    struct set_draft set;
    struct slots taken;
};

static void check_entry(struct manifest *m, const struct store_entry *entry, const json_t *bytes)
{
    if (!json_is_integer(bytes) || entry->bytes < 0 || entry->bytes == json_integer_value(bytes))
        return;
    set_draft_fault(&m->set, "'%s' has %lld bytes instead of %lld", entry->name,
        (long long)entry->bytes, (long long)json_integer_value(bytes));
}

static int add_file(struct manifest *m, const json_t *described, struct err *err)
{
    struct catalogue_draft *draft = m->draft;
    struct arena *arena = &draft->catalogue->arena;
    const char *name = json_text(described, "name", NULL);
    const char *sha256 = json_text(described, "sha256", NULL);
    const char *shard = json_text(described, "shard", NULL);
    const char *kind = json_text(described, "kind", "rdb");
    const json_t *bytes = json_object_get(described, "bytes");
    const json_t *keys = json_object_get(described, "keys");
    const json_t *ranges = json_object_get(described, "slots");
    struct slots slots;

    if (!name)
        return err_set(err, ERR_CORRUPT, "a file in it has no name");
    if (sha256 && !is_sha256(sha256))
        return err_set(err, ERR_CORRUPT, "'sha256' of '%s' is not 64 hex digits", name);
    if (strcmp(kind, "rdb") != 0 && strcmp(kind, "aof") != 0)
        return err_set(err, ERR_UNSUPPORTED, "the kind of '%s', '%s', is not known", name, kind);
    slots_clear(&slots);
    if (!ranges)
        slots_fill(&slots);
    else if (slots_from_json(ranges, &slots, err) < 0)
        return err_wrap(err, "'slots' of '%s'", name);
    json_object_set_new(draft->claimed, name, json_true());
    const struct store_entry *entry = store_list_find(draft->list, name);
    if (!entry) {
        set_draft_fault(&m->set, "the file '%s' is not there", name);
        return 0;
    }
    check_entry(m, entry, bytes);
    if (slots_overlap(&m->taken, &slots))
        set_draft_fault(&m->set, "'%s' has slots that another file has too", name);
    slots_union(&m->taken, &slots);
    struct backup_file *file = set_draft_add(&m->set, draft, entry);
    if (json_is_integer(bytes))
        file->bytes = json_integer_value(bytes);
    file->slots = draft->query->sharded ? slots : *draft->query->slots;
    file->shard_uid = arena_strdup(arena, shard);
    file->sha256 = arena_strdup(arena, sha256);
    file->keys = json_is_integer(keys) ? json_integer_value(keys) : -1;
    file->plain_bytes = json_int(described, "plain_bytes", 0);
    if (strcmp(kind, "aof") == 0) {
        file->kind = "aof";
        file->aof = true;
    }
    return 0;
}

static int add_files(struct manifest *m, const json_t *files, struct err *err)
{
    size_t i;
    json_t *file;

    if (!json_is_array(files))
        return err_set(err, ERR_CORRUPT, "it has no array 'files'");
    json_array_foreach (files, i, file)
        if (add_file(m, file, err) < 0)
            return -1;
    return 0;
}

/* A bad manifest is a fault of its set, so the set is listed as incomplete. */
static void add_set(
    struct catalogue_draft *draft, const char *name, const json_t *text, const char *why_not)
{
    struct manifest m = {.draft = draft, .set = SET_DRAFT_INIT};
    struct catalogue *c = draft->catalogue;
    const json_t *database = json_object_get(text, "database");
    const char *uid = json_text(database, "uid", NULL);
    const char *id = json_text(text, "set", NULL);
    const json_t *time = json_object_get(text, "time");
    const char *wanted = draft->query->database_uid;
    struct err failure = ERR_INIT;
    int64_t time_ms = -1;

    slots_clear(&m.taken);
    int rc = why_not ? err_set(&failure, ERR_CORRUPT, "%s", why_not)
                     : add_files(&m, json_object_get(text, "files"), &failure);
    if (rc == 0 && time && !json_is_string(time))
        rc = err_set(&failure, ERR_CORRUPT, "'time' is not a text");
    if (rc == 0 && time)
        rc = clock_parse(json_string_value(time), &time_ms, &failure);
    if (rc < 0)
        set_draft_fault(&m.set, "the manifest '%s' is bad: %s", name, failure.message);
    if (!draft->query->sharded && m.set.count > 1)
        set_draft_fault(&m.set, "it has %zu files, but the database is not sharded", m.set.count);
    if (uid && wanted && strcmp(uid, wanted) != 0) {
        set_draft_release(&m.set);
        return;
    }
    set_draft_end(&m.set, draft, id ? id : name, time_ms);
    struct backup_set *set = &c->sets[c->set_count - 1];
    set->database_uid = arena_strdup(&c->arena, uid);
    set->database_name = arena_strdup(&c->arena, json_text(database, "name", NULL));
    set->verified = arena_strdup(&c->arena, json_text(text, "verified", NULL));
    set->verified_time = arena_strdup(&c->arena, json_text(text, "verified_time", NULL));
}

static int take_text(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, MANIFEST_BYTES_MAX, "the manifest", err);
}

static int add_manifest(struct catalogue_draft *draft, const char *name, struct err *err)
{
    struct buf text = BUF_INIT;
    struct err failure = ERR_INIT;

    int rc = store_read(
        draft->store, &(struct store_range){name, 0, -1}, take_text, &text, NULL, &failure);
    if (rc < 0 && !catalogue_is_fault_of_file(failure.code)) {
        *err = failure;
        buf_release(&text);
        return -1;
    }
    json_t *manifest = rc < 0 ? NULL : json_read(text.data, text.len, 0, "it", &failure);
    json_int_t format = json_int(manifest, "recluster_manifest", 0);
    const char *why_not = failure.message;
    if (manifest)
        why_not = format == 1  ? NULL
                  : format > 1 ? "a newer version of recluster wrote it"
                               : "it lacks \"recluster_manifest\": 1";
    add_set(draft, name, manifest, why_not);
    json_decref(manifest);
    buf_release(&text);
    return 0;
}

int catalogue_add_manifests(struct catalogue_draft *draft, struct err *err)
{
    for (size_t i = 0; i < draft->list->count; i++) {
        const char *name = draft->list->entries[i].name;
        if (catalogue_is_manifest(name) && add_manifest(draft, name, err) < 0)
            return -1;
    }
    return 0;
}
