#ifndef AGENT_RUN_AS_H
#define AGENT_RUN_AS_H

/*
 * The user that servers run as: "run_as" of a host whose link logs in as root; otherwise the link's
 * user. The shard's folder belongs to root. The user's group may write in it, but only to its own
 * files (sticky), so the record and incoming/ stay root's. The user may pass all folders above it.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "recluster/err.h"
#include "shard.h"

/* ERR_NOT_FOUND: the host does not have this user. */
int run_as_find(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err) MUST_CHECK;

/* Whether the shard's server runs as another user than we do. */
bool run_as_is_used(const struct shard *shard);

/*
 * Gives the server's files in the working folder, the shard's, to its user. Call it before each
 * start and after each change of such a file.
 */
int run_as_give(const struct shard *shard, struct err *err) MUST_CHECK;
int run_as_give_file(const struct shard *shard, const char *name, struct err *err) MUST_CHECK;

/* ERR_CHECK: the user cannot pass a folder above base_dir. */
int run_as_check_way(const char *user, const char *base_dir, struct err *err) MUST_CHECK;

#endif
