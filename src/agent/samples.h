#ifndef AGENT_SAMPLES_H
#define AGENT_SAMPLES_H

/*
 * Keys that the scan of a backup picked at random, [{"db", "key" (hex), "kind"}]. None of them
 * expires, so a server that holds the backup has each of them, with its type.
 */

#include <jansson.h>

#include "redis.h"

struct samples_seen {
    size_t same;
    struct err first; /* the first difference; ERR_NONE: none */
};

/* Leaves `r` with another database selected. -1: the server did not answer. */
int samples_look(struct redis *r, bool cluster, const json_t *samples, struct samples_seen *ret,
    struct err *err) MUST_CHECK;

#endif
