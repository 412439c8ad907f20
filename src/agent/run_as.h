#ifndef AGENT_RUN_AS_H
#define AGENT_RUN_AS_H

/* The user that servers run as: "run_as" of a host, where the link's user is root. */

#include <sys/types.h>

#include "recluster/err.h"

/* ERR_NOT_FOUND: the host has no such user. */
int run_as_find(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err) MUST_CHECK;

#endif
