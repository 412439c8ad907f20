#include "recluster/report.h"

#include <stdio.h>
#include <string.h>

#include "doc.h"
#include "recluster/clock.h"
#include "recluster/human.h"
#include "recluster/secret.h"
#include "text.h"

static void set(json_t *object, const char *field, json_t *value)
{
    json_object_set_new(object, field, value);
}

static json_t *strings_json(const char *const *strings)
{
    json_t *list = json_array();

    for (size_t i = 0; strings && strings[i]; i++)
        json_array_append_new(list, doc_string(strings[i]));
    return list;
}

static json_t *cluster_json(const struct ccs *ccs)
{
    json_t *cluster = json_object();
    int64_t age_ms = ccs->saved_ms < 0 ? -1 : clock_wall_ms() - ccs->saved_ms;

    set(cluster, "name", doc_string(ccs->cluster_name));
    set(cluster, "rack_aware", json_boolean(ccs->rack_aware));
    set(cluster, "source", doc_string(ccs->source));
    set(cluster, "format", doc_string(ccs->format));
    set(cluster, "saved_ms", doc_int_or_null(ccs->saved_ms, -1));
    set(cluster, "age_s", age_ms < 0 ? json_null() : json_integer(age_ms / 1000));
    return cluster;
}

static json_t *node_json(const struct ccs_node *node, size_t shard_count)
{
    json_t *o = json_object();

    set(o, "uid", doc_string(node->uid));
    set(o, "label", doc_label("node", node->uid));
    set(o, "addr", doc_string(node->addr));
    set(o, "external_addr", doc_string(node->external_addr));
    set(o, "rack", doc_string(node->rack));
    set(o, "second_rack", doc_string(node->second_rack));
    set(o, "status", doc_string(node->status));
    set(o, "memory", doc_int_or_null(node->memory_bytes, -1));
    set(o, "max_shards", doc_int_or_null(node->max_shards, -1));
    set(o, "accepts_shards", json_boolean(node->accepts_shards));
    set(o, "shards", json_integer((json_int_t)shard_count));
    return o;
}

static json_t *shard_json(const struct ccs_shard *shard)
{
    json_t *o = json_object();

    set(o, "uid", doc_string(shard->uid));
    set(o, "label", doc_label("shard", shard->uid));
    set(o, "role", json_string(shard->primary ? "primary" : "replica"));
    set(o, "node_uid", doc_string(shard->node_uid));
    set(o, "slots", shard->slots ? slots_to_json(shard->slots) : json_array());
    set(o, "port", doc_int_or_null(shard->port, 0));
    return o;
}

static json_t *endpoint_json(const struct ccs_endpoint *endpoint)
{
    json_t *o = json_object();

    set(o, "uid", doc_string(endpoint->uid));
    set(o, "addr", doc_string(endpoint->addr));
    set(o, "port", doc_int_or_null(endpoint->port, 0));
    set(o, "dns_name", doc_string(endpoint->dns_name));
    return o;
}

static json_t *sentinels_json(const struct ccs_sentinels *s)
{
    return s ? json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:I}", "name", s->name, "count",
                   (int)s->count, "port", s->port, "quorum", (json_int_t)s->quorum, "down_after_ms",
                   (json_int_t)s->down_after_ms, "failover_timeout_ms",
                   (json_int_t)s->failover_timeout_ms, "parallel_syncs",
                   (json_int_t)s->parallel_syncs)
             : json_null();
}

static const char *persistence_name(enum ccs_persistence persistence)
{
    switch (persistence) {
    case CCS_PERSIST_NONE:
        return "none";
    case CCS_PERSIST_SNAPSHOT:
        return "snapshot";
    case CCS_PERSIST_AOF:
        return "aof";
    }
    return "none";
}

static json_t *save_points_json(const struct ccs_database *db)
{
    json_t *list = json_array();

    for (size_t i = 0; i < db->save_point_count; i++)
        json_array_append_new(list, json_pack("[I,I]", (json_int_t)db->save_points[i].seconds,
                                        (json_int_t)db->save_points[i].changes));
    return list;
}

