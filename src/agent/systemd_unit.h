#ifndef AGENT_SYSTEMD_UNIT_H
#define AGENT_SYSTEMD_UNIT_H

/*
 * The systemd unit of a shard's server, where systemd runs:
 *
 *     unit_choose(record, path);      // prepare_shard: sets "unit" and "unit_manager" of the record,
 *                                     // or neither: then the server is a daemon
 *     unit_start(&shard, err);        // writes the unit, has it started
 *     unit_enable(&shard, err);       // seal_shard: from now on it is started again after a crash of
 *                                     // the server and a reboot of the host
 *     unit_disable(&shard, err);      // abort of what clients use: no longer, from now on
 *     unit_remove(&shard, err);       // abort: after the server was stopped
 *
 * All but the first do nothing for a shard without a unit, and each may be called again at any time.
 *
 * Root has units of the system. Others have their own manager's, if that lives on without a login
 * (loginctl enable-linger): else servers would end with our session, and are daemons.
 *
 * The server is stopped by its own command (server_stop()), never by systemctl: to SIGTERM it would
 * answer by saving, over the file that it came from.
 */

#include <jansson.h>

#include "shard.h"

enum unit_manager { UNIT_NONE, UNIT_NO_LINGER, UNIT_USER, UNIT_SYSTEM };

/* "none", "none, no linger", "user", "system": who would run servers here. */
enum unit_manager unit_manager(void);
const char *unit_manager_name(enum unit_manager manager);

/* `path`: the shard's folder. A record of before that has a unit or none is not asked. */
void unit_choose(json_t *record, const char *path);

bool unit_is_used(const struct shard *shard);
int unit_start(const struct shard *shard, struct err *err) MUST_CHECK;
int unit_enable(const struct shard *shard, struct err *err) MUST_CHECK;
int unit_disable(const struct shard *shard, struct err *err) MUST_CHECK;
int unit_remove(const struct shard *shard, struct err *err) MUST_CHECK;

/* "active", "inactive", "failed", …, as systemctl says; NULL without a unit. The caller's. */
char *unit_state(const struct shard *shard);

#endif
