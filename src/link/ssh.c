/* Shells over SSH, on the sessions of src/ssh. */

#include "recluster/ssh.h"
#include "recluster/json.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/known_hosts.h"
#include "recluster/mem.h"
#include "shell.h"

enum { ANSWER_MS = 30 * 1000 };

_Static_assert((int)SSH_WAIT == (int)LINK_IO_WAIT, "one value for both");

struct ssh_link {
    struct link_target target; /* host is a copy */
    struct buf known;          /* lines of known_hosts */
    struct secret *passphrase, *password;
    struct ssh *ssh;
};

static int read_port(const json_t *spec, int *ret, struct err *err)
{
    const json_t *value = json_object_get(spec, "port");
    json_int_t port = value ? json_integer_value(value) : SSH_PORT;

    if (port < 1 || port > UINT16_MAX)
        return err_set(err, ERR_USAGE, "\"port\" is not a number from 1 to %d", UINT16_MAX);
    *ret = (int)port;
    return 0;
}

static int read_secret(const json_t *spec, const char *name, struct secret **ret, struct err *err)
{
    const json_t *value = json_object_get(spec, name);

    *ret = value ? secret_from_json(value, name, err) : NULL;
    return value && !*ret ? -1 : 0;
}

/* All lines of known_hosts for this host's entry. */
static int read_known(struct ssh_link *s, struct err *err)
{
    const char *own = json_text(s->target.spec, "known_hosts", NULL);

    if (own && known_hosts_read(own, &s->known, err) < 0)
        return err_wrap(err, "\"known_hosts\"");
    if (!own && known_hosts_read_usual(&s->known, err) < 0)
        return -1;
    if (s->target.host_keys)
        buf_adds(&s->known, s->target.host_keys);
    return 0;
}

static int accept_host_key(void *arg, const char *line, const char *fingerprint, struct err *err)
{
    const struct ssh_link *s = arg;
    return s->target.accept_host_key(s->target.accept_arg, s->target.host, line, fingerprint, err);
}

static int read_entry(struct ssh_link *s, struct ssh_target *ret, struct err *err)
{
    const json_t *spec = s->target.spec;
    const char *identity = json_text(spec, "identity", NULL);

    *ret = (struct ssh_target){
        .host = json_text(spec, "link_addr", json_text(spec, "addr", NULL)),
        .answer_ms = ANSWER_MS,
        .accept_host_key = s->target.accept_host_key ? accept_host_key : NULL,
        .accept_arg = s,
        .login = {.user = link_user(spec),
            .identity = identity,
            .agent = true,
            .usual_files = !identity},
    };
    if (!ret->host)
        return err_set(err, ERR_USAGE, "it has no \"addr\"");
    if (!ret->login.user) {
        err_set(err, ERR_USAGE, "no user to log in as");
        return err_hint(err, "Name one with \"user\" in the hosts file.");
    }
    if (read_port(spec, &ret->port, err) < 0 ||
        read_secret(spec, "passphrase", &s->passphrase, err) < 0 ||
        read_secret(spec, "password", &s->password, err) < 0 || read_known(s, err) < 0)
        return -1;
    ret->known = s->known.data;
    ret->login.passphrase = s->passphrase;
    ret->login.password = s->password;
    return 0;
}

static void ssh_link_close(void *stream)
{
    struct ssh_link *s = stream;

    ssh_close(s->ssh);
    secret_free(s->passphrase);
    secret_free(s->password);
    buf_release(&s->known);
    free((char *)(uintptr_t)s->target.host);
    free(s);
}

static int ssh_link_open(const struct link_target *target, void **ret, struct err *err)
{
    struct ssh_link *s = xcalloc(1, sizeof(*s));
    struct ssh_target to;

    s->target = *target;
    s->target.host = xstrdup(target->host);
    buf_init(&s->known);
    if (read_entry(s, &to, err) < 0 || ssh_open(&to, &s->ssh, err) < 0) {
        ssh_link_close(s);
        return -1;
    }
    *ret = s;
    return 0;
}

/* The settings of a host's entry that affect the session. */
static void add_hint(const struct ssh_link *s, struct err *err)
{
    const json_t *spec = s->target.spec;
    const char *file = json_text(spec, "known_hosts", NULL);
    struct err before = *err;

    switch (ssh_failure(s->ssh)) {
    case SSH_HOST_KEY_UNKNOWN:
        err_hint(err, "%s. Or use --accept-new-host-keys.", before.hint);
        break;
    case SSH_HOST_KEY_CHANGED:
        err_hint(err,
            "%s -f %s; a key that was accepted in this recovery is in the state file, table "
            "host_key.",
            before.hint, file ? file : "~/.ssh/known_hosts");
        break;
    case SSH_LOGIN_REFUSED:
    case SSH_KEY_UNUSABLE:
        err_hint(err,
            "%s%sTry `ssh %s@HOST`; name the key with \"identity\" in the hosts file, its "
            "\"passphrase\" or a \"password\" as {\"env\": NAME} or {\"file\": PATH}.",
            before.hint, *before.hint ? " " : "", link_user(spec));
        break;
    case SSH_NOT_CONNECTED:
    case SSH_FAILED:
        break;
    }
}

static int ssh_link_login(void *stream, struct err *err)
{
    const struct ssh_link *s = stream;
    int rc = ssh_connect(s->ssh, err);

    if (rc == -1)
        add_hint(s, err);
    return rc;
}

/* The login shell may be any, so only commands that all of them know. */
static int ssh_link_start(void *stream, struct err *err)
{
    const struct ssh_link *s = stream;
    return ssh_start(s->ssh, SSH_COMMAND, "exec sh", err);
}

static ssize_t ssh_link_read(void *stream, void *data, size_t size, struct err *err)
{
    const struct ssh_link *s = stream;
    const char *from;
    ssize_t n = ssh_read(s->ssh, &from, size, err);

    if (n > 0)
        memcpy(data, from, (size_t)n);
    return n;
}

static ssize_t ssh_link_write(void *stream, const void *data, size_t size, struct err *err)
{
    const struct ssh_link *s = stream;
    return ssh_write(s->ssh, data, size, err);
}

static int ssh_link_end_input(void *stream, struct err *err)
{
    const struct ssh_link *s = stream;
    return ssh_end_input(s->ssh, err);
}

static void ssh_link_wait(void *stream, bool writing, struct wait *wait)
{
    const struct ssh_link *s = stream;

    (void)writing; /* the session tells why it could not send */
    ssh_wait(s->ssh, wait);
}

static int ssh_link_end(void *stream, struct err *why)
{
    const struct ssh_link *s = stream;
    struct err how = ERR_INIT;

    if (ssh_how_it_ended(s->ssh, &how) == SSH_WAIT)
        return LINK_IO_WAIT;
    if (how.code != ERR_LINK) {
        *why = how;
        return 0;
    }
    bool signal = strncmp(how.message, "signal ", 7) == 0;
    err_set(why, ERR_LINK, "the agent ended %s %s", signal ? "by" : "with", how.message);
    return 0;
}

static const struct buf *ssh_link_errors(void *stream)
{
    const struct ssh_link *s = stream;
    return ssh_errors(s->ssh);
}

const struct shell_driver shell_ssh = {
    .open = ssh_link_open,
    .login = ssh_link_login,
    .start = ssh_link_start,
    .read = ssh_link_read,
    .write = ssh_link_write,
    .end_input = ssh_link_end_input,
    .wait = ssh_link_wait,
    .end = ssh_link_end,
    .errors = ssh_link_errors,
    .close = ssh_link_close,
};
