#include "recluster/knock.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/loop.h"

struct round {
    struct loop *loop;
    struct knock *knocks;
    size_t count, next;
    int timeout_ms;
};

struct try_one {
    struct round *round;
    struct knock *knock;
    int fd;
    int64_t give_up_at_ms;
};

static void start_next(struct round *r);

/* On this machine, connecting to a port of the ephemeral range can connect to itself. */
static bool is_self(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_len = sizeof(here), there_len = sizeof(there);

    return getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_len) == 0 && here_len == there_len &&
           memcmp(&here, &there, here_len) == 0;
}

/* Any other answer may come from a machine that others can reach. */
static enum knock_answer answer_of(int error)
{
    switch (error) {
    case 0:
        return KNOCK_OPEN;
    case ECONNREFUSED:
    case ECONNRESET:
        return KNOCK_REFUSED;
    case EAFNOSUPPORT:
    case EADDRNOTAVAIL:
    case EINVAL:
    case EMFILE:
    case ENFILE:
        return KNOCK_UNASKED;
    default:
        return KNOCK_SILENT;
    }
}

static enum job_step try_step(void *arg, struct wait *wait, struct err *err)
{
    struct try_one *t = arg;
    int failure = 0;
    socklen_t len = sizeof(failure);

    (void)err;
    if (wait_revents(wait, t->fd)) {
        if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0)
            failure = errno;
        t->knock->answer = !failure && is_self(t->fd) ? KNOCK_REFUSED : answer_of(failure);
        return JOB_DONE;
    }
    if (clock_mono_ms() >= t->give_up_at_ms) {
        t->knock->answer = KNOCK_SILENT;
        return JOB_DONE;
    }
    wait_fd(wait, t->fd, POLLOUT);
    wait_until(wait, t->give_up_at_ms);
    return JOB_WAIT;
}

static void try_done(void *arg, const struct err *err)
{
    struct try_one *t = arg;
    struct round *r = t->round;

    (void)err;
    close(t->fd);
    free(t);
    start_next(r);
}

static const struct job_ops try_ops = {"knock", try_step, try_done};

/* A connecting socket; -1 with the answer set. */
static int begin(struct knock *k)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                        .ai_socktype = SOCK_STREAM},
                    *found;
    char port[16];

    k->answer = KNOCK_UNASKED;
    snprintf(port, sizeof(port), "%d", k->port);
    if (getaddrinfo(k->addr, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) < 0 && errno != EINPROGRESS) {
        k->answer = answer_of(errno);
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static void start_next(struct round *r)
{
    while (r->next < r->count) {
        struct knock *k = &r->knocks[r->next++];
        int fd = begin(k);
        if (fd < 0)
            continue;
        struct try_one *t = xmalloc(sizeof(*t));
        *t = (struct try_one){r, k, fd, clock_mono_ms() + r->timeout_ms};
        loop_add(r->loop, &try_ops, t);
        return;
    }
}

int knock_all(struct knock *knocks, size_t count, int timeout_ms, struct err *err)
{
    struct round r = {loop_new(), knocks, count, 0, timeout_ms};

    for (int i = 0; i < KNOCKS_AT_ONCE; i++)
        start_next(&r);
    int rc = loop_run(r.loop, err);
    loop_free(r.loop);
    return rc;
}

const char *knock_answer_name(enum knock_answer answer)
{
    static const char *const names[] = {[KNOCK_UNASKED] = "unasked",
        [KNOCK_OPEN] = "open",
        [KNOCK_REFUSED] = "refused",
        [KNOCK_SILENT] = "silent"};
    return names[answer];
}
