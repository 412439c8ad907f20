#include "recluster/report.h"
#include "recluster/json.h"

#include <string.h>

#include "doc.h"
#include "plan_facts.h"
#include "recluster/clock.h"
#include "recluster/secret.h"
#include "recluster/slots.h"
#include "recluster/state.h"

static json_t *slots_json(const char *text)
{
    struct slots slots;
    struct err ignored = ERR_INIT;

    slots_clear(&slots);
    /* Text that is not a list of ranges is shown as no slots, which is noticed. */
    if (!text || slots_parse(text, &slots, &ignored) < 0)
        return json_array();
    return slots_to_json(&slots);
}

static void copy_field(json_t *to, const char *field, const json_t *from, const char *source)
{
    json_t *value = json_object_get(from, source);
    json_object_set(to, field, value ? value : json_null());
}

/* The answer of the server: of a primary after its load, of a replica when it was in sync. */
static void add_loaded(json_t *proof, const json_t *loaded, bool primary)
{
    bool full = json_int(loaded, "sync_full", 0) > 0;
    bool partial = json_int(loaded, "sync_partial", 0) > 0;

    copy_field(proof, "keys_loaded", loaded, primary ? "keys_loaded" : "keys");
    copy_field(proof, "keys_expired", loaded, "keys_expired");
    copy_field(proof, "load_ms", loaded, "load_ms");
    copy_field(proof, "used_memory", loaded, "used_memory");
    copy_field(proof, "server_version", loaded, "server_version");
    json_object_set_new(proof, "sync",
        !primary && (full || partial) ? json_string(full ? "full" : "partial") : json_null());
}

/*
 * Proven: a primary has loaded each key of its file, or dropped it as expired or as one without
 * elements (old servers keep these). A replica was in sync with its primary. Null: unknown.
 */
static json_t *proven_json(const json_t *proof, bool primary, const char *state)
{
    if (strcmp(state, "failed") == 0)
        return json_false();
    if (!primary)
        return strcmp(state, "in-step") == 0 || strcmp(state, "open") == 0 ? json_true()
                                                                           : json_null();
    if (!json_has(proof, "keys_loaded") || !json_has(proof, "keys_in_file"))
        return json_null();
    int64_t known = json_int(proof, "keys_loaded", 0) + json_int(proof, "keys_expired", 0);
    int64_t in_file = json_int(proof, "keys_in_file", -1);
    return json_boolean(known == in_file || known + json_int(proof, "empty", 0) == in_file);
}

/* The disks of its files, or null. */
static json_t *places_json(const json_t *sources)
{
    json_t *list = sources ? json_array() : json_null(), *source;
    size_t i;

    json_array_foreach (sources, i, source) {
        json_array_append(list, json_object_get(source, "where"));
    }
    return list;
}

/* What the scan of its file counted. */
static void add_facts(json_t *proof, const json_t *facts)
{
    static const char *const same[] = {
        "bytes", "empty", "expires", "expired", "checksum", "sha256", "rdb_version", "aof", NULL};

    for (size_t i = 0; same[i]; i++)
        copy_field(proof, same[i], facts, same[i]);
    copy_field(proof, "keys_in_file", facts, "keys");
    copy_field(proof, "slots_found", facts, "slots");
}

static json_t *proof_row(const struct rows *rows)
{
    json_t *proof = rows_object(rows);
    json_t *facts = json_incref(json_object_get(proof, "facts"));
    json_t *loaded = json_incref(json_object_get(proof, "loaded"));
    json_t *sources = json_incref(json_object_get(proof, "sources"));
    bool primary = strcmp(json_text(proof, "role", ""), "primary") == 0;

    json_object_del(proof, "facts");
    json_object_del(proof, "loaded");
    json_object_del(proof, "sources");
    json_object_set_new(proof, "label", doc_label("shard", json_text(proof, "uid", NULL)));
    json_object_set_new(proof, "database", doc_label("db", json_text(proof, "database_uid", NULL)));
    json_object_set_new(proof, "slots", slots_json(json_text(proof, "slots", NULL)));
    add_facts(proof, facts);
    json_object_set_new(proof, "places", places_json(json_is_null(sources) ? NULL : sources));
    add_loaded(proof, loaded, primary);
    json_object_set_new(
        proof, "proven", proven_json(proof, primary, json_text(proof, "state", "")));
    json_object_set_new(proof, "times", json_array());
    json_decref(facts);
    json_decref(loaded);
    json_decref(sources);
    return proof;
}

