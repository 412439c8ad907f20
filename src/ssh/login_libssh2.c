/* Logins by libssh2 (session.h). */

#include <stdlib.h>
#include <string.h>

#include "recluster/mem.h"
#include "session_libssh2.h"
#include "wire.h"

enum { QUESTION_ROUNDS_MAX = 8 };

/* Older versions put a wrong name or form around the signatures of these keys. */
bool session_knows_user_key(const char *type)
{
    bool certificate = strstr(type, "-cert-v0") != NULL;

    if (library_is(VERSION_RSA_SHA2))
        return true;
    return certificate ? strncmp(type, "ecdsa-", 6) == 0 : strncmp(type, "sk-", 3) != 0;
}

/* The library's codes separate these outcomes, except for a failed signature. */
static enum session_login login_outcome(struct session *s, int rc)
{
    switch (rc) {
    case 0:
        s->logging_in = false;
        return LOGIN_DONE;
    case LIBSSH2_ERROR_EAGAIN:
        return LOGIN_WAITS;
    case LIBSSH2_ERROR_AUTHENTICATION_FAILED:
    case LIBSSH2_ERROR_PASSWORD_EXPIRED:
        return s->broken ? LOGIN_FAILED : LOGIN_REFUSED;
    case LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED: /* after the signature, or without an answer */
        return s->broken ? LOGIN_FAILED : LOGIN_WANTS_MORE;
    default:
        return LOGIN_FAILED;
    }
}

enum session_login session_login_ways(struct session *s, const char *user, unsigned *ret_ways)
{
    s->may_take = TAKE_BYTES_MAX;
    const char *list = libssh2_userauth_list(s->library, user, (unsigned)strlen(user));

    *ret_ways = 0;
    if (!list && libssh2_userauth_authenticated(s->library))
        return login_outcome(s, 0);
    if (!list)
        return libssh2_session_last_errno(s->library) == LIBSSH2_ERROR_EAGAIN ? LOGIN_WAITS
                                                                              : LOGIN_FAILED;
    *ret_ways |= offer_has(list, "publickey", 9) ? LOGIN_BY_KEY : 0;
    *ret_ways |= offer_has(list, "password", 8) ? LOGIN_BY_PASSWORD : 0;
    *ret_ways |= offer_has(list, "keyboard-interactive", 20) ? LOGIN_BY_QUESTIONS : 0;
    return LOGIN_REFUSED;
}

/* Without a passphrase OpenSSL would ask for one on the terminal. */
static int try_key(struct session *s, const char *user, const char *public, const char *text,
    const char *passphrase)
{
    s->may_take = TAKE_BYTES_MAX;
    return libssh2_userauth_publickey_frommemory(s->library, user, strlen(user), public,
        public ? strlen(public) : 0, text, strlen(text), passphrase ? passphrase : "");
}

/*
 * With its public half, a private key is opened only if the server knows it, but then a wrong
 * passphrase looks like a rejected signature. Without it, the key is opened first.
 */
enum session_login session_login_key(struct session *s, const char *user, const char *public,
    const char *text, const char *passphrase)
{
    if (!s->looks_at_private) {
        int rc = try_key(s, user, public, text, passphrase);
        s->looks_at_private = rc == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED && public && !s->broken;
        enum session_login login = login_outcome(s, rc);
        if (!s->looks_at_private)
            return login == LOGIN_FAILED && !s->broken ? LOGIN_KEY_UNUSABLE : login;
    }
    enum session_login login = login_outcome(s, try_key(s, user, NULL, text, passphrase));
    if (login == LOGIN_WAITS)
        return login;
    s->looks_at_private = false;
    if (login == LOGIN_FAILED && !s->broken)
        return LOGIN_KEY_UNUSABLE;
    return login == LOGIN_REFUSED ? LOGIN_WANTS_MORE : login;
}

/* The algorithm in the data to sign (RFC 4252, section 7); NULL: missing. */
static char *algorithm_of(const void *data, size_t len)
{
    struct wire w = wire_of(data, len);
    size_t n;

    wire_string(&w, &n); /* the session's number */
    wire_byte(&w);
    wire_string(&w, &n); /* user */
    wire_string(&w, &n); /* service */
    wire_string(&w, &n); /* method */
    wire_byte(&w);
    const char *name = wire_string(&w, &n);
    return w.bad ? NULL : xstrndup(name, n);
}

static LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(sign)
{
    struct session *s = *abstract;
    AUTO_FREE char *algorithm = algorithm_of(data, data_len);
    CLEANUP(buf_release) struct buf signature = BUF_INIT;

    (void)session;
    int rc =
        algorithm ? s->signer->sign(s->signer->arg, algorithm, data, data_len, &signature) : -1;
    if (rc == SSH_WAIT)
        return LIBSSH2_ERROR_EAGAIN;
    s->sign_failed = rc != 0;
    if (rc != 0)
        return LIBSSH2_ERROR_FILE;
    void *self = s;
    *sig = library_allocate(signature.len, &self);
    if (!*sig)
        return LIBSSH2_ERROR_ALLOC;
    memcpy(*sig, signature.data, signature.len);
    *sig_len = signature.len;
    return 0;
}

/*
 * The library takes the algorithm's name from the key. Older ones always use "ssh-rsa" for RSA,
 * which means SHA-1. OpenSSH accepts a key under the name of its algorithm too.
 */
static void name_by_algorithm(struct buf *key, const void *original, size_t len)
{
    struct wire w = wire_of(original, len);

    if (!library_is(VERSION_RSA_SHA2) && wire_string_is(&w, "ssh-rsa"))
        wire_put_string(key, "rsa-sha2-256", 12);
    else
        w = wire_of(original, len);
    buf_add(key, w.at, (size_t)(w.end - w.at));
}

enum session_login session_login_signer(struct session *s, const char *user, const void *key,
    size_t key_len, const struct session_signer *signer)
{
    CLEANUP(buf_release) struct buf named = BUF_INIT;
    void *self = s;

    name_by_algorithm(&named, key, key_len);
    s->may_take = TAKE_BYTES_MAX;
    s->signer = signer;
    s->sign_failed = false;
    enum session_login login =
        login_outcome(s, libssh2_userauth_publickey(s->library, user,
                             (const unsigned char *)named.data, named.len, sign, &self));
    return s->sign_failed && !s->broken ? LOGIN_KEY_UNUSABLE : login;
}

enum session_login session_login_password(struct session *s, const char *user, const char *password)
{
    s->may_take = TAKE_BYTES_MAX;
    return login_outcome(s, libssh2_userauth_password_ex(s->library, user, (unsigned)strlen(user),
                                password, (unsigned)strlen(password), NULL));
}

static LIBSSH2_USERAUTH_KBDINT_RESPONSE_FUNC(answer)
{
    struct session *s = *abstract;
    size_t len = s->question_rounds < QUESTION_ROUNDS_MAX ? strlen(s->password) : 0;

    (void)name, (void)name_len, (void)instruction, (void)instruction_len, (void)prompts;
    if (num_prompts > 0)
        s->question_rounds++;
    for (int i = 0; i < num_prompts; i++) {
        responses[i].text = library_allocate(len + 1, abstract);
        responses[i].length = responses[i].text ? (unsigned)len : 0;
        if (responses[i].text)
            memcpy(responses[i].text, s->password, len + 1);
    }
}

enum session_login session_login_questions(
    struct session *s, const char *user, const char *password)
{
    s->may_take = TAKE_BYTES_MAX;
    s->password = password;
    return login_outcome(s,
        libssh2_userauth_keyboard_interactive_ex(s->library, user, (unsigned)strlen(user), answer));
}
