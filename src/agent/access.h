#ifndef AGENT_ACCESS_H
#define AGENT_ACCESS_H

#include "redis.h"
#include "shard.h"

/*
 * Switches user "replication" on for good, so that replicas can connect. Until then the primary
 * refuses a replica, which keeps its data and retries every second. Call it when the server's data
 * is verified: a replica copies whatever its primary has, even nothing.
 */
int access_allow_replicas(struct redis *r, struct err *err) MUST_CHECK;

/* Makes the user of the Sentinels, for those that start before clients may log in. */
int access_allow_sentinels(
    const struct shard *shard, struct redis *r, const char *password, struct err *err) MUST_CHECK;

#endif
