/* The plan as a document, and the part of it that its hash is over. */

#include <stdlib.h>

#include "draft.h"
#include "recluster/clock.h"

/* A text or null. Names of files and databases may be any bytes: those of none UTF-8 become "\xHH". */
static json_t *text(const char *s)
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

static json_t *integer(int64_t n)
{
    return json_integer((json_int_t)n);
}

static void set(json_t *object, const char *key, json_t *value)
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
        json_array_append_new(list, text(source_name(shard->files[i])));
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

/* What stands in the document and counts for the hash. */
static json_t *shard_essence(const struct plan *plan, const struct plan_shard *shard)
{
    const struct host *host = host_of(plan, shard);
    json_t *o = json_object();

    set(o, "uid", text(shard->shard->uid));
    set(o, "database", text(plan->databases[shard->database].database->uid));
    set(o, "role", text(shard->primary < 0 ? "primary" : "replica"));
    set(o, "primary", text(shard->primary < 0 ? NULL : plan->shards[shard->primary].shard->uid));
    set(o, "host", text(host ? host->name : NULL));
    set(o, "addr", text(host ? host->addr : NULL));
    set(o, "port", integer(shard->port));
    set(o, "bus_port", integer(shard->bus_port));
    set(o, "dir", text(shard->dir));
    set(o, "slots", slots_to_json(shard->shard->slots));
    set(o, "source", text(shard->file ? source_name(shard->file) : NULL));
    set(o, "sources", sources_json(shard));
    return o;
}

json_t *plan_essence(const struct plan *plan)
{
    json_t *o = json_object(), *databases = json_array(), *shards = json_array();

    set(o, "ccs_sha256", text(plan->ccs_sha256));
    set(o, "databases", databases);
    set(o, "shards", shards);
    for (size_t i = 0; i < plan->database_count; i++) {
        const struct plan_database *db = &plan->databases[i];
        json_t *d = json_object();
        set(d, "uid", text(db->database->uid));
        set(d, "skipped", json_boolean(db->skipped != NULL));
        set(d, "location", text(db->location_label));
        set(d, "set", text(db->set ? db->set->id : NULL));
        set(d, "maxmemory", integer(db->maxmemory_bytes));
        set(d, "slots_lost", slots_to_json(&db->lost));
        set(d, "login", text(plan_login_name(db->login)));
        json_array_append_new(databases, d);
    }
    for (size_t s = 0; s < plan->shard_count; s++) {
        const struct plan_shard *shard = &plan->shards[s];
        const struct host *host = host_of(plan, shard);
        json_t *d = shard_essence(plan, shard);
        set(d, "base_dir", text(host ? host->base_dir : NULL));
        set(d, "bytes", integer(source_bytes(shard)));
        json_array_append_new(shards, d);
    }
    return o;
}

static int64_t primaries_of(const struct plan *plan, const struct plan_database *db)
{
    int64_t count = 0;

    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        count += plan->shards[s].primary < 0;
    return count;
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
    set(o, "id", text(backup->id));
    set(o, "time", backup->time_ms >= 0 ? text(clock_format(backup->time_ms, time)) : json_null());
    set(o, "age_s", db->age_s >= 0 ? integer(db->age_s) : json_null());
    set(o, "skew_s", db->skew_s >= 0 ? integer(db->skew_s) : json_null());
    set(o, "disks", json_boolean(backup->disks != NULL));
    set(o, "files", files);
    for (size_t i = 0; i < backup->file_count; i++) {
        const struct backup_file *file = &backup->files[i];
        json_t *f = json_object();
        set(f, "name", text(file->name));
        set(f, "bytes", file->bytes >= 0 ? integer(file->bytes) : json_null());
        set(f, "slots", slots_to_json(&file->slots));
        set(f, "where", text(file->where));
        set(f, "host", text(file->host));
        set(f, "kind", text(file->kind));
        set(f, "time",
            file->kind && file->time_ms >= 0 ? text(clock_format(file->time_ms, time))
                                             : json_null());
        json_array_append_new(files, f);
    }
    return o;
}

