#ifndef RECLUSTER_SEALED_H
#define RECLUSTER_SEALED_H

/*
 * Encrypted CCS files: by age(1), or OpenPGP by gpg(1). Both are programs of the machine; nothing
 * here does cryptography.
 *
 *     sealed_seal(recipients, &plain, &sealed, err)    // with public keys
 *     if (sealed_is(data, len)) sealed_open(key, &sealed, &plain, err)
 */

#include <stdbool.h>

#include "recluster/buf.h"

enum { SEALED_BYTES_MAX = 80 << 20 };

/* Whether the bytes are such a file, by their beginning. */
bool sealed_is(const void *data, size_t len);

/*
 * A recipient is a public key of age ("age1…", "ssh-ed25519 …"), a file of such keys, or else the
 * id, fingerprint or address of an OpenPGP key that gpg knows. All must be of one kind: ERR_USAGE.
 */
int sealed_seal(const char *const *recipients, const struct buf *plain, struct buf *ret,
    struct err *err) MUST_CHECK;

/*
 * `key`: a file with a private key of age or SSH; NULL: none. gpg has its keys itself. ERR_DENIED if
 * the key does not fit, ERR_USAGE if one is needed and not given.
 */
int sealed_open(
    const char *key, const struct buf *sealed, struct buf *ret, struct err *err) MUST_CHECK;

#endif
