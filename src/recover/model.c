/* Reads the state file's rows into the executor's structs, at the start of a run. */

#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "recluster/announced.h"

struct host_run *executor_host(const struct executor *x, const char *name)
{
    for (size_t i = 0; name && i < x->host_count; i++)
        if (strcmp(x->hosts[i].name, name) == 0)
            return &x->hosts[i];
    return NULL;
}

void task_count_state(struct executor *x, struct task_run *t, enum task_state state)
{
    struct database_run *db = &x->databases[t->database];
    size_t was_done = t->state == TASK_DONE, is_done = state == TASK_DONE;

    db->undone[t->gate] += was_done - is_done;
    if (t->kind == &task_prepare_shard)
        db->unprepared += was_done - is_done;
    x->tasks_running += (size_t)(state == TASK_RUNNING) - (size_t)(t->state == TASK_RUNNING);
    t->state = state;
}

struct event task_event(const struct task_run *t, const char *severity, const char *code)
{
    const struct executor *x = t->x;

    return (struct event){
        .severity = severity,
        .code = code,
        .database = x->databases[t->database].uid,
        .shard = x->shards[t->shard].uid,
        .host = x->hosts[t->host].name,
        .stage = plan_stage_name(t->kind->stage),
    };
}

static int index_of_host(const struct executor *x, const char *name)
{
    const struct host_run *found = executor_host(x, name);
    return found ? (int)(found - x->hosts) : -1;
}

static int index_of_database(const struct executor *x, const char *uid)
{
    for (size_t i = 0; i < x->database_count; i++)
        if (uid && strcmp(x->databases[i].uid, uid) == 0)
            return (int)i;
    return -1;
}

static int by_uid(const void *a, const void *b)
{
    const struct shard_uid *x = a, *y = b;
    return strcmp(x->uid, y->uid);
}

int shard_by_uid(const struct executor *x, const char *uid)
{
    const struct shard_uid key = {uid, 0};
    const struct shard_uid *found =
        uid && x->shard_count > 0
            ? bsearch(&key, x->shards_by_uid, x->shard_count, sizeof(key), by_uid)
            : NULL;
    return found ? found->shard : -1;
}

static const char *text(struct executor *x, const struct rows *rows, const char *column)
{
    return arena_strdup(&x->arena, rows_text(rows, rows_column(rows, column)));
}

static int64_t number(const struct rows *rows, const char *column, int64_t null)
{
    int at = rows_column(rows, column);

    return rows_is_null(rows, at) ? null : rows_int(rows, at);
}

static json_t *json(const struct rows *rows, const char *column)
{
    return rows_json(rows, rows_column(rows, column));
}