static void add_database_parts(const struct ccs *ccs, const struct ccs_database *db, json_t *o)
{
    json_t *shards = json_array();
    json_t *endpoints = json_array();
    struct slots missing;

    for (size_t i = 0; i < db->shard_count; i++)
        json_array_append_new(shards, shard_json(&ccs->shards[db->first_shard + i]));
    for (size_t i = 0; i < db->endpoint_count; i++)
        json_array_append_new(endpoints, endpoint_json(&ccs->endpoints[db->first_endpoint + i]));
    ccs_missing_slots(ccs, db, &missing);
    set(o, "slots_missing", slots_to_json(&missing));
    set(o, "shards", shards);
    set(o, "endpoints", endpoints);
    set(o, "sentinels", sentinels_json(db->sentinels));
}

static json_t *database_json(const struct ccs *ccs, const struct ccs_database *db)
{
    json_t *o = json_object();

    set(o, "uid", doc_string(db->uid));
    set(o, "label", doc_string(db->label));
    set(o, "name", doc_string(db->name));
    set(o, "type", doc_string(db->type));
    set(o, "status", doc_string(db->status));
    set(o, "redis_version", doc_string(db->redis_version));
    set(o, "sharded", json_boolean(db->sharded));
    set(o, "replicated", json_boolean(db->replicated));
    set(o, "rack_aware", json_boolean(db->rack_aware));
    set(o, "active_active", json_boolean(db->active_active));
    set(o, "slots_policy", json_string(db->slots_policy == CCS_SLOTS_LEGACY ? "legacy" : "16k"));
    set(o, "memory", json_integer(db->memory_bytes));
    set(o, "eviction_policy", doc_string(db->eviction_policy));
    set(o, "persistence", json_string(persistence_name(db->persistence)));
    set(o, "fsync_always", json_boolean(db->fsync_always));
    set(o, "save_points", save_points_json(db));
    set(o, "port", doc_int_or_null(db->port, 0));
    set(o, "max_clients", doc_int_or_null(db->max_clients, 0));
    set(o, "password", json_boolean(db->password != NULL));
    set(o, "tls", json_boolean(db->tls));
    set(o, "modules", strings_json(db->modules));
    set(o, "backup_location",
        db->backup_location ? secret_mask_json(db->backup_location) : json_null());
    set(o, "backup_interval_s", doc_int_or_null(db->backup_interval_s, 0));
    add_database_parts(ccs, db, o);
    return o;
}

static json_t *finding_json(const struct ccs_finding *finding)
{
    json_t *o = json_object();

    set(o, "severity", doc_string(finding->severity));
    set(o, "code", doc_string(finding->code));
    set(o, "message", doc_string(finding->message));
    set(o, "keys", strings_json(finding->keys));
    return o;
}

/* The number of shards on each node, by index into ccs->nodes. The caller frees it. */
static size_t *count_shards(const struct ccs *ccs)
{
    size_t *counts = xcalloc(ccs->node_count + 1, sizeof(*counts));

    for (size_t i = 0; i < ccs->shard_count; i++) {
        const char *uid = ccs->shards[i].node_uid;
        const struct ccs_node *node = uid ? ccs_node(ccs, uid) : NULL;
        if (node)
            counts[node - ccs->nodes]++;
    }
    return counts;
}

json_t *report_inspect_json(const struct ccs *ccs)
{
    json_t *nodes = json_array();
    json_t *databases = json_array();
    json_t *findings = json_array();
    AUTO_FREE size_t *shard_counts = count_shards(ccs);

    for (size_t i = 0; i < ccs->node_count; i++)
        json_array_append_new(nodes, node_json(&ccs->nodes[i], shard_counts[i]));
    for (size_t i = 0; i < ccs->database_count; i++)
        json_array_append_new(databases, database_json(ccs, &ccs->databases[i]));
    for (size_t i = 0; i < ccs->finding_count; i++)
        json_array_append_new(findings, finding_json(&ccs->findings[i]));
    return json_pack("{s:o,s:o,s:o,s:o}", "cluster", cluster_json(ccs), "nodes", nodes, "databases",
        databases, "findings", findings);
}
