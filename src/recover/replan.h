#ifndef RECOVER_REPLAN_H
#define RECOVER_REPLAN_H

/*
 * --replan-lost: places the shards of hosts that were lost in this run.
 *
 * A database that is not open yet starts again in a new generation. Its shards on lost hosts are
 * placed on others; the rest stay and keep their verified files. All its nodes get new ids and its
 * replicas a new password, so servers that reappear with a lost host cannot rejoin the new cluster,
 * and clients cannot log in to them.
 *
 * An open database keeps what it has, because its data is newer than the backups. Lost replicas are
 * replaced by copies of the primaries. If a primary is lost, the database is left alone and this is
 * reported.
 *
 * A database whose files are on disks starts again from the same files or not at all: an older file
 * of another host is never used without the operator's request.
 *
 * The new plan is one transaction. Table moved holds what is left on lost hosts.
 */

#include "model.h"

bool replan_is_called_for(const struct executor *x);

/*
 * Places the shards of hosts that were lost in this run, and saves the plan. *ret_changed: there
 * are new tasks. If a database cannot be placed, an event says why.
 */
int replan_lost(struct executor *x, bool *ret_changed, struct err *err) MUST_CHECK;

#endif
