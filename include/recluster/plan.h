#ifndef RECLUSTER_PLAN_H
#define RECLUSTER_PLAN_H

/*
 * The plan: which shard goes to which host, and from which file. The planner is pure: no clock, no
 * I/O; the same input gives the same plan.
 *
 *     struct plan *plan = plan_make(&input);   // never NULL; look at plan->feasible
 *     json_t *doc = plan_json(plan);           // `plan --json`
 *     plan_free(plan);
 *
 * Issues. A blocker stops the plan. It says in the user's words what is missing and what would
 * help. A living old cluster is a blocker; so is each address of a dead one that still answers,
 * unless its server is to be stopped. A database that no plan can recover (memcached,
 * Active-Active) is left out with a reason and does not stop the others. A host that cannot be used
 * (not reached, no server, a folder that is not empty, …) is left out with a warning; if shards
 * found no place, the same reason is a blocker too.
 *
 * Rules. They always hold.
 *   - A primary and its replicas are on different hosts. If the database is rack aware and the
 *     hosts name two racks, they are in different racks; the same holds for second racks.
 *   - If the hosts name three racks or more, no rack has more than half of the primaries of a
 *     sharded database.
 *   - A host that `replaces` a node of avoid_nodes gets no shard of the database. If a host
 *     replaces a node of use_nodes, only such hosts get shards of it.
 *   - The shards of a host need at most its memory: "memory" of hosts.json, or what is available
 *     there less a reserve of a tenth, at least 256 MiB. Hosts on one machine share its memory.
 *   - They need at most its free disk. No port is used twice, or used if it is taken.
 *   - A host has at most max_redis_servers servers, by hosts.json or else by the node it replaces.
 *   - Its server loads the file. The server of a replica reads what the server of its primary
 *     writes.
 *
 * Preferences, the most important first.
 *   1. The host that replaces the shard's old node, or has its file on a disk.
 *   2. For a "sparse" database, the host with the fewest shards of it. "dense" permits several
 *      shards of a database on a host but does not prefer it.
 *   3. The least estimated time of the slowest host; a tenth and 10 seconds make no difference.
 *   4. Memory that is filled evenly, in relation to the caps.
 *   5. The earlier host in hosts.json; for a replica, the next one after the host of its primary.
 * With more than 24 shards or hosts, 3 and 4 give way to stability: a small change of the input
 * should move few shards. The slowest host may then take a twentieth more than the mean, and the
 * fullest may be 5 % fuller than if all were equally full.
 *
 * Search. Shards are placed one after the other, then places are repaired, then improved, each
 * within a fixed budget, so the time has a limit. With up to 24 shards on 24 hosts the search also
 * finds out whether a plan exists at all. With more, it nearly always finds a plan that exists.
 *
 * Ports. If clients knew the shards themselves (a captured cluster, nodes.json), a shard gets the
 * port that it had, if that is free. Otherwise: the primary of a database that is not sharded has the endpoint's port; its replica has the
 * same one if it is free. For a sharded database, the first server on each host has that port if it
 * is free. All other ports are from 21000 to 22767; bus ports are 10,000 above if those are free, or
 * the one that was chosen before (cluster-port). A server that listened with TLS and without has
 * both ports again: `port` is the one that servers use among themselves.
 *
 * Sentinels. A database that is not sharded and has replicas gets Sentinels if it had some: as many
 * as before, at least three, each on a host of its own; on fewer hosts fewer, with a warning. They
 * prefer different racks, then different machines, then hosts where their port is free, then hosts
 * that have its shards. The port is the one from before, else 26379; if it is taken, the next free
 * one. A Sentinel needs no memory of the plan.
 *
 * Limits: 10,000 hosts, 1,000,000 shards. 1,000 hosts and 20,000 shards take about a second.
 *
 * Bytes, of a shard.
 *   - Data: the larger of its part of the database's memory_size and what its file is predicted to
 *     take. The prediction is the larger of used-mem in the file's head and, if the file was read
 *     whole, what its records take by type and encoding; without both, three times the stored size.
 *     An append-only file takes as much memory as disk, or what its head says if that is more.
 *   - Memory: data, a tenth of it for copy-on-write if the server forks (persistence, replicas),
 *     16 MiB of replication backlog and 16 MiB for the process.
 *   - Disk: two times the unpacked file (itself, and one more copy for a sync or a rewrite); three
 *     times if the database has persistence or the file is an append-only one. A packed file is
 *     taken to be a third of its unpacked size.
 *
 * Seconds. Each host fetches its files at the rate that it measured, but no faster than it writes
 * them unpacked; without a measurement at that of `rates`. Up to PLAN_FETCHES_PER_HOST fetches at a
 * time share this rate. A host loads as many servers at a time as it has cores, together no faster
 * than it reads from its disk. A replica counts like its primary if its server can start on the
 * same file (7.0 and later). Otherwise it is sent a copy; copies into one host are sent one by one.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/catalogue.h"
#include "recluster/ccs.h"
#include "recluster/err.h"
#include "recluster/hosts.h"
#include "recluster/mem.h"

enum plan_stage { STAGE_PREPARE = 1, STAGE_TRANSFER, STAGE_LOAD, STAGE_OPEN };
const char *plan_stage_name(enum plan_stage stage); /* "prepare", "transfer", "load", "open" */

