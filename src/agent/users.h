#ifndef AGENT_USERS_H
#define AGENT_USERS_H

/* Creates the users of a CCS file on the new server of their database. */

#include <jansson.h>

#include "redis.h"
#include "server_version.h"

struct users_making {
    struct redis *redis;
    struct server_version version;
    const char *password; /* replaces those of default; NULL: it keeps its own */
    bool data_only;       /* they get no more than clients of the vendor's proxy had */
    const char *denied;   /* rules for each of them but admin: " -config"; NULL or "": none */
    bool has_admin;       /* the server has the user ADMIN_USER, which is not replaced */
    json_t *warnings;     /* texts are added */
};

/*
 * `lines`: of ACL LIST. default comes last, because clients log in as it; without a line it
 * stays off. A user that the server refuses, or that has the name of one of
 * ours, is left out with a warning: less access than before, not more.
 */
int users_make(struct users_making *m, const json_t *lines, struct err *err) MUST_CHECK;

/* Tries the line with the name of no real user. 1: the server accepts it, 0: it refuses. */
int user_try(struct redis *r, const struct server_version *version, const char *line,
    struct err *err) MUST_CHECK;

#endif
