#ifndef CLI_BACKUP_FOLLOW_H
#define CLI_BACKUP_FOLLOW_H

#include "cluster_look.h"
#include "recluster/backup.h"

/* backup --follow: the archive of one database. Takes over the look. */
int backup_run_follow(const struct cluster_look_params *look_params, struct cluster_look *look,
    const struct backup_params *params, struct err *err) MUST_CHECK;

#endif
