#ifndef RECLUSTER_CHILD_H
#define RECLUSTER_CHILD_H

/*
 * Child processes. A child dies with its parent (PR_SET_PDEATHSIG) unless it makes a session of its
 * own and forks again; its standard error is the parent's unless said otherwise; a program that is
 * started inherits no other descriptor. Signals that the parent handles have their default action
 * in the child, SIGPIPE too; none is blocked.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "recluster/err.h"

/*
 * Starts argv (found by PATH) with two pipes: what is written to *ret_to arrives on its standard
 * input, what it prints can be read from *ret_from, and what it prints on standard error from
 * *ret_errors (NULL: that goes to ours). All are non-blocking and close-on-exec. If the program
 * can't be started, the error says why.
 */
int child_spawn(const char *const *argv, pid_t *ret_pid, int *ret_to, int *ret_from,
    int *ret_errors, struct err *err) MUST_CHECK;

/*
 * Forks; the child runs fn(arg, fd) and _exit()s with what it returns. fd (blocking) and *ret_fd
 * (non-blocking) are the ends of a pair of sockets, close-on-exec: what one side writes, the other
 * reads. The child has the memory limit of a reader (memory_limit.h), which fn may name and tell; the
 * programs that it starts have none.
 */
int child_fork(int (*fn)(void *arg, int fd), void *arg, pid_t *ret_pid, int *ret_fd,
    struct err *err) MUST_CHECK;

/*
 * What programs that are started from now on get of us: the variables of our environment with these
 * names (NULL-ended, "LC_*" for all that begin so; NULL: all of them), and with `other_user` these ids
 * instead of ours. Processes that are forked inherit it. Nothing of our own changes.
 */
struct child_rights {
    const char *const *environment;
    bool other_user;
    uid_t uid;
    gid_t gid;
};
void child_restrict(const struct child_rights *rights);
const struct child_rights *child_rights(void); /* as it is now */

/* SIGKILL and wait: for children of which nothing is expected any more. */
void child_kill(pid_t pid);

/*
 * Waits for the end of a child whose pipe has closed. 0 if it exited with status 0; else ERR_FAILED
 * with a message such as "ended by signal 11 (Segmentation fault)".
 */
int child_wait(pid_t pid, struct err *err) MUST_CHECK;

/* As child_wait(), but never waits: *ret_ended says whether the child has ended. 0 while it runs. */
int child_poll(pid_t pid, bool *ret_ended, struct err *err) MUST_CHECK;

/*
 * Runs argv until it has ended and its outputs are closed, at most timeout_ms, with nothing on its
 * standard input, and gathers what it prints on both outputs: the first `limit` bytes of it. Not
 * status 0 or too late: ERR_FAILED, ERR_TIMEOUT, with the first line that it printed. It blocks:
 * not for jobs of a loop.
 */
struct buf;
int child_run(const char *const *argv, int timeout_ms, size_t limit, struct buf *output,
    struct err *err) MUST_CHECK;

#endif
