/* From the plan to rows: what is to be rebuilt (target, placement) and the tasks that do it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/rpc.h"
#include "survey.h"

enum { RECOVERY_ID_BYTES = 8, PASSWORD_BYTES = 32, CLIENT_PASSWORD_BYTES = 16 };

static int save_meta(struct state *st, struct err *err)
{
    CLEANUP(free_ptr) char *recovery = random_hex(RECOVERY_ID_BYTES);
    CLEANUP(free_ptr) char *password = random_hex(PASSWORD_BYTES);
    CLEANUP(free_ptr) char *replication = random_hex(PASSWORD_BYTES);
    CLEANUP(free_ptr) char *now = xasprintf("%lld", (long long)clock_wall_ms());

    return state_set_meta(st, "recovery", recovery, err) < 0 ||
                   state_set_meta(st, "recovery_password", password, err) < 0 ||
                   state_set_meta(st, "replication_password", replication, err) < 0 ||
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
        if (state_run(st, err,
                "INSERT INTO host (name, position, addr, rack, link, base_dir, server, spec, "
                "facts) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                "sisssssjj", h->name, (int64_t)i, h->addr, h->rack, h->link, h->base_dir, h->server,
                h->spec, plan->hosts[i].facts) < 0)
            return -1;
    }
    return 0;
}

static int save_set(
    struct state *st, const struct plan_database *db, const struct backup_set *set, struct err *err)
{
    if (state_run(st, err,
            "INSERT INTO backup_set (database_uid, location, name, time_ms, complete, chosen, "
            "reason) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            "sssiiis", db->database->uid, db->location_label, set->id, set->time_ms,
            (int64_t)set->complete, (int64_t)(set == db->set), set->reason) < 0)
        return -1;
    int64_t id = state_last_id(st);
    for (size_t i = 0; i < set->file_count; i++) {
        const struct backup_file *f = &set->files[i];
        CLEANUP(buf_release) struct buf slots = BUF_INIT;
        slots_format(&f->slots, &slots);
        if (state_run(st, err,
                "INSERT INTO backup_file (set_id, name, bytes, slots, head) VALUES (?, ?, ?, ?, ?)",
                "isisj", id, f->name, f->bytes, slots.data, f->head) < 0)
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
        /* Better a password that has to be looked up than a database that is open to all. */
        CLEANUP(free_ptr)
        char *made = db->database->login_lost ? random_hex(CLIENT_PASSWORD_BYTES) : NULL;
        int64_t set_time = db->set ? db->set->time_ms : -1;

        for (size_t k = 0; catalogue && k < catalogue->set_count; k++)
            if (save_set(st, db, &catalogue->sets[k], err) < 0)
                return -1;
        if (state_run(st, err,
                "INSERT INTO target (database_uid, name, state, reason, location, set_name, "
                "set_time_ms, maxmemory, password) VALUES (?, ?, ?, ?, ?, ?, NULLIF(?, -1), ?, ?)",
                "ssssjsiis", db->database->uid, db->database->name,
                db->skipped ? "skipped" : "planned", db->skipped, db->location,
                db->set ? db->set->id : NULL, set_time, db->maxmemory_bytes,
                made ? made : db->database->password) < 0)
            return -1;
    }
    return 0;
}

static int save_shard(
    const struct plan *plan, size_t i, const char *recovery, struct state *st, struct err *err)
{
    const struct plan_shard *s = &plan->shards[i];
    const struct plan_host *host = &plan->hosts[s->host];
    const struct plan_database *db = &plan->databases[s->database];
    const struct backup_file *file = s->shard->primary ? s->file : NULL;
    CLEANUP(free_ptr) char *node_id = s->bus_port ? nodes_conf_id(recovery, s->shard->uid) : NULL;
    CLEANUP(buf_release) struct buf slots = BUF_INIT;

    slots_format(s->shard->slots, &slots);
    return state_run(st, err,
        "INSERT INTO placement (shard_uid, database_uid, position, role, primary_uid, host, addr, "
        "port, "
        "bus_port, dir, slots, memory, file, file_bytes, node_id) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULLIF(?, -1), ?)",
        "ssissssiissisis", s->shard->uid, db->database->uid, (int64_t)i,
        s->shard->primary ? "primary" : "replica",
        s->primary >= 0 ? plan->shards[s->primary].shard->uid : NULL, host->host->name,
        host->host->addr, (int64_t)s->port, (int64_t)s->bus_port, s->dir, slots.data,
        s->memory_bytes, file ? file->name : NULL, file ? file->bytes : (int64_t)-1, node_id);
}

static bool task_applies(const struct plan_shard *s, const struct task_kind *kind)
{
    if (kind == &task_fetch)
        return s->shard->primary && s->file;
    if (kind == &task_load_shard)
        return s->shard->primary;
    return kind == &task_attach_replica ? !s->shard->primary : true;
}

/* What a task of the shard waits for beside its gate; 0: nothing. */
struct shard_tasks {
    int64_t prepare, fetch, load;
};

static int add_wait(struct state *st, int64_t task, int64_t waits_for, struct err *err)
{
    return state_run(
        st, err, "INSERT INTO task_wait (task_id, waits_for) VALUES (?, ?)", "ii", task, waits_for);
}

static int add_waits(struct state *st, int64_t id, const struct task_kind *kind,
    const struct plan_shard *s, const struct shard_tasks *all, const struct shard_tasks *own,
    struct err *err)
{
    if (kind == &task_fetch)
        return add_wait(st, id, own->prepare, err);
    if (kind == &task_load_shard) /* a shard without slots has no file: it starts empty */
        return add_wait(st, id, own->fetch ? own->fetch : own->prepare, err);
    if (kind != &task_attach_replica)
        return 0;
    return add_wait(st, id, own->prepare, err) < 0 ? -1
                                                   : add_wait(st, id, all[s->primary].load, err);
}

static int save_tasks(const struct plan *plan, struct state *st, struct err *err)
{
    CLEANUP(free_ptr) struct shard_tasks *tasks = xcalloc(plan->shard_count, sizeof(*tasks));

    /* Kind by kind, so that a load has its id before the replica that waits for it. */
    for (size_t k = 0; task_kinds[k]; k++) {
        const struct task_kind *kind = task_kinds[k];
        for (size_t i = 0; i < plan->shard_count; i++) {
            const struct plan_shard *s = &plan->shards[i];
            if (plan->databases[s->database].skipped || !task_applies(s, kind))
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
            if (add_waits(st, id, kind, s, tasks, &tasks[i], err) < 0)
                return -1;
        }
    }
    return 0;
}

static int save_all(const struct survey *survey, struct state *st, struct err *err)
{
    const struct plan *plan = survey->plan;

    if (save_meta(st, err) < 0 || save_hosts(plan, st, err) < 0 ||
        save_databases(survey, st, err) < 0)
        return -1;
    CLEANUP(free_ptr) char *recovery = state_meta(st, "recovery");
    for (size_t i = 0; i < plan->shard_count; i++)
        if (!plan->databases[plan->shards[i].database].skipped &&
            save_shard(plan, i, recovery, st, err) < 0)
            return -1;
    json_t *document = plan_json(plan);
    int rc = state_run(st, err, "INSERT INTO plan (hash, created_ms, document) VALUES (?, ?, ?)",
        "sij", plan->hash, clock_wall_ms(), document);
    json_decref(document);
    return rc < 0 ? -1 : save_tasks(plan, st, err);
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
