/*
 * Stage 4: replicas, the proof of the whole database, its settings, and then the endpoints. Each
 * step waits until the one before it is done on every shard of the database (save_plan.c).
 */

#include <string.h>

#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "recluster/slots.h"
#include "shard_params.h"

/* The agent watches the progress; this only bounds the whole. */
#define SYNC_TIMEOUT_MS (23LL * 3600 * 1000)
enum { CALL_MS = 60 * 1000, REWRITE_MS = 6 * 3600 * 1000, PROVE_PATIENCE_MS = 120 * 1000 };
/* A reachable node answers within two seconds of its start. */
enum { BUS_PATIENCE_MS = 15 * 1000 };
enum { CLUSTER_NODE_TIMEOUT_MS = 15000 };

static void attach_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct shard_run *primary = &x->shards[x->shards[t->shard].primary];

    json_object_set_new(params, "primary", shard_place(primary));
    shard_add_databases(x, &x->shards[t->shard], params);
    if (primary->bus_port && !x->shards[t->shard].node_id)
        json_object_set_new(params, "meet", shard_meeting_place(primary));
    if (shard_loads_file(x, &x->shards[t->shard]))
        json_object_set(params, "repl_id", json_object_get(x->shards[t->shard].facts, "repl_id"));
}

/* Not a failure, but it took longer and made the primary fork. */
static int report_full_sync(
    struct executor *x, const struct task_run *t, const char *why, struct err *err)
{
    const struct event event = task_event(t, "warning", "full-sync");

    return state_tell(x->st, &event, err, "replica %s on %s needed a full sync after all: %s",
        event.shard, event.host, why);
}

static enum finish attach_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    struct shard_run *s = &x->shards[t->shard];
    int64_t keys = json_int(result, "keys", 0);

    if (state_run(x->st, err, "UPDATE placement SET loaded = ?, keys = ? WHERE shard_uid = ?",
            "jis", result, keys, s->uid) < 0)
        return FINISH_FAIL;
    if (s->file && json_int(result, "sync_full", 0) > 0 &&
        report_full_sync(x, t,
            shard_loads_file(x, s) ? "the primary could not continue where the file ends"
                                   : "its file is not equal to that of its primary",
            err) < 0)
        return FINISH_FAIL;
    json_decref(s->loaded);
    s->loaded = json_deep_copy(result);
    return FINISH_OK;
}

const struct task_kind task_attach_replica = {
    .name = "attach_replica",
    .method = "attach_replica",
    .stage = STAGE_OPEN,
    .timeout_ms = SYNC_TIMEOUT_MS,
    .shard_state = "in-step",
    .params = attach_params,
    .finish = attach_finish,
};

static size_t replica_count(const struct executor *x, int primary)
{
    size_t n = 0;
    for (size_t i = 0; i < x->shard_count; i++)
        n += x->shards[i].primary == primary;
    return n;
}

static enum finish not_yet(
    struct err *err, const struct shard_run *s, const char *what, long long is, long long should)
{
    err_set(err, ERR_CHECK, "shard '%s': %s %lld, not %lld", s->uid, what, is, should);
    err_hint(err, "Look at server.log in the shard's folder, then resume the recovery.");
    return FINISH_NOT_YET;
}

/* Replicas that were lost while the database was in use: its servers still know them. */
static long long lost_nodes(const struct executor *x, int database)
{
    long long n = 0;
    for (size_t i = 0; i < x->moved_count; i++)
        n += x->moved[i].database == database &&
             x->moved[i].generation == x->databases[database].generation;
    return n;
}

/* Since the first answer of "not yet". */
static int64_t waited_ms(const struct task_run *t)
{
    return t->give_up_at_ms ? clock_mono_ms() - (t->give_up_at_ms - t->kind->patience_ms) : 0;
}

static const struct shard_run *shard_at(
    const struct executor *x, const struct database_run *db, const json_t *place)
{
    const char *addr = json_text(place, "addr", NULL);
    json_int_t port = json_int(place, "port", 0);

    for (size_t i = db->first_shard; addr && i < db->first_shard + db->shard_count; i++)
        if (x->shards[i].seen_port == port && strcmp(x->shards[i].seen_addr, addr) == 0)
            return &x->shards[i];
    return NULL;
}

