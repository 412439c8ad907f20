/* From the plan to rows: what is to be rebuilt (target, placement) and the tasks that do it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "given_folders.h"
#include "nodes_conf.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/fence.h"
#include "recluster/json.h"
#include "recluster/rpc.h"
#include "recluster/secret.h"
#include "recluster/survey.h"
#include "save_plan.h"
#include "sentinels.h"

enum { RECOVERY_ID_BYTES = 8, PASSWORD_BYTES = 32, CLIENT_PASSWORD_BYTES = 16 };

static int save_meta(struct state *st, struct err *err)
{
    AUTO_FREE char *recovery = random_hex(RECOVERY_ID_BYTES);
    AUTO_FREE char *password = random_hex(PASSWORD_BYTES);
    AUTO_FREE char *replication = random_hex(PASSWORD_BYTES);
    AUTO_FREE char *now = xasprintf("%lld", (long long)clock_wall_ms());

    return state_set_meta(st, "recovery", recovery, err) < 0 ||
                   state_set_secret(st, "meta", "recovery_password", password, err) < 0 ||
                   state_set_secret(st, "meta", "replication_password", replication, err) < 0 ||
                   state_set_meta(st, "created_ms", now, err) < 0 ||
                   state_set_meta(st, "program_version", RECLUSTER_VERSION, err) < 0 ||
                   state_set_meta(st, "state", "planned", err) < 0
               ? -1
               : 0;
}

static int save_hosts(const struct plan *plan, struct state *st, struct err *err)
{
    for (size_t i = 0; i < plan->host_count; i++) {
        const struct host *h = plan->hosts[i].host;
        json_t *spec;
        if (state_set_secrets_of(st, "host.spec", h->name, h->spec, &spec, err) < 0)
            return -1;
        int rc = state_run(st, err,
            "INSERT INTO host (name, position, addr, rack, link, base_dir, server, spec, "
            "facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET facts = coalesce(excluded.facts, facts)",
            "sisssssjj", h->name, (int64_t)i, h->addr, h->rack, h->link, h->base_dir, h->server,
            spec, plan->hosts[i].facts);
        json_decref(spec);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int save_set(struct state *st, const struct plan_database *db, const char *location_label,
    const struct backup_set *set, struct err *err)
{
    const struct column row[] = {
        COL_TEXT("database_uid", db->database->uid),
        COL_TEXT("location", set->disks ? set->disks : location_label),
        COL_TEXT("name", set->id),
        COL_INT("time_ms", set->time_ms),
        COL_INT("complete", set->complete),
        COL_INT("chosen", set == db->set),
        COL_TEXT("reason", set->reason),
        COL_END,
    };

    if (state_insert(st, "backup_set", row, err) < 0)
        return -1;
    int64_t id = state_last_id(st);
    for (size_t i = 0; i < set->file_count; i++) {
        const struct backup_file *f = &set->files[i];
        CLEANUP(buf_release) struct buf slots = BUF_INIT;
        slots_format(&f->slots, &slots);
        const struct column file[] = {
            COL_INT("set_id", id),
            COL_TEXT("name", f->name),
            COL_INT("bytes", f->bytes),
            COL_TEXT("slots", slots.data),
            COL_TEXT("sha256", f->sha256),
            COL_JSON("head", f->head),
            COL_TEXT("kind", f->kind),
            COL_TEXT("place", f->where),
            COL_INT_OR_NULL("time_ms", f->kind ? f->time_ms : -1, -1),
            COL_END,
        };
        if (state_insert(st, "backup_file", file, err) < 0)
            return -1;
    }
    return 0;
}

static int save_databases(const struct survey *survey, struct state *st, struct err *err)
{
    const struct plan *plan = survey->plan;

    for (size_t i = 0; i < plan->database_count; i++) {
        const struct plan_database *db = &plan->databases[i];
        const struct catalogue *catalogue = survey->databases[i].catalogue;
        AUTO_FREE char *made =
            db->login == PLAN_LOGIN_NEW ? random_hex(CLIENT_PASSWORD_BYTES) : NULL;
        AUTO_FREE char *admin = db->adds_admin ? random_hex(PASSWORD_BYTES) : NULL;
        const char *uid = db->database->uid;
        const char *password = db->login == PLAN_LOGIN_NEW     ? made
                               : db->login == PLAN_LOGIN_GIVEN ? survey->databases[i].password
                               : db->login == PLAN_LOGIN_OPEN || db->database->default_stays_off
                                   ? NULL
                                   : db->database->password;
        /* The time of a set from the future does not show how much is lost. */
        int64_t set_time = db->set && !db->set->future ? db->set->time_ms : -1;
        json_t *location;

        for (size_t k = 0; catalogue && k < catalogue->set_count; k++)
            if (save_set(st, db, survey->databases[i].location_label, &catalogue->sets[k], err) < 0)
                return -1;
        if (state_set_secret(st, "target.password", uid, password, err) < 0 ||
            state_set_secret(st, "target.admin_password", uid, admin, err) < 0 ||
            state_set_secrets_of(st, "target.location", uid, db->location, &location, err) < 0)
            return -1;
        const struct column row[] = {
            COL_TEXT("database_uid", uid),
            COL_TEXT("name", db->database->name),
            COL_TEXT(
                "state", database_state_name(db->skipped ? DATABASE_SKIPPED : DATABASE_PLANNED)),
            COL_TEXT("reason", db->skipped),
            COL_JSON("location", location),
            COL_TEXT("set_name", db->set ? db->set->id : NULL),
            COL_INT_OR_NULL("set_time_ms", set_time, -1),
            COL_INT("maxmemory", db->maxmemory_bytes),
            COL_TEXT("password", password ? SECRET_MASK : NULL),
            COL_TEXT("client_rules", db->data_commands_only ? "data" : "all"),
            COL_TEXT("admin_password", admin ? SECRET_MASK : NULL),
            COL_END,
        };
        int rc = state_insert(st, "target", row, err);
        json_decref(location);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static const char *server_fact(
    const struct plan *plan, const struct plan_shard *s, const char *name)
{
    const json_t *server = json_object_get(plan->hosts[s->host].facts, "server");
    return json_text(server, name, NULL);
}

