#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/memory_limit.h"

/* gcc and clang each tell a sanitizer's build in their own way. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

/* Reads a non-blocking descriptor to its end and closes it. */
static void read_all(int fd, struct buf *b)
{
    char chunk[1000];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 20000), 1);
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EAGAIN)
            continue;
        assert_true(n >= 0);
        if (n == 0)
            break;
        buf_add(b, chunk, (size_t)n);
    }
    close(fd);
}

static void spawn_joins_two_pipes(void **state)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    pid_t pid;
    int to, from;

    (void)state;
    assert_int_equal(child_spawn((const char *[]){"cat", NULL}, &pid, &to, &from, NULL, &err), 0);
    assert_true(fcntl(to, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(from, F_GETFL) & O_NONBLOCK);
    assert_int_equal(write(to, "there and back", 14), 14);
    close(to);
    read_all(from, &b);
    assert_string_equal(b.data, "there and back");
    assert_int_equal(child_wait(pid, &err), 0);
    buf_release(&b);
}

static void a_missing_program_is_named(void **state)
{
    struct err err = ERR_INIT;
    pid_t pid;
    int to, from;

    (void)state;
    assert_int_equal(
        child_spawn((const char *[]){"no-such-program", NULL}, &pid, &to, &from, NULL, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.message, "cannot start 'no-such-program': No such file or directory");
    assert_int_equal(
        child_spawn((const char *[]){"/etc/passwd", NULL}, &pid, &to, &from, NULL, &err), -1);
    assert_int_equal(err.code, ERR_FAILED);
    assert_int_equal(err.sys, EACCES);
    assert_true(waitpid(-1, NULL, WNOHANG) < 0); /* no zombies */
}

static void a_program_inherits_nothing(void **state)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    sigset_t set;
    int leak = open("/dev/null", O_RDONLY); /* on purpose without O_CLOEXEC */

    (void)state;
    assert_true(dup2(leak, 57) == 57);
    /* What we ignored from the start, as behind nohup, a program does too. */
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    const char *const argv[] = {"sh", "-c",
        "ls /proc/self/fd | grep -c 57; grep -E '^Sig(Ign|Blk)' /proc/self/status", NULL};
    assert_int_equal(child_run(argv, 10000, 10000, &b, &err), 0);
    assert_string_equal(b.data, "0\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    close(leak);
    close(57);
    buf_release(&b);
}

static int exit_with(void *arg, int fd)
{
    const int *status = arg;
    return write(fd, "x", 1) == 1 ? *status : 99;
}

static int die_by(void *arg, int fd)
{
    const int *sig = arg;
    (void)fd;
    signal(*sig, SIG_DFL); /* a sanitizer may handle it */
    raise(*sig);
    return 0;
}

static void ends_are_told_apart(void **state)
{
    static const struct {
        int (*fn)(void *arg, int fd);
        int value;
        const char *message;
    } cases[] = {
        {exit_with, 0, NULL},
        {exit_with, 3, "ended with status 3"},
        {die_by, SIGSEGV, "ended by signal 11 (Segmentation fault)"},
        {die_by, SIGKILL, "ended by signal 9 (Killed)"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        struct buf b = BUF_INIT;
        pid_t pid;
        int from, value = cases[i].value;

        assert_int_equal(child_fork(cases[i].fn, &value, &pid, &from, &err), 0);
        read_all(from, &b);
        assert_int_equal(b.len, cases[i].fn == exit_with);
        assert_int_equal(child_wait(pid, &err), cases[i].message ? -1 : 0);
        assert_string_equal(err.message, cases[i].message ? cases[i].message : "");
        buf_release(&b);
    }
}

static int sleep_long(void *arg, int fd)
{
    (void)arg, (void)fd;
    return (int)sleep(600);
}

static void poll_and_kill(void **state)
{
    struct err err = ERR_INIT;
    bool ended = true;
    pid_t pid;
    int from;

    (void)state;
    assert_int_equal(child_fork(sleep_long, NULL, &pid, &from, &err), 0);
    assert_int_equal(child_poll(pid, &ended, &err), 0);
    assert_false(ended);
    child_kill(pid);
    assert_int_equal(kill(pid, 0), -1);
    close(from);
}

/* A parent that dies: its child writes its pid first, then must go. */
static int parent_of_sleeper(void *arg, int fd)
{
    struct err err = ERR_INIT;
    pid_t pid;
    int from;

    (void)arg;
    if (child_fork(sleep_long, NULL, &pid, &from, &err) < 0 ||
        write(fd, &pid, sizeof(pid)) != sizeof(pid))
        return 1;
    return (int)sleep(600);
}

static void children_die_with_their_parent(void **state)
{
    struct err err = ERR_INIT;
    pid_t parent, sleeper;
    int from;

    (void)state;
    assert_int_equal(child_fork(parent_of_sleeper, NULL, &parent, &from, &err), 0);
    struct pollfd p = {.fd = from, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_int_equal(read(from, &sleeper, sizeof(sleeper)), sizeof(sleeper));
    assert_int_equal(kill(sleeper, 0), 0);
    child_kill(parent);
    /* The sleeper holds the pipe's other end: it closes when the sleeper is gone. */
    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_true(p.revents & POLLHUP);
    close(from);
}

static void run_gathers_and_limits(void **state)
{
    static const struct {
        const char *script;
        int timeout_ms;
        size_t limit;
        enum err_code code;
        const char *output, *message;
    } cases[] = {
        {"echo out; echo err >&2", 10000, 100, ERR_NONE, "out\nerr\n", ""},
        {"cat", 10000, 100, ERR_NONE, "", ""},
        {"yes | head -c 1000000", 10000, 4, ERR_NONE, "y\ny\n", ""},
        {"echo why it failed; echo more; exit 4", 10000, 100, ERR_FAILED, "why it failed\nmore\n",
            "'sh' ended with status 4: why it failed"},
        {"kill -9 $$", 10000, 100, ERR_FAILED, "", "'sh' ended by signal 9 (Killed)"},
        {"echo slow; exec sleep 600", 300, 100, ERR_TIMEOUT, "slow\n",
            "'sh' did not end in time: slow"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        struct buf b = BUF_INIT;
        const char *const argv[] = {"sh", "-c", cases[i].script, NULL};
        int rc = child_run(argv, cases[i].timeout_ms, cases[i].limit, &b, &err);
        assert_int_equal(rc, cases[i].code == ERR_NONE ? 0 : -1);
        assert_int_equal(err.code, cases[i].code);
        assert_string_equal(err.message, cases[i].message);
        assert_string_equal(b.data, cases[i].output);
        buf_release(&b);
    }
}

static int tell_limit(void *arg, const struct err *err)
{
    const int *fd = arg;

    dprintf(*fd, "%s: %s", err_code_name(err->code), err->message);
    return 3;
}

static int take_too_much(void *arg, int fd)
{
    (void)arg;
    memory_limit_name("file '%s'", "bomb.rdb");
    memory_limit_tell(tell_limit, &fd);
    free(xmalloc(1 << 20));
    free(xmalloc(memory_limit_of_reader()));
    return 0;
}

/* As JSON values take it, in small pieces. */
static int take_much_json(void *arg, int fd)
{
    const int64_t *most = arg;

    memory_limit_set((uint64_t)*most);
    memory_limit_name("file '%s'", "bomb.rdb");
    memory_limit_tell(tell_limit, &fd);
    for (json_t *list = json_array(); list; list = json_pack("[o, s]", list, "more"))
        ;
    return 0;
}

/* The address sanitizer is without a limit, and its builds fill the memory of the machine. */
static void a_reader_has_a_memory_limit(void **state)
{
    int64_t most = 64 << 20;
    const struct {
        int (*take)(void *arg, int fd);
    } cases[] = {{take_too_much}, {take_much_json}};

    (void)state;
    if (SANITIZED)
        skip();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        struct buf b = BUF_INIT;
        pid_t pid;
        int fd;
        assert_int_equal(child_fork(cases[i].take, &most, &pid, &fd, &err), 0);
        read_all(fd, &b);
        assert_int_equal(child_wait(pid, &err), -1);
        assert_string_equal(err.message, "ended with status 3");
        assert_non_null(
            strstr(b.data, "limit: file 'bomb.rdb' takes more memory to read than the limit, "));
        buf_release(&b);
    }
}

static void programs_inherit_no_memory_limit(void **state)
{
    const char *const argv[] = {"sh", "-c", "ulimit -Sv", NULL};
    struct buf before = BUF_INIT, within = BUF_INIT, after = BUF_INIT;
    struct err err = ERR_INIT;
    struct rlimit as;

    (void)state;
    assert_int_equal(child_run(argv, 10000, 100, &before, &err), 0);
    memory_limit_set(UINT64_C(1) << 30);
    getrlimit(RLIMIT_AS, &as);
    assert_true(SANITIZED || as.rlim_cur != RLIM_INFINITY);
    assert_int_equal(child_run(argv, 10000, 100, &within, &err), 0);
    memory_limit_lift();
    assert_int_equal(child_run(argv, 10000, 100, &after, &err), 0);
    assert_string_equal(within.data, before.data);
    assert_string_equal(after.data, before.data);
    buf_release(&before);
    buf_release(&within);
    buf_release(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spawn_joins_two_pipes),
        cmocka_unit_test(a_missing_program_is_named),
        cmocka_unit_test(a_program_inherits_nothing),
        cmocka_unit_test(ends_are_told_apart),
        cmocka_unit_test(poll_and_kill),
        cmocka_unit_test(children_die_with_their_parent),
        cmocka_unit_test(run_gathers_and_limits),
        cmocka_unit_test(a_reader_has_a_memory_limit),
        cmocka_unit_test(programs_inherit_no_memory_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
