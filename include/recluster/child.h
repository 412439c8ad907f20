#ifndef RECLUSTER_CHILD_H
#define RECLUSTER_CHILD_H

/*
 * Child processes. A child dies with its parent (PR_SET_PDEATHSIG) unless it makes a session of its
 * own; its standard error is the parent's; no other descriptor is handed on.
 */

#include <sys/types.h>

#include "recluster/err.h"

/*
 * Starts argv (found by PATH) with two pipes: what is written to *ret_to arrives on its standard
 * input, what it prints can be read from *ret_from. Both are non-blocking and close-on-exec. If the
 * program can't be started, the error says why.
 */
int child_spawn(const char *const *argv, pid_t *ret_pid, int *ret_to, int *ret_from,
    struct err *err) MUST_CHECK;

/*
 * Forks; the child runs fn(arg, fd) with fd the writing end of a pipe and _exit()s with what it
 * returns. The parent reads from *ret_from (non-blocking).
 */
int child_fork(int (*fn)(void *arg, int fd), void *arg, pid_t *ret_pid, int *ret_from,
    struct err *err) MUST_CHECK;

/* SIGKILL and wait: for children of which nothing is expected any more. */
void child_kill(pid_t pid);

/*
 * Waits for the end of a child whose pipe has closed. 0 if it exited with status 0; else ERR_FAILED
 * with a message such as "ended by signal 11 (Segmentation fault)".
 */
int child_wait(pid_t pid, struct err *err) MUST_CHECK;

/*
 * Runs argv to its end, at most timeout_ms, and gathers what it prints on both outputs, at most
 * limit bytes of it. Not 0 or too late: ERR_FAILED, ERR_TIMEOUT, with the first line that it
 * printed.
 */
struct buf;
int child_run(const char *const *argv, int timeout_ms, size_t limit, struct buf *output,
    struct err *err) MUST_CHECK;

#endif
