#ifndef AGENT_TRIAL_SETTINGS_H
#define AGENT_TRIAL_SETTINGS_H

/*
 * Which settings and users of a captured database a server accepts. They are tried on a server that
 * runs only for this, because releases differ.
 */

#include <jansson.h>

#include "recluster/err.h"
#include "redis.h"
#include "server_version.h"

/*
 * A label is that of a database or of a shard. `wanted`: {label: {"settings": {name: value}, "users": [lines]}}. The result:
 *
 *     {label: {"at_start": {name: value}, "later": {name: value}, "refused": {name: why},
 *              "refused_users": {name: why}}}
 *
 * "later": CONFIG SET accepts it. "at_start": only a configuration file can set it; whether a server
 * starts with it, trial_run() tries afterwards. A setting that already has the value is in neither.
 */
int trial_settings(struct redis *r, const struct server_version *version, const json_t *wanted,
    json_t **ret, struct err *err) MUST_CHECK;

#endif
