#ifndef RECOVER_OLDER_SET_H
#define RECOVER_OLDER_SET_H

/*
 * A backup file that is bad or gone for good: the error says which older set, or which other file
 * on a disk, could be taken instead, and how. It is never taken without being asked for.
 */

#include "model.h"

/* Adds that to the hint of a task that failed for good; leaves other failures as they are. */
int older_set_offer(
    struct executor *x, const struct task_run *t, struct err *failure, struct err *err) MUST_CHECK;

#endif