struct plan_host_input {
    const struct host *host;
    const char *without;     /* the value of --without that excludes it, "rack:b"; NULL: none */
    json_t *facts;           /* result of `probe`; the planner only reads it. NULL: not reached */
    const struct err *error; /* why not */
};

struct plan_database_input {
    const struct ccs_database *database;
    const json_t *location;      /* where its backups are; NULL: none known, or see `error` */
    const char *location_label;  /* as it may be printed */
    struct catalogue *catalogue; /* the planner only reads it. NULL: could not be read */
    const struct err *error; /* why not; with a catalogue: the catalogue has only files on disks */
    bool only_disks;         /* the operator wants files on disks instead of a location */
    int priority;            /* 1: first; 0: after all databases with a priority */
    bool no_replicas;
    int primaries;        /* 0: as many as in the CCS */
    const char *password; /* that clients get from the operator, a secret; NULL: none */
    bool open_access;     /* clients need no password, as the operator wants */
    bool weaker_access;   /* the operator accepts weaker access than before */
};

/* Fetches at a time: of one host, and of all hosts by default. */
enum { PLAN_FETCHES_PER_HOST = 4, PLAN_FETCHES = 256 };

/* Bytes a second; and the seconds that a stage takes for any number of bytes. */
struct plan_rates {
    double transfer; /* of stored bytes, into one host */
    double load;     /* of unpacked bytes, by one server */
    double sync;     /* of unpacked bytes, out of one host */
    double prepare_s, open_s;
    const char *source; /* "defaults", "stored" */
};
extern const struct plan_rates plan_default_rates;

enum plan_mode {
    PLAN_FRESH,
    /* Each shard gets the place that an earlier plan gave it. A place that a rule forbids by now is
     * a blocker. */
    PLAN_PINNED,
    /* Shards whose host is null in an earlier plan get a new place. The others keep theirs: they
     * are counted there, no rule is applied to them. A database without a location needs no file,
     * unless it is only_disks. */
    PLAN_REPLAN,
};

struct plan_input {
    const struct ccs *ccs;
    const char *ccs_sha256;
    const struct plan_host_input *hosts;
    size_t host_count;
    const struct plan_database_input *databases; /* those that were asked for */
    size_t database_count;
    /*
     * Addresses of the old cluster that answer: [{"addr", "port", "what"}, …]; NULL: none, or not
     * asked. One that is to be stopped also has "server": {"pid", "name", "unit" or null}, or
     * "error": why it cannot be stopped.
     */
    const json_t *alive;
    /* Sentinels that watch addresses of the old cluster: [{"addr", "port", "master", "watches"}] */
    const json_t *sentinels;
    const json_t *silent;       /* addresses of it that neither answer nor refuse, like `alive` */
    const json_t *silent_nodes; /* uids of the nodes all of whose addresses are silent */
    const json_t *unasked;      /* names that could not be asked: [{"name", "what", "why"}] */
    bool old_cluster_silent;    /* too many nodes are silent to call it dead */
    bool alive_not_asked;
    int64_t now_ms;
    bool offline;   /* hosts and locations were not asked: sizes are those of memory_size */
    bool full_sync; /* all replicas are sent copies */
    bool only_configuration;           /* databases are restored empty */
    bool by_priority;                  /* databases that cannot be recovered are left out */
    const struct slots *allow_missing; /* slots that may stay empty; NULL: none */
    int64_t rto_s;                     /* primaries are added until the time is met; 0: any time */
    const json_t *options;             /* the operator's options, for the document; NULL: none */
    enum plan_mode mode;
    const json_t *pinned;           /* document of the earlier plan; NULL: PLAN_FRESH */
    const struct plan_rates *rates; /* NULL: plan_default_rates */
    /* Endpoints that get a login: [{"database": label, "endpoint", "clear": bool, "named_by"}];
     * NULL: none. */
    const json_t *logins;
    /* Folders on disks that were searched: [{"owner", "path", "error"?: {"name",
     * "message", "hint"}}]; NULL: none. */
    const json_t *disks;
};