/*
 * A cluster answers "ok" until it notices a missing node, which takes long. So each node must have
 * heard from each other node since its start, except those on lost hosts.
 */
static enum finish prove_bus(
    const struct executor *x, const struct task_run *t, const json_t *status, struct err *err)
{
    const struct shard_run *s = &x->shards[t->shard];
    const struct database_run *db = &x->databases[s->database];
    const json_t *place;
    size_t i;

    json_array_foreach (json_object_get(status, "unheard"), i, place) {
        const struct shard_run *other = shard_at(x, db, place);
        if (!other)
            continue;
        const char *from = x->hosts[s->host].name, *to = x->hosts[other->host].name;
        err_set(err, ERR_CHECK,
            "shard '%s' on host '%s' (%s) cannot reach shard '%s' on host '%s': no answer from "
            "its cluster bus, %s:%d",
            s->uid, from, s->addr, other->uid, to, other->seen_addr, other->seen_bus_port);
        err_hint(err,
            "Open TCP port %d of %s for '%s', and the ports of all nodes of this cluster for each "
            "other (a firewall, a security group), then resume the recovery.",
            other->seen_bus_port, other->seen_addr, from);
        return waited_ms(t) < BUS_PATIENCE_MS ? FINISH_NOT_YET : FINISH_FAIL;
    }
    return FINISH_OK;
}

static enum finish prove_cluster(
    const struct executor *x, const struct task_run *t, const json_t *status, struct err *err)
{
    const struct shard_run *s = &x->shards[t->shard];
    const struct database_run *db = &x->databases[s->database];
    const char *state = json_text(status, "cluster_state", NULL);
    long long known = json_int(status, "known_nodes", 0), all = (long long)db->shard_count;

    if (known < all || known > all + lost_nodes(x, s->database))
        return not_yet(err, s, "nodes in its cluster:", known, all);
    if (json_int(status, "slots_ok", 0) != SLOT_COUNT)
        return not_yet(
            err, s, "served slots of its cluster:", json_int(status, "slots_ok", 0), SLOT_COUNT);
    if (!state || strcmp(state, "ok") != 0) {
        err_set(err, ERR_CHECK, "shard '%s': its cluster is in state '%s'", s->uid,
            state ? state : "?");
        return FINISH_NOT_YET;
    }
    return prove_bus(x, t, status, err);
}

/* A replica has its primary's. */
static json_t *samples_of(const struct executor *x, const struct shard_run *s)
{
    const struct shard_run *primary = s->is_primary ? s : &x->shards[s->primary];
    json_t *samples = json_object_get(primary->facts, "samples");

    return samples ? json_incref(samples) : json_array();
}

/* For a replica that joins an open database, clients may have changed any key. */
static void prove_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    if (!x->databases[t->database].in_use)
        json_object_set_new(params, "samples", samples_of(x, &x->shards[t->shard]));
}

static enum finish prove_finish(
    struct executor *x, struct task_run *t, const json_t *status, struct err *err)
{
    const struct shard_run *s = &x->shards[t->shard];
    const char *role = json_text(status, "role", NULL);
    const char *wanted = s->is_primary ? "primary" : "replica";

    if (!json_flag(status, "running")) {
        err_set(err, ERR_SERVER, "the server of shard '%s' on host '%s' has ended", s->uid,
            x->hosts[s->host].name);
        err_hint(err, "Look at server.log in the shard's folder, then resume the recovery.");
        return FINISH_FAIL;
    }
    if (!role || strcmp(role, wanted) != 0) {
        err_set(err, ERR_CHECK, "shard '%s' should be a %s, but is a %s", s->uid, wanted,
            role ? role : "?");
        return FINISH_FAIL;
    }
    if (s->is_primary && json_int(status, "replicas", 0) != (long long)replica_count(x, t->shard))
        return not_yet(err, s, "replicas in step:", json_int(status, "replicas", 0),
            (long long)replica_count(x, t->shard));
    if (!s->is_primary && !json_flag(status, "link_up")) {
        err_set(err, ERR_CHECK, "replica '%s' has lost its primary", s->uid);
        return FINISH_NOT_YET;
    }
    return x->databases[s->database].ccs->sharded ? prove_cluster(x, t, status, err) : FINISH_OK;
}

