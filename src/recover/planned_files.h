#ifndef RECOVER_PLANNED_FILES_H
#define RECOVER_PLANNED_FILES_H

/*
 * The files on disks that the plan so far has (column "sources" of placement), for who makes
 * another one.
 */

#include "model.h"

/* Whether the database comes from any. */
bool planned_files_any(const struct executor *x, size_t database);

/* One of the database's whose host is lost; NULL: there is none. Borrowed. */
const json_t *planned_files_lost(const struct executor *x, size_t database);

/* A file that a new plan has and the one so far has not for that shard; NULL: there is none. */
const struct backup_file *planned_files_other(
    const struct executor *x, size_t database, const struct plan *plan);

#endif
