#ifndef AGENT_JOIN_CLUSTER_H
#define AGENT_JOIN_CLUSTER_H

/*
 * Builds a cluster by commands, for servers that may not accept a nodes.conf written by others.
 * Each primary loads its file alone, gets its epoch and its slots and meets the first primary. Each
 * replica starts empty, meets its primary and becomes its replica. A later step checks that all
 * nodes know each other. Both functions do only what is still missing.
 */

#include "redis.h"

/* cluster: {"epoch", "slots": JSON ranges, "meet"?: {"addr", "port", "bus_port"}} */
int join_as_primary(struct redis *r, const json_t *cluster, struct err *err) MUST_CHECK;

/*
 * Sends CLUSTER FORGET for each replica at one of these addresses ([{"addr", "port"}]). A node that
 * has slots is never forgotten. *ret_forgotten is the number of replicas that were known.
 */
int forget_replicas(
    struct redis *r, const json_t *places, json_int_t *ret_forgotten, struct err *err) MUST_CHECK;

/* primary: {"addr", "port", "bus_port"}. Waits until the server knows it. */
int join_as_replica(struct redis *r, const json_t *primary, struct err *err) MUST_CHECK;

/*
 * The nodes that have not answered this one since its start: the connection to their bus fails, or
 * the answer is still coming. [{"addr", "port", "bus_port"}], the caller's.
 */
int nodes_unheard(struct redis *r, json_t **ret, struct err *err) MUST_CHECK;

/* Clears the times in nodes.conf when other nodes last answered, before the server starts again. */
int nodes_forget_heard(struct err *err) MUST_CHECK;

#endif
