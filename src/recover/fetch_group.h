#ifndef RECOVER_FETCH_GROUP_H
#define RECOVER_FETCH_GROUP_H

/*
 * Where backup files are cut, the shards of a host that need parts of the same file get them in one
 * pass: the file comes to the host once. Such shards are a group; the first of their tasks whose
 * turn has come makes the call for all that are ready, and its answer is the answer of each.
 */

#include "model.h"

/* Once a run, after executor_load(). */
void fetch_groups_make(struct executor *x);

/* No shard that the call would be for is still being prepared. */
bool fetch_group_is_prepared(const struct executor *x, const struct task_run *t);
/* Another one of its group stands for it where calls are counted. */
bool fetch_group_is_counted(const struct executor *x, const struct task_run *t);
/* Sets t->with: those of its group that are ready. */
void fetch_group_take(struct executor *x, struct task_run *t);
/*
 * The files that t and t->with are cut from, [{"name", …, "take"?}], in the order of their names:
 * which is the same on every host. The caller's.
 */
json_t *fetch_group_files(const struct executor *x, const struct task_run *t);

#endif
