/* Shells over SSH: a session with one channel at a time, by libssh2. */

#include "ssh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/mem.h"
#include "shell.h"

enum { SSH_PORT = 22, FREE_TRIES = 100 };

struct ssh {
    struct link_target target; /* host and host_keys are copies */
    const char *addr;
    int port, fd;
    enum { CONNECTING, HANDSHAKE, LOGIN, LOGGED_IN } step;
    LIBSSH2_SESSION *session;
    struct buf known; /* lines of known_hosts */
    struct ssh_login *login;
    LIBSSH2_CHANNEL *channel;
    bool runs;       /* the shell was started on the channel */
    struct buf said; /* on standard error */
};

int ssh_error(LIBSSH2_SESSION *session, enum err_code code, const char *what, struct err *err)
{
    char *said = NULL;

    switch (libssh2_session_last_error(session, &said, NULL, 0)) {
    case LIBSSH2_ERROR_SOCKET_NONE:
    case LIBSSH2_ERROR_BANNER_RECV:
    case LIBSSH2_ERROR_BANNER_SEND:
    case LIBSSH2_ERROR_SOCKET_SEND:
    case LIBSSH2_ERROR_SOCKET_RECV:
    case LIBSSH2_ERROR_SOCKET_DISCONNECT:
    case LIBSSH2_ERROR_SOCKET_TIMEOUT:
    case LIBSSH2_ERROR_TIMEOUT:
    case LIBSSH2_ERROR_CHANNEL_CLOSED:
        code = ERR_NETWORK;
        break;
    default:
        break;
    }
    return err_set(err, code, "%s: %s", what, said && *said ? said : "it hung up");
}

static int read_port(const json_t *spec, int *ret, struct err *err)
{
    const json_t *value = json_object_get(spec, "port");
    json_int_t port = value ? json_integer_value(value) : SSH_PORT;

    if (port < 1 || port > UINT16_MAX)
        return err_set(err, ERR_USAGE, "\"port\" is not a number from 1 to %d", UINT16_MAX);
    *ret = (int)port;
    return 0;
}

