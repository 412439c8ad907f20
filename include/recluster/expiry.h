#ifndef RECLUSTER_EXPIRY_H
#define RECLUSTER_EXPIRY_H

/*
 * Removes backup sets that a policy no longer keeps.
 *
 *     expiry_find(store, &policy, &plan, err)      // what would go, and what stays; changes nothing
 *     expiry_remove(store, plan, err)              // removes it
 *
 * Only sets that backup_take() wrote count: their manifests say so ("made_by"). Files of others are never
 * touched. Of each database the newest complete set stays, whatever the policy says, and all sets
 * that are newer. An incomplete set of the past goes.
 *
 * The plan is JSON: {"kept": [SET, …], "removed": [SET, …]}, newest first. SET is {"set", "time",
 * "database": {"uid", "name"}, "manifest", "files": [names], "bytes", "complete": bool, "reason"?
 * (why it is not), "why"? (of those that stay although no rule keeps them)}. With `archive_ms`, it
 * also has "archives": [{"database_uid", "names": [objects that go], "bytes"}].
 */

#include <jansson.h>
#include <stdint.h>

#include "recluster/capture.h"
#include "recluster/store.h"

struct expiry_policy {
    struct capture_keep keep; /* rules as for captures; count 0: none */
    int64_t keep_last;        /* so many sets of each database; 0: no such rule */
    int64_t archive_ms; /* moments of archives stay that are not older; 0: archives stay whole */
    int64_t now_ms;
    const char *database; /* its uid or name, for all others stay; NULL: all */
};

int expiry_find(struct store *store, const struct expiry_policy *policy, json_t **ret,
    struct err *err) MUST_CHECK;

/*
 * Of an archive, the index goes first, then what only its moments need. A set loses its manifest first, so what is left of one is never taken for a set. ERR_LOCKED: a
 * backup is being written there.
 */
int expiry_remove(struct store *store, const json_t *plan, struct err *err) MUST_CHECK;

#endif
