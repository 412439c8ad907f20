#ifndef AGENT_RUN_AS_H
#define AGENT_RUN_AS_H

/*
 * The user that servers run as: "run_as" of a host, where the link's user is root; else they run as the
 * link's user. The shard's folder is then root's, and the user's group may write in it, but only to what
 * is its own (sticky): the record and incoming/ stay root's. All folders above it can be passed.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "recluster/err.h"
#include "shard.h"

/* ERR_NOT_FOUND: the host has no such user. */
int run_as_find(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err) MUST_CHECK;

/* Whether the shard's server runs as somebody else than us. */
bool run_as_is_used(const struct shard *shard);

/*
 * Gives the server's files in the working folder, the shard's, to its user. Before each start, and after
 * each change that we make to one.
 */
int run_as_give(const struct shard *shard, struct err *err) MUST_CHECK;
int run_as_give_file(const struct shard *shard, const char *name, struct err *err) MUST_CHECK;

/* ERR_CHECK: the user can't pass a folder above base_dir. */
int run_as_check_way(const char *user, const char *base_dir, struct err *err) MUST_CHECK;

#endif
