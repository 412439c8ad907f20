#ifndef AGENT_REDIS_H
#define AGENT_REDIS_H

/*
 * A connection to a server, blocking, with deadlines, over hiredis.
 *
 *     redis_connect_unix("redis.sock", 5000, &r, err) / redis_connect_tcp("10.0.0.1", 6379, …)
 *     redis_auth(r, user, password, err)
 *     redis_command(r, &reply, err, "CONFIG", "SET", "maxclients", "100")
 *     redis_close(r)
 *
 * An answer that is an error fails: ERR_DENIED (who we are is the matter), ERR_BUSY (later it may
 * work) or ERR_SERVER. Messages name the command, never its arguments beyond the name of a setting.
 * After ERR_NETWORK or ERR_TIMEOUT the connection can only be closed.
 */

#include <hiredis/hiredis.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"

struct redis;

/* The timeout holds for the connection and for each command after it. */
int redis_connect_unix(
    const char *path, int timeout_ms, struct redis **ret, struct err *err) MUST_CHECK;
int redis_connect_tcp(
    const char *addr, int port, int timeout_ms, struct redis **ret, struct err *err) MUST_CHECK;
void redis_close(struct redis *r);      /* NULL is fine */
void redis_close_ptr(struct redis **r); /* for CLEANUP */

/* user NULL: default. */
int redis_auth(struct redis *r, const char *user, const char *password, struct err *err) MUST_CHECK;

/* NULL-ended argv; lens NULL: all are strings. ret (freeReplyObject()) may be NULL. */
int redis_command_argv(struct redis *r, redisReply **ret, const char *const *argv,
    const size_t *lens, struct err *err) MUST_CHECK;

#define redis_command(r, ret, err, ...)                                                            \
    redis_command_argv((r), (ret), (const char *const[]){__VA_ARGS__, NULL}, NULL, (err))

/* A command whose answer is text; the caller frees it. */
int redis_text(struct redis *r, char **ret, const char *const *argv, struct err *err) MUST_CHECK;

/* The text of INFO, the caller's, for the functions below. They also read CLUSTER INFO. */
int redis_info(struct redis *r, char **ret, struct err *err) MUST_CHECK;

int64_t info_int(const char *info, const char *field, int64_t fallback);
bool info_is(const char *info, const char *field, const char *value);
char *info_string(const char *info, const char *field); /* the caller frees it; NULL: not there */
json_t *info_keys_by_db(const char *info); /* {"0": n, …}, databases with keys only */
int64_t info_keys(const char *info);       /* of all databases */

#endif
