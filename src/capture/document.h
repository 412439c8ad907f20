#ifndef CAPTURE_DOCUMENT_H
#define CAPTURE_DOCUMENT_H

/*
 * The hashes of a CCS file, before they are written or after they were read.
 *
 *     struct document d;
 *     document_init(&d);
 *     struct hash *node = document_add(&d, "node", "1");
 *     hash_set(&d, node, "addr", "10.0.0.1");
 *     document_write(&d, saved_ms, &out);     // with the sets "node:all", … of all types with uids
 *     document_release(&d);
 *
 * A field that is NULL or empty is left out: it means the default.
 */

#include "recluster/buf.h"
#include "recluster/mem.h"
#include "recluster/rdb_write.h"

struct hash {
    const char *type, *uid; /* uid NULL: the key is the type */
    struct rdb_pair *pairs;
    size_t count, alloc;
};

struct document {
    struct arena arena;
    struct hash **hashes;
    size_t count, alloc;
};

void document_init(struct document *d);
void document_release(struct document *d);

struct hash *document_add(struct document *d, const char *type, const char *uid);
void hash_set(struct document *d, struct hash *h, const char *field, const char *value);
void hash_setf(struct document *d, struct hash *h, const char *field, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* The field, or NULL. */
const char *hash_get(const struct hash *h, const char *field);

/* The first hash of the type whose field has the value; NULL: none. */
struct hash *document_find(
    const struct document *d, const char *type, const char *field, const char *value);
struct hash *document_get(const struct document *d, const char *type, const char *uid);

/* One more than the highest numeric uid of the type in any of the two. */
const char *document_new_uid(struct document *d, const struct document *before, const char *type);

void document_write(struct document *d, int64_t saved_ms, struct buf *out);

/* Reads the hashes of a CCS file. */
int document_read(struct document *d, struct rdb_bytes file, struct err *err) MUST_CHECK;

#endif
