#include "recluster/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct tls {
    SSL_CTX *context;
    bool any_name;
};

struct tcp {
    int fd;
    bool connected;
    SSL *ssl;
    bool handshaken;
    bool wants_write; /* the direction that TLS waits for, whether we read or write */
    char *peer;
    char own_addr[INET6_ADDRSTRLEN];
};

/* --- TLS --- */

/* The oldest error in OpenSSL's queue, which is the cause. Empties the queue. */
static const char *complaint(void)
{
    unsigned long code = ERR_get_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return text ? text : "no reason given";
}

static int use_files(SSL_CTX *context, const struct tls_params *params, struct err *err)
{
    if (params->ca ? SSL_CTX_load_verify_locations(context, params->ca, NULL) != 1
                   : SSL_CTX_set_default_verify_paths(context) != 1)
        return err_set(err, ERR_USAGE, "cannot read the certificates of CAs in '%s': %s",
            params->ca ? params->ca : "the usual places", complaint());
    if (!params->cert != !params->key)
        return err_set(err, ERR_USAGE,
            "a client's certificate needs its key, and a key its "
            "certificate: give both or neither");
    if (params->cert && SSL_CTX_use_certificate_chain_file(context, params->cert) != 1)
        return err_set(
            err, ERR_USAGE, "cannot read the certificate '%s': %s", params->cert, complaint());
    if (params->key && SSL_CTX_use_PrivateKey_file(context, params->key, SSL_FILETYPE_PEM) != 1)
        return err_set(
            err, ERR_USAGE, "cannot read the private key '%s': %s", params->key, complaint());
    if (params->key && SSL_CTX_check_private_key(context) != 1)
        return err_set(err, ERR_USAGE, "the key '%s' does not belong to the certificate '%s'",
            params->key, params->cert);
    return 0;
}

int tls_new(const struct tls_params *params, struct tls **ret, struct err *err)
{
    struct tls *tls = xcalloc(1, sizeof(*tls));

    tls->any_name = params->any_name;
    tls->context = xchecked(SSL_CTX_new(TLS_client_method()), 0);
    SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(
        tls->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (use_files(tls->context, params, err) < 0) {
        tls_free(tls);
        return -1;
    }
    *ret = tls;
    return 0;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    free(tls);
}

static bool is_ip(const char *text)
{
    unsigned char any[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, any) == 1 || inet_pton(AF_INET6, text, any) == 1;
}

static int start_tls(struct tcp *t, const struct tcp_params *params, struct err *err)
{
    const char *name = params->name ? params->name : params->addr;

    t->ssl = xchecked(SSL_new(params->tls->context), 0);
    SSL_set_connect_state(t->ssl);
    if (!params->tls->any_name) {
        int ok = is_ip(name) ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), name)
                             : SSL_set1_host(t->ssl, name);
        if (ok != 1)
            return err_set(err, ERR_USAGE, "'%s' is not a name for a certificate", name);
    }
    if (!is_ip(name))
        /* SSL_set_tlsext_host_name(), whose macro drops the const. */
        SSL_ctrl(t->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
            (void *)(uintptr_t)name);
    if (SSL_set_fd(t->ssl, t->fd) != 1)
        return err_set(err, ERR_NETWORK, "cannot use TLS with %s: %s", t->peer, complaint());
    return 0;
}

/* The result of SSL_…(): 0 if it waits, -1 if it failed. */
static int tls_outcome(struct tcp *t, int result, const char *doing, struct err *err)
{
    int sys = errno;
    long verified = SSL_get_verify_result(t->ssl);

    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        t->wants_write = false;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        t->wants_write = true;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return err_set(err, ERR_NETWORK, "%s closed the connection", t->peer);
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        errno = sys;
        return sys ? err_sys(err, ERR_NETWORK, "cannot %s %s", doing, t->peer)
                   : err_set(err, ERR_NETWORK, "%s closed the connection", t->peer);
    default:
        break;
    }
    if (verified != X509_V_OK) {
        ERR_clear_error();
        err_set(err, ERR_DENIED, "the certificate of %s is refused: %s", t->peer,
            X509_verify_cert_error_string(verified));
        return err_hint(err, "Name the CA that signed it, and the name that it was made for.");
    }
    const char *text = complaint();
    err_set(err, ERR_NETWORK, "TLS with %s failed: %s", t->peer, text);
    return strstr(text, "wrong version") || strstr(text, "packet length")
               ? err_hint(err, "Its port may be one without TLS.")
               : -1;
}

/* --- the connection --- */

