#ifndef SSH_SESSION_H
#define SSH_SESSION_H

/*
 * The functions that src/ssh needs of an SSH library; session_libssh2.c implements them. A session
 * uses a connected, non-blocking socket. Each function does what it can without blocking. SSH_WAIT
 * (or LOGIN_WAITS) asks for another call with the same arguments, after the events of
 * session_wait(). A call reads a bounded number of bytes, and all memory of a session stays below
 * SSH_BYTES_MAX.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "recluster/ssh.h"

struct session;

struct session *session_new(int fd, struct err *err) MUST_CHECK; /* the socket stays the caller's */
void session_free(struct session *s, bool says_good_bye);        /* may be NULL */

const char *session_library(void);       /* name and version */
const char *session_newer_library(void); /* the version that can do all that this one cannot */

/*
 * What the library can do with keys of a type ("ssh-ed25519", …): check a host's, and log in with a
 * key that signs elsewhere. session_signs_with_rsa(): session_login_key() accepts RSA keys.
 */
bool session_knows_host_key(const char *type);
bool session_knows_user_key(const char *type);
bool session_signs_with_rsa(void);

/* `host_key_types`: as in known_hosts, the preferred first; unknown ones are skipped. */
int session_handshake(
    struct session *s, const char *const *host_key_types, size_t count, struct err *err) MUST_CHECK;

/* As on the wire; borrowed. NULL: none. */
const char *session_host_key(struct session *s, size_t *ret_len);

void session_wait(const struct session *s, struct wait *wait);
/* A packet is half sent: until it is done, call only the function that returned SSH_WAIT. */
bool session_is_sending(const struct session *s);

/* Sets "what: the error of the library or the server". ERR_NETWORK: the connection is gone. -1. */
int session_error(struct session *s, enum err_code code, const char *what, struct err *err);

/* --- logins --- */

enum session_login {
    LOGIN_WAITS = SSH_WAIT,
    LOGIN_FAILED = -1, /* session_error() tells why */
    LOGIN_DONE,
    LOGIN_REFUSED,
    LOGIN_WANTS_MORE,   /* accepted, but another login must follow */
    LOGIN_KEY_UNUSABLE, /* unreadable, or it does not sign */
};

/* The ways that the server offers now. LOGIN_DONE: none is needed. */
enum { LOGIN_BY_KEY = 1, LOGIN_BY_PASSWORD = 2, LOGIN_BY_QUESTIONS = 4 };
enum session_login session_login_ways(struct session *s, const char *user, unsigned *ret_ways);

/* A private key's text. `public`: its line of a .pub file, or NULL. */
enum session_login session_login_key(struct session *s, const char *user, const char *public,
    const char *text, const char *passphrase);

/*
 * A public key as on the wire, with its signer. sign() gets the bytes to sign and the algorithm's
 * name, and appends the signature in the protocol's form without that name: 0, SSH_WAIT, -1.
 */
struct session_signer {
    int (*sign)(void *arg, const char *algorithm, const void *data, size_t len, struct buf *ret);
    void *arg;
};
enum session_login session_login_signer(struct session *s, const char *user, const void *key,
    size_t key_len, const struct session_signer *signer);

enum session_login session_login_password(
    struct session *s, const char *user, const char *password);
/* Answers any question with the password. */
enum session_login session_login_questions(
    struct session *s, const char *user, const char *password);

/* --- the channel --- */

/* Each returns 0, SSH_WAIT or -1. */
int session_close_channel(struct session *s, struct err *err) MUST_CHECK;
int session_open(struct session *s, struct err *err) MUST_CHECK;
int session_request(
    struct session *s, enum ssh_service service, const char *name, struct err *err) MUST_CHECK;

/* The number of bytes, 0 at the end of this stream, SSH_WAIT, -1. */
enum session_stream { SESSION_OUTPUT, SESSION_ERRORS };
ssize_t session_read(struct session *s, enum session_stream stream, void *data, size_t size,
    struct err *err) MUST_CHECK;
/* After SSH_WAIT, repeat it with the same bytes. */
ssize_t session_write(struct session *s, const void *data, size_t len, struct err *err) MUST_CHECK;
int session_send_eof(struct session *s, struct err *err) MUST_CHECK;

/* After the end of the output. 0: *ret_signal is its name, the caller's, or NULL. */
int session_exit(struct session *s, int *ret_status, char **ret_signal, struct err *err) MUST_CHECK;

#endif
