#ifndef RECOVER_PLANNED_FILES_H
#define RECOVER_PLANNED_FILES_H

/* The files on disks in the current plan (column "sources" of placement). */

#include "model.h"

/* Whether the database uses such files. */
bool planned_files_any(const struct executor *x, size_t database);

/* A file of the database whose host is lost; NULL: none. Borrowed. */
const json_t *planned_files_lost(const struct executor *x, size_t database);

/* The first file of the new plan that the current plan does not have for that shard; NULL: none. */
const struct backup_file *planned_files_other(
    const struct executor *x, size_t database, const struct plan *plan);

#endif
