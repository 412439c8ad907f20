#ifndef RECLUSTER_LINK_LOCATION_H
#define RECLUSTER_LINK_LOCATION_H

/*
 * The folder of a machine as a location (store.h), read over the machine's link:
 *
 *     local     the folder itself
 *     ssh       SFTP with the same login
 *     command   the shell that the command gives
 *
 * This machine reads the files and sends them to the hosts ("relay"), because its logins and
 * commands are its own. With "share_login" of the entry, hosts read them over SFTP themselves.
 */

#include <jansson.h>

#include "recluster/err.h"

struct link_folder {
    const char *name;   /* of the machine, for messages */
    const char *kind;   /* of the link */
    const char *addr;   /* NULL: the entry's */
    const json_t *spec; /* the entry of the hosts file */
    const char *path;   /* absolute */
};

/* A new reference; NULL on failure. */
json_t *link_location(const struct link_folder *folder, struct err *err) MUST_CHECK;

#endif
