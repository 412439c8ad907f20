#ifndef RECOVER_TRANSFER_H
#define RECOVER_TRANSFER_H

/* stage_transfer.c: what a run does for its fetches beside the tasks. */

#include "model.h"

/* Puts logins into the locations, for the hosts that fetch from them. */
int transfer_resolve_locations(struct executor *x, struct err *err) MUST_CHECK;

#endif
