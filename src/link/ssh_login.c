/* Logins: one attempt after the other, until one is taken. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"
#include "recluster/base64.h"
#include "recluster/file.h"
#include "recluster/secret.h"
#include "ssh.h"

enum {
    KEY_FILE_BYTES_MAX = 1 << 20,
    KEY_HEAD_CHARS = 160, /* holds two ciphers' names and the key's type, and nothing secret */
};

enum attempt_kind { BY_FILE, BY_AGENT, BY_PASSWORD, BY_QUESTIONS };

struct attempt {
    enum attempt_kind kind;
    char *path;                                /* BY_FILE */
    struct libssh2_agent_publickey *agent_key; /* BY_AGENT */
};

struct ssh_login {
    const char *user, *identity; /* borrowed from the spec */
    struct secret *passphrase, *password;
    LIBSSH2_AGENT *agent; /* NULL: none */
    bool asked;           /* which ways the host offers */
    bool by_key, by_password, by_questions;
    struct attempt *attempts;
    size_t count, alloc, next;
    struct buf tried; /* what became of each, for the message */
    bool rsa_refused;
};

static int read_secret(const json_t *spec, const char *name, struct secret **ret, struct err *err)
{
    const json_t *value = json_object_get(spec, name);

    *ret = value ? secret_from_json(value, name, err) : NULL;
    return value && !*ret ? -1 : 0;
}

struct ssh_login *ssh_login_new(const json_t *spec, struct err *err)
{
    struct ssh_login *login = xcalloc(1, sizeof(*login));

    buf_init(&login->tried);
    login->user = link_user(spec);
    login->identity = json_string_value(json_object_get(spec, "identity"));
    if (read_secret(spec, "passphrase", &login->passphrase, err) < 0 ||
        read_secret(spec, "password", &login->password, err) < 0) {
        ssh_login_free(login);
        return NULL;
    }
    if (login->user)
        return login;
    ssh_login_free(login);
    err_set(err, ERR_USAGE, "no user to log in as");
    err_hint(err, "Name one with \"user\" in the hosts file.");
    return NULL;
}

void ssh_login_free(struct ssh_login *login)
{
    if (!login)
        return;
    for (size_t i = 0; i < login->count; i++)
        free(login->attempts[i].path);
    free(login->attempts);
    if (login->agent) {
        libssh2_agent_disconnect(login->agent);
        libssh2_agent_free(login->agent);
    }
    secret_free(login->passphrase);
    secret_free(login->password);
    buf_release(&login->tried);
    free(login);
}

static struct attempt *add_attempt(struct ssh_login *login, enum attempt_kind kind)
{
    GROW(login->attempts, login->count, login->alloc);
    struct attempt *a = &login->attempts[login->count++];
    *a = (struct attempt){.kind = kind};
    return a;
}

/* The agent is asked over a socket of this machine: that may wait, for a moment. */
static void add_agent_keys(struct ssh_login *login, LIBSSH2_SESSION *session)
{
    struct libssh2_agent_publickey *key = NULL;

    if (!getenv("SSH_AUTH_SOCK") || !(login->agent = libssh2_agent_init(session)))
        return;
    if (libssh2_agent_connect(login->agent) != 0 ||
        libssh2_agent_list_identities(login->agent) != 0) {
        buf_adds(&login->tried, "ssh-agent does not answer; ");
        return;
    }
    while (libssh2_agent_get_identity(login->agent, &key, key) == 0)
        add_attempt(login, BY_AGENT)->agent_key = key;
}

static void add_usual_files(struct ssh_login *login)
{
    static const char *const usual[] = {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"};

    for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
        char *path = path_expand_home(usual[i]);
        if (access(path, R_OK) == 0)
            add_attempt(login, BY_FILE)->path = path;
        else
            free(path);
    }
}

/* SSH_OK: the list is made, or we are in without any. */
static int ask_for_ways(struct ssh_login *login, LIBSSH2_SESSION *session, struct err *err)
{
    const char *ways = libssh2_userauth_list(session, login->user, (unsigned)strlen(login->user));

    if (!ways && libssh2_session_last_errno(session) == LIBSSH2_ERROR_EAGAIN)
        return SSH_WAIT;
    if (!ways && !libssh2_userauth_authenticated(session))
        return ssh_error(session, ERR_DENIED, "it lets nobody log in", err);
    login->asked = true;
    if (!ways)
        return SSH_OK;
    login->by_key = strstr(ways, "publickey") != NULL;
    login->by_questions = strstr(ways, "keyboard-interactive") != NULL;
    login->by_password = strstr(ways, "password") != NULL;
    if (login->by_key) {
        if (login->identity)
            add_attempt(login, BY_FILE)->path = xstrdup(login->identity);
        add_agent_keys(login, session);
        if (!login->identity)
            add_usual_files(login);
    } else {
        buf_adds(&login->tried, "the host takes no keys; ");
    }
    if (login->password && login->by_password)
        add_attempt(login, BY_PASSWORD);
    if (login->password && login->by_questions)
        add_attempt(login, BY_QUESTIONS);
    return SSH_OK;
}

/* Whatever is asked, the password is the answer. libssh2 frees the texts. */
static LIBSSH2_USERAUTH_KBDINT_RESPONSE_FUNC(answer_questions)
{
    const struct ssh_login *login = *abstract;
    const char *password = secret_reveal(login->password);

    (void)name, (void)name_len, (void)instruction, (void)instruction_len, (void)prompts;
    for (int i = 0; i < num_prompts; i++) {
        responses[i].text = xstrdup(password);
        responses[i].length = (unsigned)strlen(password);
    }
}

