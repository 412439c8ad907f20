/* Sessions by libssh2 (session.h): memory, bytes, methods and the channel. */

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/mem.h"
#include "session_libssh2.h"
#include "wire.h"

enum {
    SAID_MAX = 300,
    VERSION_ADDS_EXTENSIONS = 0x010b01,
};

bool library_is(int version)
{
    return libssh2_version(version) != NULL;
}

bool session_signs_with_rsa(void)
{
    return library_is(VERSION_RSA_SHA2);
}

const char *session_library(void)
{
    static char name[64];

    if (!name[0])
        snprintf(name, sizeof(name), "libssh2 %s", libssh2_version(0));
    return name;
}

const char *session_newer_library(void)
{
    return "libssh2 1.11";
}

/* --- memory: bounded, and wiped as long as it may hold what a login needs --- */

LIBSSH2_ALLOC_FUNC(library_allocate)
{
    struct session *s = *abstract;
    bool fits = s->allocated <= SSH_BYTES_MAX && count <= SSH_BYTES_MAX - s->allocated;
    void *p = fits ? malloc(count) : NULL;

    s->full |= !fits;
    if (p)
        s->allocated += malloc_usable_size(p);
    return p;
}

static LIBSSH2_FREE_FUNC(release)
{
    struct session *s = *abstract;

    if (!ptr)
        return;
    size_t size = malloc_usable_size(ptr);
    s->allocated -= size;
    if (s->logging_in)
        explicit_bzero(ptr, size);
    free(ptr);
}

static LIBSSH2_REALLOC_FUNC(reallocate)
{
    void *p = library_allocate(count, abstract);

    if (!p || !ptr)
        return p;
    size_t old = malloc_usable_size(ptr);
    memcpy(p, ptr, old < count ? old : count);
    release(ptr, abstract);
    return p;
}

/* --- bytes --- */

static LIBSSH2_RECV_FUNC(take)
{
    struct session *s = *abstract;

    (void)flags;
    if (s->silent)
        return -ECONNRESET;
    if (length > s->may_take)
        length = s->may_take;
    if (!length)
        return -EAGAIN;
    ssize_t n = recv(socket, buffer, length, 0);
    s->broken |= n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (n < 0)
        return -errno;
    s->may_take -= (size_t)n;
    offer_add(&s->offer, buffer, (size_t)n);
    return n;
}

static LIBSSH2_SEND_FUNC(give)
{
    struct session *s = *abstract;

    (void)flags;
    if (s->silent)
        return -EPIPE;
    ssize_t n = send(socket, buffer, length, MSG_NOSIGNAL);
    s->broken |= n < 0 && errno != EAGAIN && errno != EINTR;
    return n < 0 ? -errno : n;
}

static LIBSSH2_DISCONNECT_FUNC(hear_good_bye)
{
    struct session *s = *abstract;

    (void)session, (void)reason, (void)language, (void)language_len;
    free(s->said);
    s->said = message_len > 0 ? wire_printable(message, (size_t)message_len, SAID_MAX) : NULL;
    s->broken = true;
}

static void set_callbacks(LIBSSH2_SESSION *library)
{
#if LIBSSH2_VERSION_NUM >= 0x010b01
    libssh2_session_callback_set2(library, LIBSSH2_CALLBACK_RECV, (libssh2_cb_generic *)take);
    libssh2_session_callback_set2(library, LIBSSH2_CALLBACK_SEND, (libssh2_cb_generic *)give);
    libssh2_session_callback_set2(
        library, LIBSSH2_CALLBACK_DISCONNECT, (libssh2_cb_generic *)hear_good_bye);
#else
    /* Functions as pointers to data: the library has no other form. */
    union {
        void *data;
        LIBSSH2_RECV_FUNC((*take));
        LIBSSH2_SEND_FUNC((*give));
        LIBSSH2_DISCONNECT_FUNC((*hear));
    } f;
    f.take = take;
    libssh2_session_callback_set(library, LIBSSH2_CALLBACK_RECV, f.data);
    f.give = give;
    libssh2_session_callback_set(library, LIBSSH2_CALLBACK_SEND, f.data);
    f.hear = hear_good_bye;
    libssh2_session_callback_set(library, LIBSSH2_CALLBACK_DISCONNECT, f.data);
#endif
}

/* --- errors --- */

