#ifndef AGENT_SERVER_H
#define AGENT_SERVER_H

/*
 * The server process of a shard. The working folder must be the shard's (shard_enter()): the server
 * is reached over the relative path of its unix socket, so that the length of the folder's path is
 * no matter.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "method.h"
#include "redis.h"
#include "server_process.h"
#include "shard.h"

/*
 * Connects and logs in, as the recovery's user or, where that is gone, as default with `password`
 * (NULL: the shard's caller knows none). A server that is just starting is waited for.
 * ERR_NOT_FOUND: none runs; ERR_DENIED: none of our names may log in.
 */
int server_connect(const struct shard *shard, const char *password, struct redis **ret,
    struct err *err) MUST_CHECK;

/* Connects and logs in as default, as a client would, over the unix socket. */
int server_connect_default(const struct shard *shard, const char *password, struct redis **ret,
    struct err *err) MUST_CHECK;

/* Launches the server on its own configuration, but does not connect to it. */
int server_launch(const struct shard *shard, struct err *err) MUST_CHECK;

/*
 * The same, and connects. On failure the message has the last
 * lines of what the server said.
 */
int server_start(const struct shard *shard, const char *password, struct redis **ret,
    struct err *err) MUST_CHECK;

/*
 * Waits until data that is being loaded is there; the INFO at that moment is the caller's. Sends
 * {"phase": "loading", "bytes", "total"} meanwhile.
 */
int server_await_loaded(struct agent_call *call, const struct shard *shard, struct redis *r,
    char **ret_info, struct err *err) MUST_CHECK;

/*
 * SHUTDOWN NOSAVE, and SIGKILL where that does not end it in 10 s, or its file is still landing. 0:
 * nothing of it runs or listens any more.
 */
int server_stop(const struct shard *shard, bool *ret_was_running, struct err *err) MUST_CHECK;

/*
 * Adds to an error what the log says of the cause, else its last lines, and where to read more.
 * Returns -1.
 */
int server_explain(const struct shard *shard, struct err *err);

#endif
