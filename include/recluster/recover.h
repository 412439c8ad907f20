#ifndef RECLUSTER_RECOVER_H
#define RECLUSTER_RECOVER_H

/*
 * The recovery, seen from the operator's machine. It decides and records; the work is done by the
 * hosts' agents (protocol.h).
 *
 *     survey_run(&request, st, &survey, err)        // st in memory: read, probe, plan (survey.h)
 *     recover_save_plan(survey, st, err)            // plan, targets, placement and tasks into st
 *     state_save_as(st, path, err)                  // from here on there is a recovery
 *     recover_run(st, &hooks, &result, err)         // st opened from the path: the four stages
 *
 * recover_run() may be called again after any crash: it asks the hosts for their state, does what
 * is left, and does nothing if all is done. A run that resumes checks again that the old cluster is
 * dead. If the request has `fence`, the run first stops what is left of the old cluster.
 *
 * Tasks (table task) run in this order for each shard, and in the last line for all shards of a
 * database together:
 *
 *     prepare_shard ─> fetch ─> load_shard ─────────────────────┐   (primaries)
 *     prepare_shard ─> fetch ─> load_shard ─> attach_replica ───┤   (replicas)
 *                                                               ▼   all of the database
 *              prove_shard ─> configure ─> open_shard ─> prove_endpoint ─> seal_shard
 *
 * load_shard of a replica also waits for the fetch of its primary, because both files must be
 * equal. attach_replica waits for load_shard of the primary. With servers before 7.0, or if the
 * state file's meta has "full_sync", replicas have no fetch and no load: they get copies from their
 * primaries.
 *
 * Sentinels start last, or, to prove a failover, between configure and open_shard:
 *
 *     configure ─> start_sentinel ─> prove_failover ─> open_shard
 *
 * Each arrow in the last line of the first drawing is a gate: a step starts when the step before it is done on every
 * shard of the database. If a task fails, the tasks that wait for it do not start. Other databases
 * continue.
 */

#include <stddef.h>
#include <stdint.h>

#include "recluster/ccs.h"
#include "recluster/err.h"
#include "recluster/plan.h"
#include "recluster/state.h"
#include "recluster/survey.h"

/* Only tests set it: clusters are then made by CLUSTER commands instead of nodes.conf files. */
extern bool recover_test_joins_by_command;

int recover_save_plan(const struct survey *survey, struct state *st, struct err *err) MUST_CHECK;

/* The current work, for a line on a terminal. Not journaled. */
struct recover_progress {
    size_t tasks_done, tasks_failed, tasks_running, tasks_total;
    const char *stage; /* the earliest that has running tasks */
    const char *doing; /* what its tasks do: "fetching", "loading", …; NULL: unknown */
    /* Of these tasks. For fetches: of all fetches, done and to come. */
    int64_t bytes_done, bytes_total;
};

struct recover_hooks {
    void (*progress)(void *arg, const struct recover_progress *progress); /* may be NULL */
    void *arg;
    int interrupt_fd;                /* readable: stop cleanly (ERR_CANCELLED); -1: none */
    enum plan_stage until;           /* stop after this stage; STAGE_OPEN: do all */
    const char *old_cluster_is_dead; /* as in survey_request, for a run that resumes */
    bool accept_new_host_keys;       /* the same */
    int64_t limit_rate;              /* bytes a second of all fetches together; 0: no limit */
    int64_t fetches;                 /* files at a time, at most; see PLAN_FETCHES */
    int64_t patience_ms;             /* how long to wait for a lost host before it is given up */
    bool replan_lost;                /* moves shards of hosts that were given up to other hosts */
};

struct recover_result {
    size_t done, failed, skipped, waiting; /* databases; waiting: not started, or held by `until` */
    struct err first_error;                /* of the first task that failed; ERR_NONE if none did */
};

/* 0 if the run reached its end, with any result; -1 if it could not (err says why). */
int recover_run(struct state *st, const struct recover_hooks *hooks, struct recover_result *ret,
    struct err *err) MUST_CHECK;

/*
 * Stops and removes what the recovery made, of all databases that are not yet open to clients. Open
 * databases are removed too if the operator typed the name of the cluster as `name` (NULL: they
 * stay; a wrong name is ERR_USAGE). The name of a nameless cluster is the id of its recovery.
 * Nothing else on the hosts is changed. Leftovers on a lost host are removed if the host is back.
 */
struct recover_undone {
    size_t open;      /* databases that stay because clients use them */
    size_t removed;   /* shards */
    size_t leftovers; /* shards on hosts that were lost, removed too */
    char *away;       /* text: lost hosts that are not back; NULL: none; the caller's */
    char *kept;       /* text: one line for each thing that was not removed, with the reason; NULL:
                         none; the caller's */
};
int recover_abort(
    struct state *st, const char *name, struct recover_undone *ret, struct err *err) MUST_CHECK;

#endif
