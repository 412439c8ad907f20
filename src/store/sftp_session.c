#include "sftp_session.h"

#include <errno.h>
#include <malloc.h>
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
#include "recluster/base64.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/known_hosts.h"

enum {
    KNOWN_HOSTS_BYTES_MAX = 16 << 20,
    FINGERPRINT_MAX = 64,
    SHA256_BYTES = 32,
    HEAP_KEPT_BYTES = 16 << 20,
};

/* --- errors --- */

static enum err_code code_of_status(unsigned long status)
{
    switch (status) {
    case LIBSSH2_FX_NO_SUCH_FILE:
    case LIBSSH2_FX_NO_SUCH_PATH:
    case LIBSSH2_FX_NOT_A_DIRECTORY:
        return ERR_NOT_FOUND;
    case LIBSSH2_FX_PERMISSION_DENIED:
    case LIBSSH2_FX_WRITE_PROTECT:
        return ERR_DENIED;
    case LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM:
    case LIBSSH2_FX_QUOTA_EXCEEDED:
        return ERR_SPACE;
    case LIBSSH2_FX_NO_CONNECTION:
    case LIBSSH2_FX_CONNECTION_LOST:
        return ERR_NETWORK;
    default:
        return ERR_IO;
    }
}

static const char *text_of_code(enum err_code code)
{
    return code == ERR_NOT_FOUND ? "there is no such file or folder"
           : code == ERR_DENIED  ? "permission denied"
           : code == ERR_SPACE   ? "no space left"
                                 : "the server failed";
}

static enum err_code code_of_libssh2(int code)
{
    switch (code) {
    case LIBSSH2_ERROR_SOCKET_SEND:
    case LIBSSH2_ERROR_SOCKET_RECV:
    case LIBSSH2_ERROR_SOCKET_DISCONNECT:
    case LIBSSH2_ERROR_SOCKET_NONE:
    case LIBSSH2_ERROR_BANNER_RECV:
    case LIBSSH2_ERROR_CHANNEL_CLOSED:
    case LIBSSH2_ERROR_CHANNEL_EOF_SENT:
        return ERR_NETWORK;
    case LIBSSH2_ERROR_TIMEOUT:
    case LIBSSH2_ERROR_SOCKET_TIMEOUT:
        return ERR_TIMEOUT;
    default:
        return ERR_PROTOCOL;
    }
}