int tcp_open(const struct tcp_params *params, struct tcp **ret, struct err *err)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                        .ai_socktype = SOCK_STREAM},
                    *found;
    AUTO_FREE char *port = xasprintf("%d", params->port);
    bool v6 = strchr(params->addr, ':') != NULL;

    if (getaddrinfo(params->addr, port, &hints, &found) != 0)
        return err_set(err, ERR_USAGE, "'%s' is not an IP address", params->addr);
    struct tcp *t = xcalloc(1, sizeof(*t));
    t->peer = xasprintf(v6 ? "[%s]:%d" : "%s:%d", params->addr, params->port);
    t->fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = 0;
    if (t->fd < 0)
        rc = err_sys(err, ERR_NETWORK, "cannot make a socket for %s", t->peer);
    else if (connect(t->fd, found->ai_addr, found->ai_addrlen) < 0 && errno != EINPROGRESS)
        rc = err_sys(err, ERR_NETWORK, "cannot connect to %s", t->peer);
    freeaddrinfo(found);
    if (rc == 0)
        setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (rc == 0 && params->tls)
        rc = start_tls(t, params, err);
    if (rc < 0) {
        tcp_close(t);
        return -1;
    }
    *ret = t;
    return 0;
}

void tcp_close(struct tcp *t)
{
    if (!t)
        return;
    if (t->ssl) {
        if (t->handshaken)
            SSL_shutdown(t->ssl);
        ERR_clear_error();
        SSL_free(t->ssl);
    }
    if (t->fd >= 0)
        close(t->fd);
    free(t->peer);
    free(t);
}

const char *tcp_peer(const struct tcp *t)
{
    return t->peer;
}

const char *tcp_own_addr(struct tcp *t)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);

    if (!t->connected || getsockname(t->fd, (struct sockaddr *)&own, &len) < 0 ||
        getnameinfo((struct sockaddr *)&own, len, t->own_addr, sizeof(t->own_addr), NULL, 0,
            NI_NUMERICHOST) != 0)
        return NULL;
    return t->own_addr;
}

/* 1: bytes can be moved; 0: not yet. */
static int get_ready(struct tcp *t, struct err *err)
{
    if (!t->connected) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer), error_len = sizeof(int);
        int failure = 0;
        if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &failure, &error_len) < 0)
            failure = errno;
        if (failure) {
            errno = failure;
            return err_sys(err, ERR_NETWORK, "cannot connect to %s", t->peer);
        }
        if (getpeername(t->fd, (struct sockaddr *)&peer, &len) < 0)
            return 0;
        t->connected = true;
    }
    if (t->ssl && !t->handshaken) {
        errno = 0;
        ERR_clear_error();
        int result = SSL_do_handshake(t->ssl);
        if (result != 1)
            return tls_outcome(t, result, "connect by TLS to", err);
        t->handshaken = true;
        t->wants_write = false;
    }
    return 1;
}

static ssize_t outcome(struct tcp *t, ssize_t n, const char *doing, struct err *err)
{
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    return err_sys(err, ERR_NETWORK, "cannot %s %s", doing, t->peer);
}

ssize_t tcp_write(struct tcp *t, const void *data, size_t len, struct err *err)
{
    size_t written = 0;
    int ready = get_ready(t, err);

    if (ready <= 0 || len == 0)
        return ready < 0 ? -1 : 0;
    if (!t->ssl)
        return outcome(t, send(t->fd, data, len, MSG_NOSIGNAL), "write to", err);
    errno = 0;
    ERR_clear_error();
    int result = SSL_write_ex(t->ssl, data, len, &written);
    return result == 1 ? (ssize_t)written : tls_outcome(t, result, "write to", err);
}

ssize_t tcp_read(struct tcp *t, void *data, size_t size, struct err *err)
{
    size_t got = 0;
    int ready = get_ready(t, err);

    if (ready <= 0)
        return ready;
    if (!t->ssl) {
        ssize_t n = recv(t->fd, data, size, 0);
        if (n == 0)
            return err_set(err, ERR_NETWORK, "%s closed the connection", t->peer);
        return outcome(t, n, "read from", err);
    }
    errno = 0;
    ERR_clear_error();
    int result = SSL_read_ex(t->ssl, data, size, &got);
    return result == 1 ? (ssize_t)got : tls_outcome(t, result, "read from", err);
}

void tcp_wait(const struct tcp *t, struct wait *wait, bool writing)
{
    if (!t->connected) {
        wait_fd(wait, t->fd, POLLOUT);
        return;
    }
    if (t->ssl && (!t->handshaken || t->wants_write))
        wait_fd(wait, t->fd, t->wants_write ? POLLOUT : POLLIN);
    else
        wait_fd(wait, t->fd, writing ? POLLIN | POLLOUT : POLLIN);
}