int session_error(struct session *s, enum err_code code, const char *what, struct err *err)
{
    char *text = NULL;

    libssh2_session_last_error(s->library, &text, NULL, 0);
    if (s->said)
        return err_set(err, ERR_NETWORK, "%s: it hung up: %s", what, s->said);
    AUTO_FREE char *said = wire_printable(text ? text : "", SAID_MAX, SAID_MAX);
    if (s->broken)
        return err_set(err, ERR_NETWORK, "%s: it hung up", what);
    if (s->full)
        return err_set(err, ERR_LIMIT, "%s: it sends more than a session may hold", what);
    return err_set(err, code, "%s: %s", what, *said ? said : "it failed");
}

/* The result of a library call: 0, SSH_WAIT, or -1 with the error. */
static int outcome(struct session *s, int rc, const char *what, struct err *err)
{
    if (rc == 0)
        return 0;
    return rc == LIBSSH2_ERROR_EAGAIN ? SSH_WAIT : session_error(s, ERR_PROTOCOL, what, err);
}

/* --- methods --- */

/* The library's methods of a kind: those of `wanted` first, then the others. */
struct wish {
    int method;
    enum offer_kind kind;
    const char *const *wanted;   /* NULL-ended; may be NULL */
    const char *const *unwanted; /* parts of names; the same */
    bool only_wanted;            /* none of the others */
};

static bool is_unwanted(const struct wish *w, const char *name)
{
    for (const char *const *part = w->unwanted; part && *part; part++)
        if (strstr(name, *part))
            return true;
    return false;
}

static bool is_wanted(const struct wish *w, const char *name)
{
    for (const char *const *one = w->wanted; one && *one; one++)
        if (strcmp(*one, name) == 0)
            return true;
    return false;
}

static void add_name(struct buf *names, const char *name)
{
    buf_addf(names, "%s%s", names->len ? "," : "", name);
}

static int choose(struct session *s, const struct wish *w)
{
    const char **known;
    struct buf names = BUF_INIT;
    int count = libssh2_session_supported_algs(s->library, w->method, &known);

    if (count < 0)
        return -1;
    for (const char *const *one = w->wanted; one && *one; one++)
        for (int i = 0; i < count; i++)
            if (strcmp(known[i], *one) == 0)
                add_name(&names, *one);
    for (int i = 0; i < count && !w->only_wanted; i++)
        if (!is_wanted(w, known[i]) && !is_unwanted(w, known[i]))
            add_name(&names, known[i]);
    libssh2_free(s->library, known);
    free(s->ours[w->kind]);
    s->ours[w->kind] = buf_take(&names);
    return libssh2_session_method_pref(s->library, w->method, s->ours[w->kind]);
}

/* SHA-1 and MD5 prove nothing any more, and old ciphers leak. */
static int choose_methods(struct session *s)
{
    static const char *const ciphers[] = {"aes128-gcm@openssh.com", "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr", NULL};
    static const char *const weak[] = {"sha1", "md5", "ripemd", "none", NULL};
    static const char *const weak_kex[] = {"sha1", "ext-info-c", "kex-strict", NULL};
    const struct wish wishes[] = {
        {LIBSSH2_METHOD_KEX, OFFER_KEX,
            .unwanted = library_is(VERSION_ADDS_EXTENSIONS) ? weak_kex : weak},
        {LIBSSH2_METHOD_CRYPT_CS, OFFER_CIPHERS_OUT, ciphers, .only_wanted = true},
        {LIBSSH2_METHOD_CRYPT_SC, OFFER_CIPHERS_IN, ciphers, .only_wanted = true},
        {LIBSSH2_METHOD_MAC_CS, OFFER_MACS_OUT, .unwanted = weak},
        {LIBSSH2_METHOD_MAC_SC, OFFER_MACS_IN, .unwanted = weak},
    };

    for (size_t i = 0; i < ARRAY_SIZE(wishes); i++)
        if (choose(s, &wishes[i]) < 0)
            return -1;
    return 0;
}

