/* Implements ssh.h. */

#include "recluster/ssh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host_key.h"
#include "login.h"
#include "recluster/clock.h"
#include "recluster/mem.h"
#include "session.h"

enum {
    READ_BYTES = 256 << 10,
    WRITE_BYTES = 256 << 10,
    ERRORS_BYTES = 32 << 10, /* of standard error, at a time */
    ERRORS_READS = 128,      /* more than a channel's window can hold */
};

/*
 * CONNECTING ──> HANDSHAKE ──> LOGIN ──> READY, all by ssh_connect(); of a channel, by ssh_start():
 * NO_CHANNEL ──> OPENING ──> REQUESTING ──> OPEN.
 */
struct ssh {
    struct ssh_target target;
    enum { CONNECTING, HANDSHAKE, LOGIN, READY } step;
    struct addrinfo *addresses, *next_address;
    int fd;
    int64_t deadline_ms; /* of the step, or of a channel that is being opened */
    struct session *session;
    const char *host_key_types[HOST_KEY_TYPES];
    struct login *login;
    struct host_key host_key;
    enum ssh_failure failure;
    enum { NO_CHANNEL, OPENING, REQUESTING, OPEN } channel;

    /* Accepted for writing, and received; `sending` must be called again first. */
    struct buf out;
    size_t out_at;
    char *in;
    size_t in_at, in_len;
    struct buf errors;
    enum call { NO_CALL, READ_OUTPUT, READ_ERRORS, WRITE, SEND_EOF } sending;
};

/* --- connecting --- */

static void renew_deadline(struct ssh *s)
{
    s->deadline_ms = clock_mono_ms() + s->target.answer_ms;
}

static int find_addresses(struct ssh *s, struct err *err)
{
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | (s->target.look_up ? 0 : AI_NUMERICHOST),
    };
    char port[16];

    snprintf(port, sizeof(port), "%d", s->target.port);
    int rc = getaddrinfo(s->target.host, port, &hints, &s->addresses);
    if (rc == 0)
        return 0;
    s->addresses = NULL;
    if (!s->target.look_up)
        return err_set(err, ERR_USAGE, "'%s' is not an IP address", s->target.host);
    return err_set(
        err, ERR_NETWORK, "cannot find the host '%s': %s", s->target.host, gai_strerror(rc));
}

static int cannot_connect(const struct ssh *s, struct err *err)
{
    return err_sys(err, errno == ETIMEDOUT ? ERR_TIMEOUT : ERR_NETWORK,
        "cannot connect to '%s', port %d", s->target.host, s->target.port);
}

/* Begins to connect to the next usable address. */
static int begin_connect(struct ssh *s, struct err *err)
{
    const int on = 1;

    for (; s->next_address; s->next_address = s->next_address->ai_next) {
        const struct addrinfo *a = s->next_address;
        s->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
        if (s->fd < 0)
            continue;
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(s->fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS) {
            s->next_address = a->ai_next;
            return 0;
        }
        int why = errno;
        close(s->fd);
        s->fd = -1;
        errno = why;
    }
    return cannot_connect(s, err);
}

static int finish_connect(struct ssh *s, struct err *err)
{
    for (;;) {
        struct pollfd p = {.fd = s->fd, .events = POLLOUT};
        int error = 0;
        socklen_t len = sizeof(error);
        if (poll(&p, 1, 0) == 0 && clock_mono_ms() < s->deadline_ms)
            return SSH_WAIT;
        if (p.revents == 0) {
            errno = ETIMEDOUT;
            return cannot_connect(s, err);
        }
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
            error = errno;
        if (error == 0)
            break;
        close(s->fd);
        s->fd = -1;
        errno = error;
        if (begin_connect(s, err) < 0)
            return -1;
    }
    host_key_order(&s->target, s->host_key_types);
    s->session = session_new(s->fd, err);
    return s->session ? 0 : -1;
}

static int shake_hands(struct ssh *s, struct err *err)
{
    size_t len;
    int rc = session_handshake(s->session, s->host_key_types, HOST_KEY_TYPES, err);

    if (rc != 0)
        return rc;
    const char *key = session_host_key(s->session, &len);
    if (!key)
        return err_set(err, ERR_PROTOCOL, "it does not show a host key");
    host_key_read(&s->host_key, key, len);
    if (host_key_check(&s->host_key, &s->target, &s->failure, err) < 0)
        return -1;
    s->login = login_new(&s->target);
    return 0;
}

static int do_step(struct ssh *s, struct err *err)
{
    switch (s->step) {
    case CONNECTING:
        return finish_connect(s, err);
    case HANDSHAKE:
        return shake_hands(s, err);
    case LOGIN:
        return login_step(s->login, s->session, &s->failure, err);
    case READY:
        break;
    }
    return 0;
}

