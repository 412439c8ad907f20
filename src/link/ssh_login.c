/* Logins: one attempt after the other, until one is taken. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"
#include "recluster/file.h"
#include "recluster/secret.h"
#include "recluster/ssh_setup.h"
#include "ssh.h"

enum attempt_kind { BY_FILE, BY_AGENT, BY_PASSWORD, BY_QUESTIONS };

struct attempt {
    enum attempt_kind kind;
    char *path;  /* BY_FILE */
    ssh_key key; /* BY_FILE, once it was read */
};

struct ssh_link_login {
    const char *user, *identity; /* borrowed from the spec */
    struct secret *passphrase, *password;
    bool asked; /* which ways the host offers */
    bool done;
    struct attempt *attempts;
    size_t count, alloc, next;
    struct buf agent_keys; /* their names, for the message */
    struct buf tried;      /* what became of each attempt, for the message */
};

static int read_secret(const json_t *spec, const char *name, struct secret **ret, struct err *err)
{
    const json_t *value = json_object_get(spec, name);

    *ret = value ? secret_from_json(value, name, err) : NULL;
    return value && !*ret ? -1 : 0;
}

struct ssh_link_login *ssh_link_login_new(const json_t *spec, struct err *err)
{
    struct ssh_link_login *login = xcalloc(1, sizeof(*login));

    buf_init(&login->agent_keys);
    buf_init(&login->tried);
    login->user = link_user(spec);
    login->identity = json_string_value(json_object_get(spec, "identity"));
    if (read_secret(spec, "passphrase", &login->passphrase, err) < 0 ||
        read_secret(spec, "password", &login->password, err) < 0) {
        ssh_link_login_free(login);
        return NULL;
    }
    if (login->user)
        return login;
    ssh_link_login_free(login);
    err_set(err, ERR_USAGE, "no user to log in as");
    err_hint(err, "Name one with \"user\" in the hosts file.");
    return NULL;
}

const char *ssh_link_login_user(const struct ssh_link_login *login)
{
    return login->user;
}

void ssh_link_login_free(struct ssh_link_login *login)
{
    if (!login)
        return;
    for (size_t i = 0; i < login->count; i++) {
        free(login->attempts[i].path);
        ssh_key_free(login->attempts[i].key);
    }
    free(login->attempts);
    secret_free(login->passphrase);
    secret_free(login->password);
    buf_release(&login->agent_keys);
    buf_release(&login->tried);
    free(login);
}

static struct attempt *add_attempt(struct ssh_link_login *login, enum attempt_kind kind)
{
    GROW(login->attempts, login->count, login->alloc);
    struct attempt *a = &login->attempts[login->count++];
    *a = (struct attempt){.kind = kind};
    return a;
}

static void see_agent_key(void *arg, const char *comment)
{
    struct ssh_link_login *login = arg;
    buf_addf(&login->agent_keys, "%s'%s'", login->agent_keys.len ? ", " : "", comment);
}

static void add_agent(struct ssh_link_login *login)
{
    int keys = ssh_link_agent_list(see_agent_key, login);

    if (keys < 0)
        buf_adds(&login->tried, "ssh-agent does not answer; ");
    else if (keys > 0)
        add_attempt(login, BY_AGENT);
}

static void add_usual_files(struct ssh_link_login *login)
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

static void list_attempts(struct ssh_link_login *login, int ways)
{
    if (ways & (int)SSH_AUTH_METHOD_PUBLICKEY) {
        if (login->identity)
            add_attempt(login, BY_FILE)->path = xstrdup(login->identity);
        add_agent(login);
        if (!login->identity)
            add_usual_files(login);
    } else {
        buf_adds(&login->tried, "the host takes no keys; ");
    }
    if (login->password && ways & (int)SSH_AUTH_METHOD_PASSWORD)
        add_attempt(login, BY_PASSWORD);
    if (login->password && ways & (int)SSH_AUTH_METHOD_INTERACTIVE)
        add_attempt(login, BY_QUESTIONS);
}

