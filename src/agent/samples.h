#ifndef AGENT_SAMPLES_H
#define AGENT_SAMPLES_H

/*
 * Keys that the scan of a backup picked at random, [{"db", "key" (hex), "kind"}], none of which
 * expires: a server that holds the backup has each, with its type.
 */

#include <jansson.h>

#include "redis.h"

struct samples_seen {
    size_t same;
    struct err first; /* what is wrong with the first that isn't as it should be; ERR_NONE: none */
};

/* Asks on `r`, which is left in another database. -1: the server did not answer. */
int samples_look(struct redis *r, bool cluster, const json_t *samples, struct samples_seen *ret,
    struct err *err) MUST_CHECK;

#endif
