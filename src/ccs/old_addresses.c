#include "old_addresses.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/json.h"

/* NULL: not known. */
static const char *setting(
    const struct ccs_database *db, const struct ccs_shard *shard, const char *name)
{
    const char *own = shard ? json_text(shard->config, name, NULL) : NULL;

    return own ? own : json_text(db->config, name, NULL);
}

static bool is_no(const struct ccs_database *db, const char *name)
{
    const char *value = setting(db, NULL, name);
    return value && strcmp(value, "no") == 0;
}

static int port_of(const struct ccs_database *db, const struct ccs_shard *shard, const char *name)
{
    const char *value = setting(db, shard, name);
    int port = value ? atoi(value) : 0;

    return port > 0 && port <= 65535 ? port : 0;
}

static void load_shard(const struct ccs_database *db, struct ccs_shard *shard)
{
    int tls = port_of(db, shard, "tls-port"), plain = port_of(db, shard, "port");

    shard->bus_port = port_of(db, shard, "cluster-port");
    if (!tls || !plain)
        return;
    /* A configuration that was read beside a nodes.json may be another server's. */
    if (shard->port && shard->port != tls && shard->port != plain)
        return;
    shard->port = db->tls_inside ? tls : plain;
    shard->other_port = db->tls_inside ? plain : tls;
}

/* Whether the server listened there itself. `name` ends in -ip, -port, -tls-port or -bus-port. */
static bool is_own(const struct ccs_database *db, const struct ccs_shard *shard, const char *name,
    const char *value)
{
    const char *bind = setting(db, shard, "bind");

    if (strstr(name, "-ip"))
        return bind && strstr(bind, value);
    if (strstr(name, "-bus-port"))
        return atoi(value) == (shard->bus_port ? shard->bus_port : shard->port + 10000);
    return atoi(value) == port_of(db, shard, strstr(name, "-tls-port") ? "tls-port" : "port");
}

static const char *announced_by(
    struct arena *arena, const struct ccs_database *db, const struct ccs_shard *shard)
{
    static const char *const names[] = {"cluster-announce-ip", "cluster-announce-port",
        "cluster-announce-tls-port", "cluster-announce-bus-port", "replica-announce-ip",
        "replica-announce-port"};
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *value = setting(db, shard, names[i]);
        if (value && *value && strcmp(value, "0") != 0 && !is_own(db, shard, names[i], value))
            buf_addf(&text, "%s%s %.64s", text.len ? ", " : "", names[i], value);
    }
    return text.len ? arena_strdup(arena, text.data) : NULL;
}

void old_addresses_load(struct ccs *ccs)
{
    for (size_t i = 0; i < ccs->database_count; i++) {
        struct ccs_database *db = &ccs->databases[i];
        /* In a cluster one address is for replication and for the bus: it gets TLS for both. */
        db->tls_inside =
            !is_no(db, "tls-replication") || (db->sharded && !is_no(db, "tls-cluster"));
        for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
            load_shard(db, &ccs->shards[s]);
            ccs->shards[s].announced = announced_by(&ccs->arena, db, &ccs->shards[s]);
        }
    }
}
