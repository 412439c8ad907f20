#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/knock.h"
#include "recluster/loop.h"

/* getaddrinfo(3) has no timeout, so a process looks up each name. */

enum { AT_ONCE = 32, ANSWER_BYTES_MAX = 16 * 1024 };

struct round {
    struct loop *loop;
    struct lookup *lookups;
    size_t count, next;
    int64_t give_up_at_ms;
};

struct asking {
    struct round *round;
    struct lookup *lookup;
    pid_t pid;
    int fd;
    struct buf text; /* a line for each address, then "." or "?" */
};

static void start_next(struct round *r);

static int look_up(void *arg, int fd)
{
    const struct lookup *l = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    struct buf out = BUF_INIT;
    struct err unsaid = ERR_INIT;
    char host[NI_MAXHOST];

    int rc = getaddrinfo(l->name, NULL, &hints, &found);
    for (const struct addrinfo *a = found; a; a = a->ai_next)
        if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST) ==
            0)
            buf_addf(&out, "%s\n", host);
    buf_adds(&out, rc == 0 || rc == EAI_NONAME ? ".\n" : "?\n");
    return file_write_all(fd, out.data, out.len, "answer", &unsaid) < 0;
}

static enum job_step asking_step(void *arg, struct wait *wait, struct err *err)
{
    struct asking *a = arg;
    char part[1024];

    for (;;) {
        ssize_t n = read(a->fd, part, sizeof(part));
        if (n == 0)
            return JOB_DONE;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return JOB_DONE;
        if (n < 0)
            break;
        if (buf_add_limited(&a->text, part, (size_t)n, ANSWER_BYTES_MAX, "addresses", err) < 0)
            return JOB_DONE;
    }
    if (clock_mono_ms() >= a->round->give_up_at_ms)
        return JOB_DONE;
    wait_fd(wait, a->fd, POLLIN);
    wait_until(wait, a->round->give_up_at_ms);
    return JOB_WAIT;
}

static void take_answer(struct lookup *l, char *text)
{
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strcmp(line, ".") == 0)
            l->answer = l->addr_count ? LOOKUP_FOUND : LOOKUP_NONE;
        else if (strcmp(line, "?") != 0) {
            l->addrs = xreallocarray(l->addrs, l->addr_count + 1, sizeof(*l->addrs));
            l->addrs[l->addr_count++] = xstrdup(line);
        }
    }
}

static void asking_done(void *arg, const struct err *err)
{
    struct asking *a = arg;
    struct round *r = a->round;

    (void)err;
    close(a->fd);
    child_kill(a->pid);
    if (a->text.len)
        take_answer(a->lookup, a->text.data);
    buf_release(&a->text);
    free(a);
    start_next(r);
}

static const struct job_ops asking_ops = {"lookup", asking_step, asking_done};

static void start_next(struct round *r)
{
    while (r->next < r->count && clock_mono_ms() < r->give_up_at_ms) {
        struct lookup *l = &r->lookups[r->next++];
        struct asking *a = xmalloc(sizeof(*a));
        struct err unsaid = ERR_INIT;
        *a = (struct asking){.round = r, .lookup = l, .text = BUF_INIT};
        if (child_fork(look_up, l, &a->pid, &a->fd, &unsaid) == 0) {
            loop_add(r->loop, &asking_ops, a);
            return;
        }
        free(a);
    }
}

int lookup_all(struct lookup *lookups, size_t count, int timeout_ms, struct err *err)
{
    struct round r = {loop_new(), lookups, count, 0, clock_mono_ms() + timeout_ms};

    for (size_t i = 0; i < count; i++) {
        lookups[i].answer = LOOKUP_LATE;
        lookups[i].addrs = NULL;
        lookups[i].addr_count = 0;
    }
    for (int i = 0; i < AT_ONCE; i++)
        start_next(&r);
    int rc = loop_run(r.loop, err);
    loop_free(r.loop);
    return rc;
}