/* 0: the list is made, or we are in without any. */
static int ask_for_ways(struct ssh_link_login *login, ssh_session session, struct err *err)
{
    int rc = ssh_userauth_none(session, NULL);

    if (rc == SSH_AUTH_AGAIN)
        return LINK_IO_WAIT;
    if (rc == SSH_AUTH_ERROR)
        return ssh_link_error(session, ERR_DENIED, "it lets nobody log in", err);
    login->asked = true;
    login->done = rc == SSH_AUTH_SUCCESS;
    if (!login->done)
        list_attempts(login, ssh_userauth_list(session, NULL));
    return 0;
}

/* Whatever is asked, the password is the answer. */
static int answer_questions(const struct ssh_link_login *login, ssh_session session)
{
    int rc;

    while ((rc = ssh_userauth_kbdint(session, NULL, NULL)) == SSH_AUTH_INFO) {
        int count = ssh_userauth_kbdint_getnprompts(session);
        for (int i = 0; i < count; i++)
            if (ssh_userauth_kbdint_setanswer(
                    session, (unsigned)i, secret_reveal(login->password)) < 0)
                return SSH_AUTH_ERROR;
    }
    return rc;
}

static int try_attempt(const struct ssh_link_login *login, ssh_session session, struct attempt *a)
{
    switch (a->kind) {
    case BY_FILE:
        if (!a->key)
            a->key = ssh_setup_key_file(a->path, secret_reveal(login->passphrase));
        return a->key ? ssh_userauth_publickey(session, NULL, a->key) : SSH_AUTH_ERROR;
    case BY_AGENT:
        return ssh_userauth_agent(session, NULL);
    case BY_PASSWORD:
        return ssh_userauth_password(session, NULL, secret_reveal(login->password));
    case BY_QUESTIONS:
        return answer_questions(login, session);
    }
    return SSH_AUTH_ERROR;
}

static void note_failure(struct ssh_link_login *login, const struct attempt *a, int rc)
{
    const char *outcome =
        rc == SSH_AUTH_PARTIAL ? "taken, but the host wants more than that" : "refused";

    switch (a->kind) {
    case BY_FILE:
        if (a->key)
            buf_addf(&login->tried, "identity '%s' was %s; ", a->path, outcome);
        else
            buf_addf(&login->tried, "identity '%s' can't be used (%s); ", a->path,
                access(a->path, R_OK) < 0 ? "it can't be read"
                : login->passphrase       ? "wrong passphrase, or no private key"
                                          : "it needs a passphrase, or is no private key");
        break;
    case BY_AGENT:
        if (rc == SSH_AUTH_ERROR)
            buf_addf(&login->tried, "the agent does not sign with one of its keys: %s; ",
                login->agent_keys.data);
        else
            buf_addf(&login->tried, "%s the agent's keys was %s: %s; ",
                rc == SSH_AUTH_PARTIAL ? "one of" : "each of", outcome, login->agent_keys.data);
        break;
    case BY_PASSWORD:
    case BY_QUESTIONS:
        buf_addf(&login->tried, "the password was %s; ", outcome);
        break;
    }
}

static int refuse(struct ssh_link_login *login, struct err *err)
{
    if (!login->tried.len)
        buf_adds(&login->tried, "there is no key and no password to try; ");
    login->tried.data[login->tried.len - 2] = '\0';
    err_set(err, ERR_DENIED, "it does not let '%s' log in: %s", login->user, login->tried.data);
    return err_hint(err,
        "Try `ssh %s@HOST`; name the key with \"identity\" in the hosts file, its "
        "\"passphrase\" or a \"password\" as {\"env\": NAME} or {\"file\": PATH}.",
        login->user);
}

int ssh_link_login_step(struct ssh_link_login *login, ssh_session session, struct err *err)
{
    if (!login->asked) {
        int rc = ask_for_ways(login, session, err);
        if (rc != 0)
            return rc;
    }
    while (!login->done) {
        if (login->next == login->count)
            return refuse(login, err);
        struct attempt *a = &login->attempts[login->next];
        int rc = try_attempt(login, session, a);
        if (rc == SSH_AUTH_AGAIN)
            return LINK_IO_WAIT;
        login->done = rc == SSH_AUTH_SUCCESS;
        if (login->done)
            break;
        if (ssh_link_is_lost(session))
            return ssh_link_error(session, ERR_NETWORK, "the login broke off", err);
        note_failure(login, a, rc);
        login->next++;
    }
    return 0;
}
