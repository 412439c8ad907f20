#ifndef RECOVER_READY_H
#define RECOVER_READY_H

/*
 * Tasks that are ready, by host and lane, in the order of the plan. A task is queued when its last
 * condition is met, so no step of a run has to look at all tasks.
 */

#include "model.h"

/* Queues all ready tasks. Before this call, changes of state are only counted. */
void ready_begin(struct executor *x);

/* Sets the state and queues the tasks that become ready by it. */
void task_set_state(struct executor *x, struct task_run *t, enum task_state state);
void shard_set_unsure(struct executor *x, struct shard_run *s, bool unsure);

/*
 * Whether gates, waits and the kind let the task start. Hosts and lanes are not checked. A queued
 * task may have become unready again.
 */
bool task_is_ready(const struct executor *x, const struct task_run *t);

/*
 * The next ready task of the lane, starting at *at, which is set to its index; NULL: none. Tasks
 * that are not ready any more are removed on the way.
 */
struct task_run *ready_next(struct executor *x, struct host_run *h, enum lane lane, size_t *at);

/* Whether the task must wait until all servers of the earlier generation have stopped. */
bool waits_for_old_servers(const struct database_run *db, const struct task_kind *kind);

#endif
