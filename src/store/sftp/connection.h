#ifndef STORE_SFTP_CONNECTION_H
#define STORE_SFTP_CONNECTION_H

/*
 * A connection to a server's SFTP service: a session of src/ssh with blocking calls.
 *
 *     struct sftp_connection *c = sftp_connection_open(&login, err);
 *     sftp_connection_send(c, …) … sftp_connection_take(c, …) …
 *     sftp_connection_close(c);
 *
 * Each call waits at most `silence_s` of the login for the server. After a failure the connection
 * is broken and can only be closed. Errors are those of ssh.h, with hints that name the members of
 * a location.
 *
 * The server's key must be one of `host_keys`. Logins are tried in this order: the key, or, if
 * `own_keys`, those of ssh-agent and the usual files in ~/.ssh; then the password.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "recluster/err.h"
#include "recluster/secret.h"

struct sftp_login {
    char *host, *user;
    int port;
    long silence_s;
    struct secret *password, *key, *key_password; /* NULL: none; key: the private key's text */
    bool own_keys;     /* the operator's keys may be used: ssh-agent, ~/.ssh */
    json_t *host_keys; /* array of "ssh-ed25519 AAAA…" or of "SHA256:…", as ssh-keygen -l prints */
};

struct sftp_connection {
    struct ssh *ssh;
    long silence_s;
    bool broken;
};

/*
 * Adds the host's keys in the lines of known_hosts in `text` to an array, as "ssh-ed25519 AAAA…".
 * Revoked ones are skipped.
 */
void sftp_known_keys(const char *text, const char *host, int port, json_t *keys);

struct sftp_connection *sftp_connection_open(
    const struct sftp_login *login, struct err *err) MUST_CHECK;
void sftp_connection_close(struct sftp_connection *c); /* may be NULL */

int sftp_connection_send(
    struct sftp_connection *c, const void *data, size_t len, struct err *err) MUST_CHECK;

/* Waits for bytes; returns 1 to `most` of them, valid until the next call, or -1. */
ssize_t sftp_connection_take(
    struct sftp_connection *c, const char **ret, size_t most, struct err *err) MUST_CHECK;

/* For an invalid answer: the connection is broken. Returns -1. */
int sftp_connection_nonsense(struct sftp_connection *c, const char *text, struct err *err);

#endif
