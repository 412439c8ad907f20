#ifndef RECLUSTER_LOOP_H
#define RECLUSTER_LOOP_H

/*
 * One thread, one poll loop, any number of jobs.
 *
 * A job is a step function that does a bounded slice of work and says what it needs next; it never
 * blocks. The loop calls it first when it is added, then whenever what it waits for has come:
 *
 *     static enum job_step step(void *arg, struct wait *wait, struct err *err)
 *     {
 *         …
 *         wait_fd(wait, fd, POLLIN);
 *         wait_until(wait, clock_mono_ms() + 10000);
 *         return JOB_WAIT;
 *     }
 *
 * A wait for descriptors alone is called after WAIT_MAX_MS at the latest. A JOB_WAIT with neither a
 * descriptor nor a deadline is a bug and aborts; a job that waits only for loop_wake() sets a far
 * deadline. A step that is called for a deadline, not for a descriptor or loop_wake(), sees
 * wait->timed_out. The step fills a fresh wait each time; what the last one brought is read with
 * wait_revents().
 *
 * `done` is called once, after JOB_DONE (err->code is ERR_NONE), JOB_FAIL or loop_cancel()
 * (ERR_CANCELLED); the job is gone then, and `done` may free what belongs to it and add other jobs.
 * Every function here may be called from a step and from `done`, also for the job that is running:
 * the result of a step that cancelled its own job is ignored.
 *
 * loop_new() makes the process ignore SIGPIPE: a peer that went away is an error of write(2), never
 * a death.
 */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"

enum job_step {
    JOB_DONE,
    JOB_AGAIN, /* has more to do at once; others get their turn first */
    JOB_WAIT,
    JOB_FAIL,
};

enum { WAIT_FDS_MAX = 4, WAIT_MAX_MS = 24 * 3600 * 1000 };

struct wait {
    struct wait_fd {
        int fd;
        short events; /* POLLIN, POLLOUT; of the last wait: what came, POLLHUP and POLLERR too */
    } fds[WAIT_FDS_MAX], last[WAIT_FDS_MAX];
    int fd_count, last_count;
    int64_t deadline_ms; /* monotonic; INT64_MAX: none */
    bool timed_out;
};

/* A descriptor that is named twice is waited for once, for both. */
void wait_fd(struct wait *wait, int fd, short events);
void wait_until(struct wait *wait, int64_t deadline_mono_ms); /* the earliest of several counts */
short wait_revents(const struct wait *wait, int fd); /* of the last wait; 0 if it wasn't in it */

struct job_ops {
    const char *name; /* for messages about bugs */
    enum job_step (*step)(void *arg, struct wait *wait, struct err *err);
    void (*done)(void *arg, const struct err *err); /* may be NULL */
};

struct loop;
struct job;

struct loop *loop_new(void);
void loop_free(struct loop *loop); /* cancels what is left */

struct job *loop_add(struct loop *loop, const struct job_ops *ops, void *arg);
void loop_wake(struct loop *loop, struct job *job);   /* its step is called soon, as if AGAIN */
void loop_cancel(struct loop *loop, struct job *job); /* `done` is called before this returns */

/* Runs until no job is left or loop_stop(). -1 only if poll(2) itself fails. */
int loop_run(struct loop *loop, struct err *err) MUST_CHECK;
void loop_stop(struct loop *loop);

/*
 * A non-blocking descriptor that ends the run when it becomes readable (from a signal handler:
 * write a byte); loop_run() then empties it and returns 0, and loop_interrupted() is true from then
 * on. The next loop_run() goes on as if nothing had been.
 */
void loop_interrupt_fd(struct loop *loop, int fd);
bool loop_interrupted(const struct loop *loop);

#endif
