#include "database.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/human.h"

/* A shard of the database as the cluster describes it. */
struct member {
    const struct live_node *node;     /* NULL: of no cluster */
    const struct live_server *server; /* NULL: it did not answer */
    const char *addr;
    int port;
    bool primary;
    const struct slots *slots; /* those of its primary */
    const char *uid;
};

struct members {
    struct member *list;
    size_t count;
};

static const struct live_server *server_of_node(
    const struct live_database *db, const struct live_node *node)
{
    for (size_t i = 0; i < db->count; i++) {
        const struct live_node *own = live_myself(db->servers[i]);
        if (own && strcmp(own->id, node->id) == 0)
            return db->servers[i];
    }
    return NULL;
}

static const struct live_node *node_of_id(const struct live_server *view, const char *id)
{
    for (size_t i = 0; i < view->node_count && id; i++)
        if (strcmp(view->nodes[i].id, id) == 0)
            return &view->nodes[i];
    return NULL;
}

/* Replicas of replicas have the slots of the primary above them. */
static const struct live_node *primary_of(
    const struct live_server *view, const struct live_node *node)
{
    for (size_t hops = 0; hops < view->node_count && node && node->primary_id; hops++)
        node = node_of_id(view, node->primary_id);
    return node && !node->primary_id ? node : NULL;
}

/* The node in the view of a server that knows its primary, which not each does of one that failed. */
static const struct live_node *best_known(
    const struct live_database *db, const struct live_node *node)
{
    for (size_t i = 0; i < db->count && node->replica && !node->primary_id; i++) {
        const struct live_node *other = node_of_id(db->servers[i], node->id);
        if (other && other->primary_id)
            return other;
    }
    return node;
}

static void find_cluster_members(
    struct making *m, const struct live_database *db, struct members *ret)
{
    const struct live_server *view = db->first;

    ret->list = arena_alloc(&m->now.arena, (view->node_count + 1) * sizeof(*ret->list));
    for (size_t i = 0; i < view->node_count; i++) {
        const struct live_node *n = best_known(db, &view->nodes[i]);
        const struct live_node *primary = primary_of(view, n);
        if (n->handshaking)
            continue;
        if (!primary || slots_is_empty(&primary->slots)) {
            making_finding(m, "node-without-slots", "the node %s:%d (%.8s) %s", n->addr, n->port,
                n->id, n->primary_id ? "follows a primary without slots" : "has no slots");
            continue;
        }
        const struct live_server *server = server_of_node(db, n);
        const struct live_node *own = server ? live_myself(server) : NULL;
        ret->list[ret->count++] = (struct member){
            .node = n,
            .server = server,
            .addr = *n->addr || !server ? n->addr : server->addr,
            .port = n->port,
            .primary = !n->primary_id,
            .slots = own && !n->primary_id ? &own->slots : &primary->slots,
        };
    }
}

/* --- uids --- */

static const char *address_text(struct making *m, const char *node_uid, int port)
{
    return arena_printf(&m->now.arena, "%s %d", node_uid, port);
}

/* The shard before with this node id, or else at this address. */
static const struct hash *shard_before(struct making *m, const struct member *x)
{
    if (x->node)
        return document_find(&m->before, "redis", "cluster_node_id", x->node->id);
    const struct hash *node = document_find(&m->before, "node", "addr", x->addr);
    for (size_t i = 0; i < m->before.count && node; i++) {
        const struct hash *h = m->before.hashes[i];
        const char *node_uid = strcmp(h->type, "redis") == 0 ? hash_get(h, "node_uid") : NULL;
        const char *port = hash_get(h, "port");
        if (node_uid && port && !hash_get(h, "cluster_node_id") &&
            strcmp(address_text(m, node_uid, atoi(port)), address_text(m, node->uid, x->port)) == 0)
            return h;
    }
    return NULL;
}

/* That of most of its shards before, unless another database has it by now. */
static const char *database_uid(struct making *m, const struct members *members)
{
    for (size_t i = 0; i < members->count; i++) {
        const struct hash *before = shard_before(m, &members->list[i]);
        const char *uid = hash_get(before, "bdb_uid");
        if (uid && !document_get(&m->now, "bdb", uid))
            return arena_strdup(&m->now.arena, uid);
    }
    return document_new_uid(&m->now, &m->before, "bdb");
}

/* --- members of no cluster --- */

