/* The plan as a document, and the part of it that the hash covers. */

#include <stdlib.h>
#include <string.h>

#include "recluster/announced.h"
#include "recluster/clock.h"
#include "recluster/protocol.h"
#include "steps.h"

/* A text or null. Names may have any bytes: those that are not UTF-8 become "\xHH". */
static json_t *text_value(const char *s)
{
    if (!s)
        return json_null();
    json_t *value = json_string(s);
    if (value)
        return value;
    struct buf escaped = BUF_INIT;
    for (; *s; s++)
        if ((unsigned char)*s < 0x80)
            buf_addc(&escaped, *s);
        else
            buf_addf(&escaped, "\\x%02x", (unsigned)(unsigned char)*s);
    value = json_string(escaped.data);
    buf_release(&escaped);
    return value;
}

static json_t *integer_value(int64_t n)
{
    return json_integer((json_int_t)n);
}

static void put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static const struct host *host_of(const struct plan *plan, const struct plan_shard *shard)
{
    return shard->host >= 0 ? plan->hosts[shard->host].host : NULL;
}

static const char *source_name(const struct backup_file *file)
{
    return file->where ? file->where : file->name;
}

static json_t *sources_json(const struct plan_shard *shard)
{
    if (!plan_shard_needs_cut(shard))
        return json_null();
    json_t *list = json_array();
    for (size_t i = 0; i < shard->file_count; i++)
        json_array_append_new(list, text_value(source_name(shard->files[i])));
    return list;
}

static int64_t source_bytes(const struct plan_shard *shard)
{
    int64_t bytes = 0;

    for (size_t i = 0; i < shard->file_count; i++) {
        if (shard->files[i]->bytes < 0)
            return -1;
        bytes += shard->files[i]->bytes;
    }
    return shard->file_count > 0 ? bytes : -1;
}

/* The part of the document that the hash covers. */
static json_t *shard_essence(const struct plan *plan, const struct plan_shard *shard)
{
    const struct host *host = host_of(plan, shard);
    json_t *o = json_object();

    put(o, "uid", text_value(shard->shard->uid));
    put(o, "database", text_value(plan->databases[shard->database].database->uid));
    put(o, "role", text_value(shard->primary < 0 ? "primary" : "replica"));
    put(o, "primary",
        text_value(shard->primary < 0 ? NULL : plan->shards[shard->primary].shard->uid));
    put(o, "host", text_value(host ? host->name : NULL));
    put(o, "addr", text_value(host ? host->addr : NULL));
    put(o, "port", integer_value(shard->port));
    put(o, "bus_port", integer_value(shard->bus_port));
    if (shard->other_port)
        put(o, "other_port", integer_value(shard->other_port));
    if (host && announced_differs(host->spec)) {
        put(o, "announce_addr", text_value(host->announced));
        put(o, "announce_port", integer_value(announced_port(host->spec, shard->port)));
    }
    put(o, "dir", text_value(shard->dir));
    put(o, "slots", slots_to_json(shard->shard->slots));
    put(o, "source", text_value(shard->file ? source_name(shard->file) : NULL));
    put(o, "sources", sources_json(shard));
    return o;
}

static json_t *sentinels_json(const struct plan *plan, const struct plan_database *db)
{
    json_t *list = json_array();

    for (size_t i = 0; i < db->sentinel_count; i++) {
        const struct host *host = plan->hosts[db->sentinels[i].host].host;
        json_t *o = json_object();
        put(o, "host", text_value(host->name));
        put(o, "addr", text_value(host->addr));
        put(o, "port", integer_value(db->sentinels[i].port));
        if (announced_differs(host->spec)) {
            put(o, "announce_addr", text_value(host->announced));
            put(o, "announce_port",
                integer_value(announced_port(host->spec, db->sentinels[i].port)));
        }
        put(o, "dir", text_value(db->sentinels[i].dir));
        json_array_append_new(list, o);
    }
    return list;
}

