#include "connection.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "../driver.h"
#include "recluster/clock.h"
#include "recluster/known_hosts.h"
#include "recluster/ssh.h"

/* --- host keys --- */

static bool is_revoked(const char *text, const char *host, int port, const struct known_key *key)
{
    AUTO_FREE char *key64 = xstrndup(key->key, key->key_len);
    struct known_key line;

    while (known_hosts_next(&text, host, port, &line))
        if (line.mark == KNOWN_REVOKED && known_key_is(&line, key64))
            return true;
    return false;
}

/* The keys of the lines that name the port, or, `bare`, of those that do not. */
static void find_keys(const char *text, const char *host, int port, bool bare, json_t *keys)
{
    const char *at = text;
    struct known_key key;

    while (known_hosts_next(&at, host, port, &key))
        if (key.mark == KNOWN_KEY && key.bare == bare && !is_revoked(text, host, port, &key))
            json_array_append_new(keys,
                json_sprintf("%.*s %.*s", (int)key.type_len, key.type, (int)key.key_len, key.key));
}

void sftp_known_keys(const char *text, const char *host, int port, json_t *keys)
{
    find_keys(text, host, port, false, keys);
    if (json_array_size(keys) == 0)
        find_keys(text, host, port, true, keys);
}

/* --- waiting --- */

static void wait_for(const struct sftp_connection *c, int64_t until_ms)
{
    struct wait wait = {.deadline_ms = until_ms};
    struct pollfd fds[WAIT_FDS_MAX];

    ssh_wait(c->ssh, &wait);
    for (int i = 0; i < wait.fd_count; i++)
        fds[i] = (struct pollfd){.fd = wait.fds[i].fd, .events = wait.fds[i].events};
    int64_t left_ms = wait.deadline_ms - clock_mono_ms();
    poll(fds, (nfds_t)wait.fd_count, left_ms <= 0 ? 0 : left_ms < INT_MAX ? (int)left_ms : INT_MAX);
}

static int64_t deadline_of(const struct sftp_connection *c)
{
    return clock_mono_ms() + c->silence_s * 1000;
}

/* 0 after a wait, or -1 when the deadline has passed. */
static int wait_once(struct sftp_connection *c, int64_t deadline_ms, struct err *err)
{
    if (clock_mono_ms() >= deadline_ms) {
        c->broken = true;
        return err_set(err, ERR_TIMEOUT, "no answer for %ld s", c->silence_s);
    }
    wait_for(c, deadline_ms);
    return 0;
}

/* --- bytes --- */

int sftp_connection_nonsense(struct sftp_connection *c, const char *text, struct err *err)
{
    c->broken = true;
    return err_set(err, ERR_PROTOCOL, "%s", text);
}

int sftp_connection_send(struct sftp_connection *c, const void *data, size_t len, struct err *err)
{
    int64_t deadline_ms = deadline_of(c);

    for (const char *at = data; len;) {
        ssize_t n = ssh_write(c->ssh, at, len, err);
        if (n == SSH_WAIT) {
            if (wait_once(c, deadline_ms, err) < 0)
                return -1;
            continue;
        }
        if (n < 0) {
            c->broken = true;
            return -1;
        }
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

ssize_t sftp_connection_take(
    struct sftp_connection *c, const char **ret, size_t most, struct err *err)
{
    int64_t deadline_ms = 0;

    for (;;) {
        ssize_t n = ssh_read(c->ssh, ret, most, err);
        if (n > 0)
            return n;
        if (n != SSH_WAIT) {
            c->broken = true;
            return n < 0 ? -1 : err_set(err, ERR_NETWORK, "the server ended its SFTP service");
        }
        if (!deadline_ms)
            deadline_ms = deadline_of(c);
        if (wait_once(c, deadline_ms, err) < 0)
            return -1;
    }
}

/* --- the connection --- */

/* The settings that a location can change. */
static void add_hint(
    const struct sftp_connection *c, const struct sftp_login *login, struct err *err)
{
    struct err before = *err;
    const char *blank = *before.hint ? " " : "";

    switch (ssh_failure(c->ssh)) {
    case SSH_HOST_KEY_UNKNOWN:
        err_hint(err, "%s. Or give the location \"host_key\": \"%s\".", before.hint,
            ssh_fingerprint(c->ssh));
        break;
    case SSH_HOST_KEY_CHANGED:
        err_hint(err, "Somebody may be listening in. If the server was given a new key, correct "
                      "~/.ssh/known_hosts or the \"host_key\" of the location.");
        break;
    case SSH_KEY_UNUSABLE:
        err_hint(err,
            "%s%sThe \"key\" must be the text of a private key, and \"key_password\" its "
            "passphrase if it has one.",
            before.hint, blank);
        break;
    case SSH_LOGIN_REFUSED:
        err_hint(err, "%s%s%s", before.hint, blank,
            login->key        ? "Is the key the right one, and allowed there?"
            : login->password ? "Check user and password of the location."
            : login->own_keys
                ? "Give the location a \"key\" (the private key: {\"file\": PATH}) or "
                  "a password."
                : "Only the CCS file names this server, so your own keys are not "
                  "used. Give the location in \"sources\" of the hosts file, or its "
                  "server in \"trusted_endpoints\".");
        break;
    case SSH_NOT_CONNECTED:
    case SSH_FAILED:
        break;
    }
}

static int open_service(struct sftp_connection *c, struct err *err)
{
    int rc;

    while ((rc = ssh_connect(c->ssh, err)) == SSH_WAIT)
        wait_for(c, INT64_MAX);
    if (rc != 0)
        return rc;
    while ((rc = ssh_start(c->ssh, SSH_SUBSYSTEM, "sftp", err)) == SSH_WAIT)
        wait_for(c, INT64_MAX);
    return rc;
}

static char *known_lines(const struct sftp_login *login)
{
    struct buf lines = BUF_INIT;
    size_t i;
    const json_t *key;

    json_array_foreach (login->host_keys, i, key)
        if (json_is_string(key))
            known_hosts_add(&lines, json_string_value(key));
    return buf_take(&lines);
}

struct sftp_connection *sftp_connection_open(const struct sftp_login *login, struct err *err)
{
    AUTO_FREE char *known = known_lines(login);
    const struct ssh_target target = {
        .host = login->host,
        .look_up = true,
        .port = login->port,
        .answer_ms = store_connect_timeout(login->silence_s) * 1000,
        .known = known,
        .login = {.user = login->user,
            .key = login->key,
            .passphrase = login->key_password,
            .password = login->password,
            .agent = login->own_keys,
            .usual_files = login->own_keys},
    };
    struct sftp_connection *c = xcalloc(1, sizeof(*c));

    c->silence_s = login->silence_s;
    if (ssh_open(&target, &c->ssh, err) == 0) {
        if (open_service(c, err) == 0)
            return c;
        add_hint(c, login, err);
        if (ssh_failure(c->ssh) != SSH_NOT_CONNECTED)
            err_wrap(err, "no SFTP with '%s', port %d", login->host, login->port);
    }
    sftp_connection_close(c);
    return NULL;
}

void sftp_connection_close(struct sftp_connection *c)
{
    if (!c)
        return;
    ssh_close(c->ssh);
    free(c);
}
