#ifndef RECOVER_TASK_KIND_H
#define RECOVER_TASK_KIND_H

/*
 * A kind of task: a method of the agent, when it is called, and what its answer changes. The tables
 * of kinds are in stage_*.c; the executor knows only these members.
 *
 * A task passes through them in this order:
 *
 *     ready      gates and waits are over: does the kind let it start?
 *     sources    its host has room: is everything there that it needs from elsewhere?
 *     begin      it starts; after that its row says "running"
 *     params     the parameters of the call
 *     called     the call was made
 *     finish     the answer came; runs inside the transaction that commits the outcome
 *
 * Every member but the first six may be NULL or 0.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/plan.h"

struct executor;
struct task_run;

/*
 * Gates: a task starts when all tasks of its database behind lower gates are done. Up to GATE_PROVE
 * the shards do not wait for each other.
 */
enum gate {
    GATE_FILL,
    GATE_PROVE,
    GATE_CONFIGURE,
    GATE_OPEN,
    GATE_ENDPOINT,
    GATE_SEAL,
    GATE_COUNT
};

/* A host has a number of places in each lane. A running task holds one in each of its lanes. */
enum lane {
    LANE_FREE,    /* without a limit */
    LANE_PREPARE, /* bounds memory: each waiting call names all nodes of a cluster */
    LANE_FETCH,
    LANE_LOAD, /* one for each core */
    LANE_COUNT
};

/* NOT_YET: ask again shortly, until the kind's patience ends; err says what is missing. */
enum finish { FINISH_OK, FINISH_FAIL, FINISH_NOT_YET };

struct task_kind {
    const char *name;
    const char *method;
    enum plan_stage stage;
    enum gate gate; /* of its tasks, unless the plan gives them an earlier one */
    enum lane lane;
    int64_t timeout_ms;  /* of one call */
    int64_t patience_ms; /* for how long NOT_YET is repeated; 0: never */
    bool retries_itself; /* the agent retries; here only calls that lost their link are repeated */
    bool beside_others;  /* may run before all servers of an earlier generation have stopped */
    const char *shard_state; /* of the placement, once done; NULL: unchanged */
    const char *doing;       /* for progress, until the agent says more */

    bool (*ready)(const struct executor *x, const struct task_run *t);
    /* -1: what it needs will never be there. Sets when to look again, and connects other hosts. */
    int (*sources)(struct executor *x, struct task_run *t, int64_t *look_again_ms, bool *ret_ready,
        struct err *err);
    /* May take other tasks along (t->with), and further lanes. */
    void (*begin)(struct executor *x, struct task_run *t);
    /* Parameters beside those that all methods of a shard get (shard_params.h). */
    void (*params)(const struct executor *x, const struct task_run *t, json_t *params);
    void (*called)(struct executor *x, struct task_run *t, uint64_t call);
    enum finish (*finish)(
        struct executor *x, struct task_run *t, const json_t *result, struct err *err);
    /* Of what it moves, also before and after it runs; else what the agent says while it runs. */
    int64_t (*bytes)(const struct executor *x, const struct task_run *t);
};

extern const struct task_kind task_prepare_shard, task_fetch, task_load_shard, task_attach_replica,
    task_prove_shard, task_configure, task_open_shard, task_prove_endpoint, task_seal_shard,
    task_forget_nodes, task_start_sentinel, task_prove_failover;
extern const struct task_kind *const task_kinds[]; /* all, NULL-ended */

#endif
