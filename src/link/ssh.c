/* Shells over SSH: a session with one channel at a time, by libssh. */

#include "ssh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libssh/callbacks.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/mem.h"
#include "recluster/ssh_setup.h"
#include "shell.h"

enum {
    SSH_PORT = 22,
    WRITE_BYTES_MAX = 256 * 1024, /* libssh keeps what the socket does not take */
    TAKES_MAX = 16,               /* libssh takes 4 KB at a time; a packet has up to 32 */
    SAID_MAX = 400,               /* of what libssh says, in a message */
};

struct ssh_link {
    struct link_target target; /* host and host_keys are copies */
    const char *addr;
    int port;
    int fd; /* libssh's own from the handshake on */
    enum { CONNECTING, HANDSHAKE, LOGIN, LOGGED_IN } step;
    ssh_session session;
    struct buf known; /* lines of known_hosts */
    struct ssh_link_login *login;
    ssh_channel channel;
    struct ssh_channel_callbacks_struct callbacks;
    struct ssh_counter_struct socket;
    bool runs; /* the shell was started on the channel */
    bool closed;
    int exit_status; /* -1: none came */
    char *exit_signal;
    struct buf said; /* on standard error */
};

bool ssh_link_is_lost(ssh_session session)
{
    return (ssh_get_status(session) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0;
}

int ssh_link_error(ssh_session session, enum err_code code, const char *what, struct err *err)
{
    CLEANUP(free_ptr) char *said = xstrndup(ssh_get_error(session), SAID_MAX);

    for (char *c = said; *c; c++) /* some of it is the host's */
        if (*c < ' ' || *c > '~')
            *c = '?';
    if (strncmp(said, "Socket error", 12) == 0 ||
        strncmp(said, "Received SSH_MSG_DISCONNECT", 27) == 0)
        code = ERR_NETWORK;
    return err_set(err, code, "%s: %s", what, *said ? said : "it hung up");
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

static int open_session(struct ssh_link *s, struct err *err)
{
    s->session = ssh_setup_session(ssh_link_login_user(s->login));
    if (!s->session)
        return err_set(err, ERR_FAILED, "cannot make an SSH session");
    ssh_set_blocking(s->session, 0);
    ssh_set_counters(s->session, &s->socket, NULL);
    if (ssh_link_host_key_prepare(s->session, &s->target, s->addr, s->port, &s->known, err) < 0)
        return -1;
    return begin_connect(s->addr, s->port, &s->fd, err);
}

/* libssh frees it once the host has closed it, but tells us nothing of it any more. */
static void drop_channel(struct ssh_link *s)
{
    if (s->channel) {
        ssh_remove_channel_callbacks(s->channel, &s->callbacks);
        ssh_channel_free(s->channel);
    }
    s->channel = NULL;
    s->runs = s->closed = false;
    s->exit_status = -1;
    free(s->exit_signal);
    s->exit_signal = NULL;
    buf_clear(&s->said);
}

/* Nothing here waits: what the socket does not take at once is dropped. */
static void ssh_link_close(void *stream)
{
    struct ssh_link *s = stream;

    ssh_link_login_free(s->login);
    if (s->step == LOGGED_IN) {
        s->fd = ssh_get_fd(s->session); /* -1 where libssh has closed it */
        ssh_session_set_disconnect_message(s->session, "done");
        ssh_disconnect(s->session); /* leaves the descriptor to us */
    } else if (s->step != CONNECTING) {
        s->fd = -1;
    }
    ssh_free(s->session);
    if (s->fd >= 0)
        close(s->fd);
    free(s->exit_signal);
    buf_release(&s->said);
    buf_release(&s->known);
    free((char *)(uintptr_t)s->target.host);
    free((char *)(uintptr_t)s->target.host_keys);
    free(s);
}

static int see_data(
    ssh_session session, ssh_channel channel, void *data, uint32_t len, int is_stderr, void *arg)
{
    struct ssh_link *s = arg;

    (void)session, (void)channel;
    if (!is_stderr)
        return 0; /* for ssh_link_read() */
    shell_add_errors(&s->said, data, len);
    return (int)len;
}

static void see_exit_status(ssh_session session, ssh_channel channel, int status, void *arg)
{
    struct ssh_link *s = arg;

    (void)session, (void)channel;
    s->exit_status = status;
}

static void see_exit_signal(ssh_session session, ssh_channel channel, const char *name, int core,
    const char *message, const char *language, void *arg)
{
    struct ssh_link *s = arg;

    (void)session, (void)channel, (void)core, (void)message, (void)language;
    free(s->exit_signal);
    s->exit_signal = xstrdup(name);
}

static void see_close(ssh_session session, ssh_channel channel, void *arg)
{
    struct ssh_link *s = arg;

    (void)session, (void)channel;
    s->closed = true;
}

static int ssh_link_open(const struct link_target *target, void **ret, struct err *err)
{
    const char *addr = json_string_value(json_object_get(target->spec, "addr"));
    int port = 0;

    if (!addr)
        return err_set(err, ERR_USAGE, "it has no \"addr\"");
    if (read_port(target->spec, &port, err) < 0)
        return -1;
    struct ssh_link *s = xcalloc(1, sizeof(*s));
    *s = (struct ssh_link){.target = *target,
        .addr = addr,
        .port = port,
        .fd = -1,
        .known = BUF_INIT,
        .exit_status = -1,
        .said = BUF_INIT,
        .callbacks = {.userdata = s,
            .channel_data_function = see_data,
            .channel_exit_status_function = see_exit_status,
            .channel_exit_signal_function = see_exit_signal,
            .channel_close_function = see_close}};
    ssh_callbacks_init(&s->callbacks);
    s->target.host = xstrdup(target->host);
    s->target.host_keys = target->host_keys ? xstrdup(target->host_keys) : NULL;
    s->login = ssh_link_login_new(target->spec, err);
    if (!s->login || open_session(s, err) < 0) {
        ssh_link_close(s);
        return -1;
    }
    *ret = s;
    return 0;
}

static int finish_connect(struct ssh_link *s, struct err *err)
{
    struct pollfd p = {.fd = s->fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof(error);

    if (poll(&p, 1, 0) == 0)
        return LINK_IO_WAIT;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0) {
        errno = error ? error : errno;
        return err_sys(err, ERR_NETWORK, "cannot connect to %s, port %d", s->addr, s->port);
    }
    if (ssh_options_set(s->session, SSH_OPTIONS_FD, &s->fd) < 0)
        return ssh_link_error(s->session, ERR_FAILED, "cannot use the connection", err);
    return 0;
}

static int shake_hands(struct ssh_link *s, struct err *err)
{
    int rc = ssh_connect(s->session);

    if (rc == SSH_OK || rc == SSH_AGAIN)
        fcntl(s->fd, F_SETFL, O_NONBLOCK); /* libssh's first step was to make it block */
    if (rc == SSH_AGAIN)
        return LINK_IO_WAIT;
    if (rc == SSH_OK)
        return ssh_link_host_key_check(s->session, &s->target, &s->known, s->addr, s->port, err);
    ssh_link_error(s->session, ERR_PROTOCOL, "no SSH session came about", err);
    if (strstr(ssh_get_error(s->session), "no match for method"))
        err_hint(err,
            "Both sides found no common method. This program's SSH library (libssh %s) wants "
            "host keys of the type ed25519, ecdsa or rsa (ssh-keygen -A makes them), rsa with "
            "SHA-2, and aes-gcm, aes-ctr or chacha20 ciphers; \"link\": \"command\" with ssh "
            "knows more.",
            ssh_version(0));
    return -1;
}

static int ssh_link_connect(void *stream, struct err *err)
{
    struct ssh_link *s = stream;
    int rc = 0;

    while (rc == 0 && s->step != LOGGED_IN) {
        if (s->step == CONNECTING)
            rc = finish_connect(s, err);
        else if (s->step == HANDSHAKE)
            rc = shake_hands(s, err);
        else
            rc = ssh_link_login_step(s->login, s->session, err);
        if (rc == 0)
            s->step++;
    }
    return rc;
}

/* 0, LINK_IO_WAIT or -1 for what libssh says. */
static int result(struct ssh_link *s, int rc, const char *what, struct err *err)
{
    if (rc == SSH_OK)
        return 0;
    return rc == SSH_AGAIN ? LINK_IO_WAIT : ssh_link_error(s->session, ERR_LINK, what, err);
}

static int ssh_link_start(void *stream, struct err *err)
{
    struct ssh_link *s = stream;

    if (s->runs) /* the one before */
        drop_channel(s);
    if (!s->channel) {
        s->channel = ssh_channel_new(s->session);
        if (!s->channel || ssh_add_channel_callbacks(s->channel, &s->callbacks) < 0)
            return ssh_link_error(s->session, ERR_LINK, "it opens no channel", err);
    }
    /* Once it is open, this does nothing. */
    int rc = result(s, ssh_channel_open_session(s->channel), "it opens no channel", err);
    if (rc != 0)
        return rc;
    /* The login shell may be any: all of them know this. */
    rc = result(s, ssh_channel_request_exec(s->channel, "exec sh"), "it starts no shell", err);
    s->runs = rc == 0;
    return rc;
}

static ssize_t ssh_link_read(void *stream, void *data, size_t size, struct err *err)
{
    struct ssh_link *s = stream;
    uint32_t most = size < INT32_MAX ? (uint32_t)size : INT32_MAX;

    for (int i = 0; i < TAKES_MAX; i++) {
        uint64_t before = s->socket.in_bytes;
        int n = ssh_channel_read_nonblocking(s->channel, data, most, 0);
        if (n > 0)
            return n;
        if (n == SSH_EOF)
            return 0;
        if (n < 0)
            return result(s, n, "the connection broke", err);
        if (s->socket.in_bytes == before) /* else a part of a packet came */
            break;
    }
    return LINK_IO_WAIT;
}

/* Nothing more is given to libssh before the socket has taken what it was given. */
static ssize_t ssh_link_write(void *stream, const void *data, size_t size, struct err *err)
{
    struct ssh_link *s = stream;
    uint32_t most = size < WRITE_BYTES_MAX ? (uint32_t)size : WRITE_BYTES_MAX;

    if (ssh_get_status(s->session) & SSH_WRITE_PENDING)
        ssh_blocking_flush(s->session, 0);
    if (ssh_get_status(s->session) & SSH_WRITE_PENDING && !ssh_link_is_lost(s->session))
        return LINK_IO_WAIT;
    int n = ssh_channel_write(s->channel, data, most);
    return n > 0 ? n : n == 0 ? LINK_IO_WAIT : result(s, n, "the connection broke", err);
}

static int ssh_link_end_input(void *stream, struct err *err)
{
    struct ssh_link *s = stream;
    int rc = ssh_channel_send_eof(s->channel);

    /* SSH_AGAIN: libssh has it and sends it with what is left. */
    return rc == SSH_AGAIN ? 0 : result(s, rc, "the connection broke", err);
}

static void ssh_link_wait(void *stream, bool writing, struct wait *wait)
{
    const struct ssh_link *s = stream;

    (void)writing; /* what is not with libssh yet waits for the host's window, or for libssh */
    if (s->step == CONNECTING) {
        wait_fd(wait, s->fd, POLLOUT);
        return;
    }
    bool pending = ssh_get_status(s->session) & SSH_WRITE_PENDING;
    wait_fd(wait, ssh_get_fd(s->session), pending ? POLLIN | POLLOUT : POLLIN);
}

/* Takes in what has come, also what comes after the output: the callbacks hear of it. */
static void take_exit_state(ssh_channel channel)
{
#if LIBSSH_VERSION_INT >= SSH_VERSION_INT(0, 11, 0)
    ssh_channel_get_exit_state(channel, NULL, NULL, NULL);
#else
    ssh_channel_get_exit_status(channel);
#endif
}

static int ssh_link_end(void *stream, struct err *why)
{
    struct ssh_link *s = stream;

    take_exit_state(s->channel);
    if (s->exit_signal)
        err_set(why, ERR_LINK, "the agent ended by signal %s", s->exit_signal);
    else if (s->exit_status >= 0)
        err_set(why, ERR_LINK, "the agent ended with status %d", s->exit_status);
    else if (ssh_link_is_lost(s->session))
        ssh_link_error(s->session, ERR_LINK, "the connection broke", why);
    else if (s->closed)
        err_set(why, ERR_LINK, "the agent hung up");
    else
        return LINK_IO_WAIT;
    return 0;
}

static const struct buf *ssh_link_errors(void *stream)
{
    struct ssh_link *s = stream;
    size_t before;

    do { /* takes in what has come */
        before = s->said.len;
        if (s->runs)
            ssh_channel_poll(s->channel, 1);
    } while (s->said.len > before);
    return &s->said;
}

const struct shell_driver shell_ssh = {
    .open = ssh_link_open,
    .login = ssh_link_connect,
    .start = ssh_link_start,
    .read = ssh_link_read,
    .write = ssh_link_write,
    .end_input = ssh_link_end_input,
    .wait = ssh_link_wait,
    .end = ssh_link_end,
    .errors = ssh_link_errors,
    .close = ssh_link_close,
};
