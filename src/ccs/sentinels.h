#ifndef CCS_SENTINELS_H
#define CCS_SENTINELS_H

/* Which databases get Sentinels: those of `capture`, and those that the hosts file asks for. */

#include "recluster/ccs.h"

/* For a model that is otherwise complete: reads both from the state file. */
int sentinels_load(struct ccs *ccs, struct state *st, struct err *err) MUST_CHECK;

#endif
