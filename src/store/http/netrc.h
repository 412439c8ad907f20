#ifndef STORE_NETRC_H
#define STORE_NETRC_H

/*
 * The logins of ~/.netrc (or $NETRC), as ftp(1) and curl(1) use them: "machine HOST login USER
 * password PASSWORD", "default login …". Words may be quoted.
 */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/err.h"

/*
 * For struct store_driver: a location with "url" and without a login gets "user" and "password" of
 * its host, if `own`. A missing file or host is not an error.
 */
int netrc_resolve(json_t *location, bool own, struct err *err) MUST_CHECK;

#endif
