#ifndef AGENT_JOIN_CLUSTER_H
#define AGENT_JOIN_CLUSTER_H

/*
 * A cluster by commands, for servers of which it isn't known that they take a nodes.conf written by
 * others: each primary loads its file alone, gets its epoch and its slots and meets the first one;
 * each replica starts empty, meets its primary and becomes its replica. Whether all know each other
 * is looked at later. Both look first, and do what is missing.
 */

#include "redis.h"

/* cluster: {"epoch", "slots": JSON ranges, "meet"?: {"addr", "port", "bus_port"}} */
int join_as_primary(struct redis *r, const json_t *cluster, struct err *err) MUST_CHECK;

/*
 * Lets the server forget replicas that are gone: nodes at one of these addresses ([{"addr",
 * "port"}]). One that has slots is never forgotten. Sets *ret_forgotten to how many there were.
 */
int forget_replicas(
    struct redis *r, const json_t *places, json_int_t *ret_forgotten, struct err *err) MUST_CHECK;

/* primary: {"addr", "port", "bus_port"}. Waits until the server knows it. */
int join_as_replica(struct redis *r, const json_t *primary, struct err *err) MUST_CHECK;

/*
 * The nodes that this one has not heard of since its start, though it knows them: no connection to
 * their bus, or no answer yet. [{"addr", "port", "bus_port"}], the caller's.
 */
int nodes_unheard(struct redis *r, json_t **ret, struct err *err) MUST_CHECK;

/*
 * Before a server starts again that wrote its nodes.conf itself: what it had heard then says nothing of
 * this time.
 */
int nodes_forget_heard(struct err *err) MUST_CHECK;

#endif
