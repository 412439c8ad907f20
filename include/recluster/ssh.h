#ifndef RECLUSTER_SSH_H
#define RECLUSTER_SSH_H

/*
 * A session over SSH: one connection and one channel at a time, for links to hosts and for SFTP.
 *
 *     ssh_open(&target, &s, err)
 *     ssh_connect(s, err)                            // 0: connected, host key checked, logged in
 *     ssh_start(s, SSH_SUBSYSTEM, "sftp", err)       // 0: the channel is open
 *     ssh_write(s, …), ssh_read(s, …), ssh_end_input(s, …)
 *     ssh_how_it_ended(s, &why)                      // after ssh_read() has returned 0
 *     ssh_close(s)
 *
 * Nothing here waits, but ssh_open(), which reads files and may look up a name. A function that
 * cannot finish returns SSH_WAIT: ssh_wait() names what it waits for; call the same function again
 * once that has come, ssh_write() with the same bytes or more. No call takes longer because the
 * server sends much: what one call takes in is bounded, and so is all memory of a session
 * (SSH_BYTES_MAX).
 *
 * Deadlines: each step of ssh_connect() and ssh_start() (the connection, the handshake, each way to
 * log in, the channel) may take `answer_ms`; then it fails with ERR_TIMEOUT. How long a channel may
 * be silent is the caller's to decide.
 *
 * Errors: ERR_TIMEOUT; ERR_NETWORK where the connection failed or was lost; ERR_CHECK where the
 * host key is refused; ERR_DENIED where no login was accepted; ERR_UNSUPPORTED where both sides
 * know no common method, or a key is of a type that the library does not know; ERR_PROTOCOL for the
 * rest. What the server has said appears in a message without its control characters. After an
 * error, but for one of ssh_start(), the session is only good for ssh_close(). ssh_failure() tells
 * the caller which hint fits.
 *
 * Logins, in this order: the private key (`identity` or `key`), the keys of ssh-agent, the usual
 * files of ~/.ssh, the password (also as the answer to what the server asks). Where the server
 * accepts one and wants another too, the rest is tried. RSA keys sign with SHA-2 if the server
 * knows it.
 *
 * No configuration of OpenSSH is read, and no file but those that are named here.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "recluster/buf.h"
#include "recluster/err.h"
#include "recluster/loop.h"
#include "recluster/secret.h"

struct ssh;

enum { SSH_WAIT = -2 };

enum { SSH_PORT = 22, SSH_BYTES_MAX = 32 << 20 };

/* All of it is borrowed until the session is closed. */
struct ssh_login {
    const char *user;
    const char *identity;            /* path of a private key; NULL: none */
    const struct secret *key;        /* the text of one; NULL: none */
    const struct secret *passphrase; /* of either; NULL: it needs none */
    const struct secret *password;
    bool agent, usual_files; /* the keys of the person who runs this may be used */
};

struct ssh_target {
    const char *host; /* an IP address, or a name; borrowed until the session is closed */
    bool look_up;     /* it may be a name */
    int port;
    int64_t answer_ms;
    struct ssh_login login;

    /* The host keys that are known, as lines of known_hosts (known_hosts.h); borrowed as above. */
    const char *known;

    /*
     * A host of which no key is known shows this one, given as a line for known_hosts without its
     * end: 0 accepts it. NULL: refused. A key that differs from what is known, or is revoked, is
     * refused without asking.
     */
    int (*accept_host_key)(void *arg, const char *line, const char *fingerprint, struct err *err);
    void *accept_arg;
};

int ssh_open(const struct ssh_target *target, struct ssh **ret, struct err *err) MUST_CHECK;
int ssh_connect(struct ssh *s, struct err *err) MUST_CHECK; /* 0, SSH_WAIT, -1 */

/* What went wrong, for the caller's hint. */
enum ssh_failure {
    SSH_FAILED,
    SSH_NOT_CONNECTED, /* there was no connection; the message names host and port */
    SSH_HOST_KEY_UNKNOWN,
    SSH_HOST_KEY_CHANGED,
    SSH_KEY_UNUSABLE, /* no login was accepted, and a private key could not even be tried */
    SSH_LOGIN_REFUSED,
};
enum ssh_failure ssh_failure(const struct ssh *s);
const char *ssh_fingerprint(const struct ssh *s); /* of the host key: "SHA256:…"; "": none yet */

/*
 * Opens the channel: a command, which the user's login shell runs, or a subsystem. The channel
 * before is closed. 0, SSH_WAIT, -1.
 */
enum ssh_service { SSH_COMMAND, SSH_SUBSYSTEM };
int ssh_start(
    struct ssh *s, enum ssh_service service, const char *name, struct err *err) MUST_CHECK;

/*
 * Bytes that came, 1 to `most`: *ret is valid until the next call with this session. 0: the output
 * has ended; SSH_WAIT; -1.
 */
ssize_t ssh_read(struct ssh *s, const char **ret, size_t most, struct err *err) MUST_CHECK;

/* How many bytes were taken, at least 1; SSH_WAIT; -1. */
ssize_t ssh_write(struct ssh *s, const void *data, size_t len, struct err *err) MUST_CHECK;

/* Nothing more will be written. 0, once all that was taken has been sent; SSH_WAIT; -1. */
int ssh_end_input(struct ssh *s, struct err *err) MUST_CHECK;

/* What came on standard error: the newest SSH_ERRORS_MAX bytes, as they came. Borrowed. */
enum { SSH_ERRORS_MAX = 4096 };
const struct buf *ssh_errors(struct ssh *s);

/*
 * After the end of the output. 0: *why says how the command ended ("status 1", "signal KILL",
 * ""), or why this is unknown; SSH_WAIT.
 */
int ssh_how_it_ended(struct ssh *s, struct err *why) MUST_CHECK;

/* Descriptors and deadline that the function which returned SSH_WAIT waits for. */
void ssh_wait(const struct ssh *s, struct wait *wait);

/* Says good-bye without blocking. May be NULL. */
void ssh_close(struct ssh *s);

#endif