/* Redis 7.0 came with RDB version 10; Valkey began above that. */
static bool continues_files(const struct plan *plan, const struct plan_shard *s)
{
    return plan_rdb_version_max(server_fact(plan, s, "kind"), server_fact(plan, s, "version")) >=
           10;
}

bool recover_test_joins_by_command;

/* A cluster is made by nodes.conf files only if all of its servers accept them. */
static bool is_made_by_files(const struct plan *plan, const struct plan_database *db)
{
    if (db->skipped || recover_test_joins_by_command)
        return false;
    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        if (!nodes_conf_is_taken(
                json_object_get(plan->hosts[plan->shards[i].host].facts, "server")))
            return false;
    return true;
}

struct saving {
    const struct plan *plan;
    struct state *st;
    char *recovery;
    bool full_sync; /* replicas are sent copies */
    bool *by_files; /* for each database: its cluster is made by nodes.conf files */
    bool resort;    /* keys of a shard may be in any file of its database's set */
    const struct replanned *replanned; /* NULL: all is new */
};

static void saving_init(
    struct saving *to, const struct plan *plan, struct state *st, const struct replanned *replanned)
{
    AUTO_FREE char *full_sync = state_meta(st, "full_sync");
    AUTO_FREE char *resort = state_meta(st, "resort");

    *to = (struct saving){
        .plan = plan,
        .st = st,
        .recovery = state_meta(st, "recovery"),
        .full_sync = full_sync != NULL,
        .resort = resort != NULL,
        .by_files = xcalloc(plan->database_count, sizeof(*to->by_files)),
        .replanned = replanned,
    };
    for (size_t i = 0; i < plan->database_count; i++)
        to->by_files[i] = is_made_by_files(plan, &plan->databases[i]);
}

static void saving_release(struct saving *to)
{
    free(to->recovery);
    free(to->by_files);
}

/* A new replica of a database that clients write to: no file has the new data. */
static bool joins_open_database(const struct saving *to, const struct plan_shard *s)
{
    return to->replanned && to->replanned->changes[s->database] == CHANGE_REPLICAS;
}

