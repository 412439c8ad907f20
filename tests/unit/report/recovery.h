#ifndef RECLUSTER_TEST_RECOVERY_H
#define RECLUSTER_TEST_RECOVERY_H

/* A small recovery that is over, as rows of a state file in memory; with hostile names and secrets. */

#include "recluster/state.h"

#define CANARY "cAnArY-7f3"
#define HOSTILE_NAME "<b>\"shop\" & 'cart'\n\033[31mred\xE2\x80\xAE"

/*
 * Databases: 1 sharded (shards 1 to 4, primaries 1, 2 and replicas 3, 4), 2 not sharded (shard 5),
 * 3 left out. `state` is done, partly, …; NULL: none yet, nothing has started.
 */
struct state *recovery_new(const char *state);

/* Runs it, a string literal, or fails the test. */
void recovery_sql(struct state *st, const char *sql);

extern const char recovery_plan[]; /* the plan's document */

#endif
