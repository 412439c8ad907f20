#ifndef TEST_PLAN_WORLD_H
#define TEST_PLAN_WORLD_H

/*
 * A made-up cluster, its backups and the hosts to recover it on, as plan_make() takes them.
 *
 *     struct world w;
 *     world_init(&w);
 *     world_host(&w, &(struct world_host){.rack = "a"});
 *     world_database(&w, &(struct world_database){.primaries = 3, .replicas = 1});
 *     struct plan *plan = world_plan(&w);     // the plan's to free; the world must outlive it
 *     world_release(&w);
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/plan.h"

enum { WORLD_GIB = 1 << 30, WORLD_NOW_S = 1700000000 };

struct world_host {
    const char *name, *addr; /* default: h1, 10.0.0.1; h2 … */
    const char *rack, *second_rack, *replaces, *machine;
    int64_t max_shards;      /* 0: any number */
    int64_t cap_bytes;       /* "memory" of the hosts file; 0: none */
    int64_t available_bytes; /* of the probe; 0: 64 GiB */
    int64_t disk_bytes;      /* free; 0: 1 TiB */
    const char *kind, *version;
    bool unreachable;
};

struct world_database {
    int primaries;       /* default 1; more: sharded */
    int replicas;        /* of each primary */
    int64_t shard_bytes; /* of memory_size; default 1 GiB */
    int port;            /* of the endpoint; 0: none */
    bool rack_aware;
    bool persistent;
    const char *placement;                 /* "dense", "sparse" */
    const char *const *avoid, *const *use; /* node uids, NULL-ended */
    int rdb_version;                       /* of the files; default 10 */
};

struct world {
    struct arena arena;
    struct ccs ccs;
    struct host *hosts;
    struct plan_host_input *host_inputs;
    json_t **facts;
    struct catalogue *catalogues;
    json_t **heads;
    size_t head_count, head_alloc;
    json_t *location;
    struct plan_database_input *database_inputs;
    struct plan_input input;
};

void world_init(struct world *w);
void world_release(struct world *w);
void world_host(struct world *w, const struct world_host *host);
void world_hosts(struct world *w, int count); /* alike */
void world_database(struct world *w, const struct world_database *database);
struct plan *world_plan(struct world *w);

/* The facts of a host, to change. */
json_t *world_facts(struct world *w, size_t host);

const struct plan_issue *world_issue(
    const struct plan_issue *issues, size_t count, const char *code);

/*
 * Holds a plan against the hard rules, by other means than the planner's. Returns NULL if it obeys
 * them all, else a text that says what is wrong (static).
 */
const char *world_check(const struct world *w, const struct plan *plan);

/* The part of it that is about one replica and its primary, both placed. */
const char *world_check_pair(
    const struct world *w, const struct plan *plan, const struct plan_shard *replica);

/* The part of it that is about the racks of all primaries of a database. */
const char *world_check_majority(const struct world *w, const struct plan *plan, size_t database);

/* Whether avoid_nodes and use_nodes let the database be on the host. */
bool world_node_allowed(const struct world *w, const struct ccs_database *db, int host);

bool world_listens(const struct world *w, int host, int port);

#endif
