#ifndef BACKUP_READ_BACK_H
#define BACKUP_READ_BACK_H

/* Whether a location has what was written to it. */

#include "recluster/backup.h"

/*
 * `files` as in a manifest: name, bytes, sha256. ERR_CORRUPT names the file that is missing, has
 * another size or other bytes, or cannot be loaded. Renews the lock meanwhile.
 */
int read_back(const struct backup_params *params, const json_t *files, struct err *err) MUST_CHECK;

#endif
