#include "sentinels.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "shard_params.h"

/* A Sentinel asks a server for its replicas every 10 s, and tells the others of itself every 2 s. */
enum { START_MS = 120 * 1000, PATIENCE_MS = 90 * 1000, PASSWORD_BYTES = 32 };

const char *sentinels_own_password(const struct database_run *db)
{
    const char *before = db->ccs->sentinels ? db->ccs->sentinels->password : NULL;

    return before ? before : db->sentinels_own_password;
}

/* --- the task --- */

static void start_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct database_run *db = &x->databases[t->database];
    const struct shard_run *primary = &x->shards[t->shard];
    const struct host_run *h = &x->hosts[t->host];
    json_t *watch = json_copy(json_object_get(t->params, "watch"));

    json_object_del(params, "recovery_password");
    json_object_set_new(params, "base_dir", json_string(h->base_dir));
    json_object_set(params, "dir", json_object_get(t->params, "dir"));
    json_object_set(params, "addr", json_object_get(t->params, "addr"));
    json_object_set(params, "port", json_object_get(t->params, "port"));
    shard_add_announced(h, params);
    json_object_set_new(params, "database", json_string(db->uid));
    shard_add_server(x, h, db, params);
    if (primary->other_port && !db->ccs->tls_inside)
        json_object_del(params, "tls");
    json_object_set_new(watch, "addr", json_string(primary->seen_addr));
    json_object_set_new(watch, "port", json_integer(primary->seen_port));
    json_object_set_new(watch, "user", json_string(SENTINEL_USER));
    json_object_set_new(watch, "password", json_string(db->sentinel_password));
    json_object_set_new(params, "watch", watch);
    json_object_set_new(params, "generation", json_integer(db->generation));
    if (sentinels_own_password(db))
        json_object_set_new(params, "own_password", json_string(sentinels_own_password(db)));
}

static enum finish not_yet(const struct executor *x, const struct task_run *t, struct err *err)
{
    err_hint(err,
        "Servers and Sentinels must reach each other at their ports (a firewall, a security "
        "group). Look at server.log in '%s' on host '%s', then resume the recovery.",
        json_text(t->params, "dir", ""), x->hosts[t->host].name);
    return FINISH_NOT_YET;
}

/* Other Sentinels of its database, without those whose host was given up. */
static long long count_others(const struct executor *x, const struct task_run *t)
{
    long long n = 0;

    for (size_t i = 0; i < x->task_count; i++)
        n += &x->tasks[i] != t && x->tasks[i].kind == t->kind &&
             x->tasks[i].database == t->database && x->tasks[i].state != TASK_FAILED;
    return n;
}

/* It must see all that it would need for a failover. */
static enum finish start_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    const struct database_run *db = &x->databases[t->database];
    const char *label = db->label, *host = x->hosts[t->host].name;
    long long replicas = (long long)db->shard_count - 1, others = count_others(x, t);

    if (json_int(result, "replicas", 0) < replicas) {
        err_set(err, ERR_CHECK, "%s: the Sentinel on host '%s' knows %lld of %lld replicas", label,
            host, (long long)json_int(result, "replicas", 0), replicas);
        return not_yet(x, t, err);
    }
    if (json_int(result, "sentinels", 0) < others) {
        err_set(err, ERR_CHECK, "%s: the Sentinel on host '%s' knows %lld of %lld others", label,
            host, (long long)json_int(result, "sentinels", 0), others);
        return not_yet(x, t, err);
    }
    if (!json_flag(result, "quorum_ok")) {
        err_set(err, ERR_CHECK, "%s: the Sentinel on host '%s' says: %s", label, host,
            json_text(result, "said", "?"));
        return not_yet(x, t, err);
    }
    return FINISH_OK;
}

const struct task_kind task_start_sentinel = {
    .name = "start_sentinel",
    .method = "start_sentinel",
    .stage = STAGE_OPEN,
    .gate = GATE_SEAL,
    .timeout_ms = START_MS,
    .patience_ms = PATIENCE_MS,
    .params = start_params,
    .finish = start_finish,
};

/* --- from the plan --- */

static bool is_planned_on(const struct plan *plan, const struct plan_database *db, const char *host)
{
    for (size_t i = 0; i < db->sentinel_count; i++)
        if (strcmp(plan->hosts[db->sentinels[i].host].host->name, host) == 0)
            return true;
    return false;
}

static int forget_task(struct state *st, int64_t id, struct err *err)
{
    if (state_run(st, err, "DELETE FROM task_wait WHERE task_id = ?1 OR waits_for = ?1", "i", id) <
        0)
        return -1;
    return state_run(st, err,
               "INSERT INTO moved (at_ms, shard_uid, database_uid, generation, host, addr, port, "
               "bus_port, dir) SELECT ?, shard_uid, database_uid, generation, host, "
               "json_extract(params, '$.addr'), json_extract(params, '$.port'), 0, "
               "json_extract(params, '$.dir') FROM task JOIN target USING (database_uid) "
               "WHERE task_id = ?",
               "ii", clock_wall_ms(), id) < 0 ||
                   state_run(st, err, "DELETE FROM task WHERE task_id = ?", "i", id) < 0
               ? -1
               : 0;
}

