#include "recluster/json.h"
#include "recluster/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "doc.h"
#include "findings.h"
#include "recluster/human.h"
#include "recluster/secret.h"
#include "text.h"

static void cluster_text(struct text *t, const json_t *inspect)
{
    const json_t *cluster = json_object_get(inspect, "cluster");
    char time[32], age[HUMAN_TEXT_MAX];

    text_wrap(t, TEXT_BOLD, "", "Cluster %s", json_text(cluster, "name", "(without a name)"));
    text_field(t, "CCS file", "%s (%s)", json_text(cluster, "source", "?"),
        json_text(cluster, "format", "?"));
    if (json_has(cluster, "age_s"))
        text_field(t, "saved", "%s, %s ago", doc_time(cluster, "saved_ms", time),
            human_duration(json_int(cluster, "age_s", 0) * 1000, age));
    else
        text_field(t, "saved", "the file does not say when");
    text_field(t, "rack aware", "%s", json_flag(cluster, "rack_aware") ? "yes" : "no");
}

static void nodes_text(struct text *t, const json_t *nodes)
{
    static const char *const heads[] = {"NODE", "ADDRESS", "RACK", "STATUS", "MEMORY", "SHARDS"};
    struct text_table table;
    char memory[HUMAN_TEXT_MAX];
    size_t i;
    json_t *node;

    text_heading(t, "Nodes (%zu)", json_array_size(nodes));
    if (json_array_size(nodes) == 0)
        return;
    text_table_init(&table, "LLLLrr");
    for (i = 0; i < ARRAY_SIZE(heads); i++)
        text_table_cell(&table, TEXT_PLAIN, "%s", heads[i]);
    json_array_foreach (nodes, i, node) {
        int64_t bytes = json_int(node, "memory", -1);
        if (i == TEXT_LIST_MAX)
            break;
        text_table_cell(&table, TEXT_PLAIN, "%s", json_text(node, "label", "?"));
        text_table_cell(&table, TEXT_PLAIN, "%s", json_text(node, "addr", "-"));
        text_table_cell(&table, TEXT_PLAIN, "%s", json_text(node, "rack", "-"));
        text_table_cell(&table, TEXT_PLAIN, "%s", json_text(node, "status", "-"));
        text_table_cell(
            &table, TEXT_PLAIN, "%s", bytes < 0 ? "-" : human_bytes((uint64_t)bytes, memory));
        text_table_cell(&table, TEXT_PLAIN, "%" PRId64, (int64_t)json_int(node, "shards", 0));
    }
    text_table_print(&table, t, 2);
    text_more(t, 2, json_array_size(nodes), TEXT_LIST_MAX);
}

static size_t count_role(const json_t *shards, const char *role)
{
    size_t count = 0, i;
    json_t *shard;

    json_array_foreach (shards, i, shard) {
        if (strcmp(json_text(shard, "role", ""), role) == 0)
            count++;
    }
    return count;
}

static void shards_text(struct text *t, const json_t *database)
{
    enum { SHOWN = 6 };
    const json_t *shards = json_object_get(database, "shards");
    const json_t *missing = json_object_get(database, "slots_missing");
    size_t primaries = count_role(shards, "primary"), shown = 0, i;
    struct buf list = BUF_INIT;
    json_t *shard;

    size_t replicas = json_array_size(shards) - primaries;
    char text[HUMAN_TEXT_MAX], more[HUMAN_TEXT_MAX];
    text_field(t, "shards", "%s %s, %s %s", human_count(primaries, text),
        primaries == 1 ? "primary" : "primaries", human_count(replicas, more),
        replicas == 1 ? "replica" : "replicas");
    if (!json_flag(database, "sharded"))
        return;
    json_array_foreach (shards, i, shard) {
        if (strcmp(json_text(shard, "role", ""), "primary") != 0 || shown++ >= SHOWN)
            continue;
        buf_addf(&list, "%s%s: ", list.len > 0 ? "; " : "", json_text(shard, "label", "?"));
        doc_ranges(json_object_get(shard, "slots"), 3, &list);
    }
    if (primaries > SHOWN)
        buf_addf(&list, "; … and %zu more (see --json)", primaries - SHOWN);
    text_field(t, "slots", "%s", list.data);
    buf_clear(&list);
    if (json_array_size(missing) > 0) {
        doc_ranges(missing, 8, &list);
        text_wrap(t, TEXT_RED, "                  ", "without a primary: %s", list.data);
    }
    buf_release(&list);
}

