#ifndef RECLUSTER_SIGN_H
#define RECLUSTER_SIGN_H

/* Signatures, by libcrypto. */

#include <stddef.h>

#define SIGN_HMAC_BYTES 32
#define SIGN_SHA1_BYTES 20

/* HMAC with SHA-256 (RFC 2104). */
void sign_hmac(const void *key, size_t key_len, const void *data, size_t len,
    unsigned char out[SIGN_HMAC_BYTES]);

/* HMAC with SHA-1, which known_hosts uses to hash names. */
void sign_hmac_sha1(const void *key, size_t key_len, const void *data, size_t len,
    unsigned char out[SIGN_SHA1_BYTES]);

/*
 * RSA with SHA-256 and the padding of PKCS #1, 1.5 (RS256 of RFC 7518). NULL: the text is not an
 * RSA key in PEM without a passphrase. The caller frees it.
 */
unsigned char *sign_rs256(const char *pem, const void *data, size_t len, size_t *ret_len);

#endif
