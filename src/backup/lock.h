#ifndef BACKUP_LOCK_H
#define BACKUP_LOCK_H

/*
 * One backup at a time at a location, and nothing left of one that was killed.
 *
 *     backup_lock_take(store, names, &lock, err)     // before the first file
 *     backup_lock_renew(lock)                        // now and then
 *     backup_lock_release(lock)                      // after the manifests
 *
 * The lock is an object LOCK_PREFIX<id>.lock at the location, which names its owner and the files
 * that he is about to write:
 *
 *     {"owner": "user@host pid 7", "host", "boot_id", "pid", "begun", "renewed": times,
 *      "sets": [{"manifest": name, "files": [names]}]}
 *
 * Stores cannot create an object only if it is missing, so each run writes its own object, and then
 * looks for others: if there is one, it steps back. Of two, at least one sees the other. A lock is dead if its process is
 * (on this machine), or if it was not renewed for LOCK_DEAD_MS. Of a dead one, the files are removed
 * whose manifest is missing.
 */

#include <jansson.h>
#include <stdint.h>

#include "recluster/store.h"

#define LOCK_PREFIX "recluster-backup-"
enum { LOCK_RENEW_MS = 30 * 1000, LOCK_DEAD_MS = 5 * 60 * 1000 };

struct backup_lock;

/* `sets` as above; it is copied. ERR_LOCKED names the owner. */
int backup_lock_take(
    struct store *store, const json_t *sets, struct backup_lock **ret, struct err *err) MUST_CHECK;
/* Writes it again if it is time. A failure is ignored: the next try may work. */
void backup_lock_renew(struct backup_lock *lock);
int64_t backup_lock_due_ms(const struct backup_lock *lock); /* monotonic: the next renewal */
void backup_lock_release(struct backup_lock *lock);         /* may be NULL */

#endif
