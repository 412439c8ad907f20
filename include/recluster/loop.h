#ifndef RECLUSTER_LOOP_H
#define RECLUSTER_LOOP_H

/*
 * One thread, one poll loop, any number of jobs.
 *
 * A job is a step function that does a bounded slice of work and says what it waits for. It never
 * blocks. The loop calls it when it is added, and then each time that it need not wait any longer:
 *
 *     static enum job_step step(void *arg, struct wait *wait, struct err *err)
 *     {
 *         …
 *         wait_fd(wait, fd, POLLIN);
 *         wait_until(wait, clock_mono_ms() + 10000);
 *         return JOB_WAIT;
 *     }
 *
 * Waits.
 *   - A step that waits only for descriptors is called after WAIT_MAX_MS at the latest.
 *   - JOB_WAIT without a descriptor and without a deadline is a bug and aborts. A job that waits
 *     only for loop_wake() sets a distant deadline.
 *   - wait->timed_out is set if the step is called because of its deadline.
 *   - The step fills an empty wait each time. wait_revents() returns the events of the last wait.
 *
 * End. `done` is called once, after JOB_DONE (err->code is ERR_NONE), JOB_FAIL or loop_cancel()
 * (ERR_CANCELLED). The job no longer exists then; `done` may free its memory and add other jobs.
 * Every function here may be called from a step and from `done`, also for the running job. The
 * result of a step that cancelled its own job is ignored.
 *
 * loop_new() makes the process ignore SIGPIPE: a closed peer shows up as EPIPE from write(2)
 * instead of killing the process.
 */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"

enum job_step {
    JOB_DONE,
    JOB_AGAIN, /* has more to do now; other jobs get their turn first */
    JOB_WAIT,
    JOB_FAIL,
};

enum { WAIT_FDS_MAX = 4, WAIT_MAX_MS = 24 * 3600 * 1000 };

struct wait {
    struct wait_fd {
        int fd;
        short events; /* POLLIN, POLLOUT; in `last` those that came, with POLLHUP and POLLERR */
    } fds[WAIT_FDS_MAX], last[WAIT_FDS_MAX];
    int fd_count, last_count;
    int64_t deadline_ms; /* monotonic; INT64_MAX: none */
    bool timed_out;
};

/* Calls for the same descriptor add up. */
void wait_fd(struct wait *wait, int fd, short events);
void wait_until(struct wait *wait, int64_t deadline_mono_ms); /* of several, the earliest counts */
short wait_revents(const struct wait *wait, int fd); /* of the last wait; 0 if it was not in it */

struct job_ops {
    const char *name; /* for messages about bugs */
    enum job_step (*step)(void *arg, struct wait *wait, struct err *err);
    void (*done)(void *arg, const struct err *err); /* may be NULL */
};

struct loop;
struct job;

struct loop *loop_new(void);
void loop_free(struct loop *loop); /* cancels all jobs */

struct job *loop_add(struct loop *loop, const struct job_ops *ops, void *arg);
void loop_wake(struct loop *loop, struct job *job);   /* its step is called soon, as after AGAIN */
void loop_cancel(struct loop *loop, struct job *job); /* `done` is called before this returns */

/* Runs until no job is left or loop_stop(). -1 only if poll(2) itself fails. */
int loop_run(struct loop *loop, struct err *err) MUST_CHECK;
void loop_stop(struct loop *loop);

/*
 * Sets a non-blocking descriptor that ends the run when it becomes readable (a signal handler
 * writes a byte). loop_run() then empties it and returns 0. From then on loop_interrupted() is
 * true. The next loop_run() continues where this one stopped.
 */
void loop_interrupt_fd(struct loop *loop, int fd);
bool loop_interrupted(const struct loop *loop);

#endif
