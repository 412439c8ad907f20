#ifndef RECLUSTER_PLAN_DRAFT_H
#define RECLUSTER_PLAN_DRAFT_H

/*
 * A plan in the making: what the steps of plan_make() share. Shards and hosts are known by their
 * index in the plan; the arrays here run beside the plan's own.
 *
 *     old_cluster.c  is the old cluster dead
 *     survey.c       which hosts can be used, what they hold
 *     source.c       the shards and backup set of each database, the files of each primary
 *     reshard.c      another number of primaries than in the CCS
 *     capacity.c     memory and disk of each shard, time of each stage
 *     rules.c        whether a shard may be on a host
 *     placement.c    the host of each shard
 *     ring.c         which host a shard of a large cluster goes to first
 *     improve.c      moved once more: faster, more even; small clusters: searched to the end
 *     ports.c        its ports
 *     refusal.c      why a shard found no place, in the user's words
 *     advice.c       which one change would help, tried
 *     rto.c          how many primaries it takes to be ready in time
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/buf.h"
#include "recluster/plan.h"

enum { PORT_MAX = 65535 };

/* What the shards of one host bring to the stages, in bytes. */
struct draft_work {
    int64_t transfer, load, sync;
    int64_t longest_load, longest_sync;
};

struct draft_host {
    bool usable;
    size_t exclusion; /* if not: index of the warning that says why */
    bool valkey;
    int rdb_version_max;
    int rack, second_rack, node, machine, disk; /* numbers from draft_number(); -1: none */
    int64_t max_shards;
    bool shares_memory;  /* with the other hosts of its machine */
    uint64_t *ports;     /* a bit for each that is taken */
    double free_part;    /* of its memory */
    unsigned spread;     /* shards of the database that is being placed */
    int first_shard;     /* of those placed here; -1: none */
    int ported_database; /* the last one that asked for its endpoint's port here */
    int alike;           /* the first host that differs in nothing but its name */
    struct draft_work work;
    bool work_known; /* `work` is that of the shards which are here now */
};

struct draft_shard {
    int rdb_version;                 /* of its file; 0: not known */
    bool valkey;                     /* the file has Valkey's own magic */
    bool modules;                    /* it tells of data of modules that a host has */
    bool databases;                  /* one of a cluster has keys in others than database 0 */
    int64_t data_bytes, file_bytes;  /* predicted: in RAM, unpacked on disk */
    int64_t stored_bytes;            /* at the location */
    bool from_aof;                   /* a snapshot is made of it on the primary's host */
    int node;                        /* that it was on */
    int file_host;                   /* the host that has its file on a disk; -1: none */
    bool apart, far_apart;           /* its primary or replica must be in another (second) rack */
    int fixed_port;                  /* that its host must have free; 0: any port will do */
    int first_replica, next_replica; /* of a primary; of the same primary */
    int next, previous;              /* on the same host */
    bool moving;                     /* by a repair: not to be moved again inside it */
    bool stays;                      /* where an earlier plan has put it */
};

struct draft_database {
    bool sparse;
    unsigned rack_limit; /* of its primaries in one rack; 0: any number */
    unsigned *in_rack;   /* its primaries, by rack */
    int *avoid, *use;    /* node numbers, -1 behind the last; use is NULL where it asks nothing */
};

