#ifndef RECLUSTER_CHILD_H
#define RECLUSTER_CHILD_H

/*
 * Child processes. A child dies with its parent (PR_SET_PDEATHSIG) unless it makes a session of its
 * own and forks again. Its standard error is that of the parent if the function does not say
 * otherwise. A started program inherits no other descriptor. In the child, signals that the parent
 * handles (and SIGPIPE) have their default action, and no signal is blocked.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "recluster/err.h"

/*
 * Starts argv (found by PATH) with pipes: *ret_to writes to its standard input, *ret_from reads its
 * standard output, *ret_errors its standard error (NULL: it shares ours). All are non-blocking and
 * close-on-exec. If the program cannot be started, the error says why.
 */
int child_spawn(const char *const *argv, pid_t *ret_pid, int *ret_to, int *ret_from,
    int *ret_errors, struct err *err) MUST_CHECK;

/* The same. `keep` (-1: none) is the program's descriptor CHILD_KEPT_FD. */
enum { CHILD_KEPT_FD = 3 };
int child_spawn_keeping(const char *const *argv, int keep, pid_t *ret_pid, int *ret_to,
    int *ret_from, int *ret_errors, struct err *err) MUST_CHECK;

/*
 * Forks. The child runs fn(arg, fd) and exits with its return value, by _exit(). fd (blocking) and
 * *ret_fd (non-blocking) are the two ends of a socket pair, close-on-exec. The child has the memory
 * limit of a reader (memory_limit.h), for which fn may call memory_limit_name() and
 * memory_limit_tell(). The programs that the child starts have no limit.
 */
int child_fork(int (*fn)(void *arg, int fd), void *arg, pid_t *ret_pid, int *ret_fd,
    struct err *err) MUST_CHECK;

/*
 * Restricts the programs that are started from now on. They get only the environment variables with
 * these names (NULL-ended; "LC_*" means all that begin with LC_; NULL: all variables). With
 * `other_user` they run with these ids. Forked processes inherit the restriction. Our own process
 * does not change.
 */
struct child_rights {
    const char *const *environment;
    bool other_user;
    uid_t uid;
    gid_t gid;
};
void child_restrict(const struct child_rights *rights);
const struct child_rights *child_rights(void); /* those in force */

/* Sends SIGKILL and waits: for children whose result nobody needs. */
void child_kill(pid_t pid);

/*
 * Waits for the end of a child whose pipe has closed. 0 if it exited with status 0; else ERR_FAILED
 * with a message such as "ended by signal 11 (Segmentation fault)".
 */
int child_wait(pid_t pid, struct err *err) MUST_CHECK;

/* Like child_wait(), without waiting: *ret_ended says whether it has ended. 0 while it runs. */
int child_poll(pid_t pid, bool *ret_ended, struct err *err) MUST_CHECK;

/*
 * Runs argv with empty standard input until it has ended and its outputs are closed, for at most
 * timeout_ms. Collects the first `limit` bytes of both outputs. ERR_FAILED if the status is not 0,
 * ERR_TIMEOUT if it takes too long; the message has the first line that it printed. The call
 * blocks, so jobs of a loop must not use it.
 */
struct buf;
int child_run(const char *const *argv, int timeout_ms, size_t limit, struct buf *output,
    struct err *err) MUST_CHECK;

/*
 * A program that all bytes of a stream go through:
 *
 *     child_pipe_open(argv, keep, sink, arg, &p, err)
 *     child_pipe_feed(p, data, len, err) …      // what the program writes goes to the sink
 *     child_pipe_end(p, err)                    // no more input: the rest, and how it ended
 *     child_pipe_free(p)                        // ends it, if it still runs
 *
 * `keep`: as of child_spawn_keeping(). ERR_FAILED if its status is not 0: the message has the last
 * line that it printed on standard error, or the last one with "error:". ERR_TIMEOUT if it neither
 * reads nor writes for a minute. What the sink fails with is passed on. The calls block.
 */
struct child_pipe;
int child_pipe_open(const char *const *argv, int keep,
    int (*sink)(void *arg, const void *data, size_t len, struct err *err), void *arg,
    struct child_pipe **ret, struct err *err) MUST_CHECK;
int child_pipe_feed(struct child_pipe *p, const void *data, size_t len, struct err *err) MUST_CHECK;
int child_pipe_end(struct child_pipe *p, struct err *err) MUST_CHECK;
void child_pipe_free(struct child_pipe *p); /* may be NULL */

/* The same for bytes at hand. The output may have at most `limit` bytes (ERR_LIMIT). */
int child_filter(const char *const *argv, const struct buf *input, size_t limit, struct buf *output,
    struct err *err) MUST_CHECK;

#endif
