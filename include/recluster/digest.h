#ifndef RECLUSTER_DIGEST_H
#define RECLUSTER_DIGEST_H

/*
 * SHA-256 and random bytes, by libcrypto.
 *
 *     struct digest *d = digest_new();
 *     digest_add(d, data, len);
 *     digest_end(d, hex);            // frees d
 */

#include <stddef.h>

#define DIGEST_HEX_MAX 65
#define DIGEST_BYTES 32

struct digest;
struct digest *digest_new(void);
void digest_add(struct digest *d, const void *data, size_t len);
void digest_end(struct digest *d, char hex[DIGEST_HEX_MAX]);
void digest_free(struct digest *d); /* if digest_end() was not called; may be NULL */

/* The digest of one piece of memory. Returns hex. */
char *digest_of(const void *data, size_t len, char hex[DIGEST_HEX_MAX]);

/* The same as bytes. */
void digest_bytes(const void *data, size_t len, unsigned char out[DIGEST_BYTES]);

/* 2 * bytes hex digits, cryptographically random. The caller frees it. */
char *random_hex(size_t bytes);

#endif
