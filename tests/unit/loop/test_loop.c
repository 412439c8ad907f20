#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/loop.h"

/* What happened, a character each. */
static struct buf trace;

static int setup(void **state)
{
    (void)state;
    buf_init(&trace);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_release(&trace);
    return 0;
}

static void run(struct loop *loop)
{
    struct err err = ERR_INIT;
    assert_int_equal(loop_run(loop, &err), 0);
}

/* Waits for a time, then ends. */
struct timer {
    int64_t at_ms;
    char name;
};

static enum job_step timer_step(void *arg, struct wait *wait, struct err *err)
{
    const struct timer *t = arg;
    (void)err;
    if (wait->timed_out) {
        assert_true(clock_mono_ms() >= t->at_ms);
        buf_addc(&trace, t->name);
        return JOB_DONE;
    }
    wait_until(wait, t->at_ms + 60000);
    wait_until(wait, t->at_ms);
    wait_until(wait, t->at_ms + 60000);
    return JOB_WAIT;
}

static const struct job_ops timer_ops = {.name = "timer", .step = timer_step};

static void timers_come_in_order(void **state)
{
    int64_t now_ms = clock_mono_ms();
    struct timer timers[] = {{now_ms + 60, 'c'}, {now_ms + 20, 'a'}, {now_ms + 40, 'b'}};
    struct loop *loop = loop_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
        loop_add(loop, &timer_ops, &timers[i]);
    run(loop);
    assert_string_equal(trace.data, "abc");
    assert_true(clock_mono_ms() - now_ms < 10000);
    loop_free(loop);
}

/* Asks for its next turn at once, some times. */
struct counter {
    int left;
    char name;
};

static enum job_step counter_step(void *arg, struct wait *wait, struct err *err)
{
    struct counter *c = arg;
    (void)wait, (void)err;
    buf_addc(&trace, c->name);
    return --c->left ? JOB_AGAIN : JOB_DONE;
}

static const struct job_ops counter_ops = {.name = "counter", .step = counter_step};

static void turns_are_fair(void **state)
{
    struct counter counters[] = {{3, 'a'}, {4, 'b'}, {2, 'c'}};
    struct loop *loop = loop_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
        loop_add(loop, &counter_ops, &counters[i]);
    run(loop);
    assert_string_equal(trace.data, "abcabcabb");
    loop_free(loop);
}

/* A pipe's reading end: gathers what comes. */
struct reader {
    int fd;
    int steps;
    size_t bytes;
};

static enum job_step reader_step(void *arg, struct wait *wait, struct err *err)
{
    struct reader *r = arg;
    char chunk[16];

    r->steps++;
    if (wait_revents(wait, r->fd)) {
        ssize_t n = read(r->fd, chunk, sizeof(chunk));
        if (n < 0)
            return err_sys(err, ERR_IO, "cannot read"), JOB_FAIL;
        if (n == 0)
            return JOB_DONE;
        r->bytes += (size_t)n;
    }
    wait_fd(wait, r->fd, POLLIN);
    return JOB_WAIT;
}

static void reader_done(void *arg, const struct err *err)
{
    struct reader *r = arg;
    close(r->fd);
    buf_addc(&trace, err->code == ERR_NONE ? '.' : '!');
}

static const struct job_ops reader_ops = {"reader", reader_step, reader_done};

static void hundreds_of_descriptors(void **state)
{
    enum { COUNT = 300 };
    static struct reader readers[COUNT];
    int ends[2], writers[COUNT];
    struct loop *loop = loop_new();
    struct timer soon = {clock_mono_ms() + 20, 't'};

    (void)state;
    memset(readers, 0, sizeof(readers));
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(pipe(ends), 0);
        readers[i].fd = ends[0];
        writers[i] = ends[1];
        loop_add(loop, &reader_ops, &readers[i]);
    }
    loop_add(loop, &timer_ops, &soon);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(write(writers[i], "hello, reader of pipes", 22), 22);
        if (i % 3)
            close(writers[i]);
    }
    for (int i = 0; i < COUNT; i += 3)
        close(writers[i]);
    run(loop);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(readers[i].bytes, 22);
        /* First call, 16 bytes, 6 bytes, the end: a call without news would be a busy loop. */
        assert_int_equal(readers[i].steps, 4);
    }
    assert_int_equal(trace.len, COUNT + 1);
    loop_free(loop);
}

