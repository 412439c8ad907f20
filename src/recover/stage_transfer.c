/*
 * Stage 2: each shard's backup file, verified while it arrives. If primary and replica load the
 * same file, both hosts fetch it and stamp it with the same replication id.
 */

#include "transfer.h"

#include <string.h>

#include "executor.h"
#include "fetch_files.h"
#include "fetch_group.h"
#include "ready.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/slots.h"
#include "recluster/store.h"
#include "relay.h"
#include "shard_params.h"

enum { SAMPLED_KEYS = 32 };

/* The agent ends a fetch that makes no progress; this only bounds the whole. */
#define FETCH_TIMEOUT_MS (23LL * 3600 * 1000)

/*
 * The name of a backup file in incoming/: without ".gz" and ".zst", because it is stored
 * decompressed. For an append-only file it is the name of the snapshot.
 */
static char *incoming_name(const struct shard_run *s)
{
    AUTO_FREE char *plain = xstrdup(s->file);
    const char *kind = json_text(json_array_get(s->sources, 0), "kind", NULL);
    size_t len = strlen(plain);

    if (kind && strcmp(kind, "rdb") != 0) {
        AUTO_FREE char *snapshot = xasprintf("%s.rdb", plain);
        return path_component(snapshot);
    }
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

/* The rate limit of one fetch: that of all, divided by the fetches that may run side by side. */
static int64_t fetch_limit(const struct executor *x)
{
    AUTO_FREE int64_t *open = xcalloc(x->host_count, sizeof(*open));
    int64_t side_by_side = 0;

    for (size_t i = 0; i < x->shard_count; i++) {
        const struct task_run *t = x->shards[i].fetch;
        if (t && t->state != TASK_DONE && !fetch_group_is_counted(x, t))
            side_by_side += open[t->host]++ < PLAN_FETCHES_PER_HOST;
    }
    if (side_by_side > x->hooks->fetches)
        side_by_side = x->hooks->fetches;
    return x->hooks->limit_rate / (side_by_side > 0 ? side_by_side : 1);
}

static void fetch_called(struct executor *x, struct task_run *t, uint64_t call)
{
    json_t *files = fetch_files(x, t), *file;
    size_t i;

    t->relay = relay_begin(x, x->hosts[t->host].link, call, files);
    t->bytes_total = 0;
    json_array_foreach (files, i, file)
        if (json_int(file, "bytes", 0) > 0)
            t->bytes_total += json_int(file, "bytes", 0);
    for (i = 0; i < t->with_count; i++)
        t->with[i]->bytes_total = 0;
    json_decref(files);
}

/* The first file goes into params itself, the others into "more". The host must not see "from". */
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

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), tail = strlen(end);
    return len >= tail && strcmp(text + len - tail, end) == 0;
}

/*
 * As measured by tests/bench/recovery, it pays only for uncompressed files that come over a
 * network, and only if no replica loads beside.
 */
static bool landing_pays(const struct executor *x, const struct shard_run *s, const json_t *file)
{
    const json_t *location = json_object_get(file, "location");

    return !shard_has_free_replica(x, s) && !ends_with(s->file, ".gz") &&
           !ends_with(s->file, ".zst") && !(location && store_location_is_folder(location));
}

/*
 * Not for a file that is made on the host (cut, or from an append-only file), whose first bytes
 * change at the end. Servers before 7.0 were not tested with pipes.
 */
static bool may_land(const struct executor *x, const struct task_run *t)
{
    enum { REDIS_7_RDB_VERSION = 10 };
    const struct shard_run *s = &x->shards[t->shard];
    const json_t *server = json_object_get(x->hosts[s->host].facts, "server");
    const char *kind = json_text(server, "kind", NULL);
    const char *version = json_text(server, "version", NULL);

    if (x->landing == LANDING_NEVER || s->files || !kind || !version ||
        plan_rdb_version_max(kind, version) < REDIS_7_RDB_VERSION)
        return false;
    json_t *files = fetch_files(x, t), *file = json_array_get(files, 0);
    bool may = json_array_size(files) == 1 && !json_object_get(file, "kind") &&
               (x->landing == LANDING_ALWAYS || landing_pays(x, s, file));
    json_decref(files);
    return may;
}

