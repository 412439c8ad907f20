#ifndef RECOVER_REPLAN_H
#define RECOVER_REPLAN_H

/*
 * --replan-lost: what becomes of the shards whose host stayed away in this run.
 *
 * A database that clients were not let into yet begins anew, under a new generation: its shards on
 * lost hosts are placed on others, the rest stay where they are and keep their verified files. All its
 * nodes get new ids and its replicas a new password, so that servers that reappear with a lost host
 * cannot rejoin the new cluster, and clients can't log in to them.
 *
 * A database that is in use keeps what it has: its data is newer than the backups. It gets new
 * replicas, as copies of its primaries, for those that are lost; if a primary is lost, the database is
 * left alone and this is reported.
 *
 * A database that comes from files on disks begins anew from the very same files, or not at all: an
 * older one of another host is never taken without being asked for.
 *
 * The new plan is one transaction. What was left on the lost hosts is in table moved.
 */

#include "model.h"

bool replan_is_called_for(const struct executor *x);

/*
 * Places the shards of hosts that were lost in this run anew and saves that; *ret_changed says whether
 * there is anything new to do. Why something could not be is told as an event.
 */
int replan_lost(struct executor *x, bool *ret_changed, struct err *err) MUST_CHECK;

#endif