/* The primary that its replicas name, which could not be asked. */
static bool find_silent_primary(
    struct making *m, const struct live_database *db, struct member *ret)
{
    const struct live_server *s = db->first;

    for (size_t hops = 0; hops < db->count; hops++) {
        const char *addr = live_info(m->live, s, "master_host");
        int port = (int)live_info_int(m->live, s, "master_port", 0);
        if (!addr)
            return false;
        const struct live_server *above = live_server_at(m->live, addr, port);
        *ret = (struct member){.addr = above ? above->addr : addr, .port = port, .primary = true};
        if (!above || !live_is_whole(above))
            return true;
        s = above;
    }
    return false;
}

static bool is_member(const struct members *members, const char *addr, int port)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->list[i].port == port && strcmp(members->list[i].addr, addr) == 0)
            return true;
    return false;
}

/* Those that were members before and could not be asked now. */
static void add_silent_members(struct making *m, struct members *ret)
{
    const char *uid = database_uid(m, ret);

    for (size_t i = 0; i < m->live->count; i++) {
        const struct live_server *s = m->live->servers[i];
        const struct member x = {.addr = s->addr, .port = s->port};
        const char *before = live_is_whole(s) ? NULL : hash_get(shard_before(m, &x), "bdb_uid");
        if (before && strcmp(before, uid) == 0 && !is_member(ret, x.addr, x.port))
            ret->list[ret->count++] = x;
    }
}

static void find_group_members(
    struct making *m, const struct live_database *db, struct members *ret)
{
    struct member *list = arena_alloc(&m->now.arena, (m->live->count + 2) * sizeof(*list));

    *ret = (struct members){.list = list};
    for (size_t i = 0; i < db->count; i++)
        list[ret->count++] = (struct member){
            .server = db->servers[i],
            .addr = db->servers[i]->addr,
            .port = db->servers[i]->port,
            .primary = live_is_primary(m->live, db->servers[i]),
        };
    if (!live_is_primary(m->live, db->first)) {
        if (find_silent_primary(m, db, &list[ret->count]))
            ret->count++;
        else
            making_finding(m, "no-primary", "the servers of %s:%d name no primary", db->first->addr,
                db->first->port);
    }
    add_silent_members(m, ret);
}

/* --- shards --- */

static void add_shard(
    struct making *m, const struct live_database *db, struct member *x, const char *bdb_uid)
{
    struct document *d = &m->now;
    const struct hash *before = shard_before(m, x);
    const char *uid = before && !document_get(d, "redis", before->uid)
                          ? before->uid
                          : document_new_uid(d, &m->before, "redis");
    struct hash *node = making_node(m, x->addr, x->server);
    struct hash *shard = document_add(d, "redis", uid);
    struct buf slots = BUF_INIT;

    x->uid = shard->uid;
    hash_set(d, shard, "bdb_uid", bdb_uid);
    hash_set(d, shard, "node_uid", node->uid);
    hash_set(d, shard, "role", x->primary ? "master" : "slave");
    hash_setf(d, shard, "port", "%d", x->port);
    if (x->slots)
        slots_format(x->slots, &slots);
    hash_set(d, shard, "assigned_slots", x->slots ? slots.data : "0-16383");
    buf_release(&slots);
    hash_set(d, shard, "status", x->server ? "active" : "down");
    if (x->node) {
        hash_set(d, shard, "cluster_node_id", x->node->id);
        hash_setf(d, shard, "config_epoch", "%" PRId64, x->node->epoch);
        hash_setf(d, shard, "bus_port", "%d", x->node->bus_port);
        hash_set(d, shard, "hostname", x->node->hostname);
    }
    if (x->server) {
        hash_set(d, shard, "data_path", live_setting(x->server, "dir"));
        hash_set(d, shard, "executable", live_info(m->live, x->server, "executable"));
        hash_set(d, shard, "config_file", live_info(m->live, x->server, "config_file"));
        settings_add_own(m, db, x->server, shard);
    } else {
        static const char *const kept[] = {
            "data_path", "executable", "config_file", "redis_config"};
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
            hash_set(d, shard, kept[i], hash_get(before, kept[i]));
    }
}

/* --- the database --- */

