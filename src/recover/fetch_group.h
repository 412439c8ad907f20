#ifndef RECOVER_FETCH_GROUP_H
#define RECOVER_FETCH_GROUP_H

/*
 * If backup files are cut, the shards of a host that need parts of the same file form a group and
 * get them in one pass, so the file travels to the host once. The first task of the group that is
 * ready makes one call for all that are ready. The answer has one part for each.
 */

#include "model.h"

/* Call it once a run, after executor_load(). */
void fetch_groups_make(struct executor *x);

/* Whether no shard of the call is still being prepared. */
bool fetch_group_is_prepared(const struct executor *x, const struct task_run *t);
/* Whether another task of its group is counted for it. */
bool fetch_group_is_counted(const struct executor *x, const struct task_run *t);
/* Sets t->with to the tasks of its group that are ready. */
void fetch_group_take(struct executor *x, struct task_run *t);
/* The files that t and t->with are cut from, [{"name", …, "take"?}], by name. The caller's. */
json_t *fetch_group_files(const struct executor *x, const struct task_run *t);

#endif
