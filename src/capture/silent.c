/* Databases that nobody could be asked about. */

#include <stdlib.h>
#include <string.h>

#include "database.h"
#include "recluster/secret.h"

/* Whether a server at this address was asked and did not answer everything. */
static bool is_silent(const struct live *live, const char *addr, int port)
{
    const struct live_server *s = live_server_at(live, addr, port);
    return s && !live_is_whole(s);
}

static bool is_of(const struct hash *h, const char *type, const char *bdb_uid)
{
    const char *uid = strcmp(h->type, type) == 0 ? hash_get(h, "bdb_uid") : NULL;
    return uid && strcmp(uid, bdb_uid) == 0;
}

static const struct hash *node_of(const struct making *m, const struct hash *shard)
{
    const char *uid = hash_get(shard, "node_uid");
    return uid ? document_get(&m->before, "node", uid) : NULL;
}

/* One silent shard is enough: those of a database that was removed are not asked any more. */
static bool has_silent_shard(const struct making *m, const char *bdb_uid)
{
    for (size_t i = 0; i < m->before.count; i++) {
        const struct hash *h = m->before.hashes[i];
        const char *addr = is_of(h, "redis", bdb_uid) ? hash_get(node_of(m, h), "addr") : NULL;
        const char *port = addr ? hash_get(h, "port") : NULL;
        if (port && is_silent(m->live, addr, atoi(port)))
            return true;
    }
    return false;
}

static bool is_secret(const char *field)
{
    return secret_is_name(field) && strcmp(field, "hash_slots_policy") != 0;
}

static struct hash *copy(struct making *m, const struct hash *before, const char *uid)
{
    struct hash *h = document_add(&m->now, before->type, uid);

    for (size_t i = 0; i < before->count; i++)
        if (!m->params->without_secrets || !is_secret(before->pairs[i].field.data))
            hash_set(&m->now, h, before->pairs[i].field.data, before->pairs[i].value.data);
    return h;
}

static void keep_shard(struct making *m, const struct hash *shard)
{
    const char *addr = hash_get(node_of(m, shard), "addr");

    if (document_get(&m->now, "redis", shard->uid))
        return;
    hash_set(&m->now, copy(m, shard, shard->uid), "status", "down");
    if (addr)
        making_node(m, addr, NULL);
}

static void keep_database(struct making *m, const struct hash *bdb)
{
    static const struct document none = {.count = 0};

    copy(m, bdb, bdb->uid);
    for (size_t i = 0; i < m->before.count; i++) {
        const struct hash *h = m->before.hashes[i];
        if (is_of(h, "redis", bdb->uid))
            keep_shard(m, h);
        else if (is_of(h, "endpoint", bdb->uid) && !document_get(&m->now, "endpoint", h->uid))
            copy(m, h, h->uid);
        else if (is_of(h, "sentinel", bdb->uid))
            copy(m, h, document_new_uid(&m->now, &none, "sentinel"));
    }
    const char *name = hash_get(bdb, "name");
    making_finding(m, "database-silent",
        "no server of database '%s' answers: what is said of it is older", name ? name : bdb->uid);
}

void making_silent_databases(struct making *m)
{
    for (size_t i = 0; i < m->before.count; i++) {
        const struct hash *h = m->before.hashes[i];
        if (strcmp(h->type, "bdb") == 0 && h->uid && !document_get(&m->now, "bdb", h->uid) &&
            has_silent_shard(m, h->uid))
            keep_database(m, h);
    }
}
