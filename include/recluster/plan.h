#ifndef RECLUSTER_PLAN_H
#define RECLUSTER_PLAN_H

/*
 * The plan: which shard goes where, from which file. Pure: facts in, plan out; no clock, no I/O,
 * the same input gives the same plan.
 *
 *     struct plan *plan = plan_make(&input);   // always a plan; look at plan->feasible
 *     json_t *doc = plan_json(plan);           // `plan --json`
 *     plan_free(plan);
 *
 * Hard rules. A primary and its replicas are on different hosts; where the database is rack aware
 * and the hosts name two racks, in different ones, and the same of second racks. Where the hosts
 * name three racks or more, none has more than half of a sharded database's primaries. A host that
 * `replaces` a node of avoid_nodes gets no shard of the database; where a host replaces one of
 * use_nodes, no other gets one. On each host: no more memory than its cap (hosts.json "memory",
 * else what it has available less a reserve of a tenth, at least 256 MiB; hosts of one machine
 * share that), no more disk than is free, no port twice nor one that is taken, no more servers than
 * max_redis_servers (of hosts.json, else of the node that it replaces), a server that loads the
 * file and, for a replica, what its primary's server writes.
 *
 * Then, in this order: the host that `replaces` the shard's old node, or has its file on a disk;
 * for databases that are "sparse", the one with the fewest shards of the database ("dense" allows
 * several, it doesn't ask for them: nothing is gained by it any more); the smallest estimated time
 * of the slowest host, where a tenth and 10 seconds make no difference; the evenest memory,
 * relative to the caps; the earlier one in hosts.json (for a replica: the next one behind its
 * primary's). With more than 24 shards or hosts both are given up for plans that change little when
 * the input does: the slowest host may then take a twentieth more than the mean, and the fullest be
 * 5 % fuller than all would be if they were equally full. Placement is greedy, then repaired, then
 * improved, each within a fixed budget, so that time is bounded. With up to 24 shards on 24 hosts a
 * search settles whether there is a plan at all; with more, a plan is nearly always found where
 * there is one, which is not proven.
 *
 * An old cluster that lives stops the plan; so does each address of one that doesn't but still
 * answers, unless it is to be stopped.
 *
 * What stops the plan is a blocker; it says in the user's words what is missing and what would
 * help. A database that can't be recovered by any plan (memcached, Active-Active) is left out with
 * a reason and doesn't stop the others. A host that can't be used (not reached, no server, a folder
 * that isn't empty, …) is left out with a warning; the same is a blocker too where shards found no
 * place.
 *
 * Ports: the primary of a database that is not sharded has the endpoint's port, its replica the
 * same one where it is free. Of a sharded database the first server on each host has it where it is
 * free. All others are from 21000 to 22767, bus ports 10,000 above where those are free.
 *
 * Limits: 10,000 hosts, 1,000,000 shards; 1,000 hosts and 20,000 shards take about a second. In
 * bytes, of a shard: data = the larger of its part of the database's memory_size and what its file
 * is predicted to take (the larger of used-mem of its head and, where it was read whole, what its
 * records take by type and encoding; else three times the stored size). Memory = data, + a tenth of
 * it for copy-on-write where its server forks (persistence, replicas), + 16 MiB of replication
 * backlog, + 16 MiB for the process. Disk = two times the unpacked file (itself and one more copy,
 * of a sync or a rewrite), three times where the database has persistence or the file is an
 * append-only one; a file that is packed is taken to be a third of it. An append-only file is taken
 * to be as large in RAM as on the disk, or as its own head says, if that is more.
 *
 * Seconds: each host fetches its shards' files at the rate that it measured, at most as fast as it
 * writes them unpacked, else at that of `rates`; up to PLAN_FETCHES_PER_HOST at a time share it. As
 * many servers load at a time as it has cores, together no faster than it reads from its disk.
 * Replicas count as their primaries where their servers can start on the same file (7.0 and later),
 * else as copies that are sent to them, one after the other into one host.
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

/* X(name): the four stages, in order. */
enum plan_stage { STAGE_PREPARE = 1, STAGE_TRANSFER, STAGE_LOAD, STAGE_OPEN };
const char *plan_stage_name(enum plan_stage stage); /* "prepare", "transfer", "load", "open" */

