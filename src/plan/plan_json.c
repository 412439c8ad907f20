/* The plan as a document, and the part of it that the hash covers. */

#include <stdlib.h>

#include "recluster/clock.h"
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

static void set_value(json_t *object, const char *key, json_t *value)
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

    set_value(o, "uid", text_value(shard->shard->uid));
    set_value(o, "database", text_value(plan->databases[shard->database].database->uid));
    set_value(o, "role", text_value(shard->primary < 0 ? "primary" : "replica"));
    set_value(o, "primary",
        text_value(shard->primary < 0 ? NULL : plan->shards[shard->primary].shard->uid));
    set_value(o, "host", text_value(host ? host->name : NULL));
    set_value(o, "addr", text_value(host ? host->addr : NULL));
    set_value(o, "port", integer_value(shard->port));
    set_value(o, "bus_port", integer_value(shard->bus_port));
    set_value(o, "dir", text_value(shard->dir));
    set_value(o, "slots", slots_to_json(shard->shard->slots));
    set_value(o, "source", text_value(shard->file ? source_name(shard->file) : NULL));
    set_value(o, "sources", sources_json(shard));
    return o;
}

json_t *plan_essence(const struct plan *plan)
{
    json_t *o = json_object(), *databases = json_array(), *shards = json_array();

    set_value(o, "ccs_sha256", text_value(plan->ccs_sha256));
    set_value(o, "databases", databases);
    set_value(o, "shards", shards);
    for (size_t i = 0; i < plan->database_count; i++) {
        const struct plan_database *db = &plan->databases[i];
        json_t *d = json_object();
        set_value(d, "uid", text_value(db->database->uid));
        set_value(d, "skipped", json_boolean(db->skipped != NULL));
        set_value(d, "location", text_value(db->location_label));
        set_value(d, "set", text_value(db->set ? db->set->id : NULL));
        set_value(d, "maxmemory", integer_value(db->maxmemory_bytes));
        set_value(d, "slots_lost", slots_to_json(&db->lost));
        set_value(d, "login", text_value(plan_login_name(db->login)));
        json_array_append_new(databases, d);
    }
    for (size_t s = 0; s < plan->shard_count; s++) {
        const struct plan_shard *shard = &plan->shards[s];
        const struct host *host = host_of(plan, shard);
        json_t *d = shard_essence(plan, shard);
        set_value(d, "base_dir", text_value(host ? host->base_dir : NULL));
        set_value(d, "bytes", integer_value(source_bytes(shard)));
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
    set_value(o, "id", text_value(backup->id));
    set_value(o, "time",
        backup->time_ms >= 0 ? text_value(clock_format(backup->time_ms, time)) : json_null());
    set_value(o, "age_s", db->age_s >= 0 ? integer_value(db->age_s) : json_null());
    set_value(o, "skew_s", db->skew_s >= 0 ? integer_value(db->skew_s) : json_null());
    set_value(o, "disks", json_boolean(backup->disks != NULL));
    set_value(o, "files", files);
    for (size_t i = 0; i < backup->file_count; i++) {
        const struct backup_file *file = &backup->files[i];
        json_t *f = json_object();
        set_value(f, "name", text_value(file->name));
        set_value(f, "bytes", file->bytes >= 0 ? integer_value(file->bytes) : json_null());
        set_value(f, "slots", slots_to_json(&file->slots));
        set_value(f, "where", text_value(file->where));
        set_value(f, "host", text_value(file->host));
        set_value(f, "kind", text_value(file->kind));
        set_value(f, "time",
            file->kind && file->time_ms >= 0 ? text_value(clock_format(file->time_ms, time))
                                             : json_null());
        json_array_append_new(files, f);
    }
    return o;
}

static json_t *database_json(const struct plan *plan, const struct plan_database *db)
{
    json_t *o = json_object(), *shards = json_array(), *endpoints = json_array();

    set_value(o, "uid", text_value(db->database->uid));
    set_value(o, "label", text_value(db->database->label));
    set_value(o, "name", text_value(db->database->name));
    set_value(o, "skipped", text_value(db->skipped));
    set_value(o, "source", text_value(db->location_label));
    set_value(o, "backup_set", backup_set_json(db));
    set_value(
        o, "primaries", db->resharded ? integer_value(plan_primaries(plan, db)) : json_null());
    set_value(o, "slots_lost", slots_to_json(&db->lost));
    set_value(o, "maxmemory", integer_value(db->maxmemory_bytes));
    set_value(o, "login", text_value(plan_login_name(db->login)));
    set_value(o, "client_rules", text_value(db->data_commands_only ? "data" : "all"));
    set_value(o, "shards", shards);
    set_value(o, "endpoints", endpoints);
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *shard = &plan->shards[s];
        json_t *d = shard_essence(plan, shard);
        set_value(d, "memory", integer_value(shard->memory_bytes));
        set_value(d, "disk", integer_value(shard->disk_bytes));
        set_value(d, "transfer_s", json_real(shard->transfer_s));
        set_value(d, "load_s", json_real(shard->load_s));
        json_array_append_new(shards, d);
    }
    for (size_t i = 0; i < db->endpoint_count; i++) {
        json_t *e = json_object();
        set_value(e, "addr", text_value(db->endpoints[i].addr));
        set_value(e, "port", integer_value(db->endpoints[i].port));
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
    set_value(o, "network", rate_value(host->network));
    set_value(o, "disk_write", rate_value(host->disk_write));
    set_value(o, "disk_read", rate_value(host->disk_read));
    return o;
}

static json_t *host_json(const struct plan_host *host)
{
    json_t *o = json_object();

    set_value(o, "name", text_value(host->host->name));
    set_value(o, "addr", text_value(host->host->addr));
    set_value(o, "rack", text_value(host->host->rack));
    set_value(o, "second_rack", text_value(host->host->second_rack));
    set_value(o, "usable", json_boolean(host->usable));
    set_value(o, "memory", integer_value(host->memory_bytes));
    set_value(o, "planned_memory", integer_value(host->planned_bytes));
    set_value(o, "disk_free",
        host->disk_free_bytes >= 0 ? integer_value(host->disk_free_bytes) : json_null());
    set_value(o, "planned_disk", integer_value(host->planned_disk_bytes));
    set_value(o, "cores", integer_value(host->cores));
    set_value(o, "measured", measured_json(host));
    set_value(o, "shards", integer_value((int64_t)host->shard_count));
    return o;
}

static json_t *issues_json(const struct plan_issue *issues, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        set_value(o, "code", text_value(issues[i].code));
        set_value(o, "message", text_value(issues[i].message));
        set_value(o, "hint", text_value(issues[i].hint));
        set_value(o, "database", text_value(issues[i].database));
        set_value(o, "host", text_value(issues[i].host));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *stages_json(const struct plan *plan)
{
    json_t *list = json_array();

    for (int i = STAGE_PREPARE; i <= STAGE_OPEN; i++) {
        json_t *o = json_object();
        set_value(o, "stage", text_value(plan_stage_name((enum plan_stage)i)));
        set_value(o, "bytes", integer_value(plan->stages[i].bytes));
        set_value(o, "seconds", json_real(plan->stages[i].seconds));
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

    set_value(o, "transfer", json_real(rates->transfer));
    set_value(o, "load", json_real(rates->load));
    set_value(o, "sync", json_real(rates->sync));
    set_value(o, "source", text_value(rates->source));
    set_value(o, "measured_hosts", integer_value(hosts));
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

    set_value(o, "hash", text_value(plan->hash));
    set_value(o, "feasible", json_boolean(plan->feasible));
    set_value(o, "ccs_sha256", text_value(plan->ccs_sha256));
    set_value(o, "made_ms", integer_value(plan->made_ms));
    set_value(o, "offline", json_boolean(plan->offline));
    set_value(o, "options", plan->options ? json_deep_copy(plan->options) : json_object());
    set_value(o, "databases", databases);
    set_value(o, "hosts", hosts);
    set_value(o, "stages", stages_json(plan));
    set_value(o, "rates", rates_json(plan));
    set_value(o, "logins", plan->logins ? json_deep_copy(plan->logins) : json_array());
    set_value(o, "unchecked", unchecked_json(plan));
    set_value(o, "blockers", issues_json(plan->blockers, plan->blocker_count));
    set_value(o, "warnings", issues_json(plan->warnings, plan->warning_count));
    for (size_t i = 0; i < plan->database_count; i++)
        json_array_append_new(databases, database_json(plan, &plan->databases[i]));
    for (size_t i = 0; i < plan->host_count; i++)
        json_array_append_new(hosts, host_json(&plan->hosts[i]));
    return o;
}