static bool is_to_be_saved(const struct saving *to, const struct plan_shard *s)
{
    if (to->plan->databases[s->database].skipped)
        return false;
    if (!to->replanned || to->replanned->changes[s->database] == CHANGE_RESTART)
        return true;
    return joins_open_database(to, s) && to->replanned->moves[s - to->plan->shards];
}

static bool has_aof(const struct saving *to, const struct plan_shard *s)
{
    const struct plan_database *db = &to->plan->databases[s->database];
    bool found = false;

    for (size_t i = 0; i < s->file_count; i++)
        found |= s->files[i]->aof;
    for (size_t i = 0; to->resort && db->database->sharded && i < db->set->file_count; i++)
        found |= db->set->files[i].aof;
    return found;
}

/* Whether its server starts from a file. Otherwise the replica gets a copy. */
static bool has_own_file(const struct saving *to, const struct plan_shard *s)
{
    if (s->file_count == 0 || s->shard->primary)
        return s->file_count > 0;
    /* Two servers never make equal snapshots of an append-only file: expiry, the order of keys. */
    if (joins_open_database(to, s) || has_aof(to, s))
        return false;
    /* CLUSTER REPLICATE is for empty servers. */
    return !to->full_sync && continues_files(to->plan, s) &&
           continues_files(to->plan, &to->plan->shards[s->primary]) &&
           (!s->bus_port || to->by_files[s->database]);
}

/* Modules that have data in the first bytes of the file; NULL: none there. */
static json_t *modules_of(const struct backup_file *file)
{
    json_t *modules = json_object_get(file->scanned ? file->facts : file->head, "modules");
    return json_array_size(modules) ? modules : NULL;
}

static void add_file(json_t *files, const struct backup_file *file)
{
    json_array_append_new(files,
        json_pack("{s:s, s:s*, s:I, s:s*, s:O*}", "name", file->name, "where", file->where, "bytes",
            (json_int_t)file->bytes, "sha256", file->sha256, "modules", modules_of(file)));
}

/*
 * The slots in which a file's copy of a key comes before the copies of other files: the slots of
 * its node, and the slots that its node was importing, because a key is written to the new node
 * before it is removed from the old one. NULL: no file of the set belongs to a node.
 */
static json_t *preferred_slots(const struct backup_set *set, size_t file)
{
    struct slots slots = set->files[file].slots;
    bool known = false;

    for (size_t i = 0; i < set->file_count; i++) {
        known |= !slots_is_empty(&set->files[i].slots);
        if (i != file && set->files[i].importing)
            slots_subtract(&slots, set->files[i].importing);
    }
    if (set->files[file].importing)
        slots_union(&slots, set->files[file].importing);
    return known ? slots_to_json(&slots) : NULL;
}

static void add_resorted_file(json_t *files, const struct backup_set *set, size_t file)
{
    json_t *prefer = preferred_slots(set, file);

    add_file(files, &set->files[file]);
    if (prefer)
        json_object_set_new(json_array_get(files, json_array_size(files) - 1), "prefer", prefer);
}

/* Whether its server lacks a module that has data in its files. Unneeded data is then left out. */
static bool lacks_modules(const struct saving *to, const struct plan_shard *s)
{
    const json_t *server = json_object_get(to->plan->hosts[s->host].facts, "server");
    const json_t *types = json_object_get(server, "types"), *type;
    size_t k;

    for (size_t i = 0; i < s->file_count; i++)
        json_array_foreach (modules_of(s->files[i]), k, type)
            if (json_is_false(json_object_get(types, json_string_value(type))))
                return true;
    return false;
}

/* The parts of its file; NULL: it has no file, or one unchanged file. */
static json_t *files_of(const struct saving *to, const struct plan_shard *s)
{
    const struct plan_database *db = &to->plan->databases[s->database];
    bool resort = to->resort && db->database->sharded;

    if (!has_own_file(to, s) || (!resort && !plan_shard_needs_cut(s) && !lacks_modules(to, s)))
        return NULL;
    json_t *files = json_array();
    for (size_t i = 0; resort && i < db->set->file_count; i++)
        add_resorted_file(files, db->set, i);
    for (size_t i = 0; !resort && i < s->file_count; i++)
        add_file(files, s->files[i]);
    return files;
}

