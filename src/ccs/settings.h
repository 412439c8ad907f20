#ifndef CCS_SETTINGS_H
#define CCS_SETTINGS_H

/* Which settings of a captured database are restored (ccs_database.settings). */

#include <jansson.h>

#include "recluster/ccs.h"

/*
 * Of redis_config, the object of names and values that `capture` writes: those that are restored,
 * and the names of those that are set but not restored. New references.
 *
 * A CCS file is not trusted, so only settings in a list are restored: those that tune a server. The
 * others name paths, addresses or processors of the old machines, give clients more rights, or are
 * unknown to this program.
 */
void settings_divide(const json_t *redis_config, json_t **ret_restored, json_t **ret_left);

#endif