struct draft {
    const struct plan_input *input;
    struct plan *plan;
    const struct plan_rates *rates;
    struct draft_host *hosts;
    struct draft_shard *shards;
    struct draft_database *databases;
    json_t *racks, *second_racks, *nodes, *machines, *disks; /* name to number */
    json_t *pins;                             /* uid to shard of input->pinned; NULL: none */
    int64_t *machine_memory_left, *disk_left; /* by number */
    int database;                             /* that is being placed */
    bool trial;                               /* of draft_possible(): quick before thorough */
    struct ring *ring;                        /* of a cluster that is not small; else NULL */
    int64_t repair_budget;                    /* looks at a host that repairs may still take */
    size_t blocker_alloc, warning_alloc, unchecked_alloc;
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

void draft_unchecked(struct draft *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Whether all shards find a place; nothing else of a plan is made. */
bool draft_possible(const struct plan_input *input);

struct plan *draft_plan(const struct plan_input *input); /* plan_make() but for rto_s */
struct plan *rto_plan(const struct plan_input *input);

/* In a plan by priority: leaves the database out if it has a blocker, which becomes the reason. */
bool draft_leave_out(struct draft *d, struct plan_database *db);

void survey_hosts(struct draft *d);
void survey_old_cluster(struct draft *d);
void survey_warnings(struct draft *d); /* of the hosts that are used */

void clients_decide(
    struct draft *d); /* clients.c: of the databases that source_choose() has made */

void source_choose(struct draft *d); /* makes the plan's shards */
size_t source_shard_max(const struct plan_input *input, const struct plan_database_input *in);

/* Adds the shards of a database whose number of primaries is not the CCS's. */
/* ownerless.c: slots that no primary has go to one of them. */
void ownerless_adopt(struct draft *d, const struct plan_database *db);

void reshard_add(struct draft *d, struct plan_database *db, const struct plan_database_input *in);
size_t reshard_shard_max(const struct ccs *ccs, const struct plan_database_input *in);

void capacity_shards(struct draft *d);
void capacity_stages(struct draft *d);
/* Transfer and load of one host, without one shard and with another; -1: none. */
double capacity_host_seconds(const struct draft *d, int host, int without, int with);

void placement_run(struct draft *d);

struct ring *ring_new(const struct draft *d);
void ring_free(struct ring *ring);
/* Not for a shard whose old host is among the hosts. */
bool ring_decides(const struct draft *d, int shard);
int ring_host(struct draft *d, int shard); /* -1: none of those that it tries */
/* The part of its memory that a host may fill so that all are even enough. */
double ring_fill_max(const struct draft *d);

enum { EXACT_SHARDS = 24 };
bool improve_is_small(struct draft *d); /* few enough for that */
/* Where shards have no place: tries all placements, if they are few. */
void improve_find(struct draft *d);
/* Where all have one: better places. */
void improve_run(struct draft *d);

/* Before the first question to the rules. */
void rules_prepare(struct draft *d);

/*
 * Why a shard can't be on a host as things stand, in the order in which it is looked at: the host
 * that comes farthest tells what is missing.
 */
enum refusal {
    REFUSED_HOST,        /* is not used at all */
    REFUSED_SERVER,      /* can't load the file */
    REFUSED_MODULE,      /* lacks a type of the file's values, which another host has */
    REFUSED_DATABASES,   /* its clusters have only database 0, the file more */
    REFUSED_NODE,        /* by avoid_nodes or use_nodes */
    REFUSED_SAME_HOST,   /* as its primary or replica */
    REFUSED_PAIR_SERVER, /* the replica's can't read what the primary's writes */
    REFUSED_RACK,
    REFUSED_MAJORITY, /* too many primaries in the rack */
    REFUSED_COUNT,    /* too many servers on the host */
    REFUSED_PORT,
    REFUSED_DISK,
    REFUSED_MEMORY,
    REFUSED_NOT,
};
enum refusal rules_refusal(const struct draft *d, int shard, int host);
/* The hardest refusal by its primary, that one's replicas, or its own; the first one to refuse. */
enum refusal rules_partner(const struct draft *d, int shard, int host, int *ret_other);
int64_t rules_memory_left(const struct draft *d, int host);
int64_t rules_disk_left(const struct draft *d, int host); /* INT64_MAX: not known */
/* It replaces the shard's node, or has its file. */
bool rules_old_host(const struct draft *d, int shard, int host);

void rules_put(struct draft *d, int shard, int host);
void rules_take(struct draft *d, int shard);
/* The reverse of rules_take(), to its old neighbours: a walk over the list goes on undisturbed. */
void rules_put_back(struct draft *d, int shard, int host, int previous, int next);

/* sets.c: chooses the backup set of a database, and says what is odd about it. */
void sets_choose(struct draft *d, struct plan_database *db, const struct plan_database_input *in);
/* What is known of a file's inside: of the whole of it, else of its head. */
const json_t *sets_known_facts(const struct backup_file *file);

/* source.c: a database other than 0 that the file is known to have keys in; NULL: none. */
const char *source_other_database(const struct backup_file *file, json_int_t *ret_keys);

/* modules.c: a type that the shard's files tell of and the host's server lacks; NULL: none. */
const char *modules_lacked(const struct draft *d, int shard, int host);
/* Sets draft_shard.modules, and warns where no host has them. */
void modules_check(struct draft *d, int shard);

/* unseen.c, silent.c: of what was placed. */
void unseen_check(struct draft *d);
void silent_check(struct draft *d);

void refusal_report(struct draft *d);
void refusal_report_database(struct draft *d, const struct plan_database *db);

/* A text for the hint: "Add one host of 48 GB in rack b, or …"; NULL: no one change helps. */
const char *advice_find(struct draft *d);

bool ports_taken(const struct draft_host *host, int port);
void ports_set(struct draft_host *host, int port, bool taken);
int ports_endpoint(const struct draft *d, const struct ccs_database *database); /* 0: not known */
void ports_assign(struct draft *d);

/* Whether a server loads files of that version and magic. */
bool server_loads(bool server_is_valkey, int server_version_max, bool file_is_valkey, int version);

/* Whether it writes files with Valkey's own magic. */
bool server_writes_valkey(int server_version_max);

/* The canonical form of all that matters in a plan; its digest is the plan's hash. */
json_t *plan_essence(const struct plan *plan);

#endif