/* SSH_WAIT, or -1 after the deadline. */
static int wait_or_give_up(const struct ssh *s, const char *what, struct err *err)
{
    if (clock_mono_ms() < s->deadline_ms)
        return SSH_WAIT;
    return err_set(err, ERR_TIMEOUT, "%s: no answer for %lld s", what,
        (long long)(s->target.answer_ms / 1000));
}

int ssh_connect(struct ssh *s, struct err *err)
{
    while (s->step != READY) {
        int rc = do_step(s, err);
        if (rc == SSH_WAIT && s->step == HANDSHAKE)
            rc = wait_or_give_up(s, "no SSH session could be made", err);
        if (rc != 0) {
            if (rc == -1 && s->step == CONNECTING)
                s->failure = SSH_NOT_CONNECTED;
            return rc;
        }
        s->step++;
        renew_deadline(s);
    }
    login_free(s->login);
    s->login = NULL;
    return 0;
}

int ssh_open(const struct ssh_target *target, struct ssh **ret, struct err *err)
{
    struct ssh *s = xcalloc(1, sizeof(*s));

    s->target = *target;
    s->fd = -1;
    buf_init(&s->out);
    buf_init(&s->errors);
    renew_deadline(s);
    if (find_addresses(s, err) < 0)
        goto failed;
    s->next_address = s->addresses;
    if (begin_connect(s, err) < 0)
        goto failed;
    *ret = s;
    return 0;
failed:
    ssh_close(s);
    return -1;
}

enum ssh_failure ssh_failure(const struct ssh *s)
{
    return s->failure;
}

const char *ssh_fingerprint(const struct ssh *s)
{
    return s->host_key.fingerprint ? s->host_key.fingerprint : "";
}

void ssh_close(struct ssh *s)
{
    if (!s)
        return;
    login_free(s->login);
    session_free(s->session, s->step == READY);
    host_key_release(&s->host_key);
    if (s->addresses)
        freeaddrinfo(s->addresses);
    if (s->fd >= 0)
        close(s->fd);
    buf_release(&s->out);
    buf_release(&s->errors);
    free(s->in);
    free(s);
}

void ssh_wait(const struct ssh *s, struct wait *wait)
{
    if (s->step == LOGIN) {
        login_wait(s->login, s->session, wait);
        return;
    }
    if (s->step == CONNECTING)
        wait_fd(wait, s->fd, POLLOUT);
    else
        session_wait(s->session, wait);
    if (s->step != READY || s->channel != OPEN)
        wait_until(wait, s->deadline_ms);
}

/* --- the channel --- */

/* Notes whether this call must be repeated before any other. */
static void note(struct ssh *s, enum call call, ssize_t rc)
{
    s->sending = rc == SSH_WAIT && session_is_sending(s->session) ? call : NO_CALL;
}

static int flush(struct ssh *s, struct err *err)
{
    while (s->out_at < s->out.len) {
        ssize_t n = session_write(s->session, s->out.data + s->out_at, s->out.len - s->out_at, err);
        note(s, WRITE, n);
        if (n < 0)
            return (int)n;
        s->out_at += (size_t)n;
    }
    buf_clear(&s->out);
    s->out_at = 0;
    return 0;
}

/* 1: bytes; 0: the end; SSH_WAIT; -1. */
static int fill(struct ssh *s, struct err *err)
{
    if (s->in_at < s->in_len)
        return 1;
    if (!s->in)
        s->in = xmalloc(READ_BYTES);
    ssize_t n = session_read(s->session, SESSION_OUTPUT, s->in, READ_BYTES, err);
    note(s, READ_OUTPUT, n);
    s->in_at = 0;
    s->in_len = n > 0 ? (size_t)n : 0;
    return n > 0 ? 1 : (int)n;
}

static int take_errors(struct ssh *s, struct err *err)
{
    char bytes[ERRORS_BYTES];

    for (int i = 0; i < ERRORS_READS; i++) {
        ssize_t n = session_read(s->session, SESSION_ERRORS, bytes, sizeof(bytes), err);
        note(s, READ_ERRORS, n);
        if (n <= 0)
            return (int)n;
        buf_add(&s->errors, bytes, (size_t)n);
        if (s->errors.len > SSH_ERRORS_MAX)
            buf_consume(&s->errors, s->errors.len - SSH_ERRORS_MAX);
    }
    return SSH_WAIT;
}

