#ifndef AGENT_SERVER_VERSION_H
#define AGENT_SERVER_VERSION_H

/* A server program's own word: "Redis server v=7.0.15 …", "Valkey server v=8.0.1 …". */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/err.h"

struct server_version {
    bool valkey;
    int major, minor;
    char text[32]; /* "7.0.15" */
};

/* Runs `server --version`. ERR_UNSUPPORTED if it is neither. */
int server_version_ask(const char *server, struct server_version *ret, struct err *err) MUST_CHECK;

/* "server_kind" and "server_version" of a shard's record. */
void server_version_of_record(const json_t *record, struct server_version *ret);

/* Valkey counts as Redis 7.2: it has all of it. */
bool server_version_at_least(const struct server_version *version, int major, int minor);

#endif
