#ifndef AGENT_SERVER_H
#define AGENT_SERVER_H

/*
 * The server process of a shard. The working folder must be the shard's (shard_enter()): the server
 * is reached over the relative path of its unix socket, so the folder's path may have any length.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "method.h"
#include "redis.h"
#include "server_process.h"
#include "shard.h"

/*
 * A Sentinel has no users: there the login is left out.
 *
 * Connects and logs in as the recovery's user, or as default with `password` if that user is gone
 * (NULL: the password is unknown). Waits for a server that is just starting. ERR_NOT_FOUND: none
 * runs; ERR_DENIED: neither user can log in.
 */
int server_connect(const struct shard *shard, const char *password, struct redis **ret,
    struct err *err) MUST_CHECK;

/* Connects and logs in as default, like a client, over the unix socket. */
int server_connect_default(const struct shard *shard, const char *password, struct redis **ret,
    struct err *err) MUST_CHECK;

/* Launches the server on its own configuration, but does not connect to it. */
int server_launch(const struct shard *shard, struct err *err) MUST_CHECK;

/* Launches the server and connects. On failure the message quotes the end of the server's log. */
int server_start(const struct shard *shard, const char *password, struct redis **ret,
    struct err *err) MUST_CHECK;

/*
 * Waits until the data is loaded and returns the INFO of that moment, the caller's. Sends {"phase":
 * "loading", "bytes", "total"} meanwhile.
 */
int server_await_loaded(struct agent_call *call, const struct shard *shard, struct redis *r,
    char **ret_info, struct err *err) MUST_CHECK;

/*
 * Sends SHUTDOWN NOSAVE. SIGKILL follows if the server has not ended in 10 s, or at once if its
 * file is still landing. 0: no process of it runs or listens any more.
 */
int server_stop(const struct shard *shard, bool *ret_was_running, struct err *err) MUST_CHECK;

/* Adds the cause from the log, or its last lines, and the log's path to an error. Returns -1. */
int server_explain(const struct shard *shard, struct err *err);

#endif