static void add_topology(struct making *m, const struct live_database *db,
    const struct members *members, struct hash *bdb)
{
    struct buf list = BUF_INIT;
    size_t primaries = 0;

    for (size_t i = 0; i < members->count; i++) {
        primaries += members->list[i].primary;
        buf_addf(&list, "%s%s", i ? "," : "", members->list[i].uid);
    }
    hash_setf(&m->now, bdb, "shards_count", "%zu", primaries);
    hash_set(&m->now, bdb, "redis_list", list.data);
    hash_set(&m->now, bdb, "sharding", db->cluster ? "enabled" : "disabled");
    hash_set(&m->now, bdb, "oss_cluster", db->cluster ? "enabled" : "disabled");
    hash_set(&m->now, bdb, "hash_slots_policy", "16k");
    hash_set(&m->now, bdb, "replication", members->count > primaries ? "enabled" : "disabled");
    hash_set(&m->now, bdb, "proxy_policy", db->cluster ? "all-master-shards" : "single");
    buf_release(&list);
}

/* Servers may say any number. */
static int64_t plus(int64_t sum, int64_t more)
{
    return more <= 0 ? sum : more > INT64_MAX - sum ? INT64_MAX : sum + more;
}

/* Of the whole database, replicas included; without a limit anywhere there is none. */
static void add_memory(struct making *m, const struct live_database *db,
    const struct members *members, struct hash *bdb)
{
    int64_t sum = 0, first = -1;
    bool differs = false;

    for (size_t i = 0; i < db->count; i++) {
        const char *text = live_setting(db->servers[i], "maxmemory");
        int64_t bytes = text ? atoll(text) : 0;
        if (first < 0)
            first = bytes;
        differs |= bytes != first;
    }
    if (differs)
        making_finding(m, "memory-differs",
            "the servers of database '%s' have different memory limits (maxmemory)",
            hash_get(bdb, "name"));
    for (size_t i = 0; i < members->count && first > 0; i++) {
        const struct live_server *s = members->list[i].server;
        const char *text = s ? live_setting(s, "maxmemory") : NULL;
        int64_t bytes = text ? atoll(text) : first;
        if (bytes == 0) {
            sum = 0;
            break;
        }
        sum = plus(sum, bytes);
    }
    hash_setf(&m->now, bdb, "memory_size", "%" PRId64, sum);
}

/* "3600 1 300 100" as [[3600,1],[300,100]]. */
static void add_save_points(struct making *m, struct hash *bdb, const char *save)
{
    struct buf json = BUF_INIT;
    char *end;

    for (const char *p = save; *p; p = end) {
        long seconds = strtol(p, &end, 10);
        if (end == p)
            break;
        p = end;
        long changes = strtol(p, &end, 10);
        if (end == p)
            break;
        buf_addf(&json, "%s[%ld,%ld]", json.len ? "," : "[", seconds, changes);
    }
    if (json.len) {
        buf_addc(&json, ']');
        hash_set(&m->now, bdb, "snapshot_policy", json.data);
    }
    buf_release(&json);
}

static void add_persistence(struct making *m, const struct live_server *s, struct hash *bdb)
{
    const char *aof = live_setting(s, "appendonly"), *save = live_setting(s, "save");
    const char *fsync = live_setting(s, "appendfsync");

    if (aof && strcmp(aof, "yes") == 0) {
        hash_set(&m->now, bdb, "data_persistence", "aof");
        hash_set(&m->now, bdb, "aof_policy",
            fsync && strcmp(fsync, "always") == 0 ? "appendfsync-always" : "appendfsync-every-sec");
        return;
    }
    hash_set(&m->now, bdb, "data_persistence", save && *save ? "snapshot" : "disabled");
    if (save && *save)
        add_save_points(m, bdb, save);
}

