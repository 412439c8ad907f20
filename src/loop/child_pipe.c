#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/child.h"

enum { IDLE_MS = 60 * 1000, COMPLAINT_MAX = 4096, READ_BYTES = 64 * 1024 };

struct child_pipe {
    char *name;
    pid_t pid;            /* 0: it has ended, and was waited for */
    int to, from, errors; /* -1: closed */
    int (*sink)(void *arg, const void *data, size_t len, struct err *err);
    void *arg;
    struct buf complaint;
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int child_pipe_open(const char *const *argv, int keep,
    int (*sink)(void *arg, const void *data, size_t len, struct err *err), void *arg,
    struct child_pipe **ret, struct err *err)
{
    struct child_pipe *p = xcalloc(1, sizeof(*p));

    p->sink = sink;
    p->arg = arg;
    buf_init(&p->complaint);
    if (child_spawn_keeping(argv, keep, &p->pid, &p->to, &p->from, &p->errors, err) < 0) {
        free(p);
        return -1;
    }
    p->name = xstrdup(argv[0]);
    *ret = p;
    return 0;
}

void child_pipe_free(struct child_pipe *p)
{
    if (!p)
        return;
    close_end(&p->to);
    close_end(&p->from);
    close_end(&p->errors);
    if (p->pid)
        child_kill(p->pid);
    buf_release(&p->complaint);
    free(p->name);
    free(p);
}

/* --- one turn --- */

/* A program that does not read all of its input closes the pipe, which is its own business. */
static size_t push(struct child_pipe *p, const char *data, size_t len)
{
    ssize_t n = write(p->to, data, len);

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        close_end(&p->to);
    return n < 0 ? 0 : (size_t)n;
}

static int drain(struct child_pipe *p, struct err *err)
{
    char data[READ_BYTES];
    ssize_t n = read(p->from, data, sizeof(data));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        close_end(&p->from);
        return 0;
    }
    return p->sink(p->arg, data, (size_t)n, err);
}

/* Of its complaints the end counts. */
static void hear(struct child_pipe *p)
{
    char data[1024];
    ssize_t n = read(p->errors, data, sizeof(data));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_end(&p->errors);
        return;
    }
    buf_add(&p->complaint, data, (size_t)n);
    if (p->complaint.len > COMPLAINT_MAX)
        buf_consume(&p->complaint, p->complaint.len - COMPLAINT_MAX);
}

/* Waits until something is possible, and does it. `*sent` grows by what was written. */
static int turn(struct child_pipe *p, const char *data, size_t len, size_t *sent, struct err *err)
{
    struct pollfd fds[] = {
        {len ? p->to : -1, POLLOUT, 0}, {p->from, POLLIN, 0}, {p->errors, POLLIN, 0}};

    int rc = poll(fds, 3, IDLE_MS);
    if (rc == 0)
        return err_set(err, ERR_TIMEOUT, "'%s' does not end", p->name);
    if (p->to >= 0 && fds[0].revents)
        *sent += push(p, data, len);
    if (p->from >= 0 && fds[1].revents && drain(p, err) < 0)
        return -1;
    if (p->errors >= 0 && fds[2].revents)
        hear(p);
    return 0;
}

/* --- the end --- */

/* The last line that says "error:", or else the last one: age(1) adds hints and an address. */
static const char *last_complaint(struct buf *text)
{
    static const char mark[] = "error:";
    char *found = NULL;

    while (text->len && strchr("\r\n ", text->data[text->len - 1]))
        text->data[--text->len] = '\0';
    for (char *at = strstr(text->data, mark); at; at = strstr(at + 1, mark))
        found = at;
    if (found)
        found[strcspn(found, "\r\n")] = '\0'; /* text->data ends with the line */
    const char *line = strrchr(text->data, '\n');
    return line ? line + 1 : text->data;
}

int child_pipe_end(struct child_pipe *p, struct err *err)
{
    size_t none = 0;
    pid_t pid = p->pid;

    if (!pid)
        return 0;
    close_end(&p->to);
    while (p->from >= 0 || p->errors >= 0)
        if (turn(p, NULL, 0, &none, err) < 0)
            return -1;
    p->pid = 0;
    if (child_wait(pid, err) == 0)
        return 0;
    struct err why = *err;
    const char *said = last_complaint(&p->complaint);
    return err_set(err, why.code, "'%s' %s%s%s", p->name, why.message, *said ? ": " : "", said);
}

int child_pipe_feed(struct child_pipe *p, const void *data, size_t len, struct err *err)
{
    size_t sent = 0;

    while (sent < len && p->to >= 0)
        if (turn(p, (const char *)data + sent, len - sent, &sent, err) < 0)
            return -1;
    /* It reads no more: if it has failed, the rest need not be read either. */
    return sent < len ? child_pipe_end(p, err) : 0;
}

struct limited {
    struct buf *output;
    size_t limit;
    const char *name;
};

static int take(void *arg, const void *data, size_t len, struct err *err)
{
    const struct limited *l = arg;

    return buf_add_limited(l->output, data, len, l->limit, l->name, err);
}

int child_filter(const char *const *argv, const struct buf *input, size_t limit, struct buf *output,
    struct err *err)
{
    struct limited limited = {output, output->len + limit, argv[0]};
    struct child_pipe *p;

    if (child_pipe_open(argv, -1, take, &limited, &p, err) < 0)
        return -1;
    int rc = child_pipe_feed(p, input->data, input->len, err);
    if (rc == 0)
        rc = child_pipe_end(p, err);
    child_pipe_free(p);
    return rc;
}