struct plan_issue {
    const char *code; /* a stable word: "slots-missing", "memory", "port", … */
    const char *message;
    const char *hint;     /* NULL: none */
    const char *database; /* label, which begins the message; NULL: of the whole plan */
    const char *host;     /* name, NULL */
};

struct plan_shard {
    const struct ccs_shard *shard; /* uid, role, slots */
    size_t database;               /* index into plan.databases */
    int host;                      /* index into plan.hosts; -1: no place found */
    int primary;                   /* replicas: index of the primary in plan.shards; else -1 */
    int port;
    int bus_port;    /* 0: not sharded */
    int other_port;  /* for clients only: with TLS if `port` is without, and the reverse; 0: none */
    const char *dir; /* below the host's base_dir: "db-1/shard-4" */
    int64_t memory_bytes;
    int64_t disk_bytes;
    const struct backup_file *file; /* of the shard's slots; of the primary's for replicas too */
    /* All files that have slots of it. If it is not just `file`, the shard needs a cut. */
    const struct backup_file *const *files;
    size_t file_count;
    double transfer_s, load_s; /* estimates; of a replica that is sent a copy, load_s is its sync */
};

/* Its data is in several files, or in one that has other slots too. */
bool plan_shard_needs_cut(const struct plan_shard *shard);

/* Where clients reach a database: its primary, or each of its primaries. */
struct plan_endpoint {
    const char *addr;
    int port;
    bool tls;
};

/* One that will watch a database. */
struct plan_sentinel {
    int host, port;  /* host: index into plan.hosts */
    const char *dir; /* below the host's base_dir: "db-1/sentinel" */
};

/* How clients log in afterwards; the document has its name. */
enum plan_login {
    PLAN_LOGIN_AS_BEFORE,
    PLAN_LOGIN_NEW,   /* a random password */
    PLAN_LOGIN_GIVEN, /* the operator's */
    PLAN_LOGIN_OPEN,  /* none, as the operator wants */
};
const char *plan_login_name(enum plan_login login); /* "as-before", "new-password", … */

struct plan_database {
    const struct ccs_database *database;
    const char *skipped;          /* why it is left out; NULL: it is not */
    const struct backup_set *set; /* NULL: none */
    const json_t *location;       /* NULL: none, or the set is on disks */
    const char *location_label;
    int64_t age_s;                   /* of the set: how much is lost (RPO); -1: unknown */
    int64_t skew_s;                  /* between its files; -1: unknown */
    bool resharded;                  /* has other primaries than the CCS */
    struct slots lost;               /* slots without data, which --allow-missing-slots allows */
    size_t first_shard, shard_count; /* in plan.shards */
    struct plan_endpoint *endpoints;
    size_t endpoint_count;
    struct plan_sentinel *sentinels;
    size_t sentinel_count;
    int64_t sentinel_quorum;
    bool prove_failover;     /* they prove a failover before it is opened */
    int64_t maxmemory_bytes; /* of each shard; 0: none */
    enum plan_login login;
    bool tls;       /* as before; each of its hosts has certificates */
    bool tls_mixed; /* and as before, a second port of each server speaks without TLS */
    /* Clients have no administrative commands, as behind the old proxy; the user admin has them. */
    bool data_commands_only;
    bool adds_admin; /* the user admin is made: for these, or for commands that had other names */
};

