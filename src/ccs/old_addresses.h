#ifndef CCS_OLD_ADDRESSES_H
#define CCS_OLD_ADDRESSES_H

#include "recluster/ccs.h"

/*
 * Reads from the settings of captured servers where each listened, how they spoke there, and what
 * else they told others.
 */
void old_addresses_load(struct ccs *ccs);

#endif