static void add_source(json_t *sources, const struct backup_file *f)
{
    json_array_append_new(
        sources, json_pack("{s:s, s:s*, s:s*, s:s*, s:s*, s:O*, s:O*, s:s*}", "name", f->name,
                     "where", f->where, "kind", f->kind, "host", f->host, "folder", f->folder,
                     "location", f->location, "parts", f->parts, "next", f->next));
}

/*
 * Where its files are, if they are on disks, and what they are, if they are no RDB files. NULL: RDB
 * files at the database's location.
 */
static json_t *sources_of(const struct saving *to, const struct plan_shard *s, const json_t *files)
{
    const struct backup_set *set = to->plan->databases[s->database].set;
    json_t *sources;

    if (!has_own_file(to, s) || !set || (!set->disks && !has_aof(to, s)))
        return NULL;
    sources = json_array();
    for (size_t i = 0; files && to->resort && i < set->file_count; i++)
        add_source(sources, &set->files[i]);
    for (size_t i = 0; !(files && to->resort) && i < s->file_count; i++)
        add_source(sources, s->files[i]);
    return sources;
}

static int save_shard(const struct saving *to, const struct plan_shard *s, struct err *err)
{
    const struct plan *plan = to->plan;
    const struct plan_host *host = &plan->hosts[s->host];
    const struct plan_database *db = &plan->databases[s->database];
    const struct backup_file *file = has_own_file(to, s) ? s->files[0] : NULL;
    json_t *files = files_of(to, s), *sources = sources_of(to, s, files), *masked = NULL;
    AUTO_FREE char *node_id =
        s->bus_port && to->by_files[s->database] && !joins_open_database(to, s)
            ? nodes_conf_id(to->recovery, s->shard->uid,
                  to->replanned ? to->replanned->generations[s->database] : 0)
            : NULL;
    CLEANUP(buf_release) struct buf slots = BUF_INIT;

    slots_format(s->shard->slots, &slots);
    int rc =
        state_set_secrets_of(to->st, "placement.sources", s->shard->uid, sources, &masked, err);
    const struct column row[] = {
        COL_TEXT("shard_uid", s->shard->uid),
        COL_TEXT("database_uid", db->database->uid),
        COL_INT("position", s - plan->shards),
        COL_TEXT("role", s->shard->primary ? "primary" : "replica"),
        COL_TEXT("primary_uid", s->primary >= 0 ? plan->shards[s->primary].shard->uid : NULL),
        COL_TEXT("host", host->host->name),
        COL_TEXT("addr", host->host->addr),
        COL_INT("port", s->port),
        COL_INT("bus_port", s->bus_port),
        COL_INT("other_port", s->other_port),
        COL_INT("tls", plan_shard_uses_tls(plan, s)),
        COL_TEXT("dir", s->dir),
        COL_TEXT("slots", slots.data),
        COL_INT("memory", s->memory_bytes),
        COL_TEXT("file", file ? file->name : NULL),
        COL_INT_OR_NULL("file_bytes", file ? file->bytes : -1, -1),
        COL_TEXT("file_sha256", file ? file->sha256 : NULL),
        COL_TEXT("node_id", node_id),
        COL_JSON("files", files),
        COL_JSON("sources", masked),
        COL_END,
    };
    if (rc == 0)
        rc = state_insert(to->st, "placement", row, err);
    json_decref(files);
    json_decref(masked);
    json_decref(sources);
    return rc;
}

/* A shard that keeps its place, in a cluster in use that gets other replicas. */
static bool has_nodes_to_forget(const struct saving *to, const struct plan_shard *s)
{
    return joins_open_database(to, s) && s->bus_port && !to->replanned->moves[s - to->plan->shards];
}

