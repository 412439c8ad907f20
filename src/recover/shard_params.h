#ifndef RECOVER_SHARD_PARAMS_H
#define RECOVER_SHARD_PARAMS_H

/* The parameters of the agent's methods that describe a shard. */

#include "model.h"

/* The parameters of every method of a shard. The caller's. */
json_t *shard_params(const struct executor *x, const struct shard_run *shard);

/*
 * Puts "databases" into params: how many the shard's server needs for its primary's file. In a
 * cluster with several databases all nodes need the number that fits all files.
 */
enum { CLUSTER_DATABASES = 16 };
void shard_add_databases(const struct executor *x, const struct shard_run *s, json_t *params);

/*
 * Free replicas: a replica whose file equals its primary's (same "repl_id", computed from the data)
 * loads it beside the primary and then continues at the file's offset, without a copy.
 *
 * Whether the shard's server starts with its file, not empty. Known once its primary's file has
 * arrived too.
 */
bool shard_loads_file(const struct executor *x, const struct shard_run *s);
bool shard_has_free_replica(const struct executor *x, const struct shard_run *s);

/* Where others reach it: {"addr", "port"}, and for a MEET "bus_port". The caller's. */
json_t *shard_place(const struct shard_run *s);
json_t *shard_meeting_place(const struct shard_run *s);

/* Puts "announce" into params if others reach the host's servers elsewhere than they listen. */
void shard_add_announced(const struct host_run *h, json_t *params);

/* Puts "server", "run_as" and "tls" of a host into params, for a process of that database. */
void shard_add_server(const struct executor *x, const struct host_run *h,
    const struct database_run *db, json_t *params);

/* It had TLS, and all its hosts have certificates. */
bool database_uses_tls(const struct executor *x, const struct database_run *db);

/*
 * What its host's server takes of the settings of the database, and of those that this server alone
 * had: "at_start", "later". A new object, empty if there are none.
 */
json_t *shard_settings(const struct executor *x, const struct shard_run *s, const char *when);

#endif
