#ifndef RECLUSTER_PACK_H
#define RECLUSTER_PACK_H

/*
 * Compresses a backup file. What it writes, unpack.h and pull.h read.
 *
 *     struct pack *p = pack_new(PACK_ZSTD, sink, arg);
 *     pack_add(p, data, len, err) …
 *     pack_end(p, err)                   // the last bytes: the file is whole
 *     pack_free(p);
 *
 * Both kinds have a checksum of their own. Memory: about 1 MB.
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/err.h"
#include "recluster/store.h"

enum pack_kind { PACK_NONE, PACK_GZIP, PACK_ZSTD };

/* "none", "gzip", "zstd". */
const char *pack_name(enum pack_kind kind);
const char *pack_suffix(enum pack_kind kind);             /* "", ".gz", ".zst" */
bool pack_kind_of(const char *name, enum pack_kind *ret); /* false: no such kind */

struct pack;
struct pack *pack_new(enum pack_kind kind, store_sink sink, void *arg);
void pack_free(struct pack *p); /* may be NULL */
int pack_add(struct pack *p, const void *data, size_t len, struct err *err) MUST_CHECK;
int pack_end(struct pack *p, struct err *err) MUST_CHECK;

#endif