const struct task_kind task_prove_shard = {
    .name = "prove_shard",
    .method = "shard_status",
    .stage = STAGE_OPEN,
    .gate = GATE_PROVE,
    .timeout_ms = CALL_MS,
    .patience_ms = PROVE_PATIENCE_MS,
    .params = prove_params,
    .finish = prove_finish,
};

/* In the form of CONFIG SET save: "3600 1 300 100". */
static json_t *save_points(const struct ccs_database *db)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT;

    if (db->persistence == CCS_PERSIST_SNAPSHOT)
        for (size_t i = 0; i < db->save_point_count; i++)
            buf_addf(&out, "%s%lld %lld", i ? " " : "", (long long)db->save_points[i].seconds,
                (long long)db->save_points[i].changes);
    return json_string(out.data);
}

static void configure_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct database_run *db = &x->databases[t->database];
    bool aof = db->ccs->persistence == CCS_PERSIST_AOF;

    json_object_set_new(params, "maxmemory", json_integer(db->maxmemory_bytes));
    json_object_set_new(params, "maxmemory_policy", json_string(db->ccs->eviction_policy));
    json_object_set_new(params, "maxclients", json_integer(db->ccs->max_clients));
    json_object_set_new(params, "save", save_points(db->ccs));
    json_object_set_new(params, "appendonly", json_boolean(aof));
    json_object_set_new(
        params, "appendfsync", json_string(db->ccs->fsync_always ? "always" : "everysec"));
    json_object_set_new(params, "cluster_node_timeout_ms",
        json_integer(db->ccs->sharded ? CLUSTER_NODE_TIMEOUT_MS : 0));
    json_t *later = shard_settings(x, &x->shards[t->shard], "later");
    /* Without a name the server would tell clients "?". */
    if (strcmp(json_text(later, "cluster-preferred-endpoint-type", ""), "hostname") == 0 &&
        !json_object_get(x->hosts[t->host].spec, "announce_hostname"))
        json_object_del(later, "cluster-preferred-endpoint-type");
    json_object_set_new(params, "settings", later);
    /* Where they prove a failover, they start before the database is opened. */
    if (db->proves_failover && db->sentinel_password)
        json_object_set_new(params, "sentinel_password", json_string(db->sentinel_password));
}

static enum finish configure_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    struct event event = task_event(t, "warning", "setting-changed");
    size_t i;
    json_t *text;

    json_array_foreach (json_object_get(result, "warnings"), i, text) {
        event.message = json_string_value(text);
        if (state_event(x->st, &event, err) < 0)
            return FINISH_FAIL;
    }
    return FINISH_OK;
}

const struct task_kind task_configure = {
    .name = "configure",
    .method = "configure",
    .stage = STAGE_OPEN,
    .gate = GATE_CONFIGURE,
    .timeout_ms = REWRITE_MS,
    .params = configure_params,
    .finish = configure_finish,
};

static void password_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const char *password = x->databases[t->database].password;
    json_object_set_new(params, "password", password ? json_string(password) : json_null());
}

static bool is_line_of(const char *line, const char *user)
{
    size_t len = strlen(user);
    return strncmp(line, "user ", 5) == 0 && strncmp(line + 5, user, len) == 0 &&
           line[5 + len] == ' ';
}

/* Of user default, where the others are made of the vendor's roles; it follows the plan. */
static json_t *default_line(const struct database_run *db)
{
    bool limited = db->client_rules && strcmp(db->client_rules, "data") == 0;

    if (!db->password && db->ccs->default_stays_off && limited)
        return json_string("user default off -@all");
    return json_sprintf("user default on %s~* +@all", db->password ? "" : "nopass ");
}

/* The users of the CCS file, except those with names of ours. */
static json_t *users_of(const struct executor *x, const struct task_run *t)
{
    const struct database_run *db = &x->databases[t->database];
    json_t *users = json_array();

    for (const char *const *line = db->ccs->users; line && *line; line++)
        if (!is_line_of(*line, RECOVERY_USER) && !is_line_of(*line, REPLICATION_USER) &&
            !is_line_of(*line, SENTINEL_USER))
            json_array_append_new(users, json_string(*line));
    if (db->ccs->users_mapped || (!db->ccs->users && db->ccs->renamed))
        json_array_append_new(users, default_line(db));
    return users;
}

