#ifndef AGENT_USERS_H
#define AGENT_USERS_H

/* The users of a captured database, made again on its new server. */

#include <jansson.h>

#include "redis.h"
#include "server_version.h"

struct users_making {
    struct redis *redis;
    struct server_version version;
    const char *password; /* replaces those of default; NULL: it keeps its own */
    json_t *warnings;     /* texts are added */
};

/*
 * `lines`: of ACL LIST. default comes last, since clients get in with it; without a line it stays
 * off. A user that the server refuses is left out: less access than before, not more.
 */
int users_make(struct users_making *m, const json_t *lines, struct err *err) MUST_CHECK;

/*
 * Tries the line under the name of nobody. 1: the server takes it, 0: it refuses.
 */
int user_try(struct redis *r, const struct server_version *version, const char *line,
    struct err *err) MUST_CHECK;

#endif