static bool task_applies(
    const struct saving *to, const struct plan_shard *s, const struct task_kind *kind)
{
    if (kind == &task_start_sentinel) /* has a host of its own: sentinels.c */
        return false;
    if (kind == &task_forget_nodes)
        return has_nodes_to_forget(to, s);
    if (!is_to_be_saved(to, s))
        return false;
    if (kind == &task_prove_failover)
        return s->shard->primary && to->plan->databases[s->database].prove_failover;
    if (kind == &task_fetch)
        return has_own_file(to, s);
    if (kind == &task_load_shard)
        return s->shard->primary || has_own_file(to, s);
    return kind == &task_attach_replica ? !s->shard->primary : true;
}

/* The task that a task of the shard waits for, besides its gate; 0: none. */
struct shard_tasks {
    int64_t prepare, fetch, load;
};

/* waits_for 0: none. */
static int add_wait(struct state *st, int64_t task, int64_t waits_for, struct err *err)
{
    return waits_for
               ? state_run(st, err, "INSERT INTO task_wait (task_id, waits_for) VALUES (?, ?)",
                     "ii", task, waits_for)
               : 0;
}

/* `primary` is NULL for a primary. A shard without slots has no file and starts empty. */
static int add_waits(struct state *st, int64_t id, const struct task_kind *kind,
    const struct shard_tasks *own, const struct shard_tasks *primary, struct err *err)
{
    if (kind == &task_fetch)
        return add_wait(st, id, own->prepare, err);
    if (kind == &task_load_shard)
        /* A replica's file can be checked only when that of its primary has arrived too. */
        return add_wait(st, id, own->fetch ? own->fetch : own->prepare, err) < 0 ||
                       add_wait(st, id, primary ? primary->fetch : 0, err) < 0
                   ? -1
                   : 0;
    if (kind == &task_attach_replica)
        return add_wait(st, id, own->load ? own->load : own->prepare, err) < 0 ||
                       add_wait(st, id, primary->load, err) < 0
                   ? -1
                   : 0;
    return 0;
}

static int save_tasks(const struct saving *to, struct err *err)
{
    const struct plan *plan = to->plan;
    struct state *st = to->st;
    AUTO_FREE struct shard_tasks *tasks = xcalloc(plan->shard_count, sizeof(*tasks));

    /* Kind by kind, so that a load has its id before the replica that waits for it. */
    for (size_t k = 0; task_kinds[k]; k++) {
        const struct task_kind *kind = task_kinds[k];
        for (size_t i = 0; i < plan->shard_count; i++) {
            const struct plan_shard *s = &plan->shards[i];
            if (!task_applies(to, s, kind))
                continue;
            if (state_run(st, err,
                    "INSERT INTO task (kind, stage, gate, host, database_uid, shard_uid) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    "siisss", kind->name, (int64_t)kind->stage, (int64_t)kind->gate,
                    plan->hosts[s->host].host->name, plan->databases[s->database].database->uid,
                    s->shard->uid) < 0)
                return -1;
            int64_t id = state_last_id(st);
            if (kind == &task_prepare_shard)
                tasks[i].prepare = id;
            else if (kind == &task_fetch)
                tasks[i].fetch = id;
            else if (kind == &task_load_shard)
                tasks[i].load = id;
            if (add_waits(
                    st, id, kind, &tasks[i], s->primary >= 0 ? &tasks[s->primary] : NULL, err) < 0)
                return -1;
        }
    }
    return 0;
}

/* Shards, tasks, and the plan's document. */
static int save_work(
    const struct plan *plan, struct state *st, const struct replanned *replanned, struct err *err)
{
    struct saving to;
    int rc = 0;

    saving_init(&to, plan, st, replanned);
    for (size_t i = 0; i < plan->shard_count && rc == 0; i++)
        if (is_to_be_saved(&to, &plan->shards[i]))
            rc = save_shard(&to, &plan->shards[i], err);
    if (rc == 0)
        rc = save_tasks(&to, err);
    saving_release(&to);
    for (size_t i = 0; i < plan->database_count && rc == 0; i++)
        if (!plan->databases[i].skipped && (!replanned || replanned->changes[i] != CHANGE_NONE))
            rc = sentinels_save(plan, &plan->databases[i], st, err);
    if (rc < 0)
        return -1;
    json_t *document = replanned ? json_incref(replanned->document) : plan_json(plan);
    rc = state_run(st, err, "INSERT INTO plan (hash, created_ms, document) VALUES (?, ?, ?)", "sij",
        plan->hash, clock_wall_ms(), document);
    json_decref(document);
    return rc;
}