static int add_proof(struct state *st, json_t *report, json_t *by_uid, struct err *err)
{
    json_t *list = json_array();
    struct rows rows;

    json_object_set_new(report, "proof", list);
    if (state_query(st, &rows, err,
            "SELECT shard_uid AS uid, database_uid, role, host, addr, port, state, slots, file,"
            " file_bytes, facts AS \"facts:json\", loaded AS \"loaded:json\", keys,"
            " sources AS \"sources:json\" FROM placement ORDER BY position",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        json_t *proof = proof_row(&rows);
        json_object_set(by_uid, json_text(proof, "uid", ""), proof);
        json_array_append_new(list, proof);
    }
    return rows_end(&rows, err);
}

/* All tasks go into "tasks"; those of a shard also into its proof as "times". */
static int add_tasks(struct state *st, json_t *report, const json_t *by_uid, struct err *err)
{
    json_t *list = json_array();
    struct rows rows;

    json_object_set_new(report, "tasks", list);
    if (state_query(st, &rows, err,
            "SELECT kind, stage, host, database_uid, shard_uid, state, attempts, started_ms,"
            " ended_ms FROM task ORDER BY coalesce(started_ms, 9e15), task_id",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        json_t *task = rows_object(&rows);
        json_t *proof = json_object_get(by_uid, json_text(task, "shard_uid", ""));

        json_object_set_new(task, "stage", json_string(stage_word(json_int(task, "stage", 0))));
        if (proof)
            json_array_append(json_object_get(proof, "times"), task);
        json_array_append_new(list, task);
    }
    return rows_end(&rows, err);
}

/* As in the status, without the shards ("proof" has them); with the reason for leaving one out. */
static json_t *databases_json(const json_t *status)
{
    json_t *list = json_array();
    size_t i;
    json_t *database;

    json_array_foreach (json_object_get(status, "databases"), i, database) {
        json_t *o = json_copy(database);
        bool skipped = strcmp(json_text(o, "state", ""), "skipped") == 0;
        copy_field(o, "skipped", skipped ? database : NULL, "reason");
        json_object_del(o, "shards");
        json_array_append_new(list, o);
    }
    return list;
}

static int add_cluster(struct state *st, json_t *report, struct err *err)
{
    struct rows rows;

    json_object_set_new(report, "cluster", json_object());
    if (state_query(st, &rows, err, "SELECT name, saved_ms, format FROM cluster", "") < 0)
        return -1;
    while (rows_next(&rows))
        json_object_set_new(report, "cluster", rows_object(&rows));
    return rows_end(&rows, err);
}

static int add_plan(struct state *st, json_t *report, struct err *err)
{
    struct rows rows;

    json_object_set_new(report, "plan", json_null());
    if (state_query(st, &rows, err,
            "SELECT document AS \"plan:json\" FROM plan ORDER BY plan_id DESC LIMIT 1", "") < 0)
        return -1;
    while (rows_next(&rows))
        json_object_update_new(report, rows_object(&rows));
    return rows_end(&rows, err);
}

/* Adds the planned times of a shard to its proof. */
static void add_planned(const json_t *report, const json_t *by_uid)
{
    const json_t *database, *shard, *plan = json_object_get(report, "plan");
    size_t i, k;

    json_array_foreach (json_object_get(plan, "databases"), i, database) {
        json_array_foreach (json_object_get(database, "shards"), k, shard) {
            json_t *proof = json_object_get(by_uid, json_text(shard, "uid", ""));
            copy_field(proof, "planned_transfer_s", proof ? shard : NULL, "transfer_s");
            copy_field(proof, "planned_load_s", proof ? shard : NULL, "load_s");
        }
    }
}

static int add_findings(struct state *st, json_t *report, struct err *err)
{
    json_t *list = json_array();
    struct rows rows;

    json_object_set_new(report, "findings", list);
    if (state_query(st, &rows, err,
            "SELECT severity, code, message, keys AS \"keys:json\" FROM finding ORDER BY finding_id",
            "") < 0)
        return -1;
    while (rows_next(&rows))
        json_array_append_new(list, rows_object(&rows));
    return rows_end(&rows, err);
}

static int add_events(struct state *st, json_t *report, struct err *err)
{
    json_t *list = json_array();
    struct rows rows;

    json_object_set_new(report, "events", list);
    if (state_query(st, &rows, err,
            "SELECT at_ms, severity, code, database_uid, shard_uid, host, stage, message,"
            " detail AS \"detail:json\" FROM event ORDER BY event_id",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        json_t *o = rows_object(&rows), *detail = json_object_get(o, "detail");
        if (!json_is_null(detail))
            json_object_set_new(o, "detail", secret_mask_json(detail));
        json_array_append_new(list, o);
    }
    return rows_end(&rows, err);
}

int report_json(struct state *st, const char *path, json_t **ret, struct err *err)
{
    json_t *status, *report, *by_uid;

    if (report_status_json(st, path, &status, err) < 0)
        return -1;
    report = json_object();
    by_uid = json_object();
    json_object_set_new(report, "version", json_string(RECLUSTER_VERSION));
    json_object_set_new(report, "made_ms", json_integer(clock_wall_ms()));
    json_object_set_new(report, "status", status);
    json_object_set_new(report, "databases", databases_json(status));
    if (add_cluster(st, report, err) < 0 || add_plan(st, report, err) < 0 ||
        add_findings(st, report, err) < 0 || add_proof(st, report, by_uid, err) < 0 ||
        add_tasks(st, report, by_uid, err) < 0 || add_events(st, report, err) < 0) {
        json_decref(by_uid);
        json_decref(report);
        return err_wrap(err, "cannot read the state of the recovery");
    }
    add_planned(report, by_uid);
    json_decref(by_uid);
    *ret = report;
    return 0;
}
