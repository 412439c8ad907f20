#ifndef AGENT_SERVER_CONF_H
#define AGENT_SERVER_CONF_H

/*
 * The configuration that a shard's server is started with while it is recovered: clients locked
 * out, nothing saved, nothing evicted, no failover. From Redis 6.0 (ACL) and all of Valkey. The
 * server's own syntax (as of its CONFIG REWRITE) is used for quoting, so that values may hold any
 * bytes.
 *
 * `dir` stands first: the server enters it at once, and every path after it is relative. Thus it
 * starts from any working folder, and its socket is not bound by the 107 bytes that a socket's path
 * may have.
 */

#include <jansson.h>

#include "recluster/err.h"

/*
 * Writes redis.conf and users.acl into the working folder, from the record of a shard (shard.h) and
 * the folder's absolute path. User "replication" is off: no replica must come in sync with data
 * that has not proven whole (access.h). Passwords stand in users.acl as SHA-256.
 */
int server_conf_write(const json_t *record, const char *path, struct err *err) MUST_CHECK;

/*
 * "loadmodule PATH ARGUMENT…" for each of "modules" of a host: [PATH or [PATH, ARGUMENT, …], …]; NULL:
 * none.
 */
struct buf;
void server_conf_add_modules(const json_t *modules, struct buf *conf);

/* The rules that make a user one that may do all. "&*" is of 6.2 and later. */
const char *const *server_acl_all(const json_t *record);

#endif