struct plan_host_input {
    const struct host *host;
    const char *without;     /* the option that keeps it out, "rack:b"; NULL: none */
    const json_t *facts;     /* result of `probe`; NULL: not reached */
    const struct err *error; /* why not */
};

struct plan_database_input {
    const struct ccs_database *database;
    const json_t *location;            /* where its backups are; NULL: none known, or see `error` */
    const char *location_label;        /* as it may be printed */
    const struct catalogue *catalogue; /* NULL: could not be read */
    const struct err *error;           /* why not; with a catalogue, it has files on disks only */
    bool only_disks;                   /* instead of a location: files on disks, as is wanted */
    int priority;                      /* 1: first; 0: after all that have one */
    bool no_replicas;
    int primaries; /* another number of them than in the CCS; 0: the same */
    /* Of clients from now on: a password of the operator's (a secret; NULL: none is given), no
     * password, as he wants; and that he accepts weaker access than it had. */
    const char *password;
    bool open_access, weaker_access;
};

/* Files that are fetched at a time, by one host and, unless it is asked for another number, by all. */
enum { PLAN_FETCHES_PER_HOST = 4, PLAN_FETCHES = 256 };

/* Bytes a second, and seconds that a stage takes whatever its bytes. */
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
    /* The placement of an earlier plan is taken over as it stands. */
    PLAN_PINNED,
    /* Of an earlier plan, shards whose host is null find a new place. The others are where it says,
     * and are only counted there: no rule is asked about them. Databases without a location need
     * no file, unless it is only_disks. */
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
     * asked. Of those that are to be stopped "server" tells {"pid", "name", "unit" or null}, or
     * "error" why they can't be.
     */
    const json_t *alive;
    /* Sentinels that watch addresses of the old cluster: [{"addr", "port", "master", "watches"}] */
    const json_t *sentinels;
    /* Addresses of it that say nothing, and the uids of the nodes of which all are so; and what could
     * not be asked: [{"name", "what", "why"}]. `old_cluster_silent`: too many to be sure. NULL: none. */
    const json_t *silent, *silent_nodes, *unasked;
    bool old_cluster_silent;
    bool alive_not_asked;
    int64_t now_ms;
    bool offline;   /* neither hosts nor locations were asked: sizes are those of memory_size */
    bool full_sync; /* replicas are sent copies, whatever the servers */
    bool only_configuration;           /* databases come back empty */
    bool by_priority;                  /* databases that can't be recovered are left out */
    const struct slots *allow_missing; /* slots that may stay empty; NULL: none */
    int64_t rto_s;                     /* 0: any; else primaries are added until it is met */
    const json_t *options;             /* what was asked for, for the document; NULL: nothing */
    enum plan_mode mode;
    const json_t *pinned; /* document of the earlier plan; NULL: PLAN_FRESH */
    const struct plan_rates *rates; /* NULL: plan_default_rates */
    /* Endpoints that get a login: [{"database": label, "endpoint", "clear": bool, "named_by"}];
     * NULL: none. */
    const json_t *logins;
    /* Folders on disks that were looked into: [{"owner", "path", "error"?: {"name",
     * "message", "hint"}}]; NULL: none. */
    const json_t *disks;
};

struct plan_issue {
    const char *code; /* a stable word: "slots-missing", "memory", "port", … */
    const char *message;
    const char *hint;     /* NULL: none */
    const char *database; /* label, NULL: of the whole plan */
    const char *host;     /* name, NULL */
};

struct plan_shard {
    const struct ccs_shard *shard; /* uid, role, slots */
    size_t database;               /* index into plan.databases */
    int host;                      /* index into plan.hosts; -1: no place found */
    int primary;                   /* replicas: index of the primary in plan.shards; else -1 */
    int port;
    int bus_port;    /* 0: not sharded */
    const char *dir; /* below the host's base_dir: "db-1/shard-4" */
    int64_t memory_bytes;
    int64_t disk_bytes;
    const struct backup_file *file; /* of the shard's slots; of the primary's for replicas too */
    /* All that have slots of it: one and equal to `file`, or the shard needs a cut. */
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
};

