#ifndef LINK_SSH_H
#define LINK_SSH_H

/* Inside of links of the kind "ssh": ssh.c (session and shell), ssh_host_key.c, ssh_login.c. */

#include <libssh2.h>

#include "recluster/buf.h"
#include "recluster/link.h"

enum ssh_rc { SSH_OK = 0, SSH_FAILED = -1, SSH_WAIT = -2 }; /* SSH_WAIT is LINK_IO_WAIT */

struct ssh_login;

/*
 * Before the handshake: asks for host keys of the types that are known of this host. After it:
 * checks the one that came, against the lines of known_hosts that the first has put into `known`.
 */
int ssh_host_key_prepare(LIBSSH2_SESSION *session, const struct link_target *target,
    const char *addr, int port, struct buf *known, struct err *err) MUST_CHECK;
int ssh_host_key_check(LIBSSH2_SESSION *session, const struct link_target *target,
    const struct buf *known, const char *addr, int port, struct err *err) MUST_CHECK;

/* Reads the settings and secrets of the host's entry. */
struct ssh_login *ssh_login_new(const json_t *spec, struct err *err) MUST_CHECK;
/* One attempt after the other: SSH_OK, SSH_WAIT, SSH_FAILED. */
int ssh_login_step(struct ssh_login *login, LIBSSH2_SESSION *session, struct err *err) MUST_CHECK;
void ssh_login_free(struct ssh_login *login); /* before its session goes; NULL is fine */

/* Sets err to "what: what libssh2 says of the call that failed"; the code is ERR_NETWORK where the
 * connection is at fault, else `code`. Returns -1. */
int ssh_error(LIBSSH2_SESSION *session, enum err_code code, const char *what, struct err *err);

#endif
