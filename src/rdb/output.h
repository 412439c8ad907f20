#ifndef RECLUSTER_RDB_OUTPUT_H
#define RECLUSTER_RDB_OUTPUT_H

/*
 * An RDB file that is being written: its buffer, checksum, digest of the data, and the places that
 * are patched at the end.
 *
 *     output_header(), output_aux() …, then in any order output_data() and output_select(), last
 *     output_end()
 */

#include "recluster/rdb_split.h"
#include "xxh3.h"

enum { OUTPUT_BUFFER_BYTES = 256 * 1024 };

/* A database with hints at `offset`, and its keys. */
struct output_database {
    uint64_t number, offset, keys, expires;
};

struct output {
    const struct rdb_split_params *params;
    size_t index;
    struct rdb_scan *scan;
    uint8_t *buffer; /* OUTPUT_BUFFER_BYTES */
    size_t len;
    bool data;            /* the buffer's bytes go into the digest */
    uint64_t offset;      /* of the buffer, in the file */
    uint64_t crc;         /* of the bytes before the buffer */
    XXH3_state_t *digest; /* NULL: no stamp */
    uint64_t digest_bytes;
    struct rdb_header header;          /* as it was written */
    uint64_t selected;                 /* the current database; UINT64_MAX: none yet */
    struct output_database *databases; /* the first few */
    size_t database_count, database_alloc;
    size_t database; /* of the current one; database_count: not among them */
    struct rdb_split_facts facts;
};

void output_init(struct output *o, const struct rdb_split_params *params, size_t index);
void output_release(struct output *o);

/* `stamp_only`: part of the data, which the file has already. */
void output_own_data(struct output *o, const void *bytes, size_t len);
/* The same at the end: how many bytes it has, and their checksum. */
void output_own_end(struct output *o, uint64_t bytes, uint64_t crc);

/* Magic and version. */
int output_header(struct output *o, const struct rdb_header *header, struct err *err) MUST_CHECK;
/* Bytes that are not part of the data: aux fields. */
int output_aux(struct output *o, const void *bytes, size_t len, struct err *err) MUST_CHECK;
int output_data(struct output *o, const void *bytes, size_t len, struct err *err) MUST_CHECK;
/* The following records belong to that database. */
int output_select(struct output *o, uint64_t db, struct err *err) MUST_CHECK;

static inline void output_count_key(struct output *o, bool expires)
{
    o->facts.keys++;
    o->facts.expires += expires;
    if (o->database < o->database_count) {
        o->databases[o->database].keys++;
        o->databases[o->database].expires += expires;
    }
}

/* Only stamp and end are missing. The version may be higher now than output_header() wrote it. */
int output_end(struct output *o, const struct rdb_header *header, struct err *err) MUST_CHECK;

#endif
