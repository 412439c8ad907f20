#ifndef RECOVER_SHARD_PARAMS_H
#define RECOVER_SHARD_PARAMS_H

/* What the methods of the agent are told of a shard. */

#include "model.h"

/* Parameters that every method of a shard gets. The caller's. */
json_t *shard_params(const struct executor *x, const struct shard_run *shard);

/*
 * Puts "databases" into params: how many the shard's server needs for what its primary's file holds;
 * nodes of a cluster that may have several get these.
 */
enum { CLUSTER_DATABASES = 16 };
void shard_add_databases(const struct executor *x, const struct shard_run *s, json_t *params);

/*
 * Free replicas: a replica whose file is its primary's (equal "repl_id", made of the data) loads it
 * beside the primary and then continues where the file ends: no copy is sent.
 *
 * Whether the shard's server starts with its file, and not empty. Known once the file of its
 * primary is there too.
 */
bool shard_loads_file(const struct executor *x, const struct shard_run *s);
bool shard_has_free_replica(const struct executor *x, const struct shard_run *s);

#endif