/* Commands that clients had under other names, or not at all. */
static json_t *denied_of(const struct database_run *db)
{
    json_t *names = json_array(), *to;
    const char *name;

    json_object_foreach ((json_t *)(uintptr_t)db->ccs->renamed, name, to) {
        json_array_append_new(names, json_string(name));
    }
    return names;
}

static void open_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const char *rules = x->databases[t->database].client_rules;

    password_params(x, t, params);
    json_object_set_new(params, "rules", json_string(rules ? rules : "all"));
    json_object_set_new(params, "users", users_of(x, t));
    json_object_set_new(params, "denied", denied_of(&x->databases[t->database]));
    if (x->databases[t->database].sentinel_password)
        json_object_set_new(
            params, "sentinel_password", json_string(x->databases[t->database].sentinel_password));
}

const struct task_kind task_open_shard = {
    .name = "open_shard",
    .method = "open_shard",
    .stage = STAGE_OPEN,
    .gate = GATE_OPEN,
    .timeout_ms = CALL_MS,
    .params = open_params,
    .finish = configure_finish,
};

static void endpoint_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct shard_run *s = &x->shards[t->shard];

    password_params(x, t, params);
    json_object_set_new(params, "addr", json_string(s->addr));
    json_object_set_new(params, "port", json_integer(s->port));
    json_object_set_new(params, "other_port", json_integer(s->other_port));
    json_object_set_new(params, "role", json_string(s->is_primary ? "primary" : "replica"));
    json_object_set_new(params, "cluster", json_boolean(x->databases[t->database].ccs->sharded));
    json_object_set_new(params, "samples", samples_of(x, s));
    json_object_set_new(params, "users", users_of(x, t));
}

static enum finish endpoint_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    const struct shard_run *s = &x->shards[t->shard];
    json_t *samples = samples_of(x, s);
    json_int_t asked = (json_int_t)json_array_size(samples);
    json_int_t same = json_int(result, "samples_ok", 0);

    json_decref(samples);
    if (same == asked)
        return FINISH_OK;
    const struct event event = task_event(t, "info", "keys-changed");
    return state_tell(x->st, &event, err,
               "of %lld keys that shard %s held when it was opened, %lld are unchanged; clients are "
               "already writing",
               (long long)asked, s->uid, (long long)same) < 0
               ? FINISH_FAIL
               : FINISH_OK;
}

const struct task_kind task_prove_endpoint = {
    .name = "prove_endpoint",
    .method = "prove_endpoint",
    .stage = STAGE_OPEN,
    .gate = GATE_ENDPOINT,
    .timeout_ms = CALL_MS,
    .params = endpoint_params,
    .finish = endpoint_finish,
};

const struct task_kind task_seal_shard = {
    .name = "seal_shard",
    .method = "seal_shard",
    .stage = STAGE_OPEN,
    .gate = GATE_SEAL,
    .timeout_ms = CALL_MS,
    .shard_state = "open",
    .params = open_params,
};

static bool is_in_use_at(const struct executor *x, const struct moved_run *moved)
{
    const struct database_run *db = &x->databases[moved->database];

    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        if (x->shards[i].seen_port == moved->port &&
            strcmp(x->shards[i].seen_addr, moved->addr) == 0)
            return true;
    return false;
}

/* The addresses of the cluster's replicas on lost hosts. */
static void forget_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    json_t *nodes = json_array();

    for (size_t i = 0; i < x->moved_count; i++) {
        const struct moved_run *m = &x->moved[i];
        if (m->database == t->database && !is_in_use_at(x, m))
            json_array_append_new(nodes, json_pack("{s:s, s:i}", "addr", m->addr, "port", m->port));
    }
    json_object_set_new(params, "nodes", nodes);
}

/* For an open cluster whose lost replicas are replaced. */
const struct task_kind task_forget_nodes = {
    .name = "forget_nodes",
    .method = "forget_nodes",
    .stage = STAGE_OPEN,
    .timeout_ms = CALL_MS,
    .params = forget_params,
};

const struct task_kind *const task_kinds[] = {&task_prepare_shard, &task_fetch, &task_load_shard,
    &task_attach_replica, &task_prove_shard, &task_configure, &task_open_shard,
    &task_prove_endpoint, &task_seal_shard, &task_start_sentinel, &task_prove_failover,
    &task_forget_nodes, NULL};
