#ifndef RECLUSTER_PLAN_STEPS_H
#define RECLUSTER_PLAN_STEPS_H

/* The functions of each step of plan_make(), from the top floor down (planner.c). */

#include "draft.h"

/* rto.c: plan_make() with rto_s */
struct plan *rto_plan(const struct plan_input *input);

/* advice.c: if shards have no place, adds the one change that helps */
void advice_add(struct plan *plan, const struct plan_input *input);

/* make.c: one plan of this input */
struct plan *make_plan(const struct plan_input *input);
/* Whether all shards find a place; the rest of the plan is not made. */
bool make_possible(const struct plan_input *input);

/* placement.c */
void placement_run(struct draft *d);
/* If the database has a blocker: leaves it out (by_priority); the blocker is the reason. */
bool placement_leave_out(struct draft *d, struct plan_database *db);

/* improve.c */
enum { EXACT_SHARDS = 24 };
bool improve_is_small(struct draft *d); /* at most EXACT_SHARDS shards and hosts */
/* If shards have no place: tries all placements, if they are few. */
void improve_find(struct draft *d);
/* If all have one: finds better places. */
void improve_run(struct draft *d);

/* ring.c */
struct ring *ring_new(struct draft *d);
/* Not for a shard whose old host is among the hosts. */
bool ring_decides(const struct draft *d, int shard);
int ring_host(struct draft *d, int shard); /* -1: no host that was tried */
/* How full a host may be, as a part of its memory, for an even placement. */
double ring_fill_max(const struct draft *d);

/* pins.c: before any other shard is placed */
void pins_place(struct draft *d);

/* refusal.c */
void refusal_report(struct draft *d);
void refusal_report_database(struct draft *d, const struct plan_database *db);

/* rules.c */
/* Call it before the other functions of the rules. */
void rules_prepare(struct draft *d);
/* Why a shard cannot be on a host now, in the order of the checks. */
enum refusal {
    REFUSED_HOST,        /* is not used at all */
    REFUSED_SERVER,      /* cannot load the file */
    REFUSED_MODULE,      /* lacks a type of the file's values, which another host has */
    REFUSED_DATABASES,   /* its clusters have only database 0, the file has more */
    REFUSED_NODE,        /* by avoid_nodes or use_nodes */
    REFUSED_SAME_HOST,   /* as its primary or replica */
    REFUSED_PAIR_SERVER, /* the replica's cannot read what the primary's writes */
    REFUSED_RACK,
    REFUSED_MAJORITY, /* too many primaries in the rack */
    REFUSED_COUNT,    /* too many servers on the host */
    REFUSED_PORT,
    REFUSED_DISK,
    REFUSED_MEMORY,
    REFUSED_NOT,
};
enum refusal rules_refusal(const struct draft *d, int shard, int host);
/* The hardest refusal for its primary, its replicas or those of its primary; the first refusal. */
enum refusal rules_pair_refusal(const struct draft *d, int shard, int host, int *ret_other);
int64_t rules_memory_left(const struct draft *d, int host);
int64_t rules_disk_left(const struct draft *d, int host); /* INT64_MAX: unknown */
/* It replaces the shard's node, or has its file. */
bool rules_is_old_host(const struct draft *d, int shard, int host);
void rules_put(struct draft *d, int shard, int host);
void rules_remove(struct draft *d, int shard);
/* Undoes rules_remove(), between its old neighbours: a walk over the list can continue. */
void rules_put_back(struct draft *d, int shard, int host, int previous, int next);

/* placed_checks.c: of hosts that have shards now */
void placed_check(struct draft *d); /* folders and ports that they cannot reach */
void placed_warn(struct draft *d);  /* settings that disturb their servers */

/* source.c: makes the plan's shards */
void source_choose(struct draft *d);
size_t source_shard_max(const struct plan_input *input, const struct plan_database_input *in);

/* choose_set.c: the backup set of a database, with blockers and warnings about it */
void choose_set(struct draft *d, struct plan_database *db, const struct plan_database_input *in);

/* reshard.c: the shards of a database whose number of primaries is not the CCS's */
/* Primaries of a database in the CCS, where they come first. */
size_t reshard_old_primaries(const struct ccs *ccs, const struct ccs_database *db);
bool reshard_is_wanted(const struct ccs *ccs, const struct plan_database_input *in);
void reshard_add(struct draft *d, struct plan_database *db, const struct plan_database_input *in);
size_t reshard_shard_max(const struct ccs *ccs, const struct plan_database_input *in);

/* ownerless_slots.c: gives slots without a primary to one of them. */
void ownerless_slots_adopt(struct draft *d, const struct plan_database *db);

/* modules.c: a type in the shard's files that the host's server lacks; NULL: none. */
const char *modules_lacked(const struct draft *d, int shard, int host);
/* Sets draft_shard.modules, and warns if no host has them. */
void modules_check(struct draft *d, int shard);
/* Modules that the database had and a host's server has not, or not with the same arguments. */
void modules_warn(struct draft *d);

/* access.c: how clients log in to the databases of source_choose() */
void access_decide(struct draft *d);

/* settings.c: warns of settings and users that are not restored */
void settings_warn(struct draft *d);

/* times.c */
/* Transfer and load of one host, without one shard and with another; -1: none. */
double times_of_host(const struct draft *d, int host, int without, int with);
void times_of_stages(struct draft *d);

/* capacity.c: memory and disk of all shards */
void capacity_shards(struct draft *d);

/* ports.c */
bool ports_taken(const struct draft_host *host, int port);
void ports_set(struct draft_host *host, int port, bool taken);
int ports_endpoint(const struct draft *d, const struct ccs_database *database); /* 0: unknown */
int ports_of_primary(const struct draft *d, const struct plan_shard *primary);  /* 0: any */
void ports_assign(struct draft *d);

/* sentinels.c: where Sentinels run; needs places and ports of the shards */
void sentinels_place(struct draft *d);

/* host_checks.c: which hosts can be used */
void host_checks_run(struct draft *d);

/* old_cluster_checks.c: whether the old cluster is dead */
void old_cluster_checks_run(struct draft *d);

/* facts.c: reads JSON of probes and scans */
int64_t fact_number(const json_t *facts, const char *name, int64_t unknown); /* 0 or more */
/* What is known of a file's contents: from all of it, else from its head. */
const json_t *file_facts(const struct backup_file *file);
int64_t file_saved_s(const struct backup_file *file); /* from its own head; -1: unknown */
/* A database other than 0 in which the file has keys; NULL: none is known. */
const char *file_other_database(const struct backup_file *file, json_int_t *ret_keys);

/* server_version.c */
/* Whether a server loads files of that version and magic. */
bool server_loads(bool server_is_valkey, int server_version_max, bool file_is_valkey, int version);
/* Whether it writes files with Valkey's own magic. */
bool server_writes_valkey(int server_version_max);

/* plan_json.c: the canonical form of all that matters in a plan; its digest is the plan's hash. */
json_t *plan_essence(const struct plan *plan);

#endif