/* Key types and the algorithms with which they prove a host. RSA with SHA-1 is no proof. */
static const struct {
    const char *type, *algorithms[3];
} host_key_algorithms[] = {
    {"ssh-ed25519", {"ssh-ed25519"}},
    {"ecdsa-sha2-nistp256", {"ecdsa-sha2-nistp256"}},
    {"ecdsa-sha2-nistp384", {"ecdsa-sha2-nistp384"}},
    {"ecdsa-sha2-nistp521", {"ecdsa-sha2-nistp521"}},
    {"ssh-rsa", {"rsa-sha2-512", "rsa-sha2-256"}},
};

static int choose_host_keys(struct session *s, const char *const *types, size_t count)
{
    const char *wanted[2 * ARRAY_SIZE(host_key_algorithms) + 1];
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < ARRAY_SIZE(host_key_algorithms); j++)
            for (const char *const *a = host_key_algorithms[j].algorithms;
                 *a && strcmp(types[i], host_key_algorithms[j].type) == 0 &&
                 n + 1 < ARRAY_SIZE(wanted);
                 a++)
                wanted[n++] = *a;
    wanted[n] = NULL;
    const struct wish wish = {
        LIBSSH2_METHOD_HOSTKEY, OFFER_HOST_KEYS, .wanted = wanted, .only_wanted = true};
    return choose(s, &wish);
}

bool session_knows_host_key(const char *type)
{
    return strcmp(type, "ssh-rsa") != 0 || library_is(VERSION_RSA_SHA2);
}

/* --- the session --- */

struct session *session_new(int fd, struct err *err)
{
    struct session *s = xcalloc(1, sizeof(*s));

    s->fd = fd;
    s->logging_in = true;
    s->offer = (struct offer)OFFER_INIT;
    if (libssh2_init(0) == 0)
        s->library = libssh2_session_init_ex(library_allocate, release, reallocate, s);
    if (s->library) {
        libssh2_session_set_blocking(s->library, 0);
        set_callbacks(s->library);
        if (choose_methods(s) == 0)
            return s;
    }
    session_free(s, false);
    err_set(err, ERR_FAILED, "cannot set up %s", session_library());
    return NULL;
}

void session_free(struct session *s, bool says_good_bye)
{
    if (!s)
        return;
    if (s->library && says_good_bye && !s->broken)
        libssh2_session_disconnect(s->library, "done");
    s->silent = true; /* so it does not wait */
    if (s->library)
        libssh2_session_free(s->library);
    for (size_t i = 0; i < OFFER_KINDS; i++)
        free(s->ours[i]);
    offer_release(&s->offer);
    free(s->said);
    free(s);
}

/* Names the kind of method that both sides do not share, and returns -1; 0: another failure. */
static int no_common_method(struct session *s, struct err *err)
{
    static const char *const kinds[] = {[OFFER_KEX] = "way to exchange keys",
        [OFFER_HOST_KEYS] = "type of host key",
        [OFFER_CIPHERS_OUT] = "cipher",
        [OFFER_CIPHERS_IN] = "cipher",
        [OFFER_MACS_OUT] = "MAC",
        [OFFER_MACS_IN] = "MAC"};

    for (int kind = 0; kind < OFFER_KINDS; kind++) {
        AUTO_FREE char *theirs = offer_names(&s->offer, (enum offer_kind)kind);
        if (!theirs || offer_meets(theirs, s->ours[kind]))
            continue;
        err_set(err, ERR_UNSUPPORTED,
            "it shares no %s with %s: it offers %.300s, this library knows %.300s", kinds[kind],
            session_library(), theirs, s->ours[kind]);
        if (kind == OFFER_HOST_KEYS)
            return err_hint(err,
                "Give it a host key of the type ed25519 or ecdsa (ssh-keygen -A, then restart "
                "sshd)%s, or reach a host by \"link\": \"command\" with ssh.",
                session_signs_with_rsa() ? "" : ", use libssh2 1.11 or later, which knows RSA");
        return err_hint(err,
            "Allow one of them in its sshd_config, use a newer libssh2, or reach a host by "
            "\"link\": \"command\" with ssh.");
    }
    return 0;
}

int session_handshake(
    struct session *s, const char *const *host_key_types, size_t count, struct err *err)
{
    if (!s->ours[OFFER_HOST_KEYS] && choose_host_keys(s, host_key_types, count) < 0)
        return session_error(s, ERR_FAILED, "cannot choose the types of host keys", err);
    s->may_take = TAKE_BYTES_MAX;
    int rc = outcome(
        s, libssh2_session_handshake(s->library, s->fd), "no SSH session could be made", err);
    if (rc == -1 && no_common_method(s, err) == 0) {
        AUTO_FREE char *said = offer_refusal(&s->offer, SAID_MAX);
        if (said)
            err_set(err, s->broken ? ERR_NETWORK : ERR_PROTOCOL,
                "no SSH session could be made: it says '%s'", said);
    }
    return rc;
}