/* The fetch itself starts the server. */
static bool choose_landing(struct executor *x, struct task_run *t)
{
    const struct database_run *db = &x->databases[t->database];

    return x->hooks->until >= STAGE_LOAD && !db->refused &&
           !waits_for_old_servers(db, task_that_starts(x, t->shard)->kind) &&
           lane_has_room(&x->hosts[t->host], LANE_LOAD) && may_land(x, t);
}

static void fetch_begin(struct executor *x, struct task_run *t)
{
    fetch_group_take(x, t);
    json_t *files = fetch_files(x, t);
    t->relayed = relay_is_needed(files);
    x->tasks_relayed += t->relayed;
    json_decref(files);
    t->landing = choose_landing(x, t);
    x->shards[t->shard].landed |= t->landing;
    if (t->landing)
        t->lanes |= 1u << LANE_LOAD;
}

static int64_t fetch_bytes(const struct executor *x, const struct task_run *t)
{
    const struct shard_run *s = &x->shards[t->shard];

    return s->file_bytes > 0 && !s->files ? s->file_bytes : t->bytes_total;
}

/* The parameters of one shard, wherever its files are. */
static void add_own_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct shard_run *s = &x->shards[t->shard];
    const struct database_run *db = &x->databases[t->database];
    const json_t *server = json_object_get(x->hosts[s->host].facts, "server");
    const char *kind = json_text(server, "kind", NULL);
    const char *version = json_text(server, "version", NULL);
    AUTO_FREE char *as = incoming_name(s);

    json_object_set_new(params, "as", json_string(as));
    json_object_set_new(params, "slots", db->ccs->sharded ? slot_ranges(s->slots) : json_null());
    json_object_set_new(params, "cut", json_boolean(s->files && db->ccs->sharded));
    json_object_set_new(params, "stamp", json_boolean(shard_has_free_replica(x, s)));
    json_object_set_new(params, "land", json_boolean(t->landing));
    if (db->ccs->sharded)
        json_object_set_new(params, "databases",
            json_integer(json_flag(server, "cluster_databases") ? CLUSTER_DATABASES : 1));
    json_object_set_new(params, "rdb_version_max",
        json_integer(kind && version ? plan_rdb_version_max(kind, version) : 0));
    json_object_set_new(params, "valkey_ok", json_boolean(kind && strcmp(kind, "valkey") == 0));
    json_object_set_new(params, "samples", json_integer(SAMPLED_KEYS));
    json_object_set_new(params, "seed", json_integer(t->id));
}

/* The modules of the files that the server lacks, among those that it was asked for. */
static json_t *lacked_modules(
    const struct executor *x, const struct task_run *t, const json_t *files)
{
    const json_t *server = json_object_get(x->hosts[t->host].facts, "server");
    const json_t *types = json_object_get(server, "types"), *file, *type;
    json_t *lacked = json_array();
    size_t i, k;

    json_array_foreach (files, i, file) {
        json_array_foreach (json_object_get(file, "modules"), k, type)
            if (json_is_false(json_object_get(types, json_string_value(type))))
                json_array_append_new(lacked, json_string(json_string_value(type)));
    }
    return lacked;
}

static void fetch_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    json_t *files = fetch_files(x, t), *with = json_array();

    json_object_set_new(params, "without", lacked_modules(x, t, files));
    add_files(params, files);
    json_decref(files);
    if (x->aof_commands)
        json_object_set(params, "aof_commands", x->aof_commands);
    if (x->aof_errors)
        json_object_set_new(params, "aof_errors", json_true());
    if (x->databases[t->database].shift_expiry_ms)
        json_object_set_new(
            params, "shift_expiry_ms", json_integer(x->databases[t->database].shift_expiry_ms));
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

