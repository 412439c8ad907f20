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
 * Hard rules: a primary and its replica on different hosts; in different racks where the database
 * is rack aware and two racks are there; on each host no more memory than its cap (hosts.json
 * "memory", else what it has available less a reserve of a tenth, at least 256 MiB; hosts of one
 * machine share that), no port twice nor one that is taken, disk for the file and one rewrite of
 * it, a server that loads the file and, for a replica, what its primary's server writes. Then, in
 * this order: the host that `replaces` the shard's old node; the one with the fewest shards of the
 * database; the one with the most free memory relative to its cap; the earlier one in hosts.json
 * (for a replica: the next one behind its primary's). Where that leads nowhere, shards that were
 * placed are moved again, within a fixed budget: a plan is nearly always found where there is one,
 * but that is not proven.
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
 * Limits: 10,000 hosts, 1,000,000 shards. Memory of a shard, in bytes: the larger of its part of
 * the database's memory_size and what its data is predicted to take (used-mem of the file's head,
 * else three times the stored size), plus 16 MiB for the process and its replication backlog.
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
    const json_t *facts;     /* result of `probe`; NULL: not reached */
    const struct err *error; /* why not */
};

struct plan_database_input {
    const struct ccs_database *database;
    const json_t *location;            /* where its backups are; NULL: none known */
    const char *location_label;        /* as it may be printed */
    const struct catalogue *catalogue; /* NULL: could not be read */
    const struct err *error;           /* why not */
};

struct plan_input {
    const struct ccs *ccs;
    const char *ccs_sha256;
    const struct plan_host_input *hosts;
    size_t host_count;
    const struct plan_database_input *databases; /* those that were asked for */
    size_t database_count;
    /* Addresses of the old cluster that answer: [{"addr", "port", "what"}, …]; NULL: none, or not
     * asked. */
    const json_t *alive;
    int64_t now_ms;
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
};

/* Where clients reach a database: its primary, or each of its primaries. */
struct plan_endpoint {
    const char *addr;
    int port;
};

struct plan_database {
    const struct ccs_database *database;
    const char *skipped;          /* why it is left out; NULL: it is not */
    const struct backup_set *set; /* NULL: none */
    const json_t *location;
    const char *location_label;
    int64_t age_s;                   /* of the set: the data that is lost (RPO) */
    size_t first_shard, shard_count; /* in plan.shards */
    struct plan_endpoint *endpoints;
    size_t endpoint_count;
    int64_t maxmemory_bytes; /* of each shard; 0: none */
};

struct plan_host {
    const struct host *host;
    const json_t *facts;
    bool usable;          /* else a warning says why not */
    int64_t memory_bytes; /* that may be planned */
    int64_t planned_bytes;
    int64_t disk_free_bytes, planned_disk_bytes;
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
    struct plan_stage_cost {
        int64_t bytes;
        double seconds; /* estimate */
    } stages[STAGE_OPEN + 1];
};

/* The plan points into the input, which must outlive it. */
struct plan *plan_make(const struct plan_input *input);
void plan_free(struct plan *plan);

/*
 * {"hash", "feasible", "databases": [{"uid": "1", "label": "db:1", "name", "skipped": reason or
 * null, "source": location or null, "maxmemory", "backup_set": null or {"id", "time":
 * "2026-01-31T13:05:09Z", "age_s", "files": [{"name", "bytes" or null, "slots": "0-5460"}]},
 * "shards": [{"uid", "database": uid, "role": "primary|replica", "primary": uid or null, "host",
 * "addr" (null: no place), "port", "bus_port", "dir", "slots": "0-5460", "source": file name or
 * null, "memory", "disk"}], "endpoints": [{"addr", "port"}]}], "hosts": [{"name", "addr", "rack" or
 * null, "usable", "memory", "planned_memory", "disk_free" or null, "planned_disk", "shards": n}],
 * "stages": [{"stage", "bytes", "seconds"}], "blockers", "warnings": [{"code", "message", "hint",
 * "database": label, "host"}, the last three or null]}
 */
json_t *plan_json(const struct plan *plan);

/*
 * The newest RDB version that a server of this kind ("redis", "valkey") and version ("7.0.15")
 * loads: 9, 10, 11, 12 …; 80 of Valkey 9, which has a magic of its own (and refuses 12 to 79,
 * Redis's own); 0: not known.
 */
int plan_rdb_version_max(const char *kind, const char *version);

#endif
