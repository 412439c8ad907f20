#ifndef AGENT_SERVER_CONF_H
#define AGENT_SERVER_CONF_H

/*
 * The configuration of a shard's server during the recovery: no clients, no saving, no eviction, no
 * failover. For Redis since 6.0 (ACL) and all of Valkey. Values are quoted as the server's CONFIG
 * REWRITE quotes them, so they may hold any bytes.
 *
 * `dir` is the first line. The server enters it at once, and all later paths are relative. So the
 * server starts from any working folder, and the path of its socket stays below the limit of 107
 * bytes.
 */

#include <jansson.h>

#include "recluster/err.h"

/*
 * Writes redis.conf and users.acl into the working folder, from the record of a shard (shard.h) and
 * the folder's absolute path. User "replication" is off, so no replica can sync before the data is
 * verified (access.h). Passwords are written to users.acl as SHA-256.
 */
int server_conf_write(const json_t *record, const char *path, struct err *err) MUST_CHECK;

/*
 * Writes redis.conf of a Sentinel into the working folder. `watch` as in start_sentinel
 * (protocol.h). Before its start only: a Sentinel keeps what it learns in this file.
 */
int server_conf_write_sentinel(
    const json_t *record, const json_t *watch, const char *path, struct err *err) MUST_CHECK;

/* "loadmodule PATH ARGUMENT…" for "modules": [PATH or [PATH, ARGUMENT, …], …]; or NULL. */
struct buf;
void server_conf_add_modules(const json_t *modules, struct buf *conf);

/* The rules of a user who may do everything. "&*" exists since 6.2. */
const char *const *server_acl_all(const json_t *record);

/* A line of a captured setting; none for a name that no setting can have. */
void server_conf_add_setting(const char *name, const char *value, struct buf *conf);

#endif
