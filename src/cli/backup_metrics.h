#ifndef CLI_BACKUP_METRICS_H
#define CLI_BACKUP_METRICS_H

/*
 * backup --metrics: a file in the text format of Prometheus, written anew as a whole. Times are
 * seconds since 1970; 0: never.
 */

#include "recluster/archive.h"

/* What the location has now of each database, and whether this run took all that it should. */
int backup_metrics_of_sets(
    const char *path, struct store *store, bool ok, struct err *err) MUST_CHECK;

int backup_metrics_of_archive(const char *path, const char *database,
    const struct archive_status *now, struct err *err) MUST_CHECK;

#endif
