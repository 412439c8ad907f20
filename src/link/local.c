/* Links of the kind "local": the agent is a child process of this program. */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "driver.h"
#include "recluster/child.h"
#include "recluster/mem.h"

struct local {
    pid_t pid; /* 0: it has ended */
    int to, from;
};

static int local_open(const struct link_target *target, void **ret, struct err *err)
{
    char self[PATH_MAX] = "";
    const char *program = target->program;
    struct local local;

    if (!program) {
        ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
        if (len < 0)
            return err_sys(err, ERR_IO, "cannot read '/proc/self/exe'");
        program = self;
    }
    const char *const argv[] = {program, "agent", NULL};
    if (child_spawn(argv, &local.pid, &local.to, &local.from, NULL, err) < 0)
        return -1;
    *ret = xmemdup(&local, sizeof(local));
    return 0;
}

static ssize_t io_result(ssize_t n, const char *what, struct err *err)
{
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR)
        return LINK_IO_WAIT;
    return err_sys(err, ERR_LINK, "%s", what);
}

static ssize_t local_read(void *stream, void *data, size_t size, struct err *err)
{
    const struct local *l = stream;
    return io_result(read(l->from, data, size), "cannot read from the agent", err);
}

static ssize_t local_write(void *stream, const void *data, size_t size, struct err *err)
{
    const struct local *l = stream;
    return io_result(write(l->to, data, size), "cannot write to the agent", err);
}

static void local_wait(void *stream, bool writing, struct wait *wait)
{
    const struct local *l = stream;
    wait_fd(wait, l->from, POLLIN);
    if (writing)
        wait_fd(wait, l->to, POLLOUT);
}

static int local_end(void *stream, struct err *why)
{
    struct local *l = stream;
    struct err how = ERR_INIT;
    bool ended;

    int rc = child_poll(l->pid, &ended, &how);
    if (!ended)
        return LINK_IO_WAIT;
    l->pid = 0;
    err_set(why, ERR_LINK, "the agent %s", rc < 0 ? how.message : "ended");
    return 0;
}

static void local_close(void *stream)
{
    struct local *l = stream;

    close(l->to);
    close(l->from);
    if (l->pid) /* safe at any moment: see protocol.h */
        child_kill(l->pid);
    free(l);
}

const struct link_driver link_local = {
    .kind = "local",
    .open = local_open,
    .read = local_read,
    .write = local_write,
    .wait = local_wait,
    .end = local_end,
    .close = local_close,
};