const char *session_host_key(struct session *s, size_t *ret_len)
{
    int type;
    return libssh2_session_hostkey(s->library, ret_len, &type);
}

void session_wait(const struct session *s, struct wait *wait)
{
    int blocked = libssh2_session_block_directions(s->library);
    wait_fd(wait, s->fd, blocked & LIBSSH2_SESSION_BLOCK_OUTBOUND ? POLLOUT : POLLIN);
}

bool session_is_sending(const struct session *s)
{
    return libssh2_session_block_directions(s->library) & LIBSSH2_SESSION_BLOCK_OUTBOUND;
}

/* --- the channel --- */

int session_close_channel(struct session *s, struct err *err)
{
    if (!s->channel)
        return 0;
    s->may_take = TAKE_BYTES_MAX;
    int rc = libssh2_channel_free(s->channel);
    if (rc != LIBSSH2_ERROR_EAGAIN)
        s->channel = NULL;
    return outcome(s, rc, "the channel cannot be closed", err);
}

int session_open(struct session *s, struct err *err)
{
    if (s->channel)
        return 0;
    s->may_take = TAKE_BYTES_MAX;
    s->channel = libssh2_channel_open_session(s->library);
    if (s->channel)
        return 0;
    return libssh2_session_last_errno(s->library) == LIBSSH2_ERROR_EAGAIN
               ? SSH_WAIT
               : session_error(s, ERR_PROTOCOL, "it does not open a channel", err);
}

int session_request(struct session *s, enum ssh_service service, const char *name, struct err *err)
{
    const char *kind = service == SSH_COMMAND ? "exec" : "subsystem";

    s->may_take = TAKE_BYTES_MAX;
    int rc = libssh2_channel_process_startup(
        s->channel, kind, (unsigned)strlen(kind), name, (unsigned)strlen(name));
    return outcome(s, rc,
        service == SSH_COMMAND ? "it does not start a shell" : "it has no such service", err);
}

ssize_t session_read(
    struct session *s, enum session_stream stream, void *data, size_t size, struct err *err)
{
    int id = stream == SESSION_OUTPUT ? 0 : SSH_EXTENDED_DATA_STDERR;

    s->may_take = TAKE_BYTES_MAX;
    ssize_t n = libssh2_channel_read_ex(s->channel, id, data, size);
    if (n > 0)
        return n;
    if (n == 0 && s->broken && !libssh2_channel_eof(s->channel))
        return session_error(s, ERR_NETWORK, "the connection broke", err);
    return outcome(s, (int)n, "the connection broke", err);
}

ssize_t session_write(struct session *s, const void *data, size_t len, struct err *err)
{
    s->may_take = TAKE_BYTES_MAX;
    ssize_t n = libssh2_channel_write_ex(s->channel, 0, data, len);
    if (n > 0)
        return n;
    return n == 0 ? SSH_WAIT : outcome(s, (int)n, "the connection broke", err);
}

int session_send_eof(struct session *s, struct err *err)
{
    s->may_take = TAKE_BYTES_MAX;
    return outcome(s, libssh2_channel_send_eof(s->channel), "the connection broke", err);
}

int session_exit(struct session *s, int *ret_status, char **ret_signal, struct err *err)
{
    char *name = NULL;
    size_t len = 0;

    s->may_take = TAKE_BYTES_MAX;
    int rc = outcome(s, libssh2_channel_wait_closed(s->channel), "the connection broke", err);
    if (rc != 0)
        return rc;
    if (s->broken)
        return session_error(s, ERR_NETWORK, "the connection broke", err);
    *ret_status = libssh2_channel_get_exit_status(s->channel);
    *ret_signal = NULL;
    if (libssh2_channel_get_exit_signal(s->channel, &name, &len, NULL, NULL, NULL, NULL) == 0 &&
        name) {
        *ret_signal = wire_printable(name, len, SAID_MAX);
        libssh2_free(s->library, name);
    }
    return 0;
}
