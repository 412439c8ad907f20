#ifndef RECLUSTER_STORE_UNPACK_H
#define RECLUSTER_STORE_UNPACK_H

/*
 * A backup file's bytes made plain: what it is, is told by its first bytes; gzip (also of several
 * members) is inflated and its checksums and lengths are verified; else the bytes go through as
 * they are. An empty file, a web page and kinds of compression that aren't known are errors of
 * their own.
 *
 *     struct unpack *u = unpack_new(sink, arg);
 *     unpack_feed(u, data, len, err) …
 *     unpack_end(u, err)                 // the file ended: was it whole?
 *     unpack_free(u);
 *
 * Messages don't name the file. Memory: some 400 KB.
 */

#include <stddef.h>

#include "recluster/err.h"
#include "recluster/store.h"

struct unpack;
struct unpack *unpack_new(store_sink sink, void *arg);
void unpack_free(struct unpack *u); /* NULL is fine */
int unpack_feed(struct unpack *u, const void *data, size_t len, struct err *err) MUST_CHECK;
int unpack_end(struct unpack *u, struct err *err) MUST_CHECK;

/* "gzip", or "none". */
const char *unpack_compression(const struct unpack *u);

#endif
