#ifndef RECLUSTER_SSH_SETUP_H
#define RECLUSTER_SSH_SETUP_H

/* What all sessions of libssh have in common, whether they are links to hosts or read locations. */

#include <libssh/libssh.h>

#include "recluster/mem.h"

/*
 * A new session that logs in as `user` where a login names nobody else. No file is read for it:
 * neither settings nor known_hosts nor keys. The ciphers are all that both sides may know, what
 * hardware does first. NULL: libssh fails. Free with ssh_free().
 */
ssh_session ssh_setup_session(const char *user) MUST_CHECK;

/*
 * A private key from its text, or from a file. NULL: it is none, or its passphrase (NULL: none) is
 * another. Never asks at the terminal, as OpenSSL else would. Free with ssh_key_free().
 */
ssh_key ssh_setup_key(const char *text, const char *passphrase) MUST_CHECK;
ssh_key ssh_setup_key_file(const char *path, const char *passphrase) MUST_CHECK;

/* The key that a server has shown in the handshake. */
struct ssh_server_key {
    const char *type;  /* as in known_hosts: "ssh-ed25519"; static */
    char *key64;       /* the key itself, in base 64 */
    char *fingerprint; /* "SHA256:…", as ssh-keygen -l prints it */
};
int ssh_server_key_read(ssh_session session, struct ssh_server_key *ret) MUST_CHECK;
void ssh_server_key_release(struct ssh_server_key *k);

#endif