static void a_failed_job_tells_why(void **state)
{
    struct reader bad = {.fd = open("/", O_RDONLY)};
    struct loop *loop = loop_new();

    (void)state;
    loop_add(loop, &reader_ops, &bad); /* a folder is always readable for poll, never for read */
    run(loop);
    assert_string_equal(trace.data, "!");
    loop_free(loop);
}

/* Acts on other jobs and on itself from within callbacks. */
struct actor {
    struct loop *loop;
    struct job *self, *other;
    struct counter *add;
    bool cancel_in_done, step_again;
};

static enum job_step actor_step(void *arg, struct wait *wait, struct err *err)
{
    struct actor *a = arg;
    bool again = a->step_again;

    (void)err;
    buf_addc(&trace, 's');
    if (a->other && !a->cancel_in_done)
        loop_cancel(a->loop, a->other);
    if (a->self)
        loop_cancel(a->loop, a->self); /* frees a */
    wait_until(wait, 0);
    return again ? JOB_AGAIN : JOB_DONE;
}

static void actor_done(void *arg, const struct err *err)
{
    struct actor *a = arg;

    buf_addc(&trace, err->code == ERR_CANCELLED ? 'x' : err->code == ERR_NONE ? 'd' : '?');
    if (a->self)
        loop_cancel(a->loop, a->self); /* ended already: nothing happens */
    if (a->cancel_in_done)
        loop_cancel(a->loop, a->other);
    if (a->add)
        loop_add(a->loop, &counter_ops, a->add);
    free(a);
}

static const struct job_ops actor_ops = {"actor", actor_step, actor_done};

static struct actor *new_actor(struct loop *loop)
{
    struct actor *a = xcalloc(1, sizeof(*a));
    a->loop = loop;
    return a;
}

static void a_job_cancels_itself(void **state)
{
    struct loop *loop = loop_new();
    struct counter last = {2, 'n'};
    struct actor *a = new_actor(loop);

    (void)state;
    a->add = &last;
    a->step_again = true; /* the result of a cancelled job's step counts no more */
    a->self = loop_add(loop, &actor_ops, a);
    run(loop);
    assert_string_equal(trace.data, "sxnn");
    loop_free(loop);
}

static void jobs_cancel_others(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++)
        for (int in_done = 0; in_done < 2; in_done++) {
            struct loop *loop = loop_new();
            struct timer never = {clock_mono_ms() + 3600000, 'T'};
            struct actor *a = new_actor(loop);
            struct job *timer = NULL;

            buf_clear(&trace);
            if (first)
                timer = loop_add(loop, &timer_ops, &never);
            loop_add(loop, &actor_ops, a);
            if (!first)
                timer = loop_add(loop, &timer_ops, &never);
            a->other = timer;
            a->cancel_in_done = in_done;
            run(loop);
            assert_string_equal(trace.data, "sd");
            loop_free(loop);
        }
}

static enum job_step sleeper_step(void *arg, struct wait *wait, struct err *err)
{
    int *calls = arg;
    (void)err;
    assert_false(wait->timed_out);
    wait_until(wait, clock_mono_ms() + WAIT_MAX_MS);
    return ++*calls == 3 ? JOB_DONE : JOB_WAIT;
}

struct waker {
    struct loop *loop;
    struct job *sleeper;
    int left;
};

