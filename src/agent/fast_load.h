#ifndef AGENT_FAST_LOAD_H
#define AGENT_FAST_LOAD_H

/*
 * Whether servers of this host load faster with huge pages: found out by loading a file of 60 MB or so,
 * both ways in turn, in a server that lives for a moment (scratch.h). Once a recovery: base_dir/fast_load.json
 * keeps the answer, and a lock on it keeps shards that are prepared at the same time from measuring
 * against each other.
 */

#include <jansson.h>
#include <stdbool.h>

#include "shard.h"

/* {"helps": bool, "usual_ms", "fast_ms"}, the caller's. */
int fast_load_measure(const struct shard *shard, json_t **ret, struct err *err) MUST_CHECK;

#endif
