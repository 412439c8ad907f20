#ifndef AGENT_SERVER_PROCESS_H
#define AGENT_SERVER_PROCESS_H

/*
 * The process of a shard's server, whatever it is called: a "server" of the hosts file may be a
 * script that starts the real one in its own place, under another name or by another loader. The
 * working folder must be the shard's (shard_enter()).
 *
 * A process is the server's if the shard's folder is its working folder and one of these holds: its
 * number is in redis.pid; its name is that of "server"; it listens at the shard's address and port,
 * or on the shard's unix socket. A stale pid file or a number that was given again can't mislead.
 */

#include <stdint.h>
#include <sys/types.h>

#include "process.h"
#include "shard.h"

/* 0: none. */
pid_t server_pid(const struct shard *shard);

/*
 * After a start: until the process can be known by one of these marks, or is gone. `since`:
 * process_now() before the start.
 */
void server_await_sight(const struct shard *shard, uint64_t since, int ms);

/*
 * SIGKILL, and waits until it is gone: its last thread, and what it forked. ERR_DENIED,
 * ERR_TIMEOUT.
 */
int server_kill(
    const struct shard *shard, const struct process *p, int ms, struct err *err) MUST_CHECK;

/*
 * Nothing of it runs or listens any more. ERR_CHECK names what does; what listens at its port in
 * another folder is not its server.
 */
int server_check_gone(const struct shard *shard, struct err *err) MUST_CHECK;

#endif