/* Begins to connect; *ret_fd is to be waited for. */
static int begin_connect(const char *addr, int port, int *ret_fd, struct err *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    bool is_v4 = inet_pton(AF_INET, addr, &v4.sin_addr) == 1;
    const int on = 1;

    if (!is_v4 && inet_pton(AF_INET6, addr, &v6.sin6_addr) != 1)
        return err_set(err, ERR_USAGE, "'%s' is no IP address", addr);
    int fd =
        socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return err_sys(err, ERR_NETWORK, "cannot make a socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    int rc = is_v4 ? connect(fd, (const struct sockaddr *)&v4, sizeof(v4))
                   : connect(fd, (const struct sockaddr *)&v6, sizeof(v6));
    if (rc < 0 && errno != EINPROGRESS) {
        err_sys(err, ERR_NETWORK, "cannot connect to %s, port %d", addr, port);
        close(fd);
        return -1;
    }
    *ret_fd = fd;
    return 0;
}

static int open_session(struct ssh *s, struct err *err)
{
    s->session = libssh2_session_init();
    if (!s->session)
        return err_set(err, ERR_FAILED, "cannot make an SSH session");
    libssh2_session_set_blocking(s->session, 0);
    if (ssh_host_key_prepare(s->session, &s->target, s->addr, s->port, &s->known, err) < 0)
        return -1;
    return begin_connect(s->addr, s->port, &s->fd, err);
}

static void ssh_close(void *stream)
{
    struct ssh *s = stream;

    ssh_login_free(s->login);
    if (s->session && s->step == LOGGED_IN)
        libssh2_session_disconnect(s->session, "done");
    /* Without a socket nothing is waited for any more: the session can be freed at once. */
    if (s->fd >= 0)
        shutdown(s->fd, SHUT_RDWR);
    for (int i = 0; s->session && i < FREE_TRIES; i++)
        if (libssh2_session_free(s->session) != LIBSSH2_ERROR_EAGAIN)
            break;
    if (s->fd >= 0)
        close(s->fd);
    buf_release(&s->said);
    buf_release(&s->known);
    free((char *)(uintptr_t)s->target.host);
    free((char *)(uintptr_t)s->target.host_keys);
    free(s);
}

static int ssh_open(const struct link_target *target, void **ret, struct err *err)
{
    const char *addr = json_string_value(json_object_get(target->spec, "addr"));
    int port = 0;

    if (!addr)
        return err_set(err, ERR_USAGE, "it has no \"addr\"");
    if (read_port(target->spec, &port, err) < 0)
        return -1;
    struct ssh *s = xcalloc(1, sizeof(*s));
    *s = (struct ssh){.target = *target,
        .addr = addr,
        .port = port,
        .fd = -1,
        .known = BUF_INIT,
        .said = BUF_INIT};
    s->target.host = xstrdup(target->host);
    s->target.host_keys = target->host_keys ? xstrdup(target->host_keys) : NULL;
    s->login = ssh_login_new(target->spec, err);
    if (!s->login || open_session(s, err) < 0) {
        ssh_close(s);
        return -1;
    }
    *ret = s;
    return 0;
}

static int finish_connect(struct ssh *s, struct err *err)
{
    struct pollfd p = {.fd = s->fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof(error);

    if (poll(&p, 1, 0) == 0)
        return LINK_IO_WAIT;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0)
        return 0;
    errno = error;
    return err_sys(err, ERR_NETWORK, "cannot connect to %s, port %d", s->addr, s->port);
}

static int shake_hands(struct ssh *s, struct err *err)
{
    int rc = libssh2_session_handshake(s->session, s->fd);

    if (rc == LIBSSH2_ERROR_EAGAIN)
        return LINK_IO_WAIT;
    if (rc == 0)
        return ssh_host_key_check(s->session, &s->target, &s->known, s->addr, s->port, err);
    ssh_error(s->session, ERR_PROTOCOL, "no SSH session came about", err);
    if (rc == LIBSSH2_ERROR_KEX_FAILURE || rc == LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE ||
        rc == LIBSSH2_ERROR_METHOD_NONE)
        err_hint(err,
            "Both sides found no common method. This program's SSH library (libssh2 %s) wants "
            "host keys of the type ed25519 or ecdsa (ssh-keygen -A makes them) and aes-ctr "
            "ciphers; \"link\": \"command\" with ssh knows more.",
            libssh2_version(0));
    return -1;
}

static int ssh_connect(void *stream, struct err *err)
{
    struct ssh *s = stream;
    int rc = 0;

    while (rc == 0 && s->step != LOGGED_IN) {
        if (s->step == CONNECTING)
            rc = finish_connect(s, err);
        else if (s->step == HANDSHAKE)
            rc = shake_hands(s, err);
        else
            rc = ssh_login_step(s->login, s->session, err);
        if (rc == 0)
            s->step++;
    }
    return rc;
}

/* -1 with err set, or LINK_IO_WAIT. */
static int io_failed(struct ssh *s, ssize_t rc, const char *what, struct err *err)
{
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return LINK_IO_WAIT;
    ssh_error(s->session, ERR_LINK, what, err);
    return -1;
}

static int ssh_start(void *stream, struct err *err)
{
    struct ssh *s = stream;

    if (s->runs) { /* the one before */
        int rc = libssh2_channel_free(s->channel);
        if (rc == LIBSSH2_ERROR_EAGAIN)
            return LINK_IO_WAIT;
        s->channel = NULL;
        s->runs = false;
        buf_clear(&s->said);
    }
    if (!s->channel) {
        s->channel = libssh2_channel_open_session(s->session);
        if (!s->channel)
            return io_failed(s, libssh2_session_last_errno(s->session), "it opens no channel", err);
    }
    /* The login shell may be any: all of them know this. */
    int rc = libssh2_channel_exec(s->channel, "exec sh");
    if (rc != 0)
        return io_failed(s, rc, "it starts no shell", err);
    s->runs = true;
    return 0;
}

/* Everything that came on standard error so far. */
static void read_errors(struct ssh *s)
{
    char chunk[1024];
    ssize_t n;

    while (s->runs && (n = libssh2_channel_read_stderr(s->channel, chunk, sizeof(chunk))) > 0)
        shell_add_errors(&s->said, chunk, (size_t)n);
}

static ssize_t ssh_read(void *stream, void *data, size_t size, struct err *err)
{
    struct ssh *s = stream;

    for (;;) {
        ssize_t n = libssh2_channel_read(s->channel, data, size);
        if (n > 0)
            return n;
        read_errors(s);
        if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
            return io_failed(s, n, "the connection broke", err);
        /* Reading one stream may take in what belongs to the other: no descriptor tells of it. */
        if (libssh2_poll_channel_read(s->channel, 0) > 0)
            continue;
        return libssh2_channel_eof(s->channel) ? 0 : LINK_IO_WAIT;
    }
}

static ssize_t ssh_write(void *stream, const void *data, size_t size, struct err *err)
{
    struct ssh *s = stream;
    ssize_t n = libssh2_channel_write(s->channel, data, size);

    return n > 0 ? n : n == 0 ? LINK_IO_WAIT : io_failed(s, n, "the connection broke", err);
}

static int ssh_end_input(void *stream, struct err *err)
{
    struct ssh *s = stream;
    int rc = libssh2_channel_send_eof(s->channel);

    return rc == 0 ? 0 : io_failed(s, rc, "the connection broke", err);
}

static void ssh_wait(void *stream, bool writing, struct wait *wait)
{
    const struct ssh *s = stream;

    (void)writing; /* libssh2 knows what it has not got rid of, or what window it waits for */
    if (s->step == CONNECTING) {
        wait_fd(wait, s->fd, POLLOUT);
        return;
    }
    int directions = libssh2_session_block_directions(s->session);
    wait_fd(wait, s->fd, directions & LIBSSH2_SESSION_BLOCK_OUTBOUND ? POLLIN | POLLOUT : POLLIN);
}

static int ssh_end(void *stream, struct err *why)
{
    struct ssh *s = stream;
    char *signal_name = NULL;

    read_errors(s);
    /* The status comes after the end of the output. */
    if (libssh2_channel_close(s->channel) == LIBSSH2_ERROR_EAGAIN)
        return LINK_IO_WAIT;
    libssh2_channel_get_exit_signal(s->channel, &signal_name, NULL, NULL, NULL, NULL, NULL);
    if (signal_name)
        err_set(why, ERR_LINK, "the agent ended by signal %s", signal_name);
    else
        err_set(why, ERR_LINK, "the agent ended with status %d",
            libssh2_channel_get_exit_status(s->channel));
    if (signal_name)
        libssh2_free(s->session, signal_name);
    return 0;
}

static const struct buf *ssh_errors(void *stream)
{
    struct ssh *s = stream;

    read_errors(s);
    return &s->said;
}

const struct shell_driver shell_ssh = {
    .open = ssh_open,
    .login = ssh_connect,
    .start = ssh_start,
    .read = ssh_read,
    .write = ssh_write,
    .end_input = ssh_end_input,
    .wait = ssh_wait,
    .end = ssh_end,
    .errors = ssh_errors,
    .close = ssh_close,
};
