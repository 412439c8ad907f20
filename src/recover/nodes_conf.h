#ifndef RECOVER_NODES_CONF_H
#define RECOVER_NODES_CONF_H

/*
 * The nodes of a cluster, as each is told of the others at its start.
 *
 * nodes.conf as redis-server writes it: one line a node,
 *
 *     ID IP:PORT@BUS_PORT [myself,]master|slave PRIMARY_ID|- 0 0 EPOCH connected [SLOTS…]
 *
 * and a last line "vars currentEpoch HIGHEST lastVoteEpoch 0". Each primary has an epoch of its own,
 * its replicas have the same. Ids are new: an old nodes.conf would lead old addresses into the cluster.
 */

#include "model.h"

/* The cluster as `self` is to know it; the caller frees it. */
char *nodes_conf_text(const struct executor *x, const struct shard_run *self);
/*
 * The server of a host takes such a file: it was asked when the host was looked at, and else goes by
 * its kind and version. `server` is that of the host's facts.
 */
bool nodes_conf_is_taken(const json_t *server);
/* What a primary is told where it is not: the "cluster" of load_shard. The caller's. */
json_t *nodes_by_command(const struct executor *x, const struct shard_run *self);
/* 40 hex digits, new for each recovery and generation, the same for each rerun; the caller frees it. */
char *nodes_conf_id(const char *recovery, const char *shard_uid, int64_t generation);

#endif
