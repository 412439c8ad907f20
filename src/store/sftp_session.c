#include "sftp_session.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/known_hosts.h"
#include "recluster/ssh_setup.h"

enum {
    KNOWN_HOSTS_BYTES_MAX = 16 << 20,
    TAKE_BYTES = 256 << 10,
    QUESTION_ROUNDS_MAX = 8,
};

/* --- errors --- */

/* "what: what libssh says of the call that has just failed". Returns -1. */
PRINTF_LIKE(3, 4)
static int ssh_failed(struct sftp_session *s, struct err *err, const char *fmt, ...)
{
    const char *text = ssh_get_error(s->ssh);
    va_list args;

    s->broken = true;
    va_start(args, fmt);
    CLEANUP(free_ptr) char *what = xvasprintf(fmt, args);
    va_end(args);
    return err_set(err, ssh_is_connected(s->ssh) ? ERR_PROTOCOL : ERR_NETWORK, "%s: %s", what,
        text && *text ? text : "it failed");
}

static int is_silent(struct sftp_session *s, long seconds, struct err *err)
{
    s->broken = true;
    return err_set(err, ERR_TIMEOUT, "no answer for %ld s", seconds);
}

int sftp_session_nonsense(struct sftp_session *s, const char *text, struct err *err)
{
    s->broken = true;
    return err_set(err, ERR_PROTOCOL, "%s", text);
}

/* --- the connection --- */

/* 0 or an errno. */
static int wait_connected(int fd, int64_t deadline_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof(error);

    for (;;) {
        int64_t left_ms = deadline_ms - clock_mono_ms();
        int n = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ETIMEDOUT;
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
    }
}

