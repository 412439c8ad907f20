/* Processes by what they hold, not by their numbers alone. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "recluster/clock.h"

enum { PATIENCE_MS = 10000 };

static void *sleep_for_ever(void *arg)
{
    (void)arg;
    for (;;)
        pause();
    return NULL;
}

/* Its first thread ends, and another one keeps its files and locks. */
static pid_t start_headless(void)
{
    pid_t pid = fork();
    pthread_t thread;

    if (pid == 0) {
        pthread_create(&thread, NULL, sleep_for_ever, NULL);
        pthread_exit(NULL);
    }
    char stat[512] = "";
    while (process_read(pid, "stat", stat, sizeof(stat)) && !strstr(stat, ") Z "))
        usleep(1000);
    return pid;
}

static void check_headless(bool with_fd)
{
    pid_t pid = start_headless();
    struct process p;

    assert_true(process_hold(pid, &p));
    if (!with_fd)
        process_release(&p);
    assert_false(process_has_ended(&p));
    assert_false(process_ends_within(&p, 50));
    assert_int_equal(process_signal(&p, SIGKILL), 0);
    assert_true(process_ends_within(&p, PATIENCE_MS));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(process_signal(&p, SIGKILL), 0);
    process_release(&p);
    assert_false(process_hold(pid, &p));
}

static void test_the_last_thread_counts(void **state)
{
    (void)state;
    check_headless(true);
    check_headless(false);
}

static void test_a_number_that_is_given_again(void **state)
{
    struct process p;

    (void)state;
    assert_true(process_hold(getpid(), &p));
    assert_false(process_has_ended(&p));
    process_release(&p);
    p.started--; /* of an earlier one */
    assert_true(process_has_ended(&p));
    assert_int_equal(process_signal(&p, SIGKILL), 0);
}

static bool count(pid_t pid, void *arg)
{
    int *n = arg;

    (void)pid;
    (*n)++;
    return true;
}

static void test_who_is_in_a_folder(void **state)
{
    char folder[] = "/tmp/recluster-process-XXXXXX";
    struct stat st;
    int n = 0, ready[2];
    char byte;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(chdir(folder), 0);
    pid_t same = fork();
    if (same == 0)
        sleep_for_ever(NULL);
    pid_t other = fork();
    if (other == 0) {
        setsid();
        (void)!write(ready[1], "x", 1);
        sleep_for_ever(NULL);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(stat(folder, &st), 0);
    assert_true(process_is_in(other, &st));
    process_each_in(&st, count, &n); /* our own child in our own session is none */
    assert_int_equal(n, 1);
    uint64_t started;
    assert_true(process_started(other, &started));
    assert_true(started <= process_now());
    kill(same, SIGKILL);
    kill(other, SIGKILL);
    waitpid(same, NULL, 0);
    waitpid(other, NULL, 0);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_thread_counts),
        cmocka_unit_test(test_a_number_that_is_given_again),
        cmocka_unit_test(test_who_is_in_a_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
