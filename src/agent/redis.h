#ifndef AGENT_REDIS_H
#define AGENT_REDIS_H

/*
 * A blocking connection to a server, with deadlines, based on hiredis.
 *
 *     redis_connect_unix("redis.sock", 5000, &r, err) / redis_connect_tcp("10.0.0.1", 6379, …)
 *     redis_auth(r, user, password, err)
 *     redis_command(r, &reply, err, "CONFIG", "SET", "maxclients", "100")
 *     redis_close(r)
 *
 * An error reply fails with ERR_DENIED (login or permission), ERR_BUSY (a retry may help) or
 * ERR_SERVER. Messages name the command and at most the name of a setting, never other arguments.
 * After ERR_NETWORK or ERR_TIMEOUT the connection can only be closed.
 */

#include <hiredis/hiredis.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/tcp.h"

struct redis;

/* The timeout is for connecting and for each command. */
int redis_connect_unix(
    const char *path, int timeout_ms, struct redis **ret, struct err *err) MUST_CHECK;
int redis_connect_tcp(
    const char *addr, int port, int timeout_ms, struct redis **ret, struct err *err) MUST_CHECK;
/* The connection and the handshake happen with the first command. */
int redis_connect_tls(const struct tcp_params *params, int timeout_ms, struct redis **ret,
    struct err *err) MUST_CHECK;
void redis_close(struct redis *r);      /* may be NULL */
void redis_close_ptr(struct redis **r); /* for CLEANUP */

/* user NULL: default. */
int redis_auth(struct redis *r, const char *user, const char *password, struct err *err) MUST_CHECK;

/* NULL-ended argv; lens NULL: all are strings. ret (freeReplyObject()) may be NULL. */
int redis_command_argv(struct redis *r, redisReply **ret, const char *const *argv,
    const size_t *lens, struct err *err) MUST_CHECK;

#define redis_command(r, ret, err, ...)                                                            \
    redis_command_argv((r), (ret), (const char *const[]){__VA_ARGS__, NULL}, NULL, (err))

/* A command that is answered with text; the caller frees it. */
int redis_text(struct redis *r, char **ret, const char *const *argv, struct err *err) MUST_CHECK;

/* The text of INFO or CLUSTER INFO, for the functions below. The caller's. */
int redis_info(struct redis *r, char **ret, struct err *err) MUST_CHECK;

int64_t info_int(const char *info, const char *field, int64_t fallback);
bool info_is(const char *info, const char *field, const char *value);
char *info_string(
    const char *info, const char *field);  /* the caller frees it; NULL: no such field */
json_t *info_keys_by_db(const char *info); /* {"0": n, …}: keys of each database that has any */
int64_t info_keys(const char *info);       /* of all databases */

#endif
