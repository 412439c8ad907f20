#ifndef SSH_RSA_H
#define SSH_RSA_H

/* RSA keys of libcrypto, for SSH libraries that sign with SHA-1 only. Independent of SSH. */

#include <stdbool.h>
#include <stddef.h>

struct rsa;

/* NULL: not an RSA key in PEM, or another passphrase (NULL: none). */
struct rsa *rsa_from_pem(const char *text, const char *passphrase);

/* Big-endian numbers. NULL: not a key. */
struct rsa_number {
    const void *bytes;
    size_t len;
};
enum { RSA_N, RSA_E, RSA_D, RSA_NUMBERS };
struct rsa *rsa_from_numbers(const struct rsa_number numbers[RSA_NUMBERS]);

void rsa_free(struct rsa *r); /* may be NULL */

/* The number, with a leading zero byte if its first bit is set; the caller's. */
unsigned char *rsa_number(const struct rsa *r, int which, size_t *ret_len);

/* PKCS #1, 1.5, with SHA-512 or SHA-256. NULL: failed. The caller frees it. */
unsigned char *rsa_sign(
    const struct rsa *r, bool sha512, const void *data, size_t len, size_t *ret_len);

#endif
