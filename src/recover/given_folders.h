#ifndef RECOVER_GIVEN_FOLDERS_H
#define RECOVER_GIVEN_FOLDERS_H

/*
 * The folders of --from-folders, with the files that were found in them, in the state file: a new
 * plan needs them, and no hosts file names them. They hold logins, so they are a secret there
 * ("survey.folders").
 */

#include "recluster/state.h"
#include "recluster/survey.h"

int given_folders_save(const struct survey *survey, struct state *st, struct err *err) MUST_CHECK;

/* A new reference; an empty list if there were none. */
int given_folders_load(struct state *st, json_t **ret, struct err *err) MUST_CHECK;

#endif
