/*
 * nodes.json as `redis-cli --cluster backup HOST:PORT DIR` of redis-cli 7.0.15 writes it, with an
 * entry for each server of the cluster, primaries and replicas:
 *
 *     [{"name": "98bd…40 hex digits", "host": "127.0.0.1", "port": 27101, "replicate": null,
 *       "slots": [[0,5460]], "slots_count": 5461, "flags": "master", "current_epoch": 1},
 *      {"name": "5c00…", "host": "127.0.0.1", "port": 27104, "replicate": "98bd…", "slots": [],
 *       "slots_count": 0, "flags": "slave", "current_epoch": 2}]
 *
 * "flags" may have several words joined by ','. Optional: "migrating" and "importing", objects of
 * slot to node id, and "cluster_errors", a count. The primaries' RDB files are in the same folder,
 * named redis-node-<host>-<port>-<name>.rdb. The file lacks the servers' settings (memory, policy,
 * persistence, password), so the database gets the defaults of a server without a configuration.
 */
#include <stdlib.h>
#include <string.h>

#include "fields.h"
#include "recluster/buf.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "typed.h"

/* One entry. Text is borrowed from the document. */
struct server {
    size_t index; /* in the document */
    const char *name, *host, *replicate;
    int port; /* 0: unknown */
    struct slots slots;
    bool slots_unreadable;
};

struct servers {
    struct server *list;
    size_t count;
    json_t *hosts; /* host -> its node's uid */
};

static void add_finding(
    struct import *im, enum finding_code code, size_t index, const char *what, const char *name)
{
    AUTO_FREE char *uid = xasprintf("%zu", index);

    finding_add(&im->findings, code, finding_keys("nodes.json", uid),
        "entry %zu of nodes.json ('%s') %s", index, name ? name : "", what);
}

static void read_server(struct import *im, const json_t *entry, struct server *s)
{
    json_int_t port = json_int(entry, "port", 0);
    const json_t *slots = json_object_get(entry, "slots");
    struct err err;

    s->name = json_text(entry, "name", NULL);
    s->host = json_text(entry, "host", NULL);
    s->replicate = json_text(entry, "replicate", NULL);
    slots_clear(&s->slots);
    s->slots_unreadable = false;
    if (port > 0 && port <= 65535)
        s->port = (int)port;
    else
        add_finding(im, FINDING_UNREADABLE_VALUE, s->index, "has no usable port", s->name);
    if (slots_from_json(slots, &s->slots, &err) < 0) {
        AUTO_FREE char *what = xasprintf("has unreadable slots: %s", err.message);
        slots_clear(&s->slots);
        s->slots_unreadable = true;
        add_finding(im, FINDING_SLOTS_UNREADABLE, s->index, what, s->name);
    }
    if (json_object_size(json_object_get(entry, "migrating")) ||
        json_object_size(json_object_get(entry, "importing")))
        add_finding(im, FINDING_NODE_STATUS, s->index, "was moving slots", s->name);
}

static void read_servers(struct import *im, const json_t *document, struct servers *ret)
{
    json_t *names = json_object();

    ret->list = xcalloc(json_array_size(document), sizeof(*ret->list));
    ret->count = 0;
    for (size_t i = 0; i < json_array_size(document); i++) {
        struct server *s = &ret->list[ret->count];
        s->index = i;
        read_server(im, json_array_get(document, i), s);
        if (!s->name || !*s->name)
            add_finding(im, FINDING_UNREADABLE_KEY, i, "has no name", NULL);
        else if (json_object_get(names, s->name))
            add_finding(im, FINDING_DUPLICATE_KEY, i, "has a name that is taken", s->name);
        else if (!s->replicate && slots_is_empty(&s->slots) && s->slots_unreadable)
            continue; /* already reported */
        else if (!s->replicate && slots_is_empty(&s->slots))
            add_finding(im, FINDING_NODE_WITHOUT_SLOTS, i, "is a primary without slots", s->name);
        else {
            json_object_set_new(names, s->name, json_integer((json_int_t)ret->count));
            ret->count++;
        }
    }
    /* A replica has its primary's slots. */
    for (size_t i = 0; i < ret->count; i++) {
        struct server *s = &ret->list[i];
        const json_t *primary = s->replicate ? json_object_get(names, s->replicate) : NULL;
        if (primary)
            s->slots = ret->list[json_integer_value(primary)].slots;
    }
    json_decref(names);
}