/* Repeats the call that has sent half a packet. 0, SSH_WAIT, -1. */
static int finish_sending(struct ssh *s, struct err *err)
{
    int rc = 0;

    switch (s->sending) {
    case NO_CALL:
        return 0;
    case READ_OUTPUT:
        rc = fill(s, err);
        break;
    case READ_ERRORS:
        rc = take_errors(s, err);
        break;
    case WRITE:
        rc = flush(s, err);
        break;
    case SEND_EOF:
        rc = session_send_eof(s->session, err);
        note(s, SEND_EOF, rc);
        break;
    }
    return rc == -1 ? -1 : s->sending != NO_CALL ? SSH_WAIT : 0;
}

/* Closes the previous channel and forgets its state. */
static int begin_channel(struct ssh *s, struct err *err)
{
    struct err ignored = ERR_INIT; /* of its rest */

    if (finish_sending(s, &ignored) == SSH_WAIT)
        return SSH_WAIT;
    int rc = session_close_channel(s->session, err);
    if (rc != 0)
        return rc;
    buf_clear(&s->out);
    buf_clear(&s->errors);
    s->out_at = s->in_at = s->in_len = 0;
    s->sending = NO_CALL;
    return 0;
}

static int do_start(struct ssh *s, enum ssh_service service, const char *name, struct err *err)
{
    switch (s->channel) {
    case NO_CHANNEL:
        return begin_channel(s, err);
    case OPENING:
        return session_open(s->session, err);
    case REQUESTING:
        return session_request(s->session, service, name, err);
    case OPEN:
        break;
    }
    return 0;
}

int ssh_start(struct ssh *s, enum ssh_service service, const char *name, struct err *err)
{
    if (s->channel == OPEN || s->channel == NO_CHANNEL)
        renew_deadline(s);
    if (s->channel == OPEN)
        s->channel = NO_CHANNEL;
    while (s->channel != OPEN) {
        int rc = do_start(s, service, name, err);
        if (rc == SSH_WAIT)
            return wait_or_give_up(s, "the channel", err);
        if (rc != 0) {
            s->channel = NO_CHANNEL; /* another one may be requested */
            return rc;
        }
        s->channel++;
    }
    return 0;
}

ssize_t ssh_write(struct ssh *s, const void *data, size_t len, struct err *err)
{
    int rc = finish_sending(s, err);

    if (rc == 0)
        rc = flush(s, err);
    if (rc != 0)
        return rc;
    if (len > WRITE_BYTES)
        len = WRITE_BYTES;
    buf_add(&s->out, data, len);
    return flush(s, err) == -1 ? -1 : (ssize_t)len;
}

/* Sends what it can. A failed write, because the other side closed, does not end the output. */
static void send_before_reading(struct ssh *s)
{
    struct err ignored = ERR_INIT; /* the next write reports it */
    int rc = finish_sending(s, &ignored);

    if (rc == 0)
        rc = flush(s, &ignored);
    if (rc != -1)
        return;
    buf_clear(&s->out);
    s->out_at = 0;
    s->sending = NO_CALL;
}

ssize_t ssh_read(struct ssh *s, const char **ret, size_t most, struct err *err)
{
    if (s->in_at == s->in_len) {
        send_before_reading(s);
        int rc = s->sending == NO_CALL ? fill(s, err) : SSH_WAIT;
        /* Unread standard error fills the window; reading it may bring output. */
        if (rc == SSH_WAIT && s->sending == NO_CALL) {
            if (take_errors(s, err) == -1)
                return -1;
            if (s->sending == NO_CALL)
                rc = fill(s, err);
        }
        if (rc != 1)
            return rc;
    }
    size_t n = s->in_len - s->in_at < most ? s->in_len - s->in_at : most;
    *ret = s->in + s->in_at;
    s->in_at += n;
    return (ssize_t)n;
}

int ssh_end_input(struct ssh *s, struct err *err)
{
    int rc = finish_sending(s, err);

    if (rc == 0)
        rc = flush(s, err);
    if (rc != 0)
        return rc;
    rc = session_send_eof(s->session, err);
    note(s, SEND_EOF, rc);
    return rc;
}

const struct buf *ssh_errors(struct ssh *s)
{
    struct err ignored = ERR_INIT; /* the next call reports it */

    if (s->channel == OPEN && finish_sending(s, &ignored) == 0)
        (void)!take_errors(s, &ignored);
    return &s->errors;
}

int ssh_how_it_ended(struct ssh *s, struct err *why)
{
    AUTO_FREE char *signal = NULL;
    int status = 0;

    if (finish_sending(s, why) == SSH_WAIT)
        return SSH_WAIT;
    int rc = session_exit(s->session, &status, &signal, why);
    if (rc == SSH_WAIT)
        return SSH_WAIT;
    if (rc == 0 && signal)
        err_set(why, ERR_LINK, "signal %s", signal);
    else if (rc == 0)
        err_set(why, ERR_LINK, "status %d", status);
    return 0;
}