static int save_all(const struct survey *survey, struct state *st, struct err *err)
{
    const struct plan *plan = survey->plan;

    return save_meta(st, err) < 0 || fence_save(survey, st, err) < 0 ||
                   given_folders_save(survey, st, err) < 0 || save_hosts(plan, st, err) < 0 ||
                   save_databases(survey, st, err) < 0 || save_work(plan, st, NULL, err) < 0
               ? -1
               : 0;
}

/* --- saving a part again --- */

/* Records the leftovers at the old place of a shard. Its new place no longer counts as leftover. */
static int remember_move(
    struct state *st, const struct plan *plan, const struct plan_shard *s, struct err *err)
{
    return state_run(st, err,
               "INSERT INTO moved (at_ms, shard_uid, database_uid, generation, host, addr, port, "
               "bus_port, dir) SELECT ?, shard_uid, database_uid, generation, host, addr, port, "
               "bus_port, dir FROM placement JOIN target USING (database_uid) WHERE shard_uid = ?",
               "is", clock_wall_ms(), s->shard->uid) < 0 ||
                   state_run(st, err, "DELETE FROM moved WHERE host = ? AND dir = ?", "ss",
                       plan->hosts[s->host].host->name, s->dir) < 0
               ? -1
               : 0;
}

static int forget_shard(struct state *st, const char *uid, struct err *err)
{
    return state_run(st, err,
               "DELETE FROM task_wait WHERE task_id IN (SELECT task_id FROM task WHERE shard_uid = "
               "?1) OR waits_for IN (SELECT task_id FROM task WHERE shard_uid = ?1)",
               "s", uid) < 0 ||
                   state_run(st, err,
                       "DELETE FROM task WHERE shard_uid = ? AND kind != 'start_sentinel'", "s",
                       uid) < 0 ||
                   state_run(st, err, "DELETE FROM placement WHERE shard_uid = ?", "s", uid) < 0
               ? -1
               : 0;
}

/*
 * A new generation and new passwords: old servers that still run cannot join the new cluster, and
 * old Sentinels cannot touch its servers.
 */
static int restart_database(
    struct state *st, const char *database, int64_t generation, struct err *err)
{
    AUTO_FREE char *replication = random_hex(PASSWORD_BYTES);

    if (state_set_secret(st, "target.replication_password", database, replication, err) < 0 ||
        sentinels_restart(st, database, err) < 0)
        return -1;
    return state_run(st, err,
        "UPDATE target SET generation = ?, replication_password = ?, state = 'planned' "
        "WHERE database_uid = ?",
        "iss", generation, SECRET_MASK, database);
}

static int change_target(struct state *st, const char *uid, enum database_change change,
    int64_t generation, struct err *err)
{
    if (change == CHANGE_RESTART)
        return restart_database(st, uid, generation, err);
    if (change == CHANGE_REPLICAS)
        return state_run(
            st, err, "UPDATE target SET state = 'planned' WHERE database_uid = ?", "s", uid);
    return 0;
}

int save_replanned(
    const struct plan *plan, struct state *st, const struct replanned *replanned, struct err *err)
{
    if (save_hosts(plan, st, err) < 0)
        return -1;
    for (size_t i = 0; i < plan->shard_count; i++) {
        const struct plan_shard *s = &plan->shards[i];
        if (replanned->moves[i] && remember_move(st, plan, s, err) < 0)
            return -1;
        if ((replanned->changes[s->database] == CHANGE_RESTART || replanned->moves[i]) &&
            forget_shard(st, s->shard->uid, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < plan->database_count; i++)
        if (change_target(st, plan->databases[i].database->uid, replanned->changes[i],
                replanned->generations[i], err) < 0)
            return -1;
    return save_work(plan, st, replanned, err);
}

int recover_save_plan(const struct survey *survey, struct state *st, struct err *err)
{
    if (state_begin(st, err) < 0)
        return -1;
    if (save_all(survey, st, err) < 0 || state_commit(st, err) < 0) {
        state_rollback(st);
        return -1;
    }
    return 0;
}
