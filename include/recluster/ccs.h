#ifndef RECLUSTER_CCS_H
#define RECLUSTER_CCS_H

/*
 * The CCS file: import into the state file, findings, and the model that the rest works on.
 *
 *     ccs_import("ccs-redis.rdb", NULL, st, err)   // fills tables ccs_entry, cluster, node, …, finding
 *     struct ccs *ccs = ccs_load(st, err);   // the typed tables as structs
 *     ccs_free(ccs);
 *
 * An import runs in one transaction: the state file gets all of it or nothing. It has a memory
 * limit (memory_limit.h); over the limit the process ends with an error that names the file.
 *
 * Inputs, recognized by content:
 *   - an RDB file, also gzipped;
 *   - the ccs-redis.json of a support package;
 *   - the nodes.json of `redis-cli --cluster backup`. It becomes a cluster with one sharded
 *     database "db:1"; its shards are named by their node ids.
 *
 * Uids are strings as in the keys: node "1", database "1" (its label is "db:1"), shard "4",
 * endpoint "1:1". People write and read labels: node:1, db:1, shard:4, endpoint:1:1.
 *
 * A field that is missing or unreadable gets the value named below, and a finding if it matters.
 * The import fails only if the file itself cannot be read or holds no cluster.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/mem.h"
#include "recluster/rdb.h"
#include "recluster/slots.h"
#include "recluster/state.h"

struct ccs_node {
    const char *uid;
    const char *addr;                            /* NULL: not known */
    const char *external_addr;                   /* NULL: none; several joined by ',' */
    const char *rack, *second_rack;              /* NULL: none */
    const char *status;                          /* "active" if missing */
    const char *persistent_path, *recovery_path; /* NULL: not known */
    int64_t memory_bytes;                        /* -1: not known */
    int64_t max_shards;                          /* max_redis_servers; -1: not known */
    bool accepts_shards;                         /* not quorum_only, accept_servers not disabled */
};

struct ccs_shard {
    const char *uid;
    const char *database_uid;
    const char *node_uid; /* NULL: not known */
    bool primary;
    const struct slots *slots; /* open slots; all of them for a database that is not sharded */
    int port;                  /* by which its database's servers reached it; 0: not known */
    int other_port; /* for clients only: with TLS if `port` is without, and the reverse; 0: none */
    int bus_port;   /* that was chosen (cluster-port); 0: 10,000 above `port`, or not known */
    /* How it told others another address or port than its own: "cluster-announce-port 30001"; NULL */
    const char *announced;
    /* In Redis Cluster, of a captured file; NULL: not known, none was announced. */
    const char *node_id, *hostname;
    /*
     * Where it differed from other servers of its database; NULL: nowhere. {name: value} that the new
     * server gets; {name: true} of those that a server may lack without a loss, since they had their
     * default; names that it does not get.
     */
    const json_t *settings, *settings_usual, *settings_left;
    const json_t *config; /* what CONFIG GET said of this server alone; NULL: not known */
    /* A replica's primary: same database, same slots; index into ccs.shards, -1: none found. */
    int primary_index;
};

struct ccs_endpoint {
    const char *uid;
    const char *database_uid;
    int port;             /* 0: not known */
    const char *addr;     /* NULL: none; several joined by ',' */
    const char *dns_name; /* NULL: none */
    const char *proxy_policy;
};

/*
 * How clients logged in. X(identifier, name in the state file)
 */
#define CCS_LOGINS(X)                                                                              \
    X(CCS_LOGIN_OPEN, "open")             /* without a password */                                 \
    X(CCS_LOGIN_PASSWORD, "password")     /* with the password that the file has */                \
    X(CCS_LOGIN_OFF, "off")               /* only as named users: user default was off */          \
    X(CCS_LOGIN_UNREADABLE, "unreadable") /* with a password that the file has encoded */          \
    X(CCS_LOGIN_UNKNOWN, "unknown")       /* the file does not say: nodes.json */

enum ccs_login {
#define CCS_LOGIN_ENUM(id, name) id,
    CCS_LOGINS(CCS_LOGIN_ENUM)
#undef CCS_LOGIN_ENUM
};

enum ccs_persistence { CCS_PERSIST_NONE, CCS_PERSIST_SNAPSHOT, CCS_PERSIST_AOF };
enum ccs_slots_policy { CCS_SLOTS_16K, CCS_SLOTS_LEGACY };

struct ccs_save_point {
    int64_t seconds, changes;
};

/* How Sentinels watched a database. 0: not known; then the server's default holds. */
struct ccs_sentinels {
    const char *name; /* that clients ask for */
    size_t count;     /* how many there were; 0: only asked for in the hosts file */
    int port;
    int64_t quorum, down_after_ms, failover_timeout_ms, parallel_syncs;
    bool needed_login;    /* they answered nobody without a login */
    const char *password; /* that they themselves demand, a secret; NULL: none, or not known */
};

