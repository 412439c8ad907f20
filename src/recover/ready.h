#ifndef RECOVER_READY_H
#define RECOVER_READY_H

/*
 * Tasks whose turn has come, by host and lane, in the order of the plan. A task is put there when the
 * last thing that it waited for happens, so that no step of a run looks at all tasks.
 */

#include "model.h"

/* Looks at all tasks; changes before that only count. */
void ready_begin(struct executor *x);

/* Every change in a run: what becomes ready by it is put into its lane. */
void task_set_state(struct executor *x, struct task_run *t, enum task_state state);
void shard_set_unsure(struct executor *x, struct shard_run *s, bool unsure);

/*
 * Whether gates, waits and the kind let the task start; hosts and lanes are not looked at. One that is
 * in a lane may have lost that since.
 */
bool task_is_ready(const struct executor *x, const struct task_run *t);

/*
 * The next task of the lane from *at on that is ready, which then is at *at; NULL: there is none. What
 * is not ready any more is taken out on the way.
 */
struct task_run *ready_next(struct executor *x, struct host_run *h, enum lane lane, size_t *at);

/* Servers of the database's earlier generation still end: the task must not start before. */
bool awaits_the_end_of_others(const struct database_run *db, const struct task_kind *kind);

#endif
