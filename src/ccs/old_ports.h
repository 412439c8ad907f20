#ifndef CCS_OLD_PORTS_H
#define CCS_OLD_PORTS_H

#include "recluster/ccs.h"

/* Reads from the settings of captured servers where each listened, and how they spoke there. */
void old_ports_load(struct ccs *ccs);

#endif
