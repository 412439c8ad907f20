/*
 * Shells started by the operator's own command: a program here whose standard input and output
 * belong to a shell on the host.
 */

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/child.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/mem.h"
#include "shell.h"

enum { READ_BYTES = 1024 };

struct command {
    char **argv; /* NULL-ended */
    pid_t pid;   /* 0: none, or it has ended */
    int to, from, errors;
    struct buf said; /* its standard error */
};

const char *link_user(const json_t *spec)
{
    const char *user = json_text(spec, "user", NULL);
    const struct passwd *me = user ? NULL : getpwuid(getuid());

    return user ? user : me ? me->pw_name : getenv("USER");
}

/* Replaces an argument that is a placeholder as a whole. */
static const char *fill_in(const struct link_target *target, const char *arg, struct err *err)
{
    static const char *const names[] = {"{addr}", "{name}", "{user}"};
    const char *values[] = {
        json_text(target->spec, "link_addr", json_text(target->spec, "addr", NULL)), target->host,
        link_user(target->spec)};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!strstr(arg, names[i]))
            continue;
        if (strcmp(arg, names[i]) != 0) {
            err_set(err, ERR_USAGE, "\"command\": '%s' is part of an argument", names[i]);
            err_hint(err, "It can only stand for a whole argument: [\"ssh\", \"-l\", \"{user}\", "
                          "\"{addr}\"].");
            return NULL;
        }
        if (!values[i] || values[i][0] == '-') { /* it would be read as an option */
            err_set(err, ERR_USAGE, "\"command\": there is no usable value for '%s'", names[i]);
            return NULL;
        }
        return values[i];
    }
    return arg;
}

int command_argv(const struct link_target *target, char ***ret, struct err *err)
{
    const json_t *list = json_object_get(target->spec, "command");
    size_t count = json_array_size(list);
    char **argv = xcalloc(count + 1, sizeof(*argv));

    for (size_t i = 0; i < count; i++) {
        const char *arg = json_string_value(json_array_get(list, i));
        if (!arg)
            err_set(err, ERR_USAGE, "\"command\": argument no. %zu is not a text", i + 1);
        else
            arg = fill_in(target, arg, err);
        if (!arg) {
            strv_free(argv, i);
            return -1;
        }
        argv[i] = xstrdup(arg);
    }
    if (count == 0) {
        free(argv);
        err_set(err, ERR_USAGE, "it has no \"command\"");
        return err_hint(err, "List the words of a command that gives a shell on the host, such as "
                             "[\"kubectl\", \"exec\", \"-i\", \"{name}\", \"--\", \"sh\"].");
    }
    *ret = argv;
    return 0;
}

static int command_open(const struct link_target *target, void **ret, struct err *err)
{
    char **argv = NULL;

    if (command_argv(target, &argv, err) < 0)
        return -1;
    struct command *c = xcalloc(1, sizeof(*c));
    *c = (struct command){.argv = argv, .to = -1, .from = -1, .errors = -1, .said = BUF_INIT};
    *ret = c;
    return 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void stop(struct command *c)
{
    close_fd(&c->to);
    close_fd(&c->from);
    close_fd(&c->errors);
    if (c->pid)
        child_kill(c->pid);
    c->pid = 0;
}

static int command_start(void *stream, struct err *err)
{
    struct command *c = stream;
    const char *const *argv;

    stop(c);
    buf_clear(&c->said);
    memcpy(&argv, &c->argv, sizeof(argv));
    return child_spawn(argv, &c->pid, &c->to, &c->from, &c->errors, err);
}

/* The bytes in the pipe. It closes when the last process that holds it has ended. */
static void read_errors(struct command *c)
{
    char chunk[READ_BYTES];
    ssize_t n = 0;

    while (c->errors >= 0 && (n = read(c->errors, chunk, sizeof(chunk))) > 0)
        shell_add_errors(&c->said, chunk, (size_t)n);
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_fd(&c->errors);
}

static ssize_t io_result(ssize_t n, const char *what, struct err *err)
{
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR)
        return LINK_IO_WAIT;
    return err_sys(err, ERR_LINK, "%s", what);
}

static ssize_t command_read(void *stream, void *data, size_t size, struct err *err)
{
    struct command *c = stream;

    read_errors(c);
    return io_result(read(c->from, data, size), "cannot read from the command", err);
}

static ssize_t command_write(void *stream, const void *data, size_t size, struct err *err)
{
    const struct command *c = stream;
    return io_result(write(c->to, data, size), "cannot write to the command", err);
}

static int command_end_input(void *stream, struct err *err)
{
    struct command *c = stream;

    (void)err;
    close_fd(&c->to);
    return 0;
}

static void command_wait(void *stream, bool writing, struct wait *wait)
{
    const struct command *c = stream;

    wait_fd(wait, c->from, POLLIN);
    if (c->errors >= 0)
        wait_fd(wait, c->errors, POLLIN);
    if (writing)
        wait_fd(wait, c->to, POLLOUT);
}

static int command_end(void *stream, struct err *why)
{
    struct command *c = stream;
    struct err how = ERR_INIT;
    bool ended;

    int rc = child_poll(c->pid, &ended, &how);
    if (!ended)
        return LINK_IO_WAIT;
    c->pid = 0;
    read_errors(c);
    err_set(why, ERR_LINK, "its command, '%s', %s", c->argv[0], rc < 0 ? how.message : "ended");
    return 0;
}

static const struct buf *command_errors(void *stream)
{
    struct command *c = stream;

    read_errors(c);
    return &c->said;
}

static void command_close(void *stream)
{
    struct command *c = stream;

    stop(c);
    for (size_t i = 0; c->argv[i]; i++)
        free(c->argv[i]);
    free(c->argv);
    buf_release(&c->said);
    free(c);
}

const struct shell_driver shell_command = {
    .open = command_open,
    .start = command_start,
    .read = command_read,
    .write = command_write,
    .end_input = command_end_input,
    .wait = command_wait,
    .end = command_end,
    .errors = command_errors,
    .close = command_close,
};
