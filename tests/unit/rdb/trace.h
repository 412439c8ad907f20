#ifndef RECLUSTER_TEST_TRACE_H
#define RECLUSTER_TEST_TRACE_H

/*
 * The events of an RDB reader as text, one a line, to be compared:
 *
 *     header redis 12
 *     aux redis-ver=7.4.0
 *     module-aux exampleMo
 *     function #!lua …
 *     record @20 db=0 type=4 hash k expires=-1
 *      field=value
 *     end @40
 *
 * A set's or list's element is " value", a sorted set's " value score", a field that expires
 * " field=value until ms". What is not printable ASCII is \xHH.
 */

#include <jansson.h>

#include "reader_impl.h"
#include "recluster/rdb.h"

enum feeding { FEED_WHOLE, FEED_BYTES, FEED_ODD, FEED_WAYS };

struct trace {
    enum rdb_want want;
    bool quiet; /* keep nothing, only touch all bytes */
    uint64_t sum;
    struct buf text;
    json_t *databases; /* as in fixtures/rdb-corpus, if want is RDB_DECODE */
    json_t *value;
    uint64_t db;
    uint32_t types_seen; /* bit per enum rdb_type */
};

void trace_init(struct trace *t, enum rdb_want want);
void trace_release(struct trace *t);

/* Reads the bytes from a heap block of just their size. 0 or -1 as the reader says. */
int trace_read(struct trace *t, const void *data, size_t len, enum feeding way,
    const struct rdb_limits *limits, struct err *err);

/* Bytes as JSON text: as they are if printable ASCII, else "hex:…". */
json_t *trace_json(struct rdb_bytes bytes);

/* Makes a file of the literal bytes behind `magic`, an end opcode and no checksum. */
#define FILE_OF(b, magic, bytes) file_of((b), (magic), (bytes), sizeof(bytes) - 1)
void file_of(struct buf *b, const char *magic, const void *bytes, size_t len);

/* The whole file fixtures/NAME. */
void read_fixture(const char *name, struct buf *b);

#endif