static void persistence_text(struct text *t, const json_t *database)
{
    const char *kind = json_text(database, "persistence", "none");
    struct buf line = BUF_INIT;
    size_t i;
    json_t *point;

    buf_adds(&line, kind);
    if (strcmp(kind, "aof") == 0)
        buf_adds(&line,
            json_flag(database, "fsync_always") ? ", fsync at each write" : ", fsync every second");
    json_array_foreach (json_object_get(database, "save_points"), i, point) {
        buf_addf(&line, "%s after %lld s if %lld changes", i > 0 ? "," : "",
            (long long)json_integer_value(json_array_get(point, 0)),
            (long long)json_integer_value(json_array_get(point, 1)));
    }
    text_field(t, "persistence", "%s", line.data);
    buf_release(&line);
}

/* "s3  bucket_name=b subdir=x": the type, then all values but secrets and structures. */
static void location_text(struct text *t, const json_t *database)
{
    json_t *location = json_object_get(database, "backup_location");
    int64_t interval_s = json_int(database, "backup_interval_s", 0);
    struct buf line = BUF_INIT;
    char every[HUMAN_TEXT_MAX];
    const char *field;
    json_t *value;

    buf_adds(&line, json_is_string(location) ? json_string_value(location)
                                             : json_text(location, "type", "none"));
    json_object_foreach (location, field, value) {
        const char *plain = json_string_value(value);
        if (plain && strcmp(plain, SECRET_MASK) != 0 && strcmp(field, "type") != 0)
            buf_addf(&line, " %s=%s", field, plain);
    }
    if (interval_s > 0)
        buf_addf(&line, ", every %s", human_duration(interval_s * 1000, every));
    text_field(t, "backups", "%s", line.data);
    buf_release(&line);
}

static void endpoints_text(struct text *t, const json_t *database)
{
    enum { SHOWN = 4 };
    const json_t *endpoints = json_object_get(database, "endpoints");
    struct buf line = BUF_INIT;
    size_t i;
    json_t *endpoint;

    json_array_foreach (endpoints, i, endpoint) {
        if (i == SHOWN)
            break;
        buf_addf(&line, "%s%s:%" PRId64, i > 0 ? ", " : "",
            json_text(endpoint, "dns_name", json_text(endpoint, "addr", "?")),
            (int64_t)json_int(endpoint, "port", 0));
    }
    if (i < json_array_size(endpoints))
        buf_addf(&line, ", … and %zu more (see --json)", json_array_size(endpoints) - i);
    text_field(t, "endpoints", "%s", line.len > 0 ? line.data : "none");
    buf_release(&line);
}

static void database_text(struct text *t, const json_t *database)
{
    int64_t bytes = json_int(database, "memory", 0);
    char memory[HUMAN_TEXT_MAX];

    text_wrap(t, TEXT_BOLD, "  ", "%s  %s", json_text(database, "label", "?"),
        json_text(database, "name", ""));
    text_field(t, "kind", "%s%s%s, %s, %s%s%s%s", json_text(database, "type", "?"),
        json_has(database, "redis_version") ? " " : "", json_text(database, "redis_version", ""),
        json_flag(database, "sharded") ? "sharded" : "not sharded",
        json_flag(database, "replicated") ? "replicated" : "not replicated",
        json_flag(database, "active_active") ? ", Active-Active" : "",
        json_flag(database, "tls") ? ", TLS" : "",
        strcmp(json_text(database, "slots_policy", ""), "legacy") == 0 ? ", legacy slots" : "");
    text_field(t, "status", "%s", json_text(database, "status", "not known"));
    shards_text(t, database);
    text_field(t, "memory", "%s, eviction policy %s",
        bytes > 0 ? human_bytes((uint64_t)bytes, memory) : "no limit",
        json_text(database, "eviction_policy", "not known"));
    persistence_text(t, database);
    endpoints_text(t, database);
    if (json_has(database, "sentinels"))
        text_field(t, "sentinels", "%d that know it as '%s'",
            (int)json_int(json_object_get(database, "sentinels"), "count", 0),
            json_text(json_object_get(database, "sentinels"), "name", "?"));
    text_field(t, "password", "%s", json_flag(database, "password") ? "set" : "none");
    location_text(t, database);
}

void report_inspect_text(const json_t *inspect, bool colour, struct buf *out)
{
    enum { SHOWN = 100 };
    struct text t = {.out = out, .colour = colour};
    const json_t *databases = json_object_get(inspect, "databases");
    size_t i;
    json_t *database;

    cluster_text(&t, inspect);
    nodes_text(&t, json_object_get(inspect, "nodes"));
    text_heading(&t, "Databases (%zu)", json_array_size(databases));
    json_array_foreach (databases, i, database) {
        if (i == SHOWN)
            break;
        database_text(&t, database);
    }
    text_more(&t, 2, json_array_size(databases), SHOWN);
    findings_text(&t, json_object_get(inspect, "findings"));
}
