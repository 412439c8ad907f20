#ifndef AGENT_FAST_LOAD_H
#define AGENT_FAST_LOAD_H

/*
 * Measures whether servers of this host load faster with huge pages. A server that is started for
 * this (scratch.h) loads a file of about 60 MB, both ways in turn. This happens once in a recovery:
 * base_dir/fast_load.json keeps the answer. A lock on that file keeps two shards that are prepared
 * at the same time from measuring against each other.
 */

#include <jansson.h>
#include <stdbool.h>

#include "shard.h"

/* {"helps": bool, "usual_ms", "fast_ms"}, the caller's. */
int fast_load_measure(const struct shard *shard, json_t **ret, struct err *err) MUST_CHECK;

#endif