/* A non-blocking socket that is connected to the address, or -1 with errno set. */
static int connect_address(const struct addrinfo *address, int64_t deadline_ms)
{
    int one = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    int error = connect(fd, address->ai_addr, address->ai_addrlen) < 0 ? errno : 0;
    if (error == EINPROGRESS)
        error = wait_connected(fd, deadline_ms);
    if (error) {
        close(fd);
        errno = error;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static int connect_host(const struct sftp_login *login, struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses;
    char port[16];
    int fd = -1;
    int64_t deadline_ms = clock_mono_ms() + store_connect_timeout(login->silence_s) * 1000;

    snprintf(port, sizeof(port), "%d", login->port);
    int rc = getaddrinfo(login->host, port, &hints, &addresses);
    if (rc != 0)
        return err_set(
            err, ERR_NETWORK, "cannot find the host '%s': %s", login->host, gai_strerror(rc));
    errno = EADDRNOTAVAIL;
    for (const struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next)
        fd = connect_address(a, deadline_ms);
    freeaddrinfo(addresses);
    if (fd < 0)
        return err_sys(err, errno == ETIMEDOUT ? ERR_TIMEOUT : ERR_NETWORK,
            "cannot connect to '%s' port %d", login->host, login->port);
    return fd;
}

/* --- who the server is --- */

static bool is_revoked(const char *text, const char *host, int port, const struct known_key *key)
{
    CLEANUP(free_ptr) char *key64 = xstrndup(key->key, key->key_len);
    struct known_key line;

    while (known_hosts_next(&text, host, port, &line))
        if (line.mark == KNOWN_REVOKED && known_key_is(&line, key64))
            return true;
    return false;
}

/* The keys of lines that name the port too, or, `bare`, of those that don't. */
static void find_keys(const char *text, const char *host, int port, bool bare, json_t *keys)
{
    const char *at = text;
    struct known_key key;

    while (known_hosts_next(&at, host, port, &key))
        if (key.mark == KNOWN_KEY && key.bare == bare && !is_revoked(text, host, port, &key))
            json_array_append_new(keys,
                json_sprintf("%.*s %.*s", (int)key.type_len, key.type, (int)key.key_len, key.key));
}

int sftp_known_keys(const char *path, const char *host, int port, json_t *keys, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (!file_exists(path))
        return 0;
    if (file_read(path, KNOWN_HOSTS_BYTES_MAX, &text, err) < 0)
        return -1;
    find_keys(text.data, host, port, false, keys);
    if (json_array_size(keys) == 0)
        find_keys(text.data, host, port, true, keys);
    return 0;
}

/* A key of the kind "ssh-rsa" signs in three ways. */
static void add_kind(struct buf *kinds, const char *kind, size_t len)
{
    bool rsa = len == 7 && memcmp(kind, "ssh-rsa", len) == 0;

    buf_addf(kinds, "%s%s%.*s", kinds->len ? "," : "", rsa ? "rsa-sha2-512,rsa-sha2-256," : "",
        (int)len, kind);
}

/* The kinds of keys that the server may show; all, if one is only known by its fingerprint. */
static int ask_for_known_keys(struct sftp_session *s, const json_t *keys, struct err *err)
{
    CLEANUP(buf_release) struct buf kinds = BUF_INIT;
    size_t i;
    json_t *key;

    json_array_foreach (keys, i, key) {
        const char *text = json_string_value(key);
        size_t len = text ? strcspn(text, " ") : 0;
        if (!text || !text[len])
            return 0;
        add_kind(&kinds, text, len);
    }
    if (!kinds.len || ssh_options_set(s->ssh, SSH_OPTIONS_HOSTKEYS, kinds.data) == 0)
        return 0;
    return err_set(err, ERR_PROTOCOL, "cannot ask for a host key of the kinds '%s'", kinds.data);
}

static bool is_known(const struct ssh_server_key *shown, const json_t *keys)
{
    size_t i;
    json_t *known;

    json_array_foreach (keys, i, known) {
        const char *is = json_string_value(known);
        const char *space = is ? strchr(is, ' ') : NULL;
        const char *wanted = space ? shown->key64 : shown->fingerprint;
        const char *word = space ? space + 1 : is;
        /* A comment may follow, as in the lines of .pub files. */
        size_t len = word ? strcspn(word, " \t\r\n") : 0;
        if (len > 0 && len == strlen(wanted) && strncmp(word, wanted, len) == 0)
            return true;
    }
    return false;
}

static int check_host(const struct sftp_login *login, struct sftp_session *s, struct err *err)
{
    CLEANUP(ssh_server_key_release) struct ssh_server_key shown;
    bool none = json_array_size(login->host_keys) == 0;

    if (ssh_server_key_read(s->ssh, &shown) < 0)
        return ssh_failed(s, err, "the server's key can't be read");
    if (is_known(&shown, login->host_keys))
        return 0;
    err_set(err, ERR_DENIED, "the SSH server '%s' port %d has the key %s, which is not %s",
        login->host, login->port, shown.fingerprint, none ? "known" : "the one that is known");
    if (none)
        return err_hint(err,
            "If that is its key, add it to ~/.ssh/known_hosts (ssh-keyscan -p %d "
            "%s) or give the location \"host_key\": \"%s\".",
            login->port, login->host, shown.fingerprint);
    return err_hint(err, "Somebody may be listening in. If the server was given a new key, correct "
                         "~/.ssh/known_hosts or the \"host_key\" of the location.");
}

/* --- the login --- */

/* What became of one way to log in: an SSH_AUTH_… of libssh. */
static bool is_in(int rc)
{
    return rc == SSH_AUTH_SUCCESS;
}

/* Whether another way may be tried: not after a silence, and not without a connection. */
static bool may_go_on(struct sftp_session *s, int rc)
{
    return !is_in(rc) && rc != SSH_AUTH_AGAIN && ssh_is_connected(s->ssh);
}

static int login_with_key(
    struct sftp_session *s, const struct sftp_login *login, bool *ret_unusable)
{
    ssh_key key = ssh_setup_key(secret_reveal(login->key), secret_reveal(login->key_password));

    *ret_unusable = !key;
    int rc = *ret_unusable ? SSH_AUTH_DENIED : ssh_userauth_publickey(s->ssh, login->user, key);
    ssh_key_free(key);
    return rc;
}

/* Whatever is asked, the password is the answer. */
static int answer_questions(struct sftp_session *s, const struct sftp_login *login)
{
    const char *password = secret_reveal(login->password);
    int rc = ssh_userauth_kbdint(s->ssh, login->user, NULL);

    for (int round = 0; rc == SSH_AUTH_INFO && round < QUESTION_ROUNDS_MAX; round++) {
        int count = ssh_userauth_kbdint_getnprompts(s->ssh);
        for (int i = 0; i < count; i++)
            ssh_userauth_kbdint_setanswer(s->ssh, (unsigned)i, password);
        rc = ssh_userauth_kbdint(s->ssh, login->user, NULL);
    }
    return rc;
}

static int login_with_password(struct sftp_session *s, const struct sftp_login *login)
{
    unsigned ways = (unsigned)ssh_userauth_list(s->ssh, NULL);
    int rc = SSH_AUTH_DENIED;

    if (ways & SSH_AUTH_METHOD_PASSWORD)
        rc = ssh_userauth_password(s->ssh, login->user, secret_reveal(login->password));
    if (may_go_on(s, rc) && (ways & SSH_AUTH_METHOD_INTERACTIVE))
        rc = answer_questions(s, login);
    return rc;
}

static int login_with_files(struct sftp_session *s, const char *user)
{
    static const char *const files[] = {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"};
    int rc = SSH_AUTH_DENIED;

    for (size_t i = 0; i < ARRAY_SIZE(files) && may_go_on(s, rc); i++) {
        CLEANUP(free_ptr) char *path = path_expand_home(files[i]);
        ssh_key key = file_exists(path) ? ssh_setup_key_file(path, NULL) : NULL;
        if (key)
            rc = ssh_userauth_publickey(s->ssh, user, key);
        ssh_key_free(key);
    }
    return rc;
}

static int refused(
    struct sftp_session *s, const struct sftp_login *login, bool key_unusable, struct err *err)
{
    const char *text = ssh_get_error(s->ssh);

    err_set(err, ERR_DENIED, "'%s' refuses the login as '%s': %s", login->host, login->user,
        key_unusable    ? "the key can't be used"
        : text && *text ? text
                        : "no way to log in is left");
    if (key_unusable)
        return err_hint(err, "The \"key\" must be the text of a private key, and \"key_password\" "
                             "its passphrase if it has one.");
    if (login->key)
        return err_hint(err, "Is the key the right one, and allowed there?");
    if (login->password)
        return err_hint(err, "Check user and password of the location.");
    if (!login->own_keys)
        return err_hint(err,
            "Only the CCS file names this server, so your own keys are not used. Give "
            "the location in \"sources\" of the hosts file, or its server in "
            "\"trusted_endpoints\".");
    return err_hint(err, "Give the location a \"key\" (the private key: {\"file\": PATH}) or a "
                         "password.");
}

static int log_in(struct sftp_session *s, const struct sftp_login *login, struct err *err)
{
    bool key_unusable = false;
    /* Asks to be let in with nothing, and so for the ways to log in. */
    int rc = ssh_userauth_none(s->ssh, login->user);

    if (may_go_on(s, rc) && login->key)
        rc = login_with_key(s, login, &key_unusable);
    if (may_go_on(s, rc) && login->password)
        rc = login_with_password(s, login);
    if (may_go_on(s, rc) && login->own_keys && getenv("SSH_AUTH_SOCK"))
        rc = ssh_userauth_agent(s->ssh, login->user);
    if (may_go_on(s, rc) && login->own_keys)
        rc = login_with_files(s, login->user);
    if (is_in(rc))
        return 0;
    if (rc == SSH_AUTH_AGAIN && is_silent(s, store_connect_timeout(s->silence_s), err) < 0)
        return err_wrap(err, "cannot log in to '%s' as '%s'", login->host, login->user);
    if (!ssh_is_connected(s->ssh))
        return ssh_failed(s, err, "cannot log in to '%s' as '%s'", login->host, login->user);
    return refused(s, login, key_unusable, err);
}

/* --- bytes --- */

int sftp_session_send(struct sftp_session *s, const void *data, size_t len, struct err *err)
{
    int n = ssh_channel_write(s->channel, data, (uint32_t)len);

    if (n >= 0 && (size_t)n == len)
        return 0;
    return n < 0 ? ssh_failed(s, err, "cannot send") : is_silent(s, s->silence_s, err);
}

/*
 * libssh lets the server send what there is room for in a read, and says so in a packet of its own:
 * once in half a window is enough. Of `in`, no more is touched than comes at once.
 */
static int fill(struct sftp_session *s, struct err *err)
{
    bool grow = s->since_grown >= SFTP_WINDOW_BYTES / 2;
    int n = ssh_channel_read(s->channel, s->in, grow ? SFTP_WINDOW_BYTES : TAKE_BYTES, 0);

    if (n < 0)
        return ssh_failed(s, err, "the connection failed");
    if (n == 0 && !ssh_channel_is_eof(s->channel))
        return is_silent(s, s->silence_s, err);
    if (n == 0) {
        s->broken = true;
        return err_set(err, ERR_NETWORK, "the server ended its SFTP service");
    }
    s->since_grown = (grow ? 0 : s->since_grown) + (size_t)n;
    s->in_at = 0;
    s->in_len = (size_t)n;
    return 0;
}

ssize_t sftp_session_take(struct sftp_session *s, const char **ret, size_t most, struct err *err)
{
    if (s->in_at == s->in_len && fill(s, err) < 0)
        return -1;
    size_t n = s->in_len - s->in_at < most ? s->in_len - s->in_at : most;
    *ret = s->in + s->in_at;
    s->in_at += n;
    return (ssize_t)n;
}

/* --- the session --- */

static void free_session(struct sftp_session *s)
{
    ssh_free(s->ssh);
    free(s->in);
    free(s);
}

void sftp_session_close(struct sftp_session *s)
{
    if (!s)
        return;
    ssh_disconnect(s->ssh);
    free_session(s);
}

void sftp_session_forget(struct sftp_session *s)
{
    if (!s)
        return;
    ssh_silent_disconnect(s->ssh);
    free_session(s);
}

static int set_options(struct sftp_session *s, const struct sftp_login *login, struct err *err)
{
    long connect_s = store_connect_timeout(login->silence_s);

    if (ssh_options_set(s->ssh, SSH_OPTIONS_TIMEOUT, &connect_s) < 0)
        return err_set(err, ERR_FAILED, "cannot set up libssh: %s", ssh_get_error(s->ssh));
    return ask_for_known_keys(s, login->host_keys, err);
}

static void no_session(
    struct sftp_session *s, const struct sftp_login *login, bool late, struct err *err)
{
    if (late) {
        err_set(err, ERR_TIMEOUT, "no SSH session with '%s' port %d within %ld s", login->host,
            login->port, store_connect_timeout(login->silence_s));
        return;
    }
    const char *text = ssh_get_error(s->ssh);
    bool kinds = strstr(text, "no match for method");
    err_set(err, kinds ? ERR_PROTOCOL : ERR_NETWORK, "no SSH session with '%s' port %d: %s",
        login->host, login->port, text);
    if (kinds)
        err_hint(err, "Perhaps the server has no key of the kind by which it is known, or only "
                      "ciphers that libssh lacks.");
}

/* Up to the server's key. */
static int greet(struct sftp_session *s, const struct sftp_login *login, struct err *err)
{
    if (set_options(s, login, err) < 0)
        return -1;
    int fd = connect_host(login, err);
    if (fd < 0)
        return -1;
    int64_t late_ms = clock_mono_ms() + store_connect_timeout(login->silence_s) * 1000;
    ssh_options_set(s->ssh, SSH_OPTIONS_FD, &fd);
    bool connected = ssh_connect(s->ssh) == SSH_OK;
    if (!connected)
        no_session(s, login, clock_mono_ms() >= late_ms, err);
    /* Else libssh would not close it. */
    ssh_options_set(s->ssh, SSH_OPTIONS_FD, &(socket_t){-1});
    if (!connected)
        return -1;
    /* libssh made it block: a server that takes nothing more would hold us in send(). */
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return err_sys(err, ERR_FAILED, "cannot set up a socket");
    return check_host(login, s, err);
}

static int open_service(struct sftp_session *s, const struct sftp_login *login, struct err *err)
{
    ssh_options_set(s->ssh, SSH_OPTIONS_TIMEOUT, &login->silence_s);
    s->channel = ssh_channel_new(s->ssh);
    int rc = s->channel ? ssh_channel_open_session(s->channel) : SSH_ERROR;
    if (rc == SSH_OK)
        rc = ssh_channel_request_sftp(s->channel);
    if (rc == SSH_AGAIN)
        return is_silent(s, s->silence_s, err);
    return rc == SSH_OK ? 0 : ssh_failed(s, err, "'%s' has no SFTP service", login->host);
}

struct sftp_session *sftp_session_open(const struct sftp_login *login, struct err *err)
{
    ssh_session ssh = ssh_setup_session(login->user);
    if (!ssh) {
        err_set(err, ERR_FAILED, "cannot start libssh");
        return NULL;
    }
    struct sftp_session *s = xmalloc(sizeof(*s));
    *s = (struct sftp_session){.ssh = ssh,
        .silence_s = login->silence_s,
        .in = xmalloc(SFTP_WINDOW_BYTES),
        .since_grown = SFTP_WINDOW_BYTES};
    if (greet(s, login, err) == 0 && log_in(s, login, err) == 0 && open_service(s, login, err) == 0)
        return s;
    sftp_session_close(s);
    return NULL;
}