/* Makes a node for each host, numbered in the order of the file. */
static int insert_nodes(struct import *im, struct servers *servers)
{
    for (size_t i = 0; i < servers->count; i++) {
        const char *host = servers->list[i].host;
        if (!host || !*host || json_object_get(servers->hosts, host))
            continue;
        json_t *uid = json_sprintf("%zu", json_object_size(servers->hosts) + 1);
        json_object_set_new(servers->hosts, host, uid);
        if (state_run(im->state, im->err,
                "INSERT INTO node (uid, addr, status) VALUES (?, ?, 'active')", "ss",
                json_string_value(uid), host) < 0)
            return -1;
    }
    return 0;
}

static int insert_shards(struct import *im, const struct servers *servers)
{
    for (size_t i = 0; i < servers->count; i++) {
        const struct server *s = &servers->list[i];
        const json_t *node = s->host ? json_object_get(servers->hosts, s->host) : NULL;
        struct buf slots = BUF_INIT;
        slots_format(&s->slots, &slots);
        int rc = state_run(im->state, im->err,
            "INSERT INTO shard (uid, database_uid, node_uid, role, slots, port)"
            " VALUES (?, '1', ?, ?, ?, NULLIF(?, 0))",
            "ssssi", s->name, json_string_value(node), s->replicate ? "replica" : "primary",
            slots.data, (int64_t)s->port);
        buf_release(&slots);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Makes an endpoint for each port, with all hosts that serve it. */
static int insert_endpoints(struct import *im)
{
    return state_run(im->state, im->err,
        "INSERT INTO endpoint (uid, database_uid, port, addr, proxy_policy)"
        " SELECT '1:' || row_number() OVER (ORDER BY port), '1', port,"
        "  group_concat(DISTINCT addr), 'all-nodes'"
        " FROM shard LEFT JOIN node ON node.uid = node_uid WHERE port IS NOT NULL GROUP BY port",
        "");
}

static int insert_database(struct import *im, const struct servers *servers)
{
    int64_t primaries = 0, port = 0;

    for (size_t i = 0; i < servers->count; i++) {
        const struct server *s = &servers->list[i];
        primaries += !s->replicate;
        if (!s->replicate && s->port && (!port || s->port < port))
            port = s->port;
    }
    AUTO_FREE char *dir = path_dir(im->path);
    AUTO_FREE char *absolute = realpath(dir, NULL);
    json_t *location =
        json_pack("{s:s, s:s}", "type", "mount_point", "path", absolute ? absolute : dir);
    int rc = state_run(im->state, im->err,
        "INSERT INTO database (uid, name, status, sharded, replicated, primaries, memory_size,"
        " port, eviction_policy, persistence, save_points, shards_placement, backup_location, login)"
        " VALUES ('1', 'cluster', 'active', 1, ?, ?, 0, NULLIF(?, 0), 'noeviction', 'snapshot',"
        " '[[3600,1],[300,100],[60,10000]]', 'sparse', ?, 'unknown')",
        "iiij", (int64_t)(primaries < (int64_t)servers->count), primaries, port, location);
    json_decref(location);
    return rc;
}

int typed_import_nodes_json(struct import *im, const json_t *document)
{
    struct servers servers = {.hosts = json_object()};

    read_servers(im, document, &servers);
    int rc = state_run(
        im->state, im->err, "INSERT INTO cluster (name, format) VALUES (NULL, 'nodes.json')", "");
    if (rc == 0)
        rc = insert_nodes(im, &servers);
    if (rc == 0)
        rc = insert_shards(im, &servers);
    if (rc == 0)
        rc = insert_endpoints(im);
    if (rc == 0)
        rc = insert_database(im, &servers);
    free(servers.list);
    json_decref(servers.hosts);
    finding_add(&im->findings, FINDING_SETTINGS_UNKNOWN, finding_keys("bdb", "1"),
        "nodes.json holds no settings: 'db:1' gets a new password, without memory limit, "
        "saving as a server does by default");
    return rc;
}