struct plan_host {
    const struct host *host;
    const json_t *facts;
    bool usable;          /* false: a warning says why */
    int64_t memory_bytes; /* that may be planned */
    int64_t planned_bytes;
    int64_t disk_free_bytes, planned_disk_bytes;
    int64_t cores; /* at least 1 */
    /* Bytes a second that it measured; 0: not measured. */
    double network, disk_write, disk_read;
    size_t shard_count;
};

struct plan {
    struct arena arena;
    char hash[65]; /* of all that matters: CCS file, placement, files and their sizes */
    bool feasible;
    struct plan_database *databases;
    size_t database_count;
    struct plan_shard *shards;
    size_t shard_count;
    struct plan_host *hosts;
    size_t host_count;
    struct plan_issue *blockers;
    size_t blocker_count;
    struct plan_issue *warnings;
    size_t warning_count;
    const char **unchecked; /* what was not checked, a sentence each */
    size_t unchecked_count;
    const char *ccs_sha256;
    int64_t made_ms;
    bool offline;
    const struct plan_rates *rates;
    const json_t *options; /* as in the input */
    const json_t *logins;  /* the same */
    struct plan_stage_cost {
        int64_t bytes;
        double seconds; /* estimate */
    } stages[STAGE_OPEN + 1];
};

/*
 * Whether the old cluster has a quorum, if these addresses answer: more than half of its nodes, or
 * of the primaries of a sharded database.
 */
bool plan_old_cluster_lives(const struct ccs *ccs, const json_t *alive);

bool plan_is_placed(const struct plan *plan); /* all shards that are not left out have a host */
/* Whether a shard's `port` speaks TLS. */
bool plan_shard_uses_tls(const struct plan *plan, const struct plan_shard *shard);
int plan_primaries(const struct plan *plan, const struct plan_database *db);
double plan_seconds(const struct plan *plan); /* of all stages */

/* The plan points to what the input points to, which must outlive it. */
struct plan *plan_make(const struct plan_input *input);
void plan_free(struct plan *plan);

/*
 * The document:
 *
 *     {"hash", "feasible", "ccs_sha256", "made_ms", "offline", "options",
 *      "logins": as in the input,
 *      "databases": [DATABASE], "hosts": [HOST], "unchecked": [text],
 *      "stages": [{"stage", "bytes", "seconds"}],
 *      "rates": {"transfer", "load", "sync", "source", "measured_hosts": how many have own rates},
 *      "blockers", "warnings": [{"code", "message", "hint", "database": label, "host"}]}
 *
 *     DATABASE: {"uid": "1", "label": "db:1", "name", "skipped": reason or null,
 *      "source": location or null, "maxmemory", "slots_lost": those that stay empty,
 *      "login": "as-before|new-password|given-password|open", "client_rules": "all|data",
 *      "primaries": null, or another number than in the CCS, "backup_set": SET or null,
 *      "shards": [SHARD], "endpoints": [{"addr", "port"}],
 *      "sentinels": [{"host", "addr", "port", "dir"}],
 *      "prove_failover": bool}
 *
 *     SET: {"id", "time": "2026-01-31T13:05:09Z", "age_s", "skew_s", "disks": bool,
 *      "files": [{"name", "bytes", "slots": [[0, 5460]], and of a file on a disk "where", "host",
 *                 "kind", "time"}]}
 *
 *     SHARD: {"uid", "database": uid, "role": "primary|replica", "primary": uid or null,
 *      "host", "addr": null without a place, "port", "bus_port", "dir", "slots",
 *      "source": file name, "sources": file names if it needs a cut, "memory", "disk",
 *      "transfer_s", "load_s"}
 *
 *     HOST: {"name", "addr", "rack", "second_rack", "usable", "memory", "planned_memory",
 *      "disk_free", "planned_disk", "cores", "shards": how many,
 *      "measured": null or {"network", "disk_write", "disk_read"} in bytes a second}
 *
 * Unknown values are null, and so are those that do not apply.
 */
json_t *plan_json(const struct plan *plan);

/* DATABASE of that uid in a document; NULL: none, or no document. */
const json_t *plan_json_database(const json_t *document, const char *uid);

/*
 * The newest RDB version that a server of this kind ("redis", "valkey") and version ("7.0.15")
 * loads: 9, 10, 11, 12 …; 0: unknown. Valkey 9 has 80 and a magic of its own, and refuses 12 to
 * 79, which are Redis's.
 */
int plan_rdb_version_max(const char *kind, const char *version);

#endif
