#ifndef AGENT_ACCESS_H
#define AGENT_ACCESS_H

#include "redis.h"

/*
 * Lets replicas in: user "replication" is switched on, for good. Until then a replica that tries
 * is refused, keeps its data and tries again each second. Done once the server's data has proven
 * whole, as a replica takes whatever its primary has, also nothing.
 */
int access_let_replicate(struct redis *r, struct err *err) MUST_CHECK;

#endif
