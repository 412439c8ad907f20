#include <limits.h>
#include <string.h>
#include <strings.h>

#include "fields.h"
#include "recluster/json.h"
#include "recluster/secret.h"
#include "recluster/store.h"
#include "typed.h"

/* Redis Enterprise's default for a missing snapshot policy. */
static const struct ccs_save_point default_save_point = {3600, 1};

bool typed_slots_policy(const char *text, enum ccs_slots_policy *ret)
{
    if (text && strcasecmp(text, "16k") != 0 && strcasecmp(text, "legacy") != 0)
        return false;
    *ret = text && strcasecmp(text, "legacy") == 0 ? CCS_SLOTS_LEGACY : CCS_SLOTS_16K;
    return true;
}

static const char *read_slots_policy(const struct reader *r)
{
    const char *text = read_text(r, "hash_slots_policy", NULL);
    enum ccs_slots_policy policy = CCS_SLOTS_16K;

    if (!typed_slots_policy(text, &policy))
        reader_refuse(r, "hash_slots_policy", text);
    return policy == CCS_SLOTS_LEGACY ? "legacy" : "16k";
}

static const char *read_eviction_policy(const struct reader *r)
{
    const char *text = read_text(r, "eviction_policy", "noeviction");
    const char *policy = value_eviction_policy(text);

    if (!policy)
        reader_refuse(r, "eviction_policy", text);
    return policy ? policy : "noeviction";
}

static enum ccs_persistence read_persistence(const struct reader *r)
{
    const char *text = read_text(r, "data_persistence", "disabled");
    enum ccs_persistence persistence = CCS_PERSIST_NONE;

    if (!value_persistence(text, &persistence))
        reader_refuse(r, "data_persistence", text);
    return persistence;
}

/* data_persistence may name the policy itself. */
static bool read_fsync(const struct reader *r)
{
    const char *text = read_text(r, "aof_policy", NULL);
    bool always = false;

    if (text && !value_fsync(text, &always))
        reader_refuse(r, "aof_policy", text);
    const char *kind = object_text(r->object, "data_persistence");
    if (!text && kind)
        value_fsync(kind, &always);
    return always;
}

static json_t *save_points_json(const struct reader *r, enum ccs_persistence persistence)
{
    struct ccs_save_point fallback = default_save_point, *points = &fallback;
    const char *text = read_text(r, "snapshot_policy", NULL);
    size_t count = 1;

    if (persistence != CCS_PERSIST_SNAPSHOT)
        return NULL;
    if (text && strcmp(text, "[]") != 0 && !value_save_points(r->arena, text, &points, &count))
        reader_refuse(r, "snapshot_policy", text);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list,
            json_pack("[I, I]", (json_int_t)points[i].seconds, (json_int_t)points[i].changes));
    return list;
}

/* The kind of a database that the vendor's replication keeps equal to others. */
static bool read_active_active(const struct reader *r)
{
    const char *sources = read_text(r, "crdt_sources", "[]");

    return read_bool(r, "crdt",
        read_text(r, "crdt_guid", NULL) || read_int(r, "crdt_replica_id", 0, INT_MAX, 0) > 0 ||
            strcmp(sources, "[]") != 0);
}

/* TLS only between the shards ("replica_ssl") does not concern clients. */
static bool read_tls(const struct reader *r)
{
    const char *text = read_text(r, "tls_mode|ssl", NULL);
    bool tls = false;

    if (text && strcasecmp(text, "replica_ssl") != 0 && !value_bool(text, &tls))
        reader_refuse(r, "tls_mode|ssl", text);
    return tls;
}

/* "tls_ports" is a field of captured CCS files. */
static bool read_tls_mixed(const struct reader *r)
{
    return strcmp(read_text(r, "tls_ports", "only"), "mixed") == 0;
}

