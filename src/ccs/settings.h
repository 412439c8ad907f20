#ifndef CCS_SETTINGS_H
#define CCS_SETTINGS_H

/* Which settings of a captured database are restored (ccs_database.settings). */

#include <jansson.h>

#include "recluster/ccs.h"

/*
 * New references. `restored`: {name: value} that the new servers get. The others are arrays of names.
 * `usual`: those of `restored` as an object, whose loss on a server without such a setting changes
 * nothing (setting_defaults.h). `left`: set, but not restored. `own`: recluster gives each new server its own, such as files and
 * addresses. `elsewhere`: restored by fields of their own, such as maxmemory, or other names of
 * settings that are.
 */
struct settings_parts {
    json_t *restored, *usual, *left, *own, *elsewhere;
};

/*
 * Divides redis_config, the object of names and values that `capture` writes.
 *
 * A CCS file is not trusted, so only settings in a list are restored: those that tune a server. The
 * others name paths, addresses or processors of the old machines, give clients more rights, or are
 * unknown to this program.
 */
void settings_divide(const json_t *redis_config, struct settings_parts *ret);

#endif
