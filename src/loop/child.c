#include "recluster/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/memory_limit.h"

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static int make_pipe(int ends[2], struct err *err)
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(err, ERR_FAILED, "cannot make a pipe");
    return 0;
}

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* In the child: resets the parent's handlers; ignored signals stay ignored. */
static void reset_signals(void)
{
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++) {
        struct sigaction action;
        if (sigaction(sig, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            signal(sig, SIG_DFL);
    }
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* fork(2), as child.h describes. 0 in the child, -1 on failure. */
static pid_t fork_bound(struct err *err)
{
    sigset_t all, before;
    pid_t parent = getpid();

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    int sys = errno;
    if (pid == 0) {
        reset_signals();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) /* the parent ended before prctl(2) */
            _exit(1);
        return 0;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = sys;
    if (pid < 0)
        err_sys(err, ERR_FAILED, "cannot start a process");
    return pid;
}

/* In the child: makes fds[i] descriptor i. Sources below 3 move up first, to survive. */
static int arrange(int fds[3])
{
    for (int i = 0; i < 3; i++)
        if (fds[i] < 3 && fds[i] != i && (fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3)) < 0)
            return -1;
    for (int i = 0; i < 3; i++)
        if (fds[i] == i ? fcntl(i, F_SETFD, 0) < 0 : dup2(fds[i], i) < 0)
            return -1;
    return 0;
}

static struct child_rights rights;

void child_restrict(const struct child_rights *wanted)
{
    rights = *wanted;
}

const struct child_rights *child_rights(void)
{
    return &rights;
}

static bool is_kept(const char *variable)
{
    size_t len = strcspn(variable, "=");

    for (const char *const *name = rights.environment; *name; name++) {
        size_t end = strlen(*name);
        bool begins = end && (*name)[end - 1] == '*';
        if (begins ? len >= end - 1 && strncmp(variable, *name, end - 1) == 0
                   : len == end && strncmp(variable, *name, len) == 0)
            return true;
    }
    return false;
}

/* In the child: drops the rights that the program must not have. -1 with errno. */
static int give_up_rights(void)
{
    char **kept = environ;

    for (char **variable = environ; rights.environment && variable && *variable; variable++)
        if (is_kept(*variable))
            *kept++ = *variable;
    if (rights.environment && environ)
        *kept = NULL;
    if (!rights.other_user)
        return 0;
    if (setgroups(1, &rights.gid) < 0 || setresgid(rights.gid, rights.gid, rights.gid) < 0 ||
        setresuid(rights.uid, rights.uid, rights.uid) < 0)
        return -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user is not bound by the parent's end */
    return 0;
}

/* In the child. */
static int keep_as_3(int fd)
{
    if (fd < 0)
        return 0;
    return fd == CHILD_KEPT_FD ? fcntl(fd, F_SETFD, 0) : dup2(fd, CHILD_KEPT_FD);
}

static int start(
    const char *const *argv, const int standard[3], int keep, pid_t *ret_pid, struct err *err)
{
    int fds[3] = {standard[0], standard[1], standard[2]};
    int report[2], sys = 0;

    if (make_pipe(report, err) < 0)
        return -1;
    pid_t pid = fork_bound(err);
    if (pid == 0) {
        /* The report needs a number that is not overwritten. */
        int to = report[1] <= CHILD_KEPT_FD ? fcntl(report[1], F_DUPFD_CLOEXEC, CHILD_KEPT_FD + 1)
                                            : report[1];
        char *const *args;
        memcpy(&args, &argv, sizeof(args)); /* execvp() only lacks the const */
        /* Closes the descriptors of libraries. Kernels before 5.11 lack this. */
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        memory_limit_lift();
        if (arrange(fds) == 0 && keep_as_3(keep) >= 0 && give_up_rights() == 0)
            execvp(args[0], args);
        sys = errno;
        ssize_t written = write(to, &sys, sizeof(sys));
        _exit(written < 0 ? 126 : 127);
    }
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return -1;
    }
    ssize_t n;
    do
        n = read(report[0], &sys, sizeof(sys));
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == 0) { /* closed by the exec */
        *ret_pid = pid;
        return 0;
    }
    child_kill(pid);
    errno = sys;
    return err_sys(err, sys == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot start '%s'", argv[0]);
}

int child_spawn(const char *const *argv, pid_t *ret_pid, int *ret_to, int *ret_from,
    int *ret_errors, struct err *err)
{
    return child_spawn_keeping(argv, -1, ret_pid, ret_to, ret_from, ret_errors, err);
}

