#ifndef SSH_KEY_H
#define SSH_KEY_H

/*
 * What the text of a private key shows without its passphrase; and RSA keys, which libraries
 * without SHA-2 for RSA cannot use, but OpenSSL can.
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/buf.h"

struct rsa;

struct key_look {
    bool private; /* it looks like a private key */
    bool locked;  /* it has a passphrase */
    bool openssh; /* OpenSSH's own form, not PEM */
    bool rsa;     /* for OpenSSH's form, and for PEM that names it */
    char *public; /* "ssh-ed25519 AAAA…", the caller's; NULL: not visible */
};
struct key_look key_look(const char *text);

/* An RSA key, for rsa_free(). NULL: not one, a wrong passphrase, or locked in OpenSSH's form. */
struct rsa *key_open_rsa(const char *text, const char *passphrase);

/* Appends the public key as on the wire. */
void key_put_rsa(const struct rsa *rsa, struct buf *ret);

/* A session_signer's function; arg: a struct rsa. */
int key_sign_rsa(void *arg, const char *algorithm, const void *data, size_t len, struct buf *ret);

#endif
