#ifndef RECLUSTER_RDB_WRITE_H
#define RECLUSTER_RDB_WRITE_H

/*
 * Writes small RDB files into memory. The files have version 9 and the plain encodings, so all
 * servers since Redis 5 load them, and all Valkey versions.
 *
 *     struct buf out = BUF_INIT;
 *     rdb_write_begin(&out);
 *     rdb_write_aux(&out, "ctime", "1700000000");       // before the first key
 *     rdb_write_hash(&out, "node:1", pairs, count);
 *     rdb_write_set(&out, "node:all", members, count);
 *     rdb_write_string(&out, "version", value);
 *     rdb_write_end(&out);                              // end mark and checksum
 *
 * Everything goes into database 0. A hash or set without elements is left out: servers have no
 * empty collections. The caller gives each key, field and member once.
 *
 * Format: rdb.c of Redis 5.
 */

#include "recluster/buf.h"
#include "recluster/rdb.h"

struct rdb_pair {
    struct rdb_bytes field, value;
};

void rdb_write_begin(struct buf *out);
void rdb_write_aux(struct buf *out, const char *key, const char *value);
void rdb_write_string(struct buf *out, const char *key, struct rdb_bytes value);
void rdb_write_set(struct buf *out, const char *key, const struct rdb_bytes *members, size_t count);
void rdb_write_hash(struct buf *out, const char *key, const struct rdb_pair *pairs, size_t count);
void rdb_write_end(struct buf *out);

#endif