/* Adds the keys that the shard took or found again in each file to {name: keys}. */
static json_int_t count_keys(const struct shard_run *s, json_t *files)
{
    json_t *sources = json_object_get(json_object_get(s->facts, "source"), "files"), *file;
    size_t i;

    json_array_foreach (sources, i, file) {
        const char *name = json_text(file, "name", NULL);
        json_object_set(files, name, json_object_get(file, "keys"));
    }
    return json_int(s->facts, "keys", 0) +
           json_int(json_object_get(s->facts, "doubles"), "keys", 0);
}

/* Each key of the cut files must have arrived at some shard. Known with the last shard. */
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
    json_object_foreach (files, name, keys) {
        there += json_integer_value(keys);
    }
    json_decref(files);
    if (!all || taken == there)
        return 0;
    err_set(err, ERR_CHECK, "%s: the files to cut for it hold %lld keys, but its shards took %lld",
        db->label, (long long)there, (long long)taken);
    return err_hint(err, "A file holds keys of slots that belong to other files, or it changed "
                         "meanwhile: plan again with another backup set.");
}

/* Reports an append-only file that was cut, or had commands that failed. */
static int report_aof(
    struct executor *x, const struct task_run *t, const json_t *aof, struct err *err)
{
    struct event cut = task_event(t, "warning", "aof-tail-cut");
    struct event errors_event = task_event(t, "warning", "aof-errors");
    const json_t *dropped = json_object_get(aof, "dropped");
    const char *name = json_text(aof, "name", NULL);
    json_int_t errors = json_int(aof, "errors", 0);

    cut.detail = errors_event.detail = aof;
    if (json_is_object(dropped) &&
        state_tell(x->st, &cut, err,
            "the last %lld bytes of '%s' (from byte %lld of '%s' on) are not a whole command, as a "
            "crash leaves them: they were cut off, on a copy",
            (long long)json_int(dropped, "bytes", 0), name,
            (long long)json_int(dropped, "offset", 0), json_text(dropped, "file", NULL)) < 0)
        return -1;
    if (errors > 0)
        return state_tell(x->st, &errors_event, err,
            "%lld commands of '%s' were refused by the server that loaded it (%s)",
            (long long)errors, name, json_text(aof, "error_names", NULL));
    if (errors < 0)
        return state_tell(x->st, &errors_event, err,
            "it is not known whether commands of '%s' were refused: servers before 6.2 do not count them",
            name);
    return 0;
}

/* Oddities of the file that do no harm. */
static int report_notes(
    struct executor *x, const struct task_run *t, const json_t *facts, struct err *err)
{
    const struct event event = task_event(t, "warning", "file-note");
    const json_t *note;
    size_t i;

    json_array_foreach (json_object_get(facts, "notes"), i, note) {
        if (state_tell(x->st, &event, err, "'%s': %s", x->shards[t->shard].file,
                json_string_value(note)) < 0)
            return -1;
    }
    return 0;
}

/* The plan reports this only if the file's first bytes are the whole file. */
static int report_no_keys(
    struct executor *x, const struct task_run *t, const json_t *facts, struct err *err)
{
    const struct event event = task_event(t, "warning", "set-empty");
    const struct shard_run *s = &x->shards[t->shard];

    if (!s->is_primary || x->databases[t->database].ccs->sharded || json_int(facts, "keys", 0) != 0)
        return 0;
    return state_tell(
        x->st, &event, err, "'%s' has no keys: the database is restored empty", s->file);
}

/* Keys that were in two files, and which copy was used. */
static int report_doubles(
    struct executor *x, const struct task_run *t, const json_t *facts, struct err *err)
{
    struct event event = task_event(t, "warning", "key-in-two-files");
    const json_t *doubles = json_object_get(facts, "doubles");
    const json_t *first = json_object_get(doubles, "first");