static enum job_step waker_step(void *arg, struct wait *wait, struct err *err)
{
    struct waker *w = arg;
    (void)err;
    loop_wake(w->loop, w->sleeper);
    loop_wake(w->loop, w->sleeper);
    wait_until(wait, clock_mono_ms() + 5);
    return --w->left ? JOB_WAIT : JOB_DONE;
}

static void a_sleeper_is_woken(void **state)
{
    static const struct job_ops sleeper_ops = {.name = "sleeper", .step = sleeper_step};
    static const struct job_ops waker_ops = {.name = "waker", .step = waker_step};
    int calls = 0;
    struct loop *loop = loop_new();
    struct job *sleeper = loop_add(loop, &sleeper_ops, &calls);
    struct waker waker = {loop, sleeper, 2};

    (void)state;
    loop_add(loop, &waker_ops, &waker);
    run(loop);
    assert_int_equal(calls, 3);
    loop_free(loop);
}

static void free_cancels_what_is_left(void **state)
{
    struct loop *loop = loop_new();

    (void)state;
    loop_add(loop, &actor_ops, new_actor(loop));
    struct actor *a = new_actor(loop);
    a->cancel_in_done = true;
    a->other = loop_add(loop, &actor_ops, new_actor(loop));
    loop_add(loop, &actor_ops, a);
    loop_free(loop);
    assert_string_equal(trace.data, "xxx");
}

static void an_interrupt_ends_the_run(void **state)
{
    int ends[2];
    struct loop *loop = loop_new();
    struct timer soon = {clock_mono_ms() + 30, 't'};

    (void)state;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    loop_add(loop, &timer_ops, &soon);
    loop_interrupt_fd(loop, ends[0]);
    assert_false(loop_interrupted(loop));
    assert_int_equal(write(ends[1], "!", 1), 1);
    run(loop);
    assert_true(loop_interrupted(loop));
    assert_string_equal(trace.data, "");
    run(loop); /* goes on: the jobs may end in order */
    assert_string_equal(trace.data, "t");
    loop_free(loop);
    close(ends[0]);
    close(ends[1]);
}

static enum job_step stop_step(void *arg, struct wait *wait, struct err *err)
{
    (void)wait, (void)err;
    loop_stop(arg);
    return JOB_AGAIN;
}

static void stop_keeps_the_jobs(void **state)
{
    static const struct job_ops stop_ops = {.name = "stop", .step = stop_step};
    struct loop *loop = loop_new();
    struct counter c = {2, 'c'};

    (void)state;
    loop_add(loop, &stop_ops, loop);
    loop_add(loop, &counter_ops, &c);
    run(loop);
    run(loop);
    assert_string_equal(trace.data, "");
    loop_free(loop);
}

static enum job_step idle_step(void *arg, struct wait *wait, struct err *err)
{
    (void)arg, (void)wait, (void)err;
    return JOB_WAIT;
}

static void waiting_for_nothing_is_a_bug(void **state)
{
    static const struct job_ops idle_ops = {.name = "idle-one", .step = idle_step};
    int ends[2], status;
    char said[200] = "";

    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = ERR_INIT;
        dup2(ends[1], STDERR_FILENO);
        struct loop *loop = loop_new();
        loop_add(loop, &idle_ops, NULL);
        _exit(loop_run(loop, &err) < 0);
    }
    close(ends[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 70);
    assert_true(read(ends[0], said, sizeof(said) - 1) > 0);
    assert_non_null(strstr(said, "'idle-one'"));
    close(ends[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(timers_come_in_order),
        TEST(turns_are_fair),
        TEST(hundreds_of_descriptors),
        TEST(a_failed_job_tells_why),
        TEST(a_job_cancels_itself),
        TEST(jobs_cancel_others),
        TEST(a_sleeper_is_woken),
        TEST(free_cancels_what_is_left),
        TEST(an_interrupt_ends_the_run),
        TEST(stop_keeps_the_jobs),
        TEST(waiting_for_nothing_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