static json_t *modules_json(const struct reader *r)
{
    size_t count;
    const char *const *names = read_list(r, "module_list", &count);
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

/* A location in separate fields: backup_location_type, backup_location_bucket_name, … */
static json_t *flat_location(const struct reader *r)
{
    static const char prefix[] = "backup_location_";
    json_t *location = json_object();

    for (size_t i = 0; i < r->object->count; i++) {
        const struct object_item *item = &r->object->items[i];
        if (!bytes_are_text(item->field) || !item->value.len || !bytes_are_text(item->value))
            continue;
        const char *field = item->field.data;
        if (strncmp(field, prefix, strlen(prefix)) == 0)
            json_object_set_new(location, field + strlen(prefix), json_string(item->value.data));
    }
    if (json_object_size(location) && value_location_complete(location))
        return location;
    if (json_object_size(location))
        finding_add(r->findings, FINDING_UNREADABLE_VALUE, json_pack("[s]", r->object->text),
            "the fields 'backup_location_…' of '%s' can't be read", r->object->text);
    json_decref(location);
    return NULL;
}

/* The endpoint of another S3 server is a setting of the cluster. */
static void add_s3_server(struct import *im, json_t *location)
{
    static const char *const fields[] = {"s3_url", "s3_ca_cert"};
    const struct object *cluster = objects_find(im->objects, "cluster", NULL);
    const char *type = json_text(location, "type", NULL);

    for (size_t i = 0; type && strcmp(type, "s3") == 0 && i < ARRAY_SIZE(fields); i++) {
        const char *value = object_text(cluster, fields[i]);
        if (value && !json_object_get(location, fields[i]))
            json_object_set_new(location, fields[i], json_string(value));
    }
}

/* It is stored as it is; its use reports the same error. */
static void check_location(const struct reader *r, const json_t *location)
{
    struct err why = ERR_INIT;
    json_t *kept = location ? store_location_of_ccs(location, NULL, &why) : NULL;

    if (why.code == ERR_CHECK)
        finding_add(r->findings, FINDING_UNREADABLE_VALUE, json_pack("[s]", r->object->text),
            "the backup location of '%s' can't be used: %s", r->object->text, why.message);
    json_decref(kept);
}

static json_t *read_location(struct import *im, const struct reader *r)
{
    static const char *const none[] = {"null", "None", "{}", "disabled"};
    const char *text = read_text(r, "backup_location", NULL);
    json_t *location = NULL;

    for (size_t i = 0; text && i < ARRAY_SIZE(none); i++)
        if (strcmp(text, none[i]) == 0)
            return NULL;
    if (!text) {
        location = flat_location(r);
    } else {
        location = value_location(text);
        if (!location)
            reader_refuse(r, "backup_location", text);
    }
    add_s3_server(im, location);
    check_location(r, location);
    return location;
}

struct shard_counts {
    int64_t partial; /* primaries that have some slots, but not all */
    int64_t replicas;
};

static int count_shards(struct import *im, const char *uid, struct shard_counts *ret)
{
    if (state_get_int(im->state, &ret->partial, im->err,
            "SELECT count(*) FROM shard WHERE database_uid = ? AND role = 'primary'"
            " AND slots NOT IN ('', '0-16383')",
            "s", uid) < 0)
        return -1;
    return state_get_int(im->state, &ret->replicas, im->err,
        "SELECT count(*) FROM shard WHERE database_uid = ? AND role = 'replica'", "s", uid);
}

struct topology {
    bool sharded, replicated;
    int64_t primaries; /* -1: unknown */
};

static enum ccs_login read_login(const struct reader *r)
{
    const char *name = "authentication_redis_pass";
    const struct object_item *password = object_field(r->object, name, strlen(name));

    if (strcmp(read_text(r, "login", ""), "unknown") == 0) /* capture.h */
        return CCS_LOGIN_UNKNOWN;
    if (!read_bool(r, "default_user", true))
        return CCS_LOGIN_OFF;
    if (!password || !password->value.len)
        return CCS_LOGIN_OPEN;
    return read_text(r, name, NULL) ? CCS_LOGIN_PASSWORD : CCS_LOGIN_UNREADABLE;
}

static bool read_client_certificates(const struct reader *r)
{
    const char *name = "authentication_ssl_client_certs";
    const struct object_item *certificates = object_field(r->object, name, strlen(name));
    bool some = certificates && certificates->value.len > strlen("[]");

    return some || read_bool(r, "enforce_client_authentication", false);
}

static int insert_database(
    struct import *im, const struct reader *r, const char *uid, const struct topology *topology)
{
    static const char *const persistence_names[] = {"none", "snapshot", "aof"};
    const enum ccs_persistence persistence = read_persistence(r);
    json_t *save_points = save_points_json(r, persistence);
    json_t *modules = modules_json(r);
    json_t *location = read_location(im, r), *masked = NULL;
    const char *password = read_text(r, "authentication_redis_pass", NULL);
    const enum ccs_login login = read_login(r);

    int64_t port = read_int(r, "port", 0, 65535, 0);
    int64_t max_clients = read_int(r, "maxclients|max_connections", 0, INT_MAX, 0);
    int64_t interval_s = read_int(r, "backup_interval", 0, INT64_MAX, 0);

    int rc = state_set_secret(im->state, "database.password", uid, password, im->err);
    if (rc == 0)
        rc = state_set_secrets_of(
            im->state, "database.backup_location", uid, location, &masked, im->err);
    const struct column row[] = {
        COL_TEXT("uid", uid),
        COL_TEXT("name", read_text(r, "name", NULL)),
        COL_TEXT("type", read_text(r, "type", "redis")),
        COL_TEXT("status", read_text(r, "status", "active")),
        COL_TEXT("redis_version", read_text(r, "redis_version|version", NULL)),
        COL_INT("sharded", topology->sharded),
        COL_INT("replicated", topology->replicated),
        COL_INT("rack_aware", read_bool(r, "rack_aware", false)),
        COL_INT("active_active", read_active_active(r)),
        COL_TEXT("slots_policy", read_slots_policy(r)),
        COL_INT_OR_NULL("primaries", topology->primaries, -1),
        COL_INT("memory_size", read_bytes(r, "memory_size", 0)),
        COL_INT_OR_NULL("port", port, 0),
        COL_INT_OR_NULL("max_clients", max_clients, 0),
        COL_TEXT("eviction_policy", read_eviction_policy(r)),
        COL_TEXT("persistence", persistence_names[persistence]),
        COL_INT("fsync_always", persistence == CCS_PERSIST_AOF && read_fsync(r)),
        COL_JSON("save_points", save_points),
        COL_TEXT("shards_placement", read_text(r, "shards_placement", "dense")),
        COL_TEXT("password", password ? SECRET_MASK : NULL),
        COL_INT("login_lost", login == CCS_LOGIN_OFF || login == CCS_LOGIN_UNREADABLE),
        COL_INT("tls", read_tls(r)),
        COL_INT("tls_mixed", read_tls_mixed(r)),
        COL_JSON("modules", modules),
        COL_JSON("backup_location", masked),
        COL_INT_OR_NULL("backup_interval_s", interval_s, 0),
        COL_TEXT("login", ccs_login_name(login)),
        COL_INT("client_certificates", read_client_certificates(r)),
        COL_END,
    };
    if (rc == 0)
        rc = state_insert(im->state, "database", row, im->err);
    json_decref(save_points);
    json_decref(modules);
    json_decref(location);
    json_decref(masked);
    return rc;
}

static int add_database(struct import *im, const struct reader *r, const char *uid)
{
    struct topology topology = {.primaries = read_int(r, "shards_count", 0, INT_MAX, -1)};
    struct shard_counts counts;

    if (count_shards(im, uid, &counts) < 0)
        return -1;
    /*
     * If shards have ranges, these count, not the settings: a shard that is taken for the whole
     * database would lose the others.
     */
    topology.sharded = read_bool(r, "sharding", false);
    topology.sharded |= read_bool(r, "oss_cluster|oss_cluster_mode", false);
    topology.sharded |= topology.primaries > 1 || counts.partial > 0;
    topology.replicated = read_bool(r, "replication", counts.replicas > 0);
    if (!topology.sharded &&
        state_run(im->state, im->err, "UPDATE shard SET slots = '0-16383' WHERE database_uid = ?",
            "s", uid) < 0)
        return -1;
    return insert_database(im, r, uid, &topology);
}

int typed_import_databases(struct import *im)
{
    const struct object *o;
    const char *uid;

    for (size_t at = 0; (o = objects_next(im->objects, "bdb", &at, &uid));) {
        arena_clear(&im->scratch);
        const struct reader r = {&im->findings, &im->scratch, o};
        if (add_database(im, &r, uid) < 0)
            return -1;
    }
    return 0;
}
