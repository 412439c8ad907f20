#ifndef AGENT_SERVER_PROCESS_H
#define AGENT_SERVER_PROCESS_H

/*
 * The process of a shard's server, whatever its name: "server" in the hosts file may be a script
 * that starts the real server, under another name or with another loader. The working folder must
 * be the shard's (shard_enter()).
 *
 * A process is the server's if its working folder is the shard's folder and one of these holds: its
 * number is in redis.pid; its name is that of "server"; it listens at the shard's address and port,
 * or on the shard's unix socket. So neither a stale pid file nor a reused number can mislead.
 */

#include <stdint.h>
#include <sys/types.h>

#include "process.h"
#include "shard.h"

/* 0: none. */
pid_t server_pid(const struct shard *shard);

/* After a start: waits for one of these marks, or the end. `since`: process_now() before it. */
void server_await_visible(const struct shard *shard, uint64_t since, int ms);

/* Sends SIGKILL and waits until it and all that it forked are gone. ERR_DENIED, ERR_TIMEOUT. */
int server_kill(
    const struct shard *shard, const struct process *p, int ms, struct err *err) MUST_CHECK;

/*
 * 0: no process of it runs or listens any more. ERR_CHECK names the process that does. A process in
 * another folder that listens at the port does not count.
 */
int server_check_gone(const struct shard *shard, struct err *err) MUST_CHECK;

#endif
