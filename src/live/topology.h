#ifndef LIVE_TOPOLOGY_H
#define LIVE_TOPOLOGY_H

#include "recluster/live.h"

/*
 * Drops servers that are in the list under a second address, sorts the list, and finds the
 * databases.
 */
void topology_find(struct live *live);

#endif
