#ifndef SSH_HOST_KEY_H
#define SSH_HOST_KEY_H

/* The key of a host: what is known about it, and whether the shown key is accepted. */

#include "session.h"

enum { HOST_KEY_TYPES = 5 };

/*
 * The types of host keys in the order in which they are requested: known types first, so that the
 * host shows a key that can be compared.
 */
void host_key_order(const struct ssh_target *target, const char *ret[HOST_KEY_TYPES]);

/* The key that a host has shown. */
struct host_key {
    char *type;        /* "ssh-ed25519" */
    char *base64;      /* the key itself, as in known_hosts */
    char *fingerprint; /* "SHA256:…", as ssh-keygen -l prints it */
};
void host_key_read(struct host_key *k, const void *bytes, size_t len);
void host_key_release(struct host_key *k);

/* 0, or -1 with *ret_failure set. */
int host_key_check(const struct host_key *k, const struct ssh_target *target,
    enum ssh_failure *ret_failure, struct err *err) MUST_CHECK;

#endif
