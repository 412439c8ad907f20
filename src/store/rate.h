#ifndef STORE_RATE_H
#define STORE_RATE_H

/* The limit of store_limit_rate(): a token bucket of RATE_BURST_MS. */

#include <stddef.h>

#include "recluster/store.h"

enum { RATE_BURST_MS = 100 };

/* Waits until these bytes may pass. */
void rate_take(struct rate *r, size_t bytes);

#endif
