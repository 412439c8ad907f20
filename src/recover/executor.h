#ifndef RECOVER_EXECUTOR_H
#define RECOVER_EXECUTOR_H

/* Carries out the tasks of a plan until nothing more can be done. */

#include "model.h"

int executor_run(struct executor *x, struct err *err) MUST_CHECK;

/* Whether the host has a place in the lane for one more task. */
bool lane_has_room(const struct host_run *h, enum lane lane);

#endif