/* "db0:keys=10,expires=0,…" of all databases. */
static int64_t keys_of(const struct live_server *s)
{
    int64_t keys = 0, count;

    for (const char *p = s->info; p && *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (sscanf(p, "db%*[0-9]:keys=%" SCNd64, &count) == 1 && count > 0)
            keys = plus(keys, count);
    return keys;
}

static void add_sizes(struct making *m, const struct live_database *db, struct hash *bdb)
{
    int64_t keys = 0, bytes = 0;

    for (size_t i = 0; i < db->count; i++) {
        if (!live_is_primary(m->live, db->servers[i]))
            continue;
        keys = plus(keys, keys_of(db->servers[i]));
        bytes = plus(bytes, live_info_int(m->live, db->servers[i], "used_memory", 0));
    }
    hash_setf(&m->now, bdb, "captured_keys", "%" PRId64, keys);
    hash_setf(&m->now, bdb, "captured_bytes", "%" PRId64, bytes);
}

static void add_sentinels(struct making *m, const struct live_database *db, const char *bdb_uid)
{
    for (size_t i = 0; i < db->sentinel_count; i++) {
        const struct live_server *s = db->sentinels[i];
        for (size_t w = 0; w < s->watch_count; w++) {
            const struct live_watch *watch = &s->watches[w];
            if (strcmp(watch->name, db->name) != 0)
                continue;
            struct hash *h = document_add(&m->now, "sentinel",
                document_new_uid(&m->now, &(struct document){.count = 0}, "sentinel"));
            hash_set(&m->now, h, "bdb_uid", bdb_uid);
            hash_set(&m->now, h, "name", watch->name);
            hash_set(&m->now, h, "addr", s->addr);
            hash_set(&m->now, h, "login", s->demands_login ? "needed" : "none");
            hash_set(&m->now, h, "password", m->params->without_secrets ? NULL : s->own_password);
            hash_setf(&m->now, h, "port", "%d", s->port);
            hash_setf(&m->now, h, "quorum", "%" PRId64, watch->quorum);
            hash_setf(&m->now, h, "down_after_ms", "%" PRId64, watch->down_after_ms);
            hash_setf(&m->now, h, "failover_timeout_ms", "%" PRId64, watch->failover_timeout_ms);
            hash_setf(&m->now, h, "parallel_syncs", "%" PRId64, watch->parallel_syncs);
        }
    }
}

static void add_endpoint(struct making *m, const struct live_database *db,
    const struct members *members, const char *bdb_uid, struct hash *bdb)
{
    AUTO_FREE char *uid = xasprintf("%s:1", bdb_uid);
    const struct hash *before = document_get(&m->before, "endpoint", uid);
    struct hash *endpoint = document_add(&m->now, "endpoint", uid);

    hash_set(&m->now, bdb, "endpoint_list", uid);
    hash_set(&m->now, endpoint, "bdb_uid", bdb_uid);
    for (size_t i = 0; i < members->count; i++)
        if (members->list[i].primary) {
            hash_setf(&m->now, endpoint, "port", "%d", members->list[i].port);
            hash_setf(&m->now, bdb, "port", "%d", members->list[i].port);
            break;
        }
    hash_set(&m->now, endpoint, "proxy_policy", db->cluster ? "all-master-shards" : "single");
    hash_set(&m->now, endpoint, "dns_name", hash_get(before, "dns_name"));
    hash_set(&m->now, endpoint, "addr", hash_get(before, "addr"));
}

void making_database(struct making *m, const struct live_database *db)
{
    struct members members = {NULL, 0};

    if (db->cluster)
        find_cluster_members(m, db, &members);
    else
        find_group_members(m, db, &members);
    const char *uid = database_uid(m, &members);
    const struct hash *before = document_get(&m->before, "bdb", uid);
    struct hash *bdb = document_add(&m->now, "bdb", uid);
    const char *name = db->name ? db->name : hash_get(before, "name");
    AUTO_FREE char *made = xasprintf("redis-%d", db->first->port);

    hash_set(&m->now, bdb, "name", name ? name : made);
    hash_set(&m->now, bdb, "type", "redis");
    hash_set(&m->now, bdb, "status", "active");
    hash_set(&m->now, bdb, "redis_version", live_info(m->live, db->first, "redis_version"));
    hash_set(&m->now, bdb, "valkey_version", live_info(m->live, db->first, "valkey_version"));
    for (size_t i = 0; i < members.count; i++)
        add_shard(m, db, &members.list[i], uid);
    add_topology(m, db, &members, bdb);
    add_memory(m, db, &members, bdb);
    add_persistence(m, db->first, bdb);
    hash_set(&m->now, bdb, "eviction_policy", live_setting(db->first, "maxmemory-policy"));
    hash_set(&m->now, bdb, "maxclients", live_setting(db->first, "maxclients"));
    add_sizes(m, db, bdb);
    access_add(m, db, bdb);
    settings_add(m, db, bdb);
    add_endpoint(m, db, &members, uid, bdb);
    add_sentinels(m, db, uid);
}