static json_t *database_json(const struct plan *plan, const struct plan_database *db)
{
    json_t *o = json_object(), *shards = json_array(), *endpoints = json_array();

    set(o, "uid", text(db->database->uid));
    set(o, "label", text(db->database->label));
    set(o, "name", text(db->database->name));
    set(o, "skipped", text(db->skipped));
    set(o, "source", text(db->location_label));
    set(o, "backup_set", backup_set_json(db));
    set(o, "primaries", db->resharded ? integer(primaries_of(plan, db)) : json_null());
    set(o, "slots_lost", slots_to_json(&db->lost));
    set(o, "maxmemory", integer(db->maxmemory_bytes));
    set(o, "login", text(plan_login_name(db->login)));
    set(o, "client_rules", text(db->data_commands_only ? "data" : "all"));
    set(o, "shards", shards);
    set(o, "endpoints", endpoints);
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *shard = &plan->shards[s];
        json_t *d = shard_essence(plan, shard);
        set(d, "memory", integer(shard->memory_bytes));
        set(d, "disk", integer(shard->disk_bytes));
        set(d, "transfer_s", json_real(shard->transfer_s));
        set(d, "load_s", json_real(shard->load_s));
        json_array_append_new(shards, d);
    }
    for (size_t i = 0; i < db->endpoint_count; i++) {
        json_t *e = json_object();
        set(e, "addr", text(db->endpoints[i].addr));
        set(e, "port", integer(db->endpoints[i].port));
        json_array_append_new(endpoints, e);
    }
    return o;
}

static json_t *rate(double bytes_per_second)
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
    set(o, "network", rate(host->network));
    set(o, "disk_write", rate(host->disk_write));
    set(o, "disk_read", rate(host->disk_read));
    return o;
}

static json_t *host_json(const struct plan_host *host)
{
    json_t *o = json_object();

    set(o, "name", text(host->host->name));
    set(o, "addr", text(host->host->addr));
    set(o, "rack", text(host->host->rack));
    set(o, "second_rack", text(host->host->second_rack));
    set(o, "usable", json_boolean(host->usable));
    set(o, "memory", integer(host->memory_bytes));
    set(o, "planned_memory", integer(host->planned_bytes));
    set(o, "disk_free", host->disk_free_bytes >= 0 ? integer(host->disk_free_bytes) : json_null());
    set(o, "planned_disk", integer(host->planned_disk_bytes));
    set(o, "cores", integer(host->cores));
    set(o, "measured", measured_json(host));
    set(o, "shards", integer((int64_t)host->shard_count));
    return o;
}

static json_t *issues_json(const struct plan_issue *issues, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        set(o, "code", text(issues[i].code));
        set(o, "message", text(issues[i].message));
        set(o, "hint", text(issues[i].hint));
        set(o, "database", text(issues[i].database));
        set(o, "host", text(issues[i].host));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *stages_json(const struct plan *plan)
{
    json_t *list = json_array();

    for (int i = STAGE_PREPARE; i <= STAGE_OPEN; i++) {
        json_t *o = json_object();
        set(o, "stage", text(plan_stage_name((enum plan_stage)i)));
        set(o, "bytes", integer(plan->stages[i].bytes));
        set(o, "seconds", json_real(plan->stages[i].seconds));
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

    set(o, "transfer", json_real(rates->transfer));
    set(o, "load", json_real(rates->load));
    set(o, "sync", json_real(rates->sync));
    set(o, "source", text(rates->source));
    set(o, "measured_hosts", integer(hosts));
    return o;
}

static json_t *unchecked_json(const struct plan *plan)
{
    json_t *list = json_array();

    for (size_t i = 0; i < plan->unchecked_count; i++)
        json_array_append_new(list, text(plan->unchecked[i]));
    return list;
}

json_t *plan_json(const struct plan *plan)
{
    json_t *o = json_object(), *databases = json_array(), *hosts = json_array();

    set(o, "hash", text(plan->hash));
    set(o, "feasible", json_boolean(plan->feasible));
    set(o, "ccs_sha256", text(plan->ccs_sha256));
    set(o, "made_ms", integer(plan->made_ms));
    set(o, "offline", json_boolean(plan->offline));
    set(o, "options", plan->options ? json_deep_copy(plan->options) : json_object());
    set(o, "databases", databases);
    set(o, "hosts", hosts);
    set(o, "stages", stages_json(plan));
    set(o, "rates", rates_json(plan));
    set(o, "logins", plan->logins ? json_deep_copy(plan->logins) : json_array());
    set(o, "unchecked", unchecked_json(plan));
    set(o, "blockers", issues_json(plan->blockers, plan->blocker_count));
    set(o, "warnings", issues_json(plan->warnings, plan->warning_count));
    for (size_t i = 0; i < plan->database_count; i++)
        json_array_append_new(databases, database_json(plan, &plan->databases[i]));
    for (size_t i = 0; i < plan->host_count; i++)
        json_array_append_new(hosts, host_json(&plan->hosts[i]));
    return o;
}
