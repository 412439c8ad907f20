/*
 * Stage 2: the backup file of each shard, verified while it comes. Where primary and replica load
 * the same file, both hosts fetch it, and give it the same id of a replication history.
 */

#include <string.h>

#include "internal.h"
#include "recluster/file.h"
#include "recluster/slots.h"
#include "recluster/store.h"
#include "relay.h"

/* Each relay is a process that reads on this machine, and its network is one only. */
enum { SAMPLED_KEYS = 32, RELAYS_MAX = 16 };

/* The agent ends a fetch itself when nothing comes any more; this only bounds the whole. */
#define FETCH_TIMEOUT_MS (23LL * 3600 * 1000)

/* The name that a backup file has in incoming/: without ".gz" and ".zst", as it lies there inflated. */
static char *incoming_name(const char *file)
{
    CLEANUP(free_ptr) char *plain = xstrdup(file);
    size_t len = strlen(plain);

    if (len > 3 && strcmp(plain + len - 3, ".gz") == 0)
        plain[len - 3] = '\0';
    else if (len > 4 && strcmp(plain + len - 4, ".zst") == 0)
        plain[len - 4] = '\0';
    return path_component(plain);
}

static json_t *slot_ranges(const char *text)
{
    struct slots slots;
    struct err impossible = ERR_INIT;

    slots_clear(&slots);
    return slots_parse(text, &slots, &impossible) < 0 ? json_null() : slots_to_json(&slots);
}

/* The share of one fetch: as many as may still run side by side have it all. */
static int64_t fetch_limit(const struct executor *x)
{
    int64_t side_by_side = 0;

    for (size_t h = 0; h < x->host_count; h++) {
        int64_t open = 0;
        for (size_t i = 0; i < x->task_count; i++) {
            const struct task_run *t = &x->tasks[i];
            open += t->kind == &task_fetch && t->host == (int)h && t->state != TASK_DONE &&
                    !fetch_group_is_counted(x, t);
        }
        side_by_side += open < PLAN_FETCHES_PER_HOST ? open : PLAN_FETCHES_PER_HOST;
    }
    return x->hooks->limit_rate / (side_by_side > 0 ? side_by_side : 1);
}

static bool wants_relay(const struct executor *x, const struct task_run *t, const json_t *location)
{
    return json_is_true(json_object_get(x->hosts[t->host].spec, "relay")) ||
           json_is_true(json_object_get(location, "relay"));
}

/* Where the host gets a file. */
static void add_place(
    const struct executor *x, const struct task_run *t, json_t *file, json_t *location)
{
    if (!wants_relay(x, t, location)) {
        json_object_set(file, "location", location);
        return;
    }
    json_object_set_new(file, "relay", relay_label(location));
    json_object_set_new(file, "from", json_pack("{s:O}", "location", location));
}

/* All that the fetch reads, as relay.h says. */
static json_t *fetch_files(const struct executor *x, const struct task_run *t)
{
    const struct shard_run *s = &x->shards[t->shard];
    json_t *files = s->files ? fetch_group_files(x, t) : json_array(), *file;
    size_t i;

    if (!s->files)
        json_array_append_new(files, json_pack("{s:s, s:I, s:s*}", "name", s->file, "bytes",
                                         (json_int_t)s->file_bytes, "sha256", s->file_sha256));
    json_array_foreach (files, i, file)
        add_place(x, t, file, x->databases[t->database].location);
    return files;
}

int fetch_sources_ready(struct executor *x, const struct task_run *t, int64_t now_ms,
    int64_t *look_again_ms, bool *ret_ready, struct err *err)
{
    json_t *files = fetch_files(x, t);
    size_t relays = 0;

    (void)now_ms;
    (void)look_again_ms;
    (void)err;
    for (size_t i = 0; i < x->task_count; i++)
        relays += x->tasks[i].relay != NULL;
    *ret_ready = relays < RELAYS_MAX || !relay_is_needed(files);
    json_decref(files);
    return 0;
}

static void fetch_called(struct executor *x, struct task_run *t, uint64_t call)
{
    json_t *files = fetch_files(x, t), *file;
    size_t i;

    t->relay = relay_begin(x, x->hosts[t->host].link, call, files);
    t->bytes_total = 0;
    json_array_foreach (files, i, file)
        if (json_integer_value(json_object_get(file, "bytes")) > 0)
            t->bytes_total += json_integer_value(json_object_get(file, "bytes"));
    for (i = 0; i < t->with_count; i++)
        t->with[i]->bytes_total = 0;
    json_decref(files);
}

/* The first file's stand with the others; how the others are come by is none of the host's. */
static void add_files(json_t *params, json_t *files)
{
    json_t *file, *more = json_array();
    size_t i;

    json_array_foreach (files, i, file) {
        json_object_del(file, "from");
        if (i > 0)
            json_array_append(more, file);
    }
    json_object_update(params, json_array_get(files, 0));
    json_object_set_new(params, "more", more);
}

