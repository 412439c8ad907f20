#ifndef SETS_UNPACK_H
#define SETS_UNPACK_H

/*
 * Decrypts and decompresses a backup file. Its first bytes tell what it is. gzip and zstd (also with several
 * members or frames) are decompressed and their checksums verified; other bytes pass unchanged. An
 * empty file, a web page and unsupported kinds of compression have errors of their own.
 *
 *     struct unpack *u = unpack_new(sink, arg);
 *     unpack_feed(u, data, len, err) …
 *     unpack_end(u, err)                 // the file ended: was it complete?
 *     unpack_free(u);
 *
 * Messages do not name the file. Memory: about 400 KB, and the window of zstd data: 8 MB at its
 * usual levels, 128 MB at most.
 */

#include <stddef.h>

#include "recluster/err.h"
#include "recluster/store.h"

struct unpack;
struct unpack *unpack_new(store_sink sink, void *arg);
/* What opens an encrypted file (sealed.h); borrowed. Without it, one is ERR_USAGE. */
void unpack_use_key(struct unpack *u, const char *text);
void unpack_free(struct unpack *u); /* may be NULL */
int unpack_feed(struct unpack *u, const void *data, size_t len, struct err *err) MUST_CHECK;
int unpack_end(struct unpack *u, struct err *err) MUST_CHECK;

/* "gzip", "zstd", "none", or "encrypted" for what is that alone. */
const char *unpack_compression(const struct unpack *u);

#endif
