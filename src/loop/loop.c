#include "recluster/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/mem.h"

struct job {
    const struct job_ops *ops;
    void *arg;
    struct wait wait;
    bool ready; /* its step is due */
    bool gone;  /* ended; freed by the next sweep() */
};

struct loop {
    struct job **jobs;
    size_t count, alloc;
    struct pollfd *polled;
    size_t polled_alloc;
    int interrupt_fd;
    bool stopped, interrupted;
};

void wait_fd(struct wait *wait, int fd, short events)
{
    for (int i = 0; i < wait->fd_count; i++)
        if (wait->fds[i].fd == fd) {
            wait->fds[i].events = (short)(wait->fds[i].events | events);
            return;
        }
    if (wait->fd_count == WAIT_FDS_MAX) {
        die_of_bug("a job waits for more than %d descriptors", WAIT_FDS_MAX);
    }
    wait->fds[wait->fd_count++] = (struct wait_fd){.fd = fd, .events = events};
}

void wait_until(struct wait *wait, int64_t deadline_mono_ms)
{
    if (deadline_mono_ms < wait->deadline_ms)
        wait->deadline_ms = deadline_mono_ms;
}

short wait_revents(const struct wait *wait, int fd)
{
    for (int i = 0; i < wait->last_count; i++)
        if (wait->last[i].fd == fd)
            return wait->last[i].events;
    return 0;
}

struct loop *loop_new(void)
{
    struct loop *loop = xcalloc(1, sizeof(*loop));
    loop->interrupt_fd = -1;
    signal(SIGPIPE, SIG_IGN);
    return loop;
}

/* Jobs are freed only here, so pointers stay valid while steps and `done`s are running. */
static void sweep(struct loop *loop)
{
    size_t kept = 0;
    for (size_t i = 0; i < loop->count; i++)
        if (loop->jobs[i]->gone)
            free(loop->jobs[i]);
        else
            loop->jobs[kept++] = loop->jobs[i];
    loop->count = kept;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    for (size_t i = 0; i < loop->count; i++) /* a `done` may add more */
        loop_cancel(loop, loop->jobs[i]);
    sweep(loop);
    free(loop->jobs);
    free(loop->polled);
    free(loop);
}

struct job *loop_add(struct loop *loop, const struct job_ops *ops, void *arg)
{
    struct job *job = xcalloc(1, sizeof(*job));
    *job = (struct job){.ops = ops, .arg = arg, .ready = true};
    GROW(loop->jobs, loop->count, loop->alloc);
    loop->jobs[loop->count++] = job;
    return job;
}

void loop_wake(struct loop *loop, struct job *job)
{
    (void)loop;
    job->ready = true;
}

static void end_job(struct job *job, const struct err *err)
{
    job->gone = true;
    if (job->ops->done)
        job->ops->done(job->arg, err);
}

void loop_cancel(struct loop *loop, struct job *job)
{
    struct err err = ERR_INIT;

    (void)loop;
    if (job->gone)
        return;
    err_set(&err, ERR_CANCELLED, "%s was cancelled", job->ops->name);
    end_job(job, &err);
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

void loop_interrupt_fd(struct loop *loop, int fd)
{
    loop->interrupt_fd = fd;
}

bool loop_interrupted(const struct loop *loop)
{
    return loop->interrupted;
}

static void run_step(struct job *job)
{
    struct err err = ERR_INIT;
    struct wait *wait = &job->wait;

    job->ready = false;
    wait->fd_count = 0;
    wait->deadline_ms = INT64_MAX;
    enum job_step step = job->ops->step(job->arg, wait, &err);
    if (job->gone)
        return;
    wait->timed_out = false;
    wait->last_count = 0;
    switch (step) {
    case JOB_DONE:
        err = (struct err)ERR_INIT;
        end_job(job, &err);
        break;
    case JOB_FAIL:
        if (err.code == ERR_NONE)
            err_set(&err, ERR_BUG, "job '%s' failed and didn't say why", job->ops->name);
        end_job(job, &err);
        break;
    case JOB_AGAIN:
        job->ready = true;
        break;
    case JOB_WAIT:
        if (!wait->fd_count && wait->deadline_ms == INT64_MAX) {
            die_of_bug("job '%s' waits for nothing", job->ops->name);
        }
        wait_until(wait, clock_mono_ms() + WAIT_MAX_MS);
        break;
    }
}

/* Lists what is to be polled; returns the timeout in ms. */
static int gather(struct loop *loop, size_t *ret_count)
{
    int64_t deadline_ms = INT64_MAX;
    size_t n = 0;

    if (loop->polled_alloc < loop->count * WAIT_FDS_MAX + 1) {
        loop->polled_alloc = loop->alloc * WAIT_FDS_MAX + 1;
        loop->polled = xreallocarray(loop->polled, loop->polled_alloc, sizeof(*loop->polled));
    }
    loop->polled[n++] = (struct pollfd){.fd = loop->interrupt_fd, .events = POLLIN};
    for (size_t i = 0; i < loop->count; i++) {
        const struct job *job = loop->jobs[i];
        if (job->ready) {
            deadline_ms = 0;
            continue; /* its wait is over */
        }
        if (job->wait.deadline_ms < deadline_ms)
            deadline_ms = job->wait.deadline_ms;
        for (int k = 0; k < job->wait.fd_count; k++)
            loop->polled[n++] = (struct pollfd){
                .fd = job->wait.fds[k].fd,
                .events = job->wait.fds[k].events,
            };
    }
    *ret_count = n;
    int64_t ms = deadline_ms - clock_mono_ms();
    return ms < 0 ? 0 : ms > WAIT_MAX_MS ? WAIT_MAX_MS : (int)ms;
}

/* Gives the results of poll(2) to the jobs, in the order of gather(). */
static void scatter(struct loop *loop)
{
    const struct pollfd *p = loop->polled + 1;
    int64_t now_ms = clock_mono_ms();

    for (size_t i = 0; i < loop->count; i++) {
        struct job *job = loop->jobs[i];
        struct wait *wait = &job->wait;
        if (job->ready)
            continue;
        for (int k = 0; k < wait->fd_count; k++, p++)
            if (p->revents)
                wait->last[wait->last_count++] = (struct wait_fd){p->fd, p->revents};
        wait->timed_out = !wait->last_count && wait->deadline_ms <= now_ms;
        job->ready = wait->last_count || wait->timed_out;
    }
}

static void drain(int fd)
{
    char bytes[64];
    while (read(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
        ;
}

static int loop_turn(struct loop *loop, struct err *err)
{
    size_t count;
    int timeout_ms = gather(loop, &count);
    int n = poll(loop->polled, count, timeout_ms);

    if (n < 0 && errno == EINTR)
        return 0;
    if (n < 0)
        return err_sys(err, ERR_FAILED, "cannot wait for %zu descriptors", count);
    scatter(loop);
    if (loop->polled[0].revents) {
        drain(loop->interrupt_fd);
        loop->interrupted = true;
        loop->stopped = true;
    }
    /* Jobs that become ready meanwhile get their turn after those that wait already. */
    size_t jobs = loop->count;
    for (size_t i = 0; i < jobs && !loop->stopped; i++)
        if (loop->jobs[i]->ready && !loop->jobs[i]->gone)
            run_step(loop->jobs[i]);
    return 0;
}

int loop_run(struct loop *loop, struct err *err)
{
    int rc = 0;

    loop->stopped = false;
    for (sweep(loop); rc == 0 && loop->count && !loop->stopped; sweep(loop))
        rc = loop_turn(loop, err);
    return rc;
}
