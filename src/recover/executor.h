#ifndef RECOVER_EXECUTOR_H
#define RECOVER_EXECUTOR_H

/* Runs the tasks of a plan until none can be started any more. */

#include "model.h"

int executor_run(struct executor *x, struct err *err) MUST_CHECK;

/* Whether the lane of the host has room for another task. */
bool lane_has_room(const struct host_run *h, enum lane lane);

#endif