int sftp_session_error(struct sftp_session *s, struct err *err, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    int code = libssh2_session_last_error(s->ssh, &text, NULL, 0);

    va_start(args, fmt);
    CLEANUP(free_ptr) char *what = xvasprintf(fmt, args);
    va_end(args);
    if (code == LIBSSH2_ERROR_SFTP_PROTOCOL && s->sftp) {
        enum err_code of = code_of_status(libssh2_sftp_last_error(s->sftp));
        return err_set(err, of, "%s: %s", what, text_of_code(of));
    }
    return err_set(err, code_of_libssh2(code), "%s: %s", what, text && *text ? text : "it failed");
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

/* "SHA256:…" as ssh-keygen -l prints it. */
static void fingerprint(LIBSSH2_SESSION *ssh, char ret[FINGERPRINT_MAX])
{
    const char *hash = libssh2_hostkey_hash(ssh, LIBSSH2_HOSTKEY_HASH_SHA256);
    CLEANUP(free_ptr) char *text = base64_encode(hash, hash ? SHA256_BYTES : 0);

    snprintf(ret, FINGERPRINT_MAX, "SHA256:%.*s", (int)strcspn(text, "="), text);
}

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

/* The kinds of keys that the server may show; all, if one is only known by its fingerprint. */
static int ask_for_known_keys(struct sftp_session *s, const json_t *keys, struct err *err)
{
    CLEANUP(buf_release) struct buf methods = BUF_INIT;
    size_t i;
    json_t *key;

    json_array_foreach (keys, i, key) {
        const char *text = json_string_value(key);
        size_t len = text ? strcspn(text, " ") : 0;
        if (!text || !text[len])
            return 0;
        buf_addf(&methods, "%s%.*s", methods.len ? "," : "", (int)len, text);
    }
    if (!methods.len ||
        libssh2_session_method_pref(s->ssh, LIBSSH2_METHOD_HOSTKEY, methods.data) == 0)
        return 0;
    return sftp_session_error(s, err, "cannot ask for a host key of the kinds '%s'", methods.data);
}

static bool is_known(LIBSSH2_SESSION *ssh, const json_t *keys, const char *print)
{
    size_t len = 0, i;
    json_t *known;
    const char *key = libssh2_session_hostkey(ssh, &len, NULL);

    CLEANUP(free_ptr) char *text = base64_encode(key, key ? len : 0);
    json_array_foreach (keys, i, known) {
        const char *is = json_string_value(known);
        const char *space = is ? strchr(is, ' ') : NULL;
        if (is && strcmp(space ? space + 1 : is, space ? text : print) == 0)
            return true;
    }
    return false;
}

static int check_host(const struct sftp_login *login, struct sftp_session *s, struct err *err)
{
    char print[FINGERPRINT_MAX];
    bool none = json_array_size(login->host_keys) == 0;

    fingerprint(s->ssh, print);
    if (is_known(s->ssh, login->host_keys, print))
        return 0;
    err_set(err, ERR_DENIED, "the SSH server '%s' port %d has the key %s, which is not %s",
        login->host, login->port, print, none ? "known" : "the one that is known");
    if (none)
        return err_hint(err,
            "If that is its key, add it to ~/.ssh/known_hosts (ssh-keyscan -p %d "
            "%s) or give the location \"host_key\": \"%s\".",
            login->port, login->host, print);
    return err_hint(err, "Somebody may be listening in. If the server was given a new key, correct "
                         "~/.ssh/known_hosts or the \"host_key\" of the location.");
}

/* --- the login --- */

static LIBSSH2_USERAUTH_KBDINT_RESPONSE_FUNC(answer_password)
{
    const struct sftp_login *login = *abstract;
    const char *password = secret_reveal(login->password);

    (void)name, (void)name_len, (void)instruction, (void)instruction_len, (void)prompts;
    for (int i = 0; i < num_prompts; i++) {
        responses[i].text = strdup(password); /* libssh2 frees it */
        responses[i].length = (unsigned)strlen(password);
    }
}

static bool login_with_key(struct sftp_session *s, const struct sftp_login *login)
{
    const char *key = secret_reveal(login->key);
    return libssh2_userauth_publickey_frommemory(s->ssh, login->user, strlen(login->user), NULL, 0,
               key, strlen(key), secret_reveal(login->key_password)) == 0;
}

static bool login_with_password(
    struct sftp_session *s, const struct sftp_login *login, const char *methods)
{
    const char *password = secret_reveal(login->password);
    unsigned user_len = (unsigned)strlen(login->user);

    if (strstr(methods, "password") && libssh2_userauth_password_ex(s->ssh, login->user, user_len,
                                           password, (unsigned)strlen(password), NULL) == 0)
        return true;
    return strstr(methods, "keyboard-interactive") &&
           libssh2_userauth_keyboard_interactive_ex(
               s->ssh, login->user, user_len, answer_password) == 0;
}

static bool login_with_agent(struct sftp_session *s, const char *user)
{
    struct libssh2_agent_publickey *identity = NULL;
    LIBSSH2_AGENT *agent = getenv("SSH_AUTH_SOCK") ? libssh2_agent_init(s->ssh) : NULL;
    bool done = false;

    if (!agent)
        return false;
    if (libssh2_agent_connect(agent) == 0 && libssh2_agent_list_identities(agent) == 0)
        while (!done && libssh2_agent_get_identity(agent, &identity, identity) == 0)
            done = libssh2_agent_userauth(agent, user, identity) == 0;
    libssh2_agent_disconnect(agent);
    libssh2_agent_free(agent);
    return done;
}

static bool login_with_files(struct sftp_session *s, const char *user)
{
    static const char *const files[] = {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"};
    bool done = false;

    for (size_t i = 0; i < ARRAY_SIZE(files) && !done; i++) {
        CLEANUP(free_ptr) char *path = path_expand_home(files[i]);
        done = file_exists(path) && libssh2_userauth_publickey_fromfile_ex(s->ssh, user,
                                        (unsigned)strlen(user), NULL, path, NULL) == 0;
    }
    return done;
}

static int refused(struct sftp_session *s, const struct sftp_login *login, struct err *err)
{
    char *text = NULL;
    int code = libssh2_session_last_error(s->ssh, &text, NULL, 0);
    enum err_code lost = code_of_libssh2(code);

    if (err_code_is_retried(lost))
        return err_set(err, lost, "cannot log in to '%s' as '%s': %s", login->host, login->user,
            text ? text : "it failed");
    err_set(err, ERR_DENIED, "'%s' refuses the login as '%s': %s", login->host, login->user,
        text && *text ? text : "no way to log in is left");
    if (login->key)
        return err_hint(err, "Is the key the right one, and allowed there? An RSA key is refused "
                             "by servers that want rsa-sha2, which libssh2 " LIBSSH2_VERSION
                             " may lack: use an ed25519 key.");
    if (login->password)
        return err_hint(err, "Check user and password of the location.");
    return err_hint(err, "Give the location a \"key\" (the private key: {\"file\": PATH}) or a "
                         "password.");
}

static int log_in(struct sftp_session *s, const struct sftp_login *login, struct err *err)
{
    bool done = false;
    /* Also asks to be let in with nothing. */
    const char *methods = libssh2_userauth_list(s->ssh, login->user, (unsigned)strlen(login->user));

    if (!methods && libssh2_userauth_authenticated(s->ssh))
        return 0;
    if (methods) {
        CLEANUP(free_ptr) char *kept = xstrdup(methods);
        if (login->key)
            done = login_with_key(s, login);
        if (!done && login->password)
            done = login_with_password(s, login, kept);
        if (!login->key && !login->password)
            done = login_with_agent(s, login->user) || login_with_files(s, login->user);
    }
    return done ? 0 : refused(s, login, err);
}

/* --- the session --- */

void sftp_session_close(struct sftp_session *s)
{
    if (!s)
        return;
    /* A server that is gone must not keep us. */
    if (s->ssh)
        libssh2_session_set_timeout(s->ssh, 1000);
    if (s->sftp)
        libssh2_sftp_shutdown(s->sftp);
    if (s->ssh) {
        libssh2_session_disconnect(s->ssh, "done");
        libssh2_session_free(s->ssh);
    }
    close(s->fd);
    free(s);
}

/* Up to the server's key. */
static int greet(struct sftp_session *s, const struct sftp_login *login, struct err *err)
{
    /* The login is what the callback of keyboard-interactive gets; it only reads. */
    s->ssh = libssh2_session_init_ex(NULL, NULL, NULL, (void *)(uintptr_t)login);
    if (!s->ssh)
        return err_set(err, ERR_FAILED, "cannot start libssh2");
    libssh2_session_set_blocking(s->ssh, 1);
    libssh2_session_set_timeout(s->ssh, store_connect_timeout(login->silence_s) * 1000);
    if (ask_for_known_keys(s, login->host_keys, err) < 0)
        return -1;
    if (libssh2_session_handshake(s->ssh, s->fd) == 0)
        return check_host(login, s, err);
    bool kinds = libssh2_session_last_errno(s->ssh) == LIBSSH2_ERROR_KEX_FAILURE;
    sftp_session_error(s, err, "no SSH session with '%s' port %d", login->host, login->port);
    return kinds ? err_hint(err, "Perhaps the server has no key of the kind by which it is known, "
                                 "or only ciphers that libssh2 " LIBSSH2_VERSION " lacks.")
                 : -1;
}

static int open_service(struct sftp_session *s, const struct sftp_login *login, struct err *err)
{
    libssh2_session_set_timeout(s->ssh, login->silence_s * 1000);
    s->sftp = libssh2_sftp_init(s->ssh);
    return s->sftp ? 0 : sftp_session_error(s, err, "'%s' has no SFTP service", login->host);
}

struct sftp_session *sftp_session_open(const struct sftp_login *login, struct err *err)
{
    int fd = connect_host(login, err);
    if (fd < 0)
        return NULL;
    /* libssh2 takes and frees memory for each packet: not from the kernel and back to it. */
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
    struct sftp_session *s = xmalloc(sizeof(*s));
    *s = (struct sftp_session){.fd = fd};
    if (greet(s, login, err) == 0 && log_in(s, login, err) == 0 && open_service(s, login, err) == 0)
        return s;
    sftp_session_close(s);
    return NULL;
}