static int load_hosts(struct executor *x, struct err *err)
{
    struct rows rows;
    size_t alloc = 0;

    if (state_query(x->st, &rows, err,
            "SELECT name, addr, base_dir, server, link, " STATE_SECRETS_OF(
                "host.spec", "name", "spec") " AS spec, facts FROM host ORDER BY position",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        GROW(x->hosts, x->host_count, alloc);
        x->hosts[x->host_count++] = (struct host_run){
            .x = x,
            .name = text(x, &rows, "name"),
            .addr = text(x, &rows, "addr"),
            .base_dir = text(x, &rows, "base_dir"),
            .server = text(x, &rows, "server"),
            .link_kind = text(x, &rows, "link"),
            .spec = json(&rows, "spec"),
            .facts = json(&rows, "facts"),
        };
    }
    return rows_end(&rows, err);
}

/* With --shift-ttl: how old the set was when the recovery began; a resumed run gets the same. */
static int64_t age_of_set(const struct executor *x, int64_t set_time_ms)
{
    return x->shift_ttl && set_time_ms >= 0 && x->created_ms > set_time_ms
               ? x->created_ms - set_time_ms
               : 0;
}

static int load_databases(struct executor *x, struct err *err)
{
    struct rows rows;
    size_t alloc = 0;
    bool known = true;

    if (state_query(x->st, &rows, err,
            "SELECT database_uid, name, state, " STATE_SECRETS_OF("target.location", "database_uid",
                "location") " AS location, maxmemory, set_time_ms, " STATE_SECRET("target.password",
                "database_uid") " AS password, " STATE_SECRET("target.replication_password",
                "database_uid") " AS replication_password, generation, client_rules, " STATE_SECRET("target.admin_password",
                "database_uid") " AS admin_password, " STATE_SECRET("target.sentinel_password",
                "database_uid") " AS sentinel_password, " STATE_SECRET("target.sentinels_own_password",
                "database_uid") " AS sentinels_own_password FROM target ORDER BY rowid",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        GROW(x->databases, x->database_count, alloc);
        struct database_run *db = &x->databases[x->database_count++];
        *db = (struct database_run){
            .uid = text(x, &rows, "database_uid"),
            .name = text(x, &rows, "name"),
            .location = json(&rows, "location"),
            .maxmemory_bytes = number(&rows, "maxmemory", 0),
            .shift_expiry_ms = age_of_set(x, number(&rows, "set_time_ms", -1)),
            .password = text(x, &rows, "password"),
            .replication_password = text(x, &rows, "replication_password"),
            .generation = number(&rows, "generation", 0),
            .client_rules = text(x, &rows, "client_rules"),
            .admin_password = text(x, &rows, "admin_password"),
            .sentinel_password = text(x, &rows, "sentinel_password"),
            .sentinels_own_password = text(x, &rows, "sentinels_own_password"),
        };
        if (!db->replication_password)
            db->replication_password = x->replication_password;
        db->ccs = ccs_database(x->ccs, db->uid);
        db->label = db->ccs ? db->ccs->label : db->uid;
        known &= database_state_parse(text(x, &rows, "state"), &db->state) == 0;
    }
    if (rows_end(&rows, err) < 0)
        return -1;
    return known ? 0
                 : err_set(err, ERR_STATE_FILE,
                       "the state file '%s' has a database in an unknown state", state_path(x->st));
}

static void load_announced(struct executor *x, struct shard_run *s)
{
    const json_t *spec = s->host >= 0 ? x->hosts[s->host].spec : NULL;

    s->seen_addr = announced_addr(spec, s->addr);
    s->seen_port = announced_port(spec, s->port);
    s->seen_bus_port = s->bus_port ? announced_port(spec, s->bus_port) : 0;
}

static int load_shards(struct executor *x, struct err *err)
{
    struct rows rows;
    size_t alloc = 0;
    struct {
        const char *uid;
    } *primaries = NULL;
    size_t primary_count = 0, primary_alloc = 0;

    if (state_query(x->st, &rows, err,
            "SELECT shard_uid, database_uid, role, primary_uid, host, addr, port, bus_port, other_port, dir, "
            "slots, memory, file, file_bytes, node_id, facts, loaded, files, file_sha256, " STATE_SECRETS_OF(
                "placement.sources", "shard_uid", "sources") " AS sources "
                                                             "FROM placement ORDER BY position",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        GROW(x->shards, x->shard_count, alloc);
        GROW(primaries, primary_count, primary_alloc);
        primaries[primary_count++].uid = text(x, &rows, "primary_uid");
        x->shards[x->shard_count] = (struct shard_run){
            .uid = text(x, &rows, "shard_uid"),
            .database = index_of_database(x, text(x, &rows, "database_uid")),
            .is_primary = strcmp(text(x, &rows, "role"), "primary") == 0,
            .host = index_of_host(x, text(x, &rows, "host")),
            .primary = -1,
            .addr = text(x, &rows, "addr"),
            .port = (int)number(&rows, "port", 0),
            .bus_port = (int)number(&rows, "bus_port", 0),
            .other_port = (int)number(&rows, "other_port", 0),
            .dir = text(x, &rows, "dir"),
            .slots = text(x, &rows, "slots"),
            .memory_bytes = number(&rows, "memory", 0),
            .file = text(x, &rows, "file"),
            .file_bytes = number(&rows, "file_bytes", -1),
            .node_id = text(x, &rows, "node_id"),
            .facts = json(&rows, "facts"),
            .loaded = json(&rows, "loaded"),
            .files = json(&rows, "files"),
            .file_sha256 = text(x, &rows, "file_sha256"),
            .sources = json(&rows, "sources"),
        };
        load_announced(x, &x->shards[x->shard_count]);
        struct database_run *db = &x->databases[x->shards[x->shard_count].database];
        if (db->shard_count++ == 0)
            db->first_shard = x->shard_count;
        x->shard_count++;
    }
    x->shards_by_uid = xcalloc(x->shard_count, sizeof(*x->shards_by_uid));
    for (size_t i = 0; i < x->shard_count; i++)
        x->shards_by_uid[i] = (struct shard_uid){x->shards[i].uid, (int)i};
    qsort(x->shards_by_uid, x->shard_count, sizeof(*x->shards_by_uid), by_uid);
    for (size_t i = 0; i < x->shard_count; i++)
        x->shards[i].primary = shard_by_uid(x, primaries[i].uid);
    free(primaries);
    return rows_end(&rows, err);
}

static const struct task_kind *kind_by_name(const char *name)
{
    for (size_t i = 0; task_kinds[i]; i++)
        if (strcmp(task_kinds[i]->name, name) == 0)
            return task_kinds[i];
    return NULL;
}

static int load_tasks(struct executor *x, struct err *err)
{
    struct rows rows;
    size_t alloc = 0;

    if (state_query(x->st, &rows, err,
            "SELECT task_id, kind, shard_uid, state, attempts, params, host, gate FROM task "
            "ORDER BY task_id",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        const struct task_kind *kind = kind_by_name(rows_text(&rows, 1));
        int shard = shard_by_uid(x, rows_text(&rows, 2));
        int64_t gate = rows_int(&rows, 7);
        enum task_state state;

        if (!kind || shard < 0 || gate < 0 || gate >= GATE_COUNT ||
            task_state_parse(rows_text(&rows, 3), &state) < 0) {
            err_set(err, ERR_STATE_FILE,
                "task %lld of the state file has an unknown kind, shard, gate or state",
                (long long)rows_int(&rows, 0));
            struct err ignored = ERR_INIT;
            (void)!rows_end(&rows, &ignored);
            return -1;
        }
        json_t *params = rows_json(&rows, 5);
        int own = params ? index_of_host(x, rows_text(&rows, 6)) : -1;
        GROW(x->tasks, x->task_count, alloc);
        x->tasks[x->task_count++] = (struct task_run){
            .x = x,
            .id = rows_int(&rows, 0),
            .kind = kind,
            .gate = (enum gate)gate,
            .shard = shard,
            .database = x->shards[shard].database,
            .host = own >= 0 ? own : x->shards[shard].host,
            .params = params,
            .begun = rows_int(&rows, 4) > 0,
        };
        if (kind == &task_open_shard && rows_int(&rows, 4) > 0)
            x->databases[x->shards[shard].database].in_use = true;
        x->databases[x->shards[shard].database].undone[gate]++;
        x->databases[x->shards[shard].database].proves_failover |= kind == &task_prove_failover;
        x->databases[x->shards[shard].database].unprepared += kind == &task_prepare_shard;
        /* Tasks that were running or failed when the last run ended are to be done again. */
        task_count_state(
            x, &x->tasks[x->task_count - 1], state == TASK_DONE ? TASK_DONE : TASK_PENDING);
    }
    return rows_end(&rows, err);
}

static int task_by_id(const struct executor *x, int64_t id)
{
    size_t low = 0, high = x->task_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (x->tasks[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < x->task_count && x->tasks[low].id == id ? (int)low : -1;
}

static int load_waits(struct executor *x, struct err *err)
{
    struct rows rows;

    if (state_query(
            x->st, &rows, err, "SELECT task_id, waits_for FROM task_wait ORDER BY task_id", "") < 0)
        return -1;
    while (rows_next(&rows)) {
        int task = task_by_id(x, rows_int(&rows, 0)), on = task_by_id(x, rows_int(&rows, 1));
        if (task < 0 || on < 0)
            continue;
        struct task_run *t = &x->tasks[task];
        t->waits_for = xreallocarray(t->waits_for, t->wait_count + 1, sizeof(*t->waits_for));
        t->waits_for[t->wait_count++] = on;
    }
    return rows_end(&rows, err);
}

/* The inverse of waits_for. */
static void find_waiters(struct executor *x)
{
    for (size_t i = 0; i < x->task_count; i++)
        for (size_t k = 0; k < x->tasks[i].wait_count; k++) {
            struct task_run *on = &x->tasks[x->tasks[i].waits_for[k]];
            on->waiters = xreallocarray(on->waiters, on->waiter_count + 1, sizeof(*on->waiters));
            on->waiters[on->waiter_count++] = (int)i;
        }
}

/* Sets pointers into the array of tasks, which does not move any more. */
static void link_tasks(struct executor *x)
{
    for (size_t i = x->task_count; i-- > 0;) {
        struct task_run *t = &x->tasks[i];
        t->next_of_shard = x->shards[t->shard].tasks;
        x->shards[t->shard].tasks = t;
        if (t->kind == &task_prepare_shard)
            x->shards[t->shard].prepare = t;
        else if (t->kind == &task_fetch)
            x->shards[t->shard].fetch = t;
    }
}

static int load_moved(struct executor *x, struct err *err)
{
    struct rows rows;
    size_t alloc = 0;

    if (state_query(x->st, &rows, err,
            "SELECT moved_id, host, database_uid, generation, shard_uid, dir, "
            "removed_ms IS NOT NULL AS removed, addr, port FROM moved ORDER BY moved_id",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        GROW(x->moved, x->moved_count, alloc);
        const int host = index_of_host(x, text(x, &rows, "host"));
        const json_t *spec = host >= 0 ? x->hosts[host].spec : NULL;
        x->moved[x->moved_count++] = (struct moved_run){
            .id = number(&rows, "moved_id", 0),
            .host = host,
            .database = index_of_database(x, text(x, &rows, "database_uid")),
            .generation = number(&rows, "generation", 0),
            .shard = text(x, &rows, "shard_uid"),
            .dir = text(x, &rows, "dir"),
            .removed = number(&rows, "removed", 0) != 0,
            .addr = announced_addr(spec, text(x, &rows, "addr")),
            .port = announced_port(spec, (int)number(&rows, "port", 0)),
        };
    }
    return rows_end(&rows, err);
}
/* "EVAL,EVALSHA" */
static void load_aof_wishes(struct executor *x)
{
    AUTO_FREE char *commands = state_meta(x->st, "aof_commands");
    AUTO_FREE char *errors = state_meta(x->st, "aof_errors");
    char *rest = commands;

    x->aof_errors = errors != NULL;
    if (!commands)
        return;
    x->aof_commands = json_array();
    for (const char *name; (name = strsep(&rest, ","));)
        if (*name)
            json_array_append_new(x->aof_commands, json_string(name));
}

int executor_load(struct executor *x, struct err *err)
{
    x->recovery = state_meta(x->st, "recovery");
    x->recovery_password = state_secret(x->st, "meta", "recovery_password");
    x->replication_password = state_secret(x->st, "meta", "replication_password");
    if (!x->recovery || !x->recovery_password || !x->replication_password)
        return err_set(err, ERR_STATE_FILE, "the state file '%s' holds no plan", state_path(x->st));
    AUTO_FREE char *fast_load = state_meta(x->st, "fast_load");
    x->fast_load = fast_load != NULL;
    load_aof_wishes(x);
    AUTO_FREE char *shift_ttl = state_meta(x->st, "shift_ttl");
    AUTO_FREE char *created_ms = state_meta(x->st, "created_ms");
    x->shift_ttl = shift_ttl != NULL;
    x->created_ms = created_ms ? atoll(created_ms) : 0;
    AUTO_FREE char *landing = state_meta(x->st, "load_while_landing");
    if (landing && strcmp(landing, "auto") != 0)
        x->landing = strcmp(landing, "never") == 0 ? LANDING_NEVER : LANDING_ALWAYS;
    x->ccs = ccs_load(x->st, err);
    if (!x->ccs)
        return -1;
    int rc = 0;
    if (load_hosts(x, err) < 0 || load_databases(x, err) < 0 || load_shards(x, err) < 0 ||
        load_tasks(x, err) < 0 || load_waits(x, err) < 0 || load_moved(x, err) < 0)
        rc = -1;
    if (rc == 0) {
        find_waiters(x);
        link_tasks(x);
    }
    return rc;
}

void executor_release(struct executor *x)
{
    json_decref(x->aof_commands);
    for (size_t i = 0; i < x->host_count; i++) {
        json_decref(x->hosts[i].spec);
        json_decref(x->hosts[i].facts);
        for (size_t lane = 0; lane < LANE_COUNT; lane++)
            free(x->hosts[i].ready[lane]);
    }
    for (size_t i = 0; i < x->shard_count; i++) {
        json_decref(x->shards[i].facts);
        json_decref(x->shards[i].loaded);
        json_decref(x->shards[i].files);
        json_decref(x->shards[i].sources);
    }
    for (size_t i = 0; i < x->database_count; i++)
        json_decref(x->databases[i].location);
    for (size_t i = 0; i < x->task_count; i++) {
        json_decref(x->tasks[i].params);
        free(x->tasks[i].waits_for);
        free(x->tasks[i].waiters);
        free(x->tasks[i].with);
    }
    free(x->hosts);
    free(x->shards);
    free(x->shards_by_uid);
    free(x->databases);
    free(x->tasks);
    free(x->moved);
    for (size_t i = 0; i < x->answer_count; i++)
        json_decref(x->answers[i].result);
    free(x->answers);
    free(x->recovery);
    free(x->recovery_password);
    free(x->replication_password);
    ccs_free(x->ccs);
    arena_release(&x->arena);
}

struct task_run *task_of(struct executor *x, const struct task_kind *kind, int shard)
{
    struct task_run *t = x->shards[shard].tasks;

    while (t && t->kind != kind)
        t = t->next_of_shard;
    return t;
}

struct task_run *task_that_starts(struct executor *x, int shard)
{
    struct task_run *load = task_of(x, &task_load_shard, shard);
    return load ? load : task_of(x, &task_attach_replica, shard);
}
