#ifndef AGENT_SYSTEMD_UNIT_H
#define AGENT_SYSTEMD_UNIT_H

/*
 * The systemd unit of a shard's server, on a host where systemd runs:
 *
 *     unit_choose(record, path);      // prepare_shard: sets "unit" and "unit_manager" of the
 *                                     // record, or neither: then the server is a daemon
 *     unit_start(&shard, err);        // writes the unit and starts it
 *     unit_enable(&shard, err);       // seal_shard: from now on it starts again after a crash of
 *                                     // the server and a reboot of the host
 *     unit_disable(&shard, err);      // abort of an open database: no longer, from now on
 *     unit_remove(&shard, err);       // abort: after the server was stopped
 *
 * All but the first do nothing for a shard without a unit, and each may be repeated at any time.
 *
 * Root gets a unit of the system. Other users get a unit of their own manager, if that lives on
 * without a login (loginctl enable-linger). Otherwise the server would end with our session, so it
 * is a daemon.
 *
 * Only a command stops the server (server_stop()), never systemctl: on SIGTERM it would save, and
 * overwrite the file that it was loaded from.
 */

#include <jansson.h>

#include "shard.h"

enum unit_manager { UNIT_NONE, UNIT_NO_LINGER, UNIT_USER, UNIT_SYSTEM };

/* "none", "none, no linger", "user", "system": the manager that would run servers here. */
enum unit_manager unit_manager(void);
const char *unit_manager_name(enum unit_manager manager);

/* `path`: the shard's folder. A record that already says whether it has a unit is left alone. */
void unit_choose(json_t *record, const char *path);

bool unit_is_used(const struct shard *shard);
int unit_start(const struct shard *shard, struct err *err) MUST_CHECK;
int unit_enable(const struct shard *shard, struct err *err) MUST_CHECK;
int unit_disable(const struct shard *shard, struct err *err) MUST_CHECK;
int unit_remove(const struct shard *shard, struct err *err) MUST_CHECK;

/* "active", "inactive", "failed", … as systemctl tells it; NULL without a unit. The caller's. */
char *unit_state(const struct shard *shard);

#endif