    if (!x->shards[t->shard].is_primary || !doubles)
        return 0;
    event.detail = doubles;
    return state_tell(x->st, &event, err,
        "keys in two files: %lld, the first '%s' in slot %lld; the copy of '%s' is used, that "
        "of '%s' is left out, by the map of slots",
        (long long)json_int(doubles, "keys", 0), json_text(first, "key", NULL),
        (long long)json_int(first, "slot", 0), json_text(first, "kept", NULL),
        json_text(first, "dropped", NULL));
}

/* Modules that the server lacks: their data outside of keys was left out of the file. */
static int report_modules(
    struct executor *x, const struct task_run *t, const json_t *facts, struct err *err)
{
    const struct event event = task_event(t, "warning", "module-left-out");
    const json_t *name;
    size_t i;

    json_array_foreach (json_object_get(facts, "modules_left_out"), i, name) {
        if (state_tell(x->st, &event, err,
                "the server lacks the module type '%s'; the file has no key of that type: what the "
                "module kept outside of keys is left out",
                json_string_value(name)) < 0)
            return -1;
    }
    return 0;
}

static enum finish fetch_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    struct shard_run *s = &x->shards[t->shard];
    AUTO_FREE char *as = incoming_name(s);

    json_decref(s->facts);
    s->facts = json_deep_copy(result);
    json_object_set_new(s->facts, "as", json_string(as));
    const json_t *aof;
    size_t i;
    json_array_foreach (json_object_get(result, "aof"), i, aof)
        if (report_aof(x, t, aof, err) < 0)
            return FINISH_FAIL;
    if (report_notes(x, t, result, err) < 0 || report_doubles(x, t, result, err) < 0 ||
        report_modules(x, t, result, err) < 0 || report_no_keys(x, t, result, err) < 0)
        return FINISH_FAIL;
    if (s->files && s->is_primary && check_nothing_is_lost(x, &x->databases[s->database], err) < 0)
        return FINISH_FAIL;
    return state_run(x->st, err, "UPDATE placement SET facts = ? WHERE shard_uid = ?", "js",
               s->facts, s->uid) < 0
               ? FINISH_FAIL
               : FINISH_OK;
}

static bool has_files_to_fetch(const struct executor *x, const struct database_run *db)
{
    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        if (x->shards[i].fetch && x->shards[i].fetch->state != TASK_DONE)
            return true;
    return false;
}

static int resolve(json_t **location, const char *label, struct err *err)
{
    json_t *resolved = store_resolve_location(*location, err);

    if (!resolved)
        return err_wrap(err, "the backups of %s", label);
    json_decref(*location);
    *location = resolved;
    return 0;
}

static int resolve_sources(const struct shard_run *s, const char *label, struct err *err)
{
    json_t *source;
    size_t i;

    json_array_foreach (s->sources, i, source) {
        json_t *location = json_incref(json_object_get(source, "location"));
        int rc = location ? resolve(&location, label, err) : 0;
        if (location)
            json_object_set_new(source, "location", location);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* The state file keeps a location as it was given, without a login from the environment. */
int transfer_resolve_locations(struct executor *x, struct err *err)
{
    for (size_t i = 0; i < x->database_count; i++) {
        struct database_run *db = &x->databases[i];
        if (!has_files_to_fetch(x, db))
            continue;
        if (db->location && resolve(&db->location, db->label, err) < 0)
            return -1;
        for (size_t k = db->first_shard; k < db->first_shard + db->shard_count; k++)
            if (resolve_sources(&x->shards[k], db->label, err) < 0)
                return -1;
    }
    return 0;
}

const struct task_kind task_fetch = {
    .name = "fetch",
    .method = "fetch",
    .stage = STAGE_TRANSFER,
    .lane = LANE_FETCH,
    .beside_others = true,
    .doing = "fetching",
    .timeout_ms = FETCH_TIMEOUT_MS,
    .shard_state = "fetched",
    .ready = fetch_group_is_prepared,
    .sources = fetch_sources_ready,
    .begin = fetch_begin,
    .bytes = fetch_bytes,
    .params = fetch_params,
    .called = fetch_called,
    .finish = fetch_finish,
    .retries_itself = true,
};
