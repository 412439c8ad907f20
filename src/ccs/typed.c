#include "typed.h"

#include <limits.h>
#include <string.h>

#include "fields.h"
#include "recluster/buf.h"
#include "roles.h"

static int add_cluster(struct import *im)
{
    const struct reader cluster = {
        &im->findings, &im->arena, objects_find(im->objects, "cluster", NULL)};

    return state_run(im->state, im->err,
        "INSERT INTO cluster (name, rack_aware, saved_ms, format) VALUES (?, ?, NULLIF(?, -1), ?)",
        "siis", read_text(&cluster, "name", NULL),
        (int64_t)read_bool(&cluster, "rack_aware", false), im->objects->saved_ms,
        im->objects->format);
}

static int add_node(struct import *im, const struct reader *r, const char *uid)
{
    bool accepts = read_bool(r, "accept_servers", true) && !read_bool(r, "quorum_only", false);
    int64_t memory = read_bytes(r, "total_memory", -1);
    int64_t cores = read_int(r, "cores", 0, INT_MAX, -1);
    int64_t max_shards = read_int(r, "max_redis_servers", 0, INT_MAX, -1);
    const struct column row[] = {
        COL_TEXT("uid", uid),
        COL_TEXT("addr", read_text(r, "addr", NULL)),
        COL_TEXT("external_addr", read_joined(r, "external_addr")),
        COL_TEXT("rack", read_text(r, "rack_id", NULL)),
        COL_TEXT("second_rack", read_text(r, "second_rack_id", NULL)),
        COL_TEXT("status", read_text(r, "status", "active")),
        COL_TEXT("version", read_text(r, "software_version|cnm_version", NULL)),
        COL_TEXT("persistent_path", read_text(r, "persistent_storage_path", NULL)),
        COL_TEXT("ephemeral_path", read_text(r, "ephemeral_storage_path", NULL)),
        COL_TEXT("recovery_path", read_text(r, "recovery_path", NULL)),
        COL_INT_OR_NULL("memory", memory, -1),
        COL_INT_OR_NULL("cores", cores, -1),
        COL_INT_OR_NULL("max_shards", max_shards, -1),
        COL_INT("accepts_shards", accepts),
        COL_END,
    };

    return state_insert(im->state, "node", row, im->err);
}

/* Without a role: a primary, unless it could be a replica of a replicated database. */
static bool read_role(const struct reader *r, const struct object *database)
{
    const char *text = read_text(r, "role", NULL);
    bool primary, replicated = false;

    if (text && value_role(text, &primary))
        return primary;
    const char *replication = object_text(database, "replication");
    if (text)
        reader_refuse(r, "role", text);
    else
        finding_add(r->findings, FINDING_UNREADABLE_VALUE, json_pack("[s]", r->object->text),
            "'%s' has no role", r->object->text);
    return !replication || !value_bool(replication, &replicated) || !replicated;
}

static int add_shard(struct import *im, const struct reader *r, const char *uid)
{
    const char *database_uid = read_text(r, "bdb_uid", "");
    const struct object *database = objects_find(im->objects, "bdb", database_uid);
    bool primary = read_role(r, database);
    const char *ranges = read_text(r, "assigned_slots|slots", "");
    enum ccs_slots_policy policy;
    struct buf text = BUF_INIT;
    struct slots slots;

    if (!typed_slots_policy(object_text(database, "hash_slots_policy"), &policy))
        policy = CCS_SLOTS_16K;
    if (!value_slots(ranges, policy, &slots)) {
        slots_clear(&slots);
        reader_refuse(r, "assigned_slots|slots", ranges);
    }
    slots_format(&slots, &text);
    int rc = state_run(im->state, im->err,
        "INSERT INTO shard (uid, database_uid, node_uid, role, slots, port)"
        " VALUES (?, ?, ?, ?, ?, NULLIF(?, 0))",
        "sssssi", uid, database_uid, read_text(r, "node_uid", NULL),
        primary ? "primary" : "replica", text.data, read_int(r, "port", 0, 65535, 0));
    buf_release(&text);
    return rc;
}

static int add_endpoint(struct import *im, const struct reader *r, const char *uid)
{
    const char *prefix = arena_printf(r->arena, "%.*s", (int)strcspn(uid, ":"), uid);
    const char *database_uid = read_text(r, "bdb_uid", prefix);
    const struct reader database = {
        &im->findings, r->arena, objects_find(im->objects, "bdb", database_uid)};
    const char *policy = read_text(r, "proxy_policy", NULL);
    const char *dns_name = read_text(r, "dns_name", NULL);
    size_t count;
    const char *const *dns_names = read_list(r, "dns_names", &count);

    if (!policy)
        policy = read_text(&database, "proxy_policy", "single");
    return state_run(im->state, im->err,
        "INSERT INTO endpoint (uid, database_uid, port, addr, dns_name, proxy_policy, proxy_uids)"
        " VALUES (?, ?, NULLIF(?, 0), ?, ?, ?, ?)",
        "ssissss", uid, database_uid, read_int(r, "port", 0, 65535, 0), read_joined(r, "addr"),
        dns_name ? dns_name : dns_names[0], policy, read_joined(r, "proxy_uids"));
}

static int add_proxy(struct import *im, const struct reader *r, const char *uid)
{
    return state_run(im->state, im->err,
        "INSERT INTO proxy (uid, threads, max_threads, log_level)"
        " VALUES (?, NULLIF(?, -1), NULLIF(?, -1), ?)",
        "siis", uid, read_int(r, "threads", 0, INT_MAX, -1),
        read_int(r, "max_threads", 0, INT_MAX, -1), read_text(r, "log_level", NULL));
}

static int add_user(struct import *im, const struct reader *r, const char *uid)
{
    return state_run(im->state, im->err,
        "INSERT INTO user (uid, name, email, role_uids, status) VALUES (?, ?, ?, ?, ?)", "sssss",
        uid, read_text(r, "name", NULL), read_text(r, "email", NULL), read_joined(r, "role_uids"),
        read_text(r, "status", NULL));
}

int typed_import(struct import *im)
{
    static const struct {
        const char *type;
        int (*add)(struct import *im, const struct reader *r, const char *uid);
    } tables[] = {
        {"node", add_node},
        {"redis", add_shard},
        {"endpoint", add_endpoint},
        {"dmc", add_proxy},
        {"user", add_user},
    };

    if (add_cluster(im) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        const struct object *o;
        const char *uid;
        for (size_t at = 0; (o = objects_next(im->objects, tables[i].type, &at, &uid));) {
            arena_clear(&im->scratch);
            const struct reader r = {&im->findings, &im->scratch, o};
            if (tables[i].add(im, &r, uid) < 0)
                return -1;
        }
    }
    return typed_import_databases(im) < 0 ? -1 : roles_map(im);
}
