#ifndef RECOVER_SENTINELS_H
#define RECOVER_SENTINELS_H

/*
 * The Sentinels of a recovered database: one task for each (task_start_sentinel), with the host and
 * parameters of its own (column `params` of table task):
 *
 *     {"dir", "addr", "port", "watch": {"name", "quorum", "down_after_ms", "failover_timeout_ms",
 *      "parallel_syncs"}}
 *
 * It belongs to the database's primary, which it watches.
 */

#include "model.h"
#include "recluster/plan.h"
#include "recluster/state.h"

/*
 * Saves the tasks of those that a plan has, and forgets those on other hosts, which count as moved
 * (moved.h). Those that are saved already stay. Makes the password of their user once.
 */
int sentinels_save(const struct plan *plan, const struct plan_database *db, struct state *st,
    struct err *err) MUST_CHECK;

/* Those of a database that starts again start again too, with another password of their user. */
int sentinels_restart(struct state *st, const char *database, struct err *err) MUST_CHECK;

/* What the Sentinels of the database demand of all who ask them; NULL: nothing. Secret. */
const char *sentinels_own_password(const struct database_run *db);

#endif
