#ifndef LINK_SSH_H
#define LINK_SSH_H

/*
 * Inside of links of the kind "ssh": ssh.c (session and shell), ssh_host_key.c, ssh_login.c,
 * ssh_agent.c. What is ours is called ssh_link_…, what is libssh's ssh_….
 */

#include <libssh/libssh.h>

#include "recluster/buf.h"
#include "recluster/link.h"

struct ssh_link_login;

/*
 * Before the handshake: asks for host keys of the types that are known of this host. After it:
 * checks the one that came, against the lines of known_hosts that the first has put into `known`.
 */
int ssh_link_host_key_prepare(ssh_session session, const struct link_target *target,
    const char *addr, int port, struct buf *known, struct err *err) MUST_CHECK;
int ssh_link_host_key_check(ssh_session session, const struct link_target *target,
    const struct buf *known, const char *addr, int port, struct err *err) MUST_CHECK;

/* Reads the settings and secrets of the host's entry. */
struct ssh_link_login *ssh_link_login_new(const json_t *spec, struct err *err) MUST_CHECK;
const char *ssh_link_login_user(const struct ssh_link_login *login);
/* One attempt after the other, as the session's user: 0, LINK_IO_WAIT, -1. */
int ssh_link_login_step(
    struct ssh_link_login *login, ssh_session session, struct err *err) MUST_CHECK;
void ssh_link_login_free(struct ssh_link_login *login); /* NULL is fine */

/*
 * Calls `see` with the comment of each key that ssh-agent holds. How many there are; 0 where no
 * agent runs; -1: it does not answer. Waits for it, a few seconds at the most.
 */
int ssh_link_agent_list(void (*see)(void *arg, const char *comment), void *arg);

/* Whether the connection is gone. */
bool ssh_link_is_lost(ssh_session session);

/* Sets err to "what: what libssh says of the call that failed"; the code is ERR_NETWORK where the
 * connection is at fault, else `code`. Returns -1. */
int ssh_link_error(ssh_session session, enum err_code code, const char *what, struct err *err);

#endif
