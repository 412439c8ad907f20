#ifndef RECOVER_NODES_CONF_H
#define RECOVER_NODES_CONF_H

/*
 * The nodes.conf with which each node of a new cluster starts.
 *
 * As redis-server writes it: one line for each node,
 *
 *     ID IP:PORT@BUS_PORT [myself,]master|slave PRIMARY_ID|- 0 0 EPOCH connected [SLOTS…]
 *
 * and a last line "vars currentEpoch HIGHEST lastVoteEpoch 0". Each primary has its own epoch, and
 * its replicas have the same. Ids are new: with the old ids, old addresses could enter the cluster.
 */

#include "model.h"

/* The nodes.conf of node `self`; the caller frees it. */
char *nodes_conf_text(const struct executor *x, const struct shard_run *self);
/*
 * Whether the host's server accepts such a file: as it answered when the host was probed, or by its
 * kind and version. `server` is that of the host's facts.
 */
bool nodes_conf_is_taken(const json_t *server);
/* "cluster" of load_shard, which tells a primary the same by commands. The caller's. */
json_t *nodes_by_command(const struct executor *x, const struct shard_run *self);
/* 40 hex digits: new for each recovery and generation, equal in each rerun; the caller frees it. */
char *nodes_conf_id(const char *recovery, const char *shard_uid, int64_t generation);

#endif
