#include "shell.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "recluster/child.h"
#include "recluster/clock.h"

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void read_errors(struct shell_run *run)
{
    char chunk[1024];
    ssize_t n = 0;

    while (run->errors >= 0 && (n = read(run->errors, chunk, sizeof(chunk))) > 0) {
        buf_add(&run->said, chunk, (size_t)n);
        if (run->said.len > SHELL_SAID_MAX)
            buf_consume(&run->said, run->said.len - SHELL_SAID_MAX);
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_fd(&run->errors);
}

/* Waits for one of the descriptors. */
static int await(struct shell_run *run, int64_t until_ms, bool writing, struct err *err)
{
    struct pollfd fds[] = {{.fd = run->from, .events = POLLIN},
        {.fd = run->errors, .events = POLLIN}, {.fd = writing ? run->to : -1, .events = POLLOUT}};
    int64_t left = until_ms - clock_mono_ms();

    if (left <= 0)
        return err_set(err, ERR_TIMEOUT, "the command '%s' says nothing", run->name);
    if (poll(fds, ARRAY_SIZE(fds), (int)left) < 0 && errno != EINTR)
        return err_sys(err, ERR_IO, "cannot wait for the command '%s'", run->name);
    read_errors(run);
    return 0;
}

static int write_all(struct shell_run *run, const struct buf *script, struct err *err)
{
    int64_t until_ms = clock_mono_ms() + run->silence_ms;

    for (size_t done = 0; done < script->len;) {
        ssize_t n = write(run->to, script->data + done, script->len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EPIPE)
            break; /* it has ended, and what it said shows why */
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            return err_sys(err, ERR_LINK, "cannot write to the command '%s'", run->name);
        else if (await(run, until_ms, true, err) < 0)
            return -1;
    }
    return 0;
}

static int write_script(struct shell_run *run, const struct buf *script, struct err *err)
{
    void (*before)(int) = signal(SIGPIPE, SIG_IGN); /* the command may have ended */
    int rc = write_all(run, script, err);

    signal(SIGPIPE, before);
    close_fd(&run->to);
    return rc;
}

int shell_run_start(struct shell_run *run, const char *const *argv, const struct buf *script,
    int64_t silence_ms, struct err *err)
{
    *run = (struct shell_run){.to = -1,
        .from = -1,
        .errors = -1,
        .silence_ms = silence_ms,
        .said = BUF_INIT,
        .name = argv[0]};
    if (child_spawn(argv, &run->pid, &run->to, &run->from, &run->errors, err) < 0)
        return -1;
    if (write_script(run, script, err) == 0)
        return 0;
    shell_run_end(run);
    return -1;
}

ssize_t shell_run_read(struct shell_run *run, char *data, size_t size, struct err *err)
{
    int64_t until_ms = clock_mono_ms() + run->silence_ms;

    for (;;) {
        ssize_t n = read(run->from, data, size);
        if (n >= 0)
            return n;
        if (errno != EAGAIN && errno != EINTR)
            return err_sys(err, ERR_LINK, "cannot read from the command '%s'", run->name);
        if (await(run, until_ms, false, err) < 0)
            return -1;
    }
}

void shell_run_end(struct shell_run *run)
{
    close_fd(&run->to);
    close_fd(&run->from);
    close_fd(&run->errors);
    if (run->pid)
        child_kill(run->pid);
    run->pid = 0;
    buf_release(&run->said);
}

int shell_run_failed(struct shell_run *run, struct err *err)
{
    read_errors(run);
    while (run->said.len && strchr("\r\n ", run->said.data[run->said.len - 1]))
        run->said.data[--run->said.len] = '\0';
    const char *line = strrchr(run->said.data, '\n');
    line = line ? line + 1 : run->said.data;
    return *line
               ? err_set(err, ERR_LINK, "the command '%s' gives no answer: %.300s", run->name, line)
               : err_set(err, ERR_LINK, "the command '%s' gives no answer", run->name);
}