struct ccs_database {
    const char *uid;
    const char *label;         /* "db:1" */
    const char *name;          /* the label if missing */
    const char *type;          /* "redis", "memcached" */
    const char *status;        /* "active" if missing */
    const char *redis_version; /* NULL: not known */
    bool sharded;              /* more than one primary may hold it: becomes a Redis Cluster */
    bool replicated;
    bool rack_aware;
    bool active_active;
    enum ccs_slots_policy slots_policy;
    int64_t primaries;           /* shards_count; -1: not known */
    int64_t memory_bytes;        /* memory_size, whole database, replicas included; 0: no limit */
    int port;                    /* 0: not known */
    int64_t max_clients;         /* 0: the server's default */
    const char *eviction_policy; /* as the servers name it: "noeviction", … */
    enum ccs_persistence persistence;
    bool fsync_always; /* of CCS_PERSIST_AOF */
    const struct ccs_save_point
        *save_points; /* of CCS_PERSIST_SNAPSHOT; 3600 s, 1 change if missing */
    size_t save_point_count;
    const char *shards_placement;                      /* "dense", "sparse" */
    const char *const *avoid_nodes, *const *use_nodes; /* uids, NULL-ended; may be empty */
    const char *password; /* of clients; NULL: not known. A secret: never print it */
    enum ccs_login login;
    bool tls, client_certificates; /* clients used TLS; clients had to show certificates */
    bool tls_mixed;                /* clients could connect without TLS too, to a second port */
    bool tls_inside; /* with TLS: its servers used it among themselves; true if not known */
    /*
     * Of a file that `capture` wrote; NULL: not known. `users`: lines of ACL LIST, NULL-ended, a
     * secret: they have hashes of passwords. Of the vendor's file, they are made of its users and
     * roles (users_mapped), without user default. `settings`: {name: value} that the new servers get.
     * `settings_usual`: {name: true} of those that a server may lack without a loss, since they had
     * their default. `settings_left`: names that they do not get, as JSON. `settings_own`: names of those that
     * recluster gives each server in its own way.
     */
    const char *const *users;
    bool users_mapped;
    bool default_stays_off; /* it was, and a mapped user can log in instead */
    const json_t *settings, *settings_usual, *settings_left;
    json_t *settings_own;
    const json_t *renamed; /* commands with other names, or "" if they were off; NULL: none known */
    const json_t *config;  /* what CONFIG GET said of all its servers; NULL: not known */
    const struct ccs_sentinels *sentinels; /* NULL: none */
    bool no_sentinels;                     /* the hosts file wants none */
    const char *const *modules;            /* names from its module_list, NULL-ended */
    const char *const *module_args;        /* parallel, "" where none; NULL: not known */
    const json_t *backup_location;         /* as in CCS, an object with "type"; NULL: none */
    int64_t backup_interval_s;             /* 0: not known */
    size_t first_shard, shard_count;       /* in ccs.shards: primaries first, by slots */
    size_t first_endpoint, endpoint_count; /* in ccs.endpoints */
};

struct ccs_finding {
    const char *severity; /* "error", "warning", "info" */
    const char *code;     /* "slots-missing", … : a stable word */
    const char *message;
    const char *const *keys; /* CCS keys, NULL-ended */
};

/* Nodes and databases are sorted by uid (numbers as numbers), shards as described above. */
struct ccs {
    struct arena arena;       /* owns all below */
    json_t *json;             /* owns backup locations */
    const char *cluster_name; /* NULL: not known */
    const char *source;       /* path as given to the import */
    const char *format;       /* "rdb", "json", "nodes.json" */
    int64_t saved_ms;         /* when the file was saved, from its aux ctime; -1: not known */
    bool has_proxies;         /* clients had no administrative commands: a proxy blocked them */
    bool rack_aware;
    struct ccs_node *nodes;
    size_t node_count;
    struct ccs_database *databases;
    size_t database_count;
    struct ccs_shard *shards;
    size_t shard_count;
    struct ccs_endpoint *endpoints;
    size_t endpoint_count;
    struct ccs_finding *findings;
    size_t finding_count;
};

/* `key`: a file with the private key of an encrypted CCS file (sealed.h); NULL: none. */
int ccs_import(const char *path, const char *key, struct state *st, struct err *err) MUST_CHECK;

/* The same for a file in memory, as capture_make() makes it. `name` is that of its source. */
int ccs_import_bytes(
    const char *name, struct rdb_bytes bytes, struct state *st, struct err *err) MUST_CHECK;

/*
 * Adds the settings, users and password of a captured file with one server, as capture_make() makes
 * it of a folder, to an imported nodes.json. Adds nothing if `st` holds another format.
 */
int ccs_add_settings(const char *name, struct rdb_bytes bytes, struct state *st, bool *ret_added,
    struct err *err) MUST_CHECK;

struct ccs *ccs_load(struct state *st, struct err *err) MUST_CHECK;
void ccs_free(struct ccs *ccs);

const struct ccs_node *ccs_node(const struct ccs *ccs, const char *uid); /* or NULL */
const struct ccs_database *ccs_database(const struct ccs *ccs, const char *uid);

/*
 * What the hosts file says of a database's Sentinels: true, false (none), or an object with "name",
 * "port", "quorum", "down_after_ms", "failover_timeout_ms", "parallel_syncs", "password", each of
 * which replaces what was captured. Also written to the state file, for later runs.
 */
int ccs_ask_for_sentinels(struct ccs *ccs, const struct ccs_database *db, const json_t *wish,
    struct state *st, struct err *err) MUST_CHECK;

const char *ccs_login_name(enum ccs_login login);

/* By "db:1", "1" or name. ERR_USAGE names the nearest known one, or reports an ambiguous name. */
const struct ccs_database *ccs_find_database(
    const struct ccs *ccs, const char *word, struct err *err) MUST_CHECK;

/* The slots that no primary of the database has. */
void ccs_missing_slots(const struct ccs *ccs, const struct ccs_database *db, struct slots *ret);

#endif