static int forget_others(
    const struct plan *plan, const struct plan_database *db, struct state *st, struct err *err)
{
    int64_t *ids = NULL;
    size_t count = 0, alloc = 0;
    struct rows rows;
    int rc = 0;

    if (state_query(st, &rows, err,
            "SELECT task_id, host FROM task WHERE kind = ? AND database_uid = ?", "ss",
            task_start_sentinel.name, db->database->uid) < 0)
        return -1;
    while (rows_next(&rows))
        if (!is_planned_on(plan, db, rows_text(&rows, 1))) {
            GROW(ids, count, alloc);
            ids[count++] = rows_int(&rows, 0);
        }
    rc = rows_end(&rows, err);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = forget_task(st, ids[i], err);
    free(ids);
    return rc;
}

static json_t *params_of(
    const struct plan *plan, const struct plan_database *db, const struct plan_sentinel *s)
{
    const struct ccs_sentinels *before = db->database->sentinels;

    return json_pack("{s:s, s:s, s:i, s:{s:s, s:I, s:I, s:I, s:I}}", "dir", s->dir, "addr",
        plan->hosts[s->host].host->addr, "port", s->port, "watch", "name", before->name, "quorum",
        (json_int_t)db->sentinel_quorum, "down_after_ms", (json_int_t)before->down_after_ms,
        "failover_timeout_ms", (json_int_t)before->failover_timeout_ms, "parallel_syncs",
        (json_int_t)before->parallel_syncs);
}

static const char *primary_of(const struct plan *plan, const struct plan_database *db)
{
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        if (plan->shards[s].primary < 0)
            return plan->shards[s].shard->uid;
    return NULL;
}

static int save_one(const struct plan *plan, const struct plan_database *db,
    const struct plan_sentinel *s, struct state *st, struct err *err)
{
    const char *uid = db->database->uid, *host = plan->hosts[s->host].host->name;
    const struct task_kind *kind = &task_start_sentinel;
    json_t *params = params_of(plan, db, s);
    int rc = state_run(st, err,
        "INSERT INTO task (kind, stage, gate, host, database_uid, shard_uid, params) "
        "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM task WHERE kind = ?1 "
        "AND host = ?4 AND database_uid = ?5)",
        "siisssj", kind->name, (int64_t)kind->stage,
        (int64_t)(db->prove_failover ? GATE_CONFIGURE : kind->gate), host, uid,
        primary_of(plan, db), params);

    json_decref(params);
    return rc < 0 ? -1
                  : state_run(st, err, "DELETE FROM moved WHERE host = ? AND dir = ?", "ss", host,
                        s->dir);
}

/* The servers must know the Sentinels' user, and a failover needs all Sentinels. */
static int save_waits(struct state *st, const char *database, struct err *err)
{
    static const char *const orders[][2] = {
        {"start_sentinel", "configure"}, {"prove_failover", "start_sentinel"}};

    for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
        if (state_run(st, err,
                "INSERT OR IGNORE INTO task_wait (task_id, waits_for) SELECT after.task_id, "
                "before.task_id FROM task AS after JOIN task AS before USING (database_uid) WHERE "
                "after.kind = ? AND before.kind = ? AND database_uid = ?",
                "sss", orders[i][0], orders[i][1], database) < 0)
            return -1;
    return 0;
}

/* They needed a login that nobody knows: a new password, made once. */
static int save_own_password(const struct plan_database *db, struct state *st, struct err *err)
{
    const char *uid = db->database->uid;
    AUTO_FREE char *known = state_secret(st, "target.sentinels_own_password", uid);
    AUTO_FREE char *made = random_hex(PASSWORD_BYTES);

    if (known || !db->sentinel_count || !db->database->sentinels->needed_login ||
        db->database->sentinels->password)
        return 0;
    return state_set_secret(st, "target.sentinels_own_password", uid, made, err);
}

int sentinels_save(
    const struct plan *plan, const struct plan_database *db, struct state *st, struct err *err)
{
    const char *uid = db->database->uid;
    AUTO_FREE char *known = state_secret(st, "target.sentinel_password", uid);
    AUTO_FREE char *made = known || !db->sentinel_count ? NULL : random_hex(PASSWORD_BYTES);

    if (made && state_set_secret(st, "target.sentinel_password", uid, made, err) < 0)
        return -1;
    if (save_own_password(db, st, err) < 0 || forget_others(plan, db, st, err) < 0)
        return -1;
    for (size_t i = 0; i < db->sentinel_count; i++)
        if (save_one(plan, db, &db->sentinels[i], st, err) < 0)
            return -1;
    return db->prove_failover ? save_waits(st, uid, err) : 0;
}

int sentinels_restart(struct state *st, const char *database, struct err *err)
{
    AUTO_FREE char *known = state_secret(st, "target.sentinel_password", database);
    AUTO_FREE char *password = random_hex(PASSWORD_BYTES);

    if (known && state_set_secret(st, "target.sentinel_password", database, password, err) < 0)
        return -1;
    return state_run(st, err,
        "UPDATE task SET state = 'pending', result = NULL, error = NULL WHERE kind = ? AND "
        "database_uid = ?",
        "ss", task_start_sentinel.name, database);
}
