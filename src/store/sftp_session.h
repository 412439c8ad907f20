#ifndef RECLUSTER_STORE_SFTP_SESSION_H
#define RECLUSTER_STORE_SFTP_SESSION_H

/*
 * An SSH session with a channel to the server's SFTP: connect, prove the server's identity, log in.
 *
 *     struct sftp_session *s = sftp_session_open(&login, err);
 *     sftp_session_send(s, …) … sftp_session_take(s, …) …
 *     sftp_session_close(s);
 *
 * Calls block, each at most `silence_s` of the login. After one that failed the session is broken
 * and can only be closed: ERR_TIMEOUT where the server said nothing, ERR_NETWORK where the
 * connection is gone, ERR_PROTOCOL for what is no SSH.
 *
 * The server's key must be one of `host_keys`. Logins are tried in this order: the key, the
 * password (also where the server asks for it interactively); with neither, if `own_keys`, the keys
 * of ssh-agent and the usual files in ~/.ssh. No configuration of OpenSSH or libssh is read.
 */

#include <libssh/libssh.h>
#include <stdbool.h>
#include <sys/types.h>

#include "recluster/err.h"
#include "recluster/secret.h"

struct sftp_login {
    char *host, *user;
    int port;
    long silence_s;
    struct secret *password, *key, *key_password; /* NULL: none; key: the private key's text */
    bool own_keys;     /* the keys of whoever works here may be used: ssh-agent, ~/.ssh */
    json_t *host_keys; /* array of "ssh-ed25519 AAAA…" or of "SHA256:…", as ssh-keygen -l prints */
};

struct sftp_session {
    ssh_session ssh;
    ssh_channel channel;
    long silence_s;
    char *in; /* what has come: in_at to in_len is still to be taken */
    size_t in_at, in_len;
    size_t since_grown; /* bytes that came since the server was last told to send more */
    bool broken;
};

/*
 * Adds the keys by which a file as ~/.ssh/known_hosts knows the host to an array. A file that isn't
 * there knows none.
 */
int sftp_known_keys(
    const char *path, const char *host, int port, json_t *keys, struct err *err) MUST_CHECK;

struct sftp_session *sftp_session_open(const struct sftp_login *login, struct err *err) MUST_CHECK;
void sftp_session_close(struct sftp_session *s); /* NULL is fine */

/* Closes it here without a word to the server, as a forked process goes on with it. NULL is fine. */
void sftp_session_forget(struct sftp_session *s);

int sftp_session_send(
    struct sftp_session *s, const void *data, size_t len, struct err *err) MUST_CHECK;

/*
 * Waits for bytes; 1 to `most` of them are at *ret until the next call. Returns how many, or -1.
 * Half of SFTP_WINDOW_BYTES, at least, may always be on their way here: what is asked for at once.
 */
enum { SFTP_WINDOW_BYTES = 4 << 20 };
ssize_t sftp_session_take(
    struct sftp_session *s, const char **ret, size_t most, struct err *err) MUST_CHECK;

/* For an answer that makes no sense; the session is broken. Returns -1. */
int sftp_session_nonsense(struct sftp_session *s, const char *text, struct err *err);

#endif