int child_spawn_keeping(const char *const *argv, int keep, pid_t *ret_pid, int *ret_to,
    int *ret_from, int *ret_errors, struct err *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, errors[2] = {-1, STDERR_FILENO};
    int rc = -1;

    if (make_pipe(in, err) == 0 && make_pipe(out, err) == 0 &&
        (!ret_errors || make_pipe(errors, err) == 0))
        rc = start(argv, (int[3]){in[0], out[1], errors[1]}, keep, ret_pid, err);
    close_fd(in[0]);
    close_fd(out[1]);
    if (ret_errors && errors[1] != STDERR_FILENO)
        close(errors[1]);
    if (rc < 0) {
        close_fd(in[1]);
        close_fd(out[0]);
        close_fd(errors[0]);
        return -1;
    }
    set_nonblocking(in[1]);
    set_nonblocking(out[0]);
    *ret_to = in[1];
    *ret_from = out[0];
    if (ret_errors) {
        set_nonblocking(errors[0]);
        *ret_errors = errors[0];
    }
    return 0;
}

int child_fork(
    int (*fn)(void *arg, int fd), void *arg, pid_t *ret_pid, int *ret_fd, struct err *err)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return err_sys(err, ERR_FAILED, "cannot make a pair of sockets");
    pid_t pid = fork_bound(err);
    if (pid == 0) {
        close(ends[0]);
        memory_limit_set(memory_limit_of_reader());
        _exit(fn(arg, ends[1]));
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -1;
    }
    set_nonblocking(ends[0]);
    *ret_pid = pid;
    *ret_fd = ends[0];
    return 0;
}

void child_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static int describe(int status, struct err *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status))
        return err_set(err, ERR_FAILED, "ended with status %d", WEXITSTATUS(status));
    int sig = WTERMSIG(status);
    return err_set(err, ERR_FAILED, "ended by signal %d (%s)", sig, strsignal(sig));
}

static int wait_child(pid_t pid, int flags, bool *ret_ended, struct err *err)
{
    int status;
    pid_t got;

    do
        got = waitpid(pid, &status, flags);
    while (got < 0 && errno == EINTR);
    *ret_ended = got != 0;
    if (got < 0)
        return err_sys(err, ERR_FAILED, "cannot wait for process %d", (int)pid);
    return got ? describe(status, err) : 0;
}

int child_wait(pid_t pid, struct err *err)
{
    bool ended;
    return wait_child(pid, 0, &ended, err);
}

int child_poll(pid_t pid, bool *ret_ended, struct err *err)
{
    return wait_child(pid, WNOHANG, ret_ended, err);
}

/* Reads to the end of the file, and drops bytes after `limit` so that the writer does not block. */
static int gather(int fd, int64_t deadline_ms, size_t limit, struct buf *output, struct err *err)
{
    for (;;) {
        char chunk[4096];
        int64_t left_ms = deadline_ms - clock_mono_ms();
        if (left_ms <= 0)
            return err_set(err, ERR_TIMEOUT, "did not end in time");
        if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, (int)left_ms) <= 0)
            continue;
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_sys(err, ERR_IO, "cannot read its output");
        if (n < 0)
            continue;
        size_t room = output->len < limit ? limit - output->len : 0;
        buf_add(output, chunk, (size_t)n < room ? (size_t)n : room);
    }
}

int child_run(
    const char *const *argv, int timeout_ms, size_t limit, struct buf *output, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    size_t start_len = output->len;
    int out[2];
    pid_t pid;

    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0)
        return err_sys(err, ERR_IO, "cannot open '/dev/null'");
    if (make_pipe(out, err) < 0) {
        close(null_fd);
        return -1;
    }
    int rc = start(argv, (int[3]){null_fd, out[1], out[1]}, -1, &pid, err);
    close(null_fd);
    close(out[1]);
    if (rc == 0) {
        rc = gather(out[0], deadline_ms, start_len + limit, output, err);
        if (rc < 0)
            child_kill(pid);
        else
            rc = child_wait(pid, err);
        if (rc < 0) {
            const char *said = output->data + start_len;
            int len = (int)strcspn(said, "\n");
            struct err why = *err;
            err_set(
                err, why.code, "'%s' %s%s%.*s", argv[0], why.message, len ? ": " : "", len, said);
        }
    }
    close(out[0]);
    return rc;
}