json_t *plan_essence(const struct plan *plan)
{
    json_t *o = json_object(), *databases = json_array(), *shards = json_array();

    put(o, "ccs_sha256", text_value(plan->ccs_sha256));
    put(o, "databases", databases);
    put(o, "shards", shards);
    for (size_t i = 0; i < plan->database_count; i++) {
        const struct plan_database *db = &plan->databases[i];
        json_t *d = json_object();
        put(d, "uid", text_value(db->database->uid));
        put(d, "skipped", json_boolean(db->skipped != NULL));
        put(d, "location", text_value(db->location_label));
        put(d, "set", text_value(db->set ? db->set->id : NULL));
        put(d, "maxmemory", integer_value(db->maxmemory_bytes));
        put(d, "slots_lost", slots_to_json(&db->lost));
        put(d, "login", text_value(plan_login_name(db->login)));
        if (db->sentinel_count > 0)
            put(d, "sentinels", sentinels_json(plan, db));
        json_array_append_new(databases, d);
    }
    for (size_t s = 0; s < plan->shard_count; s++) {
        const struct plan_shard *shard = &plan->shards[s];
        const struct host *host = host_of(plan, shard);
        json_t *d = shard_essence(plan, shard);
        put(d, "base_dir", text_value(host ? host->base_dir : NULL));
        put(d, "bytes", integer_value(source_bytes(shard)));
        json_array_append_new(shards, d);
    }
    return o;
}

static json_t *backup_set_json(const struct plan_database *db)
{
    const struct backup_set *backup = db->set;
    json_t *o, *files = json_array();
    char time[CLOCK_TEXT_MAX];

    if (!backup) {
        json_decref(files);
        return json_null();
    }
    o = json_object();
    put(o, "id", text_value(backup->id));
    put(o, "time",
        backup->time_ms >= 0 ? text_value(clock_format(backup->time_ms, time)) : json_null());
    put(o, "age_s", db->age_s >= 0 ? integer_value(db->age_s) : json_null());
    put(o, "skew_s", db->skew_s >= 0 ? integer_value(db->skew_s) : json_null());
    put(o, "disks", json_boolean(backup->disks != NULL));
    put(o, "files", files);
    for (size_t i = 0; i < backup->file_count; i++) {
        const struct backup_file *file = &backup->files[i];
        json_t *f = json_object();
        put(f, "name", text_value(file->name));
        put(f, "bytes", file->bytes >= 0 ? integer_value(file->bytes) : json_null());
        put(f, "slots", slots_to_json(&file->slots));
        put(f, "where", text_value(file->where));
        put(f, "host", text_value(file->host));
        put(f, "kind", text_value(file->kind));
        put(f, "time",
            file->kind && file->time_ms >= 0 ? text_value(clock_format(file->time_ms, time))
                                             : json_null());
        json_array_append_new(files, f);
    }
    return o;
}

/* Users that the database did not have before. */
static json_t *users_added_json(const struct plan_database *db)
{
    json_t *list = json_array();

    json_array_append_new(list, json_string(REPLICATION_USER));
    if (db->sentinel_count > 0)
        json_array_append_new(list, json_string(SENTINEL_USER));
    if (db->adds_admin)
        json_array_append_new(list, json_string(ADMIN_USER));
    return list;
}

static json_t *database_json(const struct plan *plan, const struct plan_database *db)
{
    json_t *o = json_object(), *shards = json_array(), *endpoints = json_array();

    put(o, "uid", text_value(db->database->uid));
    put(o, "label", text_value(db->database->label));
    put(o, "name", text_value(db->database->name));
    put(o, "skipped", text_value(db->skipped));
    put(o, "source", text_value(db->location_label));
    put(o, "backup_set", backup_set_json(db));
    put(o, "primaries", db->resharded ? integer_value(plan_primaries(plan, db)) : json_null());
    put(o, "slots_lost", slots_to_json(&db->lost));
    put(o, "maxmemory", integer_value(db->maxmemory_bytes));
    put(o, "login", text_value(plan_login_name(db->login)));
    put(o, "client_rules", text_value(db->data_commands_only ? "data" : "all"));
    put(o, "shards", shards);
    put(o, "endpoints", endpoints);
    put(o, "sentinels", sentinels_json(plan, db));
    put(o, "prove_failover", json_boolean(db->prove_failover));
    put(o, "users_added", users_added_json(db));
    put(o, "settings_own",
        db->database->settings_own ? json_deep_copy(db->database->settings_own) : json_array());
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *shard = &plan->shards[s];
        json_t *d = shard_essence(plan, shard);
        put(d, "memory", integer_value(shard->memory_bytes));
        put(d, "disk", integer_value(shard->disk_bytes));
        put(d, "transfer_s", json_real(shard->transfer_s));
        put(d, "load_s", json_real(shard->load_s));
        json_array_append_new(shards, d);
    }
    for (size_t i = 0; i < db->endpoint_count; i++) {
        json_t *e = json_object();
        put(e, "addr", text_value(db->endpoints[i].addr));
        put(e, "port", integer_value(db->endpoints[i].port));
        put(e, "tls", json_boolean(db->endpoints[i].tls));
        json_array_append_new(endpoints, e);
    }
    return o;
}

