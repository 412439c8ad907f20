#ifndef SSH_RSA_H
#define SSH_RSA_H

/* RSA keys of libcrypto, for libraries of SSH that sign with SHA-1 only. Knows no SSH. */

#include <stdbool.h>
#include <stddef.h>

struct rsa;

/* NULL: it is no RSA key in PEM, or its passphrase (NULL: none) is another. */
struct rsa *rsa_from_pem(const char *text, const char *passphrase);

/* Big-endian numbers. NULL: they make no key. */
struct rsa_number {
    const void *bytes;
    size_t len;
};
enum { RSA_N, RSA_E, RSA_D, RSA_NUMBERS };
struct rsa *rsa_from_numbers(const struct rsa_number numbers[RSA_NUMBERS]);

void rsa_free(struct rsa *r); /* NULL is fine */

/* The number with a zero byte in front if its first bit is set; the caller's. */
unsigned char *rsa_number(const struct rsa *r, int which, size_t *ret_len);

/* PKCS #1, 1.5, with SHA-512 or else SHA-256. NULL: it failed. The caller frees it. */
unsigned char *rsa_sign(
    const struct rsa *r, bool sha512, const void *data, size_t len, size_t *ret_len);

#endif