static int try_attempt(struct ssh_login *login, LIBSSH2_SESSION *session, const struct attempt *a)
{
    unsigned user_len = (unsigned)strlen(login->user);
    const char *password = secret_reveal(login->password);

    switch (a->kind) {
    case BY_FILE:
        return libssh2_userauth_publickey_fromfile_ex(
            session, login->user, user_len, NULL, a->path, secret_reveal(login->passphrase));
    case BY_AGENT:
        return libssh2_agent_userauth(login->agent, login->user, a->agent_key);
    case BY_PASSWORD:
        return libssh2_userauth_password_ex(
            session, login->user, user_len, password, (unsigned)strlen(password), NULL);
    case BY_QUESTIONS:
        *libssh2_session_abstract(session) = login;
        return libssh2_userauth_keyboard_interactive_ex(
            session, login->user, user_len, answer_questions);
    }
    return LIBSSH2_ERROR_METHOD_NOT_SUPPORTED;
}

/* The public half stands in the clear in a file of OpenSSH's own form; PEM's says it in words. */
static bool is_rsa_text(const char *text)
{
    static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
    const char *body = strstr(text, begin);
    char head[KEY_HEAD_CHARS];
    size_t count = 0, len;

    if (!body)
        return strstr(text, "-----BEGIN RSA PRIVATE KEY-----") != NULL;
    for (body += strlen(begin); *body && *body != '-' && count < sizeof(head); body++)
        if (*body != '\n')
            head[count++] = *body;
    unsigned char *bytes = base64_decode(head, count / 4 * 4, &len);
    bool is_rsa = bytes && memmem(bytes, len, "ssh-rsa", 7);
    free(bytes);
    return is_rsa;
}

static bool is_rsa_file(const char *path)
{
    struct buf text = BUF_INIT;
    struct err ignored = ERR_INIT;
    bool is_rsa =
        file_read(path, KEY_FILE_BYTES_MAX, &text, &ignored) == 0 && is_rsa_text(text.data);

    explicit_bzero(text.data, text.len);
    buf_release(&text);
    return is_rsa;
}

static void note_failure(
    struct ssh_login *login, LIBSSH2_SESSION *session, const struct attempt *a, int rc)
{
    char *said = NULL;

    libssh2_session_last_error(session, &said, NULL, 0);
    switch (a->kind) {
    case BY_FILE:
        if (rc == LIBSSH2_ERROR_FILE || rc == LIBSSH2_ERROR_KEYFILE_AUTH_FAILED) {
            buf_addf(&login->tried, "identity '%s' can't be used (%s); ", a->path,
                access(a->path, R_OK) < 0 ? "it can't be read"
                : login->passphrase       ? "wrong passphrase, or no private key"
                                          : "it needs a passphrase, or is no private key");
            return;
        }
        login->rsa_refused |= is_rsa_file(a->path);
        buf_addf(&login->tried, "identity '%s' was refused; ", a->path);
        break;
    case BY_AGENT:
        login->rsa_refused |=
            a->agent_key->blob_len > 11 && memcmp(a->agent_key->blob + 4, "ssh-rsa", 7) == 0;
        buf_addf(&login->tried, "the agent's key '%s' was refused; ",
            a->agent_key->comment ? a->agent_key->comment : "");
        break;
    case BY_PASSWORD:
    case BY_QUESTIONS:
        buf_adds(&login->tried, "the password was refused; ");
        break;
    }
}

static int refuse(struct ssh_login *login, struct err *err)
{
    if (!login->tried.len)
        buf_adds(&login->tried, "there is no key and no password to try; ");
    login->tried.data[login->tried.len - 2] = '\0';
    err_set(err, ERR_DENIED, "it does not let '%s' log in: %s", login->user, login->tried.data);
    if (login->rsa_refused && !libssh2_version(0x010b00))
        return err_hint(err,
            "This program's SSH library (libssh2 %s) signs with RSA keys only by SHA-1, which "
            "servers refuse nowadays. Use an ed25519 or ecdsa key, or \"link\": \"command\" with "
            "ssh.",
            libssh2_version(0));
    return err_hint(err,
        "Try `ssh %s@HOST`; name the key with \"identity\" in the hosts file, its "
        "\"passphrase\" or a \"password\" as {\"env\": NAME} or {\"file\": PATH}.",
        login->user);
}

int ssh_login_step(struct ssh_login *login, LIBSSH2_SESSION *session, struct err *err)
{
    if (!login->asked) {
        int rc = ask_for_ways(login, session, err);
        if (rc != SSH_OK)
            return rc;
    }
    while (!libssh2_userauth_authenticated(session)) {
        if (login->next == login->count)
            return refuse(login, err);
        const struct attempt *a = &login->attempts[login->next];
        int rc = try_attempt(login, session, a);
        if (rc == LIBSSH2_ERROR_EAGAIN)
            return SSH_WAIT;
        if (rc == 0)
            continue;
        if (rc == LIBSSH2_ERROR_SOCKET_DISCONNECT || rc == LIBSSH2_ERROR_SOCKET_SEND ||
            rc == LIBSSH2_ERROR_SOCKET_RECV)
            return ssh_error(session, ERR_NETWORK, "the login broke off", err);
        note_failure(login, session, a, rc);
        login->next++;
    }
    return SSH_OK;
}