static json_t *rate_value(double bytes_per_second)
{
    return bytes_per_second > 0 ? json_real(bytes_per_second) : json_null();
}

static bool is_measured(const struct plan_host *host)
{
    return host->network > 0 || host->disk_write > 0;
}

static json_t *measured_json(const struct plan_host *host)
{
    json_t *o;

    if (!is_measured(host))
        return json_null();
    o = json_object();
    put(o, "network", rate_value(host->network));
    put(o, "disk_write", rate_value(host->disk_write));
    put(o, "disk_read", rate_value(host->disk_read));
    return o;
}

static json_t *host_json(const struct plan_host *host)
{
    json_t *o = json_object();

    put(o, "name", text_value(host->host->name));
    put(o, "addr", text_value(host->host->addr));
    put(o, "rack", text_value(host->host->rack));
    put(o, "second_rack", text_value(host->host->second_rack));
    put(o, "usable", json_boolean(host->usable));
    put(o, "memory", integer_value(host->memory_bytes));
    put(o, "planned_memory", integer_value(host->planned_bytes));
    put(o, "disk_free",
        host->disk_free_bytes >= 0 ? integer_value(host->disk_free_bytes) : json_null());
    put(o, "planned_disk", integer_value(host->planned_disk_bytes));
    put(o, "cores", integer_value(host->cores));
    put(o, "measured", measured_json(host));
    put(o, "shards", integer_value((int64_t)host->shard_count));
    return o;
}

static json_t *issues_json(const struct plan_issue *issues, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        put(o, "code", text_value(issues[i].code));
        put(o, "message", text_value(issues[i].message));
        put(o, "hint", text_value(issues[i].hint));
        put(o, "database", text_value(issues[i].database));
        put(o, "host", text_value(issues[i].host));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *stages_json(const struct plan *plan)
{
    json_t *list = json_array();

    for (int i = STAGE_PREPARE; i <= STAGE_OPEN; i++) {
        json_t *o = json_object();
        put(o, "stage", text_value(plan_stage_name((enum plan_stage)i)));
        put(o, "bytes", integer_value(plan->stages[i].bytes));
        put(o, "seconds", json_real(plan->stages[i].seconds));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *rates_json(const struct plan *plan)
{
    const struct plan_rates *rates = plan->rates;
    json_t *o = json_object();
    int64_t hosts = 0;

    for (size_t i = 0; i < plan->host_count; i++)
        hosts += is_measured(&plan->hosts[i]);

    put(o, "transfer", json_real(rates->transfer));
    put(o, "load", json_real(rates->load));
    put(o, "sync", json_real(rates->sync));
    put(o, "source", text_value(rates->source));
    put(o, "measured_hosts", integer_value(hosts));
    return o;
}

static json_t *unchecked_json(const struct plan *plan)
{
    json_t *list = json_array();

    for (size_t i = 0; i < plan->unchecked_count; i++)
        json_array_append_new(list, text_value(plan->unchecked[i]));
    return list;
}

json_t *plan_json(const struct plan *plan)
{
    json_t *o = json_object(), *databases = json_array(), *hosts = json_array();

    put(o, "hash", text_value(plan->hash));
    put(o, "feasible", json_boolean(plan->feasible));
    put(o, "ccs_sha256", text_value(plan->ccs_sha256));
    put(o, "made_ms", integer_value(plan->made_ms));
    put(o, "offline", json_boolean(plan->offline));
    put(o, "options", plan->options ? json_deep_copy(plan->options) : json_object());
    put(o, "databases", databases);
    put(o, "hosts", hosts);
    put(o, "stages", stages_json(plan));
    put(o, "rates", rates_json(plan));
    put(o, "logins", plan->logins ? json_deep_copy(plan->logins) : json_array());
    put(o, "unchecked", unchecked_json(plan));
    put(o, "blockers", issues_json(plan->blockers, plan->blocker_count));
    put(o, "warnings", issues_json(plan->warnings, plan->warning_count));
    for (size_t i = 0; i < plan->database_count; i++)
        json_array_append_new(databases, database_json(plan, &plan->databases[i]));
    for (size_t i = 0; i < plan->host_count; i++)
        json_array_append_new(hosts, host_json(&plan->hosts[i]));
    return o;
}

const json_t *plan_json_database(const json_t *document, const char *uid)
{
    const json_t *database;
    size_t i;

    json_array_foreach (json_object_get(document, "databases"), i, database)
        if (strcmp(json_text(database, "uid", ""), uid) == 0)
            return database;
    return NULL;
}
