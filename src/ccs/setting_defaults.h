#ifndef CCS_SETTING_DEFAULTS_H
#define CCS_SETTING_DEFAULTS_H

/*
 * The settings that only some of Redis 6.0 to 8.0 and Valkey 8.0 to 9.1 have, and their defaults. A
 * server that lacks such a setting works as the others do by default, so only another value is lost.
 */

#include <jansson.h>

enum setting_default {
    SETTING_UNKNOWN, /* all servers have it, or none of these */
    SETTING_USUAL, /* at its default, or another name of a setting that all have, with its value */
    SETTING_CHANGED,
};

/* `config`: the settings of the same server, {name: value}, with which `value` is compared. */
enum setting_default setting_compare(const json_t *config, const char *name, const char *value);

#endif
