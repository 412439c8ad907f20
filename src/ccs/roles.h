#ifndef CCS_ROLES_H
#define CCS_ROLES_H

/*
 * The vendor's users as users of plain servers. A database gives rights to roles (roles_permissions:
 * role and redis_acl), a user has roles, a redis_acl has rules in the servers' own words.
 *
 * A user with rights in a database becomes a line like those of ACL LIST, "user app on #… ~a:* +get",
 * which the host's server tries before it counts, as the lines of a captured file. Nobody gets more
 * than before: what is not certain is left out, and a finding names the user.
 *
 *   - The name: as it is, unless servers do not take it.
 *   - The password: a SHA-256 hash, as servers keep it. A user with another one is made without a
 *     password and off, so it has its rights as soon as somebody gives it a password.
 *   - The rules: only those that say what a user may do. Channels: acl_pubsub_default, else none.
 *
 * The lines are a secret of the state file ("database.users", JSON), read as ccs_database.users.
 */

#include "typed.h"

/* Needs the databases. Does nothing for those whose users were captured. */
int roles_map(struct import *im) MUST_CHECK;

#endif
