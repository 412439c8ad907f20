#include "login.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "key.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/mem.h"
#include "rsa.h"

enum { KEY_BYTES_MAX = 1 << 20 };

static const char *const usual_files[] = {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"};

/* A private key from a file or a text that is being tried. */
struct own_key {
    bool loaded;
    struct buf text;
    struct key_look look;
    struct rsa *rsa; /* for a library that cannot sign with RSA */
    struct buf rsa_public;
};

struct attempt {
    enum { BY_KEY, BY_AGENT, BY_PASSWORD, BY_QUESTIONS } kind;
    char *path; /* BY_KEY; NULL: the login's text */
};

struct login {
    const struct ssh_login *how;
    int64_t answer_ms, deadline_ms;
    unsigned ways; /* that the server offers */
    bool knows_ways;
    struct attempt *attempts;
    size_t count, alloc, next;
    size_t skipped;          /* first key passed while none were asked for; SIZE_MAX: none */
    bool went_back;          /* to `skipped`, when keys were asked for */
    bool asks_about_refusal; /* of a password: the ways that are offered after it tell more */
    struct agent *agent;
    bool agent_listed;
    const struct agent_key *agent_keys;
    size_t agent_key_count, agent_key;
    struct own_key key;
    struct buf tried; /* the outcomes, for the message: "…; …; " */
    bool key_unusable, rsa_refused;
};

static void add_attempt(struct login *l, struct attempt a)
{
    GROW(l->attempts, l->count, l->alloc);
    l->attempts[l->count++] = a;
}

static void list_attempts(struct login *l)
{
    const struct ssh_login *how = l->how;

    if (how->identity)
        add_attempt(l, (struct attempt){BY_KEY, xstrdup(how->identity)});
    if (how->key)
        add_attempt(l, (struct attempt){BY_KEY, NULL});
    if (how->agent)
        add_attempt(l, (struct attempt){BY_AGENT, NULL});
    for (size_t i = 0; how->usual_files && i < ARRAY_SIZE(usual_files); i++) {
        char *path = path_expand_home(usual_files[i]);
        if (access(path, R_OK) == 0)
            add_attempt(l, (struct attempt){BY_KEY, path});
        else
            free(path);
    }
    if (how->password) {
        add_attempt(l, (struct attempt){BY_PASSWORD, NULL});
        add_attempt(l, (struct attempt){BY_QUESTIONS, NULL});
    }
}

struct login *login_new(const struct ssh_target *target)
{
    struct login *l = xcalloc(1, sizeof(*l));

    l->how = &target->login;
    l->answer_ms = target->answer_ms;
    l->deadline_ms = clock_mono_ms() + l->answer_ms;
    buf_init(&l->tried);
    buf_init(&l->key.text);
    buf_init(&l->key.rsa_public);
    l->skipped = SIZE_MAX;
    list_attempts(l);
    return l;
}

static void drop_key(struct own_key *k)
{
    explicit_bzero(k->text.data, k->text.len);
    buf_release(&k->text);
    buf_release(&k->rsa_public);
    rsa_free(k->rsa);
    free(k->look.public);
    *k = (struct own_key){.text = BUF_INIT, .rsa_public = BUF_INIT};
}

void login_free(struct login *l)
{
    if (!l)
        return;
    drop_key(&l->key);
    for (size_t i = 0; i < l->count; i++)
        free(l->attempts[i].path);
    free(l->attempts);
    agent_close(l->agent);
    buf_release(&l->tried);
    free(l);
}

void login_wait(const struct login *l, const struct session *s, struct wait *wait)
{
    wait_until(wait, l->deadline_ms);
    if (l->agent && agent_is_asked(l->agent))
        agent_wait(l->agent, wait);
    else
        session_wait(s, wait);
}

static void try_next(struct login *l, size_t next)
{
    drop_key(&l->key);
    l->next = next;
    l->deadline_ms = clock_mono_ms() + l->answer_ms;
}

/* --- private keys --- */

static void load(struct login *l, const char *path)
{
    struct own_key *k = &l->key;
    const char *passphrase = secret_reveal(l->how->passphrase);
    struct err ignored = ERR_INIT; /* an unreadable text is not a private key */

    k->loaded = true;
    if (path && file_read(path, KEY_BYTES_MAX, &k->text, &ignored) < 0)
        buf_clear(&k->text);
    else if (!path)
        buf_adds(&k->text, secret_reveal(l->how->key));
    k->look = key_look(k->text.data);
    if (k->look.private && !session_signs_with_rsa() && (k->look.rsa || !k->look.openssh))
        k->rsa = key_open_rsa(k->text.data, passphrase);
    if (k->rsa)
        key_put_rsa(k->rsa, &k->rsa_public);
    k->look.rsa |= k->rsa != NULL;
}

static enum session_login try_key(struct login *l, struct session *s, const char *path)
{
    struct own_key *k = &l->key;

    if (!k->loaded)
        load(l, path);
    if (k->rsa) {
        const struct session_signer signer = {key_sign_rsa, k->rsa};
        return session_login_signer(
            s, l->how->user, k->rsa_public.data, k->rsa_public.len, &signer);
    }
    if (!k->look.private || (k->look.rsa && !session_signs_with_rsa()) ||
        (k->look.locked && !l->how->passphrase))
        return LOGIN_KEY_UNUSABLE;
    return session_login_key(
        s, l->how->user, k->look.public, k->text.data, secret_reveal(l->how->passphrase));
}

static const char *outcome(enum session_login login)
{
    return login == LOGIN_WANTS_MORE ? "was accepted, but the host asks for more" : "was refused";
}

static void note_unusable(struct login *l, const char *path, const char *name)
{
    const struct own_key *k = &l->key;

    l->key_unusable = true;
    if (path && access(path, R_OK) < 0)
        buf_addf(&l->tried, "%s can't be used (it can't be read); ", name);
    else if (!k->look.private)
        buf_addf(&l->tried, "%s can't be used (it is not a private key); ", name);
    else if (k->look.locked && !l->how->passphrase)
        buf_addf(&l->tried, "%s can't be used (it needs a passphrase); ", name);
    else if (k->look.rsa && !session_signs_with_rsa() && k->look.openssh) {
        l->rsa_refused = true;
        buf_addf(&l->tried,
            "%s can't be used (%s opens no RSA key with a passphrase: give it to ssh-agent, or "
            "turn it into another form with ssh-keygen -p -m PEM -f FILE); ",
            name, session_library());
    } else if (k->look.locked)
        buf_addf(&l->tried, "%s can't be used (wrong passphrase); ", name);
    else
        buf_addf(&l->tried, "%s can't be used (it is damaged, or of an unknown type); ", name);
}

static void note_key(struct login *l, const char *path, enum session_login login)
{
    AUTO_FREE char *name = path ? xasprintf("identity '%s'", path) : xstrdup("the key");

    if (login == LOGIN_KEY_UNUSABLE) {
        note_unusable(l, path, name);
        return;
    }
    bool rsa = l->key.rsa && login == LOGIN_REFUSED;
    l->rsa_refused |= rsa;
    buf_addf(&l->tried, "%s %s", name, outcome(login));
    if (rsa)
        buf_addf(
            &l->tried, " (an RSA key, with which %s logs in to OpenSSH only)", session_library());
    buf_adds(&l->tried, "; ");
}

/* --- ssh-agent --- */

struct agent_signer {
    struct agent *agent;
    const struct agent_key *key;
};

static int sign_by_agent(
    void *arg, const char *algorithm, const void *data, size_t len, struct buf *ret)
{
    const struct agent_signer *a = arg;
    return agent_sign(a->agent, a->key, algorithm, data, len, ret);
}

static enum session_login list_agent(struct login *l)
{
    if (!l->agent)
        l->agent = agent_open();
    int rc = l->agent ? agent_list(l->agent, &l->agent_keys, &l->agent_key_count) : 0;
    if (rc == SSH_WAIT)
        return LOGIN_WAITS;
    if (rc < 0)
        buf_adds(&l->tried, "ssh-agent does not answer; ");
    l->agent_listed = true;
    return LOGIN_REFUSED;
}

static enum session_login try_agent(struct login *l, struct session *s)
{
    if (!l->agent_listed && list_agent(l) == LOGIN_WAITS)
        return LOGIN_WAITS;
    if (l->agent_key == l->agent_key_count)
        return LOGIN_REFUSED;
    struct agent_signer a = {l->agent, &l->agent_keys[l->agent_key]};
    const struct session_signer signer = {sign_by_agent, &a};
    if (!session_knows_user_key(a.key->type))
        return LOGIN_KEY_UNUSABLE;
    return session_login_signer(s, l->how->user, a.key->key.data, a.key->key.len, &signer);
}

static void note_agent_key(struct login *l, enum session_login login)
{
    const struct agent_key *key = &l->agent_keys[l->agent_key];

    if (login != LOGIN_KEY_UNUSABLE)
        buf_addf(&l->tried, "the agent's key '%s' %s; ", key->comment, outcome(login));
    else if (!session_knows_user_key(key->type))
        buf_addf(&l->tried, "the agent's key '%s' can't be used (%s needs %s); ", key->comment,
            key->type, session_newer_library());
    else
        buf_addf(&l->tried, "the agent does not sign with its key '%s'; ", key->comment);
}

/* --- one after the other --- */

static int refuse(struct login *l, enum ssh_failure *ret_failure, struct err *err)
{
    if (!l->tried.len)
        buf_adds(&l->tried, "there is no key and no password to try; ");
    l->tried.data[l->tried.len - 2] = '\0';
    *ret_failure = l->key_unusable ? SSH_KEY_UNUSABLE : SSH_LOGIN_REFUSED;
    err_set(err, ERR_DENIED, "it refuses the login as '%s': %s", l->how->user, l->tried.data);
    if (l->rsa_refused)
        err_hint(err,
            "Use a key of the type ed25519 or ecdsa, %s or later, or reach a host by \"link\": "
            "\"command\" with ssh.",
            session_newer_library());
    return -1;
}

static unsigned way_of(const struct attempt *a)
{
    return a->kind == BY_PASSWORD    ? LOGIN_BY_PASSWORD
           : a->kind == BY_QUESTIONS ? LOGIN_BY_QUESTIONS
                                     : LOGIN_BY_KEY;
}

static void note_password(struct login *l, enum session_login login)
{
    AUTO_FREE char *note = xasprintf("the password %s; ", outcome(login));

    l->asks_about_refusal = false;
    if (!strstr(l->tried.data, note)) /* it may also be the answer to questions */
        buf_adds(&l->tried, note);
}

/* An accepted password counts as refused if another way must follow: `ways` tells. */
static void explain_refusal(struct login *l, unsigned ways)
{
    bool accepted = !(ways & way_of(&l->attempts[l->next]));

    note_password(l, accepted ? LOGIN_WANTS_MORE : LOGIN_REFUSED);
    bool back = accepted && !l->went_back && l->skipped < l->next;
    l->went_back |= back;
    try_next(l, back ? l->skipped : l->next + 1);
}

/* Which ways the server offers now. */
static enum session_login ask_ways(struct login *l, struct session *s)
{
    unsigned ways;
    enum session_login login = session_login_ways(s, l->how->user, &ways);

    if (login == LOGIN_REFUSED) {
        if (l->asks_about_refusal)
            explain_refusal(l, ways);
        l->ways = ways;
        l->knows_ways = true;
    }
    return login;
}

static void skip(struct login *l)
{
    if (way_of(&l->attempts[l->next]) == LOGIN_BY_KEY && l->skipped == SIZE_MAX) {
        buf_adds(&l->tried, "the host takes no keys; ");
        l->skipped = l->next;
    }
    try_next(l, l->next + 1);
}

static enum session_login try_attempt(struct login *l, struct session *s)
{
    const struct attempt *a = &l->attempts[l->next];
    const char *password = secret_reveal(l->how->password);

    switch (a->kind) {
    case BY_KEY:
        return try_key(l, s, a->path);
    case BY_AGENT:
        return try_agent(l, s);
    case BY_PASSWORD:
        return session_login_password(s, l->how->user, password);
    case BY_QUESTIONS:
        return session_login_questions(s, l->how->user, password);
    }
    return LOGIN_FAILED;
}

/* The attempt ended; another may have to follow. */
static void finish_attempt(struct login *l, enum session_login login)
{
    const struct attempt *a = &l->attempts[l->next];
    size_t next = l->next + 1;

    l->knows_ways = login != LOGIN_WANTS_MORE;
    switch (a->kind) {
    case BY_KEY:
        note_key(l, a->path, login);
        break;
    case BY_AGENT:
        if (l->agent_key < l->agent_key_count) {
            note_agent_key(l, login);
            l->agent_key++;
            next = l->next;
        }
        if (l->agent_key == l->agent_key_count)
            next = l->next + 1;
        break;
    case BY_PASSWORD:
    case BY_QUESTIONS:
        l->asks_about_refusal = true;
        l->knows_ways = false;
        return;
    }
    try_next(l, next);
}

/* Servers hang up after too many attempts. */
static int break_off(struct login *l, struct session *s, struct err *err)
{
    if (l->asks_about_refusal)
        note_password(l, LOGIN_REFUSED);
    if (!l->tried.len)
        return session_error(s, ERR_DENIED, "the login broke off", err);
    AUTO_FREE char *what = xasprintf(
        "the login as '%s' broke off (%.*s)", l->how->user, (int)l->tried.len - 2, l->tried.data);
    return session_error(s, ERR_DENIED, what, err);
}

int login_step(struct login *l, struct session *s, enum ssh_failure *ret_failure, struct err *err)
{
    enum session_login login = LOGIN_REFUSED;

    while (!l->knows_ways || l->next < l->count) {
        bool asks = !l->knows_ways;
        if (!asks && !(l->ways & way_of(&l->attempts[l->next]))) {
            skip(l);
            continue;
        }
        login = asks ? ask_ways(l, s) : try_attempt(l, s);
        if (login == LOGIN_DONE)
            return 0;
        if (login == LOGIN_FAILED)
            return break_off(l, s, err);
        if (login == LOGIN_WAITS && clock_mono_ms() >= l->deadline_ms)
            return err_set(err, ERR_TIMEOUT, "the login got no answer for %lld s",
                (long long)(l->answer_ms / 1000));
        if (login == LOGIN_WAITS)
            return SSH_WAIT;
        if (!asks)
            finish_attempt(l, login);
    }
    return refuse(l, ret_failure, err);
}
