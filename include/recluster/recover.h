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
 * recover_run() may be called again after any crash: it asks the hosts how things stand, does what
 * is left, and does nothing if all is done. A run that resumes asks the old cluster again whether it
 * is dead. Before all else, what is left of the old cluster is stopped, where the request said so.
 *
 * Tasks (table task) are ordered per shard and, where a whole database must be proven first, per
 * database:
 *
 *     prepare_shard ─> fetch ─> load_shard ─────────────────────┐   (primaries)
 *     prepare_shard ─> fetch ─> load_shard ─> attach_replica ───┤   (replicas)
 *                                                               ▼   all of the database
 *              prove_shard ─> configure ─> open_shard ─> prove_endpoint ─> seal_shard
 *
 * A replica's load waits for its primary's fetch too (its file must be equal), attach_replica for
 * its primary's load. With servers before 7.0, or where the state file's meta has "full_sync",
 * replicas have no fetch and no load: they are sent copies.
 *
 * Each arrow in the last line is a gate: a step starts when the one before it is done on every
 * shard of the database. A task that fails holds back what waits for it; other databases go on.
 */

#include <stddef.h>
#include <stdint.h>

#include "recluster/ccs.h"
#include "recluster/err.h"
#include "recluster/plan.h"
#include "recluster/state.h"
#include "recluster/survey.h"

/* For tests, which set it: no cluster is made by nodes.conf files. */
extern bool recover_test_joins_by_command;

int recover_save_plan(const struct survey *survey, struct state *st, struct err *err) MUST_CHECK;

/* What is going on right now; for a line on a terminal. Not journaled. */
struct recover_progress {
    size_t tasks_done, tasks_failed, tasks_running, tasks_total;
    const char *stage; /* the earliest with something running */
    const char *doing; /* what its tasks do: "fetching", "loading", …; NULL: not said */
    int64_t bytes_done,
        bytes_total; /* of that; of fetches, also of those that are done or to come */
};

struct recover_hooks {
    void (*progress)(void *arg, const struct recover_progress *progress); /* may be NULL */
    void *arg;
    int interrupt_fd;                /* readable: stop cleanly (ERR_CANCELLED); -1: none */
    enum plan_stage until;           /* stop after this stage; STAGE_OPEN: do all */
    const char *old_cluster_is_dead; /* as in survey_request, for a run that resumes */
    bool accept_new_host_keys;       /* the same */
    int64_t limit_rate;              /* bytes a second of all fetches together; 0: no limit */
    int64_t fetches;                 /* at most so many files at a time; see PLAN_FETCHES */
    int64_t patience_ms;             /* with a host that stays away, until it is given up */
    bool replan_lost;                /* shards of hosts that were given up are placed on others */
};

struct recover_result {
    size_t done, failed, skipped, waiting; /* databases; waiting: not begun or stopped by `until` */
    struct err first_error;                /* of the first task that failed; ERR_NONE if none did */
};

/* 0 if the run came to its end, whatever the result; -1 if it could not (err says why). */
int recover_run(struct state *st, const struct recover_hooks *hooks, struct recover_result *ret,
    struct err *err) MUST_CHECK;

/*
 * Stops and removes what the recovery made, of all databases that clients were not yet let into, and
 * of those too if `name`, which the operator typed, is the name of the cluster (ERR_USAGE if it is
 * another; NULL: they stay). A cluster without a name goes by the id of its recovery. Nothing else
 * on the hosts is touched. What is left on a host that was lost is removed if the host is back.
 */
struct recover_undone {
    size_t open;      /* databases that stay because clients use them */
    size_t removed;   /* shards */
    size_t leftovers; /* shards on hosts that were lost, removed too */
    char *away;       /* hosts that were lost and are not back, for people, or NULL; the caller's */
    char *kept;       /* what could not be removed and why, a line each, for people, or NULL; the
                         caller's */
};
int recover_abort(
    struct state *st, const char *name, struct recover_undone *ret, struct err *err) MUST_CHECK;

#endif