/* With what clients log in afterwards; in the document by its name. */
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
    int64_t age_s;                   /* of the set: the data that is lost (RPO) */
    int64_t skew_s;                  /* between its files; -1: not known */
    bool resharded;                  /* has other primaries than the CCS */
    struct slots lost;               /* slots without data, as was allowed */
    size_t first_shard, shard_count; /* in plan.shards */
    struct plan_endpoint *endpoints;
    size_t endpoint_count;
    int64_t maxmemory_bytes; /* of each shard; 0: none */
    enum plan_login login;
    bool
        data_commands_only; /* of clients, as behind the old proxy: the user admin has the others */
};

struct plan_host {
    const struct host *host;
    const json_t *facts;
    bool usable;          /* else a warning says why not */
    int64_t memory_bytes; /* that may be planned */
    int64_t planned_bytes;
    int64_t disk_free_bytes, planned_disk_bytes;
    int64_t cores; /* at least 1 */
    /* Bytes a second that it measured; 0: it didn't. */
    double network, disk_write, disk_read;
    size_t shard_count;
};

struct plan {
    struct arena arena;
    char hash[65]; /* over all that matters: CCS file, placement, files and their sizes */
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
    const char **unchecked; /* what was not looked at, one sentence each */
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
 * Whether the old cluster, of which these addresses answer, has a quorum: more than half of its
 * nodes answer, or of the primaries of a sharded database.
 */
bool plan_old_cluster_lives(const struct ccs *ccs, const json_t *alive);

int plan_primaries(const struct plan *plan, const struct plan_database *db);
double plan_seconds(const struct plan *plan); /* of all stages */

/* The plan points to what the input points to, which must outlive it. */
struct plan *plan_make(const struct plan_input *input);
void plan_free(struct plan *plan);

/*
 * {"hash", "feasible", "ccs_sha256", "made_ms", "offline", "options", "databases": [{"uid": "1",
 * "label": "db:1", "name", "skipped": reason or null, "source": location or null, "maxmemory",
 * "login": "as-before|new-password|given-password|open", "client_rules": "all|data", "primaries": another number than in the CCS or null, "slots_lost": [] or those that stay empty,
 * "backup_set": null or {"id", "time": "2026-01-31T13:05:09Z", "age_s", "skew_s" or null, "disks":
 * bool, "files": [{"name", "bytes" or null, "slots": [[0, 5460]], "where", "host", "kind", "time"
 * (of a file on a disk, else null)}]}, "shards": [{"uid", "database": uid, "role":
 * "primary|replica", "primary": uid or null, "host", "addr" (null: no place), "port", "bus_port",
 * "dir", "slots", "source": file name or null, "sources": file names if it needs a cut, else null,
 * "memory", "disk", "transfer_s", "load_s"}], "endpoints": [{"addr", "port"}]}], "hosts": [{"name",
 * "addr", "rack", "second_rack" or null, "usable", "memory", "planned_memory", "disk_free" or null,
 * "planned_disk", "cores", "measured": null or {"network", "disk_write", "disk_read"} (bytes a
 * second, or null), "shards": n}], "stages": [{"stage", "bytes", "seconds"}], "rates": {"transfer",
 * "load", "sync", "source", "measured_hosts": n (whose own rates were used)}, "logins": as
 * in the input, "unchecked": [text], "blockers", "warnings": [{"code", "message", "hint", "database": label, "host"}, the last three
 * or null]}
 */
json_t *plan_json(const struct plan *plan);

/*
 * The newest RDB version that a server of this kind ("redis", "valkey") and version ("7.0.15")
 * loads: 9, 10, 11, 12 …; 80 of Valkey 9, which has a magic of its own (and refuses 12 to 79,
 * Redis's own); 0: not known.
 */
int plan_rdb_version_max(const char *kind, const char *version);

#endif
