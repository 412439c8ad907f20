#ifndef RECLUSTER_PLAN_DRAFT_H
#define RECLUSTER_PLAN_DRAFT_H

/*
 * A plan in the making: what the steps of plan_make() share (steps.h). Shards and hosts are known
 * by their index in the plan; the arrays here run beside the plan's own.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/buf.h"
#include "recluster/json.h"
#include "recluster/plan.h"

enum { PORT_MAX = 65535 };

/* The bytes that the shards of one host add to the stages. */
struct draft_work {
    int64_t transfer, load, sync;
    int64_t longest_load, longest_sync;
};

struct draft_host {
    bool usable;
    size_t exclusion; /* if not usable: index of the warning that says why */
    bool valkey;
    int rdb_version_max;
    int rack, second_rack, node, machine, disk; /* numbers from draft_number(); -1: none */
    int64_t max_shards;
    bool shares_memory;  /* with the other hosts of its machine */
    uint64_t *ports;     /* a bit for each that is taken */
    double free_part;    /* of its memory */
    unsigned spread;     /* shards of the database that is being placed */
    int first_shard;     /* of those placed here; -1: none */
    int ported_database; /* the last one whose endpoint's port was given here */
    int alike;           /* the first host that differs only in its name */
    struct draft_work work;
    bool work_known; /* `work` is up to date */
};

struct draft_shard {
    int rdb_version;                 /* of its file; 0: unknown */
    bool valkey;                     /* the file has Valkey's own magic */
    bool modules;                    /* it has data of modules, and a host has these */
    bool databases;                  /* a cluster's file has keys outside of database 0 */
    int64_t data_bytes, file_bytes;  /* predicted: in RAM, unpacked on disk */
    int64_t stored_bytes;            /* at the location */
    bool from_aof;                   /* the primary's host makes a snapshot of it */
    int node;                        /* that it was on */
    int file_host;                   /* the host that has its file on a disk; -1: none */
    bool apart, far_apart;           /* its primary or replica must be in another (second) rack */
    int fixed_port;                  /* that must be free on its host; 0: any port */
    int first_replica, next_replica; /* of a primary; of the same primary */
    int next, previous;              /* on the same host */
    bool moving;                     /* by a repair, which must not move it again */
    const json_t *pin;               /* in the document of an earlier plan; NULL: not in it */
    bool stays;                      /* where that plan placed it, with its ports */
};

struct draft_database {
    bool sparse;
    unsigned rack_limit; /* of its primaries in one rack; 0: any number */
    unsigned *in_rack;   /* its primaries, by rack */
    int *avoid, *use;    /* node numbers, ended by -1; use is NULL without use_nodes */
};

struct draft {
    struct arena arena; /* of what lives only as long as the draft */
    const struct plan_input *input;
    struct plan *plan;
    const struct plan_rates *rates;
    struct draft_host *hosts;
    struct draft_shard *shards;
    struct draft_database *databases;
    json_t *racks, *second_racks, *nodes, *machines, *disks; /* name to number */
    json_t *host_names;                                      /* the same, of the hosts */
    int64_t *machine_memory_left, *disk_left;                /* by number */
    int database;                                            /* being placed */
    bool trial;            /* of make_possible(): speed over thoroughness */
    struct ring *ring;     /* of a large cluster; else NULL */
    int64_t repair_budget; /* how many looks at a host repairs have left */
    size_t blocker_alloc, warning_alloc, unchecked_alloc;
};

/* The number of a name: 0 for the first one, and so on; -1 for NULL. */
int draft_number(json_t *numbers, const char *name);
int draft_host_named(const struct draft *d, const char *name); /* -1: none, or NULL */

/* Adds an issue: `issue` with a message, which begins with the database's label: "db:1: ". */
void draft_block(struct draft *d, const struct plan_issue *issue, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void draft_warn(struct draft *d, const struct plan_issue *issue, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void draft_unchecked(struct draft *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * "a, b, c and 5 more": draft_names_add() any number of times, then draft_names() once. `all`: each
 * is named, because the admin has to look at each.
 */
struct draft_names {
    struct buf text;
    size_t count;
    bool all;
};
#define DRAFT_NAMES_INIT                                                                           \
    {                                                                                              \
        .text = BUF_INIT                                                                           \
    }
void draft_names_add(struct draft_names *names, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *draft_names(struct draft *d, struct draft_names *names); /* empties it */

/* A text of the plan. */
#define draft_text(d, ...) arena_printf(&(d)->plan->arena, __VA_ARGS__)
const char *draft_bytes(struct draft *d, int64_t bytes);         /* "1.5 GB" */
const char *draft_slots(struct draft *d, const struct slots *s); /* "0-5460,6000" */

#endif
