#ifndef RECLUSTER_PLAN_DRAFT_H
#define RECLUSTER_PLAN_DRAFT_H

/*
 * A plan in the making: what the steps of plan_make() share. Shards and hosts are known by their
 * index in the plan; the arrays here run beside the plan's own.
 *
 *     survey.c     is the old cluster dead, which hosts can be used, what they hold
 *     source.c     the backup set of each database, the file of each primary
 *     capacity.c   memory and disk of each shard, time of each stage
 *     placement.c  the host of each shard
 *     ports.c      its ports
 *     refusal.c    why a shard found no place, in the user's words
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/buf.h"
#include "recluster/plan.h"

enum { PORT_MAX = 65535 };

struct draft_host {
    bool usable;
    size_t exclusion; /* if not: index of the warning that says why */
    bool valkey;
    int rdb_version_max;
    int rack, node, machine, disk; /* numbers from draft_number(); -1: none */
    bool shares_memory;            /* with the other hosts of its machine */
    uint64_t *ports;               /* a bit for each that is taken */
    double free_part;              /* of its memory */
    unsigned spread;               /* shards of the database that is being placed */
    int first_shard;               /* of those placed here; -1: none */
    int ported_database;           /* the last one that asked for its endpoint's port here */
};

struct draft_shard {
    int rdb_version;                 /* of its file; 0: not known */
    bool valkey;                     /* the file has Valkey's own magic */
    int64_t data_bytes, file_bytes;  /* predicted: in RAM, uncompressed on disk */
    int node;                        /* that it was on */
    bool apart;                      /* its primary or replica must be in another rack */
    int fixed_port;                  /* that its host must have free; 0: any port will do */
    int first_replica, next_replica; /* of a primary; of the same primary */
    int next, previous;              /* on the same host */
    bool moving;                     /* by a repair: not to be moved again inside it */
};

struct draft {
    const struct plan_input *input;
    struct plan *plan;
    struct draft_host *hosts;
    struct draft_shard *shards;
    json_t *racks, *nodes, *machines, *disks; /* name to number */
    int64_t *machine_memory_left, *disk_left; /* by number */
    int database;                             /* that is being placed */
    int64_t repair_budget;                    /* looks at a host that repairs may still take */
    size_t blocker_alloc, warning_alloc;
};

/* The number of a name: 0 for the first one, and so on; -1 for NULL. */
int draft_number(json_t *numbers, const char *name);

/* Adds an issue: code and what else is known in `issue`, the message as a format. */
void draft_block(struct draft *d, const struct plan_issue *issue, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void draft_warn(struct draft *d, const struct plan_issue *issue, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* "a, b, c and 5 more": draft_names_add() any number of times, then draft_names() once. */
struct draft_names {
    struct buf text;
    size_t count;
};
#define DRAFT_NAMES_INIT                                                                           \
    {                                                                                              \
        .text = BUF_INIT                                                                           \
    }
void draft_names_add(struct draft_names *names, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *draft_names(struct draft *d, struct draft_names *names); /* empties it */

const char *draft_bytes(struct draft *d, int64_t bytes);         /* "1.5 GB" */
const char *draft_slots(struct draft *d, const struct slots *s); /* "0-5460,6000" */

void survey_hosts(struct draft *d);
void survey_old_cluster(struct draft *d);
void survey_warnings(struct draft *d); /* of the hosts that are used */

void source_choose(struct draft *d); /* makes the plan's shards */

void capacity_shards(struct draft *d);
void capacity_stages(struct draft *d);

void placement_run(struct draft *d);

/*
 * Why a shard can't be on a host as things stand, in the order in which it is looked at: the host
 * that comes farthest tells what is missing.
 */
enum refusal {
    REFUSED_HOST,        /* is not used at all */
    REFUSED_SERVER,      /* can't load the file */
    REFUSED_SAME_HOST,   /* as its primary or replica */
    REFUSED_PAIR_SERVER, /* the replica's can't read what the primary's writes */
    REFUSED_RACK,
    REFUSED_PORT,
    REFUSED_DISK,
    REFUSED_MEMORY,
    REFUSED_NOT,
};
enum refusal placement_refusal(const struct draft *d, int shard, int host);
int64_t placement_memory_left(const struct draft *d, int host);
int64_t placement_disk_left(const struct draft *d, int host); /* INT64_MAX: not known */

void refusal_report(struct draft *d);

bool ports_taken(const struct draft_host *host, int port);
void ports_set(struct draft_host *host, int port, bool taken);
int ports_endpoint(const struct draft *d, const struct ccs_database *database); /* 0: not known */
void ports_assign(struct draft *d);

/* Whether a server loads files of that version and magic. */
bool server_loads(bool server_is_valkey, int server_version_max, bool file_is_valkey, int version);

/* Whether it writes files with Valkey's own magic. */
bool server_writes_valkey(int server_version_max);

/* The canonical form of all that matters in a plan; its digest is the plan's hash. */
json_t *plan_essence(const struct plan *plan, const char *ccs_sha256);

#endif
