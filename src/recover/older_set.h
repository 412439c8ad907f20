#ifndef RECOVER_OLDER_SET_H
#define RECOVER_OLDER_SET_H

/*
 * If a backup file is bad or gone for good, the error names an older set, or another file on a
 * disk, and the command that uses it. Neither is used without the operator's request.
 */

#include "model.h"

/* Adds that to the hint of a failed task; other failures stay unchanged. */
int older_set_offer(
    struct executor *x, const struct task_run *t, struct err *failure, struct err *err) MUST_CHECK;

#endif
