#ifndef RECLUSTER_STORE_SFTP_SESSION_H
#define RECLUSTER_STORE_SFTP_SESSION_H

/*
 * An SSH session with its SFTP channel: connect, prove the server's identity, log in.
 *
 *     struct sftp_session *s = sftp_session_open(&login, err);
 *     libssh2_sftp_…(s->sftp, …)  fails:  return sftp_session_error(s, "cannot …", err);
 *     sftp_session_close(s);
 *
 * Calls of libssh2 block, each at most `silence_s` of the login.
 *
 * The server's key must be one of `host_keys`. Logins are tried in this order: the key, the
 * password (also where the server asks for it interactively); with neither, the keys of ssh-agent
 * and the usual files in ~/.ssh.
 */

#include <libssh2.h>
#include <libssh2_sftp.h>

#include "recluster/err.h"
#include "recluster/secret.h"

struct sftp_login {
    char *host, *user;
    int port;
    long silence_s;
    struct secret *password, *key, *key_password; /* NULL: none; key: the private key's text */
    json_t *host_keys; /* array of "ssh-ed25519 AAAA…" or of "SHA256:…", as ssh-keygen -l prints */
};

struct sftp_session {
    int fd;
    LIBSSH2_SESSION *ssh;
    LIBSSH2_SFTP *sftp;
};

/*
 * Adds the keys by which a file as ~/.ssh/known_hosts knows the host to an array. A file that isn't
 * there knows none.
 */
int sftp_known_keys(
    const char *path, const char *host, int port, json_t *keys, struct err *err) MUST_CHECK;

struct sftp_session *sftp_session_open(const struct sftp_login *login, struct err *err) MUST_CHECK;
void sftp_session_close(struct sftp_session *s); /* NULL is fine */

/* Sets err to what libssh2 says of the call that has just failed. Returns -1. */
int sftp_session_error(struct sftp_session *s, struct err *err, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