/* What one shard asks for, wherever the bytes come from. */
static void add_own_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct shard_run *s = &x->shards[t->shard];
    const struct database_run *db = &x->databases[t->database];
    const json_t *server = json_object_get(x->hosts[s->host].facts, "server");
    const char *kind = json_string_value(json_object_get(server, "kind"));
    const char *version = json_string_value(json_object_get(server, "version"));
    CLEANUP(free_ptr) char *as = incoming_name(s->file);

    json_object_set_new(params, "as", json_string(as));
    json_object_set_new(params, "slots", db->ccs->sharded ? slot_ranges(s->slots) : json_null());
    json_object_set_new(params, "cut", json_boolean(s->files && db->ccs->sharded));
    json_object_set_new(params, "stamp", json_boolean(shard_has_free_replica(x, s)));
    json_object_set_new(params, "only_db0", json_boolean(db->ccs->sharded));
    json_object_set_new(params, "rdb_version_max",
        json_integer(kind && version ? plan_rdb_version_max(kind, version) : 0));
    json_object_set_new(params, "valkey_ok", json_boolean(kind && strcmp(kind, "valkey") == 0));
    json_object_set_new(params, "samples", json_integer(SAMPLED_KEYS));
    json_object_set_new(params, "seed", json_integer(t->id));
}

static void fetch_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    json_t *files = fetch_files(x, t), *with = json_array();

    add_files(params, files);
    json_decref(files);
    if (x->hooks->limit_rate)
        json_object_set_new(params, "limit_rate", json_integer(fetch_limit(x)));
    add_own_params(x, t, params);
    for (size_t i = 0; i < t->with_count; i++) {
        json_t *own = shard_params(x, &x->shards[t->with[i]->shard]);
        add_own_params(x, t->with[i], own);
        json_array_append_new(with, own);
    }
    if (t->with_count)
        json_object_set(params, "with", with);
    json_decref(with);
}

/* The keys of each file that the shard was made of, into {name: keys}; gives how many it took. */
static json_int_t count_keys(const struct shard_run *s, json_t *files)
{
    json_t *sources = json_object_get(json_object_get(s->facts, "source"), "files"), *file;
    size_t i;

    json_array_foreach (sources, i, file) {
        const char *name = json_string_value(json_object_get(file, "name"));
        json_object_set(files, name, json_object_get(file, "keys"));
    }
    return json_integer_value(json_object_get(s->facts, "keys"));
}

/*
 * Where files are cut and joined, all keys of all of them must have come to some shard. Known with
 * the last one.
 */
static int check_nothing_is_lost(
    const struct executor *x, const struct database_run *db, struct err *err)
{
    json_int_t taken = 0, there = 0;
    json_t *files = json_object(), *keys;
    const char *name;
    bool all = true;

    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++) {
        const struct shard_run *s = &x->shards[i];
        if (!s->is_primary || !s->files)
            continue;
        all &= s->facts != NULL;
        taken += count_keys(s, files);
    }
    json_object_foreach (files, name, keys)
        there += json_integer_value(keys);
    json_decref(files);
    if (!all || taken == there)
        return 0;
    err_set(err, ERR_CHECK,
        "%s: the files that are cut for it hold %lld keys, its shards took %lld", db->label,
        (long long)there, (long long)taken);
    return err_hint(err, "A file holds keys of slots that others are for, or it was changed "
                         "meanwhile: plan again, with another backup set.");
}

static enum finish fetch_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    struct shard_run *s = &x->shards[t->shard];
    CLEANUP(free_ptr) char *as = incoming_name(s->file);

    json_decref(s->facts);
    s->facts = json_deep_copy(result);
    json_object_set_new(s->facts, "as", json_string(as));
    if (s->files && s->is_primary && check_nothing_is_lost(x, &x->databases[s->database], err) < 0)
        return FINISH_FAIL;
    return state_run(x->st, err, "UPDATE placement SET facts = ? WHERE shard_uid = ?", "js",
               s->facts, s->uid) < 0
               ? FINISH_FAIL
               : FINISH_OK;
}

static bool has_files_to_fetch(const struct executor *x, const struct database_run *db)
{
    for (size_t i = 0; i < x->task_count; i++) {
        const struct task_run *t = &x->tasks[i];
        if (t->kind == &task_fetch && &x->databases[t->database] == db && t->state != TASK_DONE)
            return true;
    }
    return false;
}

/* The state file has a location as it was given: a login in the environment is not kept in it. */
int executor_resolve_locations(struct executor *x, struct err *err)
{
    for (size_t i = 0; i < x->database_count; i++) {
        struct database_run *db = &x->databases[i];
        if (!db->location || !has_files_to_fetch(x, db))
            continue;
        json_t *resolved = store_resolve_location(db->location, err);
        if (!resolved)
            return err_wrap(err, "the backups of %s", db->label);
        json_decref(db->location);
        db->location = resolved;
    }
    return 0;
}

const struct task_kind task_fetch = {
    .name = "fetch",
    .method = "fetch",
    .stage = STAGE_TRANSFER,
    .timeout_ms = FETCH_TIMEOUT_MS,
    .shard_state = "fetched",
    .params = fetch_params,
    .called = fetch_called,
    .finish = fetch_finish,
};
