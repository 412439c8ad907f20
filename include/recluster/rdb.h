#ifndef RECLUSTER_RDB_H
#define RECLUSTER_RDB_H

/*
 * Reader of RDB files: versions 1 to 14 of Redis, and 80 of Valkey (magic "VALKEY"). Pure: no I/O,
 * no clock. It takes the bytes in pieces of any size. In memory it holds at most one key, one
 * packed value that is decoded, and a few bytes between pieces:
 *
 *     struct rdb_reader *r = rdb_reader_new(&events, arg, &limits);
 *     while (more)
 *         if (rdb_reader_feed(r, data, len, err) < 0) …
 *     if (rdb_reader_end(r, err) < 0) …              // the file was cut, or its checksum is bad
 *     rdb_reader_free(r);
 *
 * The reader finds boundary, key, type, expiry and database number of every record. If `record`
 * returns RDB_DECODE, it decodes values of strings, lists, sets, sorted sets and hashes, in all
 * encodings. It skips other values by their lengths. Streams and module values are always skipped.
 *
 * Events come in the order of the file. Their pointers are valid until the callback returns. If a
 * callback returns -1 (with err set), the reader stops with that error. Events of a record come
 * while it is being read: a consumer that must not keep half a value removes it if feed fails.
 *
 * Errors are ERR_CORRUPT, ERR_UNSUPPORTED (an unknown opcode, type or version) or ERR_LIMIT. They
 * name the fault, its offset in the uncompressed file, and the key. After an error the reader can
 * only be freed.
 *
 * Format: the public sources of Redis (rdb.c, ziplist.c, listpack.c, …), of Valkey and of librdb.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/slots.h"

/* Value types as written in the file. Two numbers have another meaning in files of Valkey 9. */
enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,
    RDB_SET = 2,
    RDB_ZSET = 3,
    RDB_HASH = 4,
    RDB_ZSET_2 = 5,
    RDB_MODULE = 6,
    RDB_MODULE_2 = 7,
    RDB_HASH_ZIPMAP = 9,
    RDB_LIST_ZIPLIST = 10,
    RDB_SET_INTSET = 11,
    RDB_ZSET_ZIPLIST = 12,
    RDB_HASH_ZIPLIST = 13,
    RDB_LIST_QUICKLIST = 14,
    RDB_STREAM_LISTPACKS = 15,
    RDB_HASH_LISTPACK = 16,
    RDB_ZSET_LISTPACK = 17,
    RDB_LIST_QUICKLIST_2 = 18,
    RDB_STREAM_LISTPACKS_2 = 19,
    RDB_SET_LISTPACK = 20,
    RDB_STREAM_LISTPACKS_3 = 21,
    RDB_HASH_METADATA_PRE_GA = 22, /* Valkey 9: hash with field expiry */
    RDB_HASH_LISTPACK_EX_PRE_GA = 23,
    RDB_HASH_METADATA = 24,
    RDB_HASH_LISTPACK_EX = 25,
    RDB_STREAM_LISTPACKS_4 = 26, /* Redis 8.6 */
    RDB_STREAM_LISTPACKS_5 = 27, /* Redis 8.8 */
    RDB_ARRAY = 28,              /* Redis 8.8 */
};

/* What a value is to its user: the words of the TYPE command. */
enum rdb_kind {
    RDB_KIND_STRING,
    RDB_KIND_LIST,
    RDB_KIND_SET,
    RDB_KIND_ZSET,
    RDB_KIND_HASH,
    RDB_KIND_STREAM,
    RDB_KIND_MODULE,
    RDB_KIND_ARRAY,
    RDB_KIND_COUNT,
};
const char *rdb_kind_name(enum rdb_kind kind); /* "string", "list", … */

struct rdb_bytes {
    const void *data; /* no NUL after it */
    size_t len;
};

enum { RDB_HEADER_BYTES = 9 };
struct rdb_header {
    bool valkey; /* magic VALKEY, whose versions start at 80 */
    int version;
};

/* What may precede a key, besides its expiry. Bits. */
enum rdb_prefix {
    RDB_PREFIX_IDLE = 1,       /* seconds since its last use */
    RDB_PREFIX_FREQ = 2,       /* how often it is used */
    RDB_PREFIX_METADATA = 4,   /* of modules, Redis 8.6 */
    RDB_PREFIX_ENTERPRISE = 8, /* Redis Enterprise's own fields */
};

struct rdb_record {
    uint64_t offset; /* of its first opcode, in the uncompressed file */
    uint64_t db;
    uint8_t type; /* enum rdb_type, as in the file */
    enum rdb_kind kind;
    struct rdb_bytes key;
    int64_t expires_ms; /* -1: never */
    uint8_t prefixes;   /* enum rdb_prefix */
    char module[10];    /* RDB_KIND_MODULE: name of the module's type */
    /*
     * In record_end, for a skipped value: the number of its strings, and their decompressed bytes.
     * Integers count as strings of 0 bytes.
     */
    uint64_t strings, string_bytes;
    bool repeated; /* the previous record has the same key */
    /* In record_end: a collection without elements. Servers since 6.2.6 drop such keys. */
    bool empty;
};

/* Opcodes of the parts of a file that are not records. */
enum rdb_opcode {
    RDB_OPCODE_SLOT_IMPORT = 243, /* Valkey 9 */
    RDB_OPCODE_SLOT_INFO = 244,
    RDB_OPCODE_FUNCTION_2 = 245,
    RDB_OPCODE_FUNCTION_PRE_GA = 246,
    RDB_OPCODE_MODULE_AUX = 247,
    RDB_OPCODE_AUX = 250,
    RDB_OPCODE_RESIZE_DB = 251,
    RDB_OPCODE_SELECT_DB = 254,
    RDB_OPCODE_EOF = 255,
};

/* A part of the file that is not a record: the bytes from `offset` to before `end_offset`. */
struct rdb_unit {
    uint8_t opcode; /* enum rdb_opcode */
    uint64_t offset, end_offset;
    uint64_t db;
    uint64_t slot; /* RDB_OPCODE_SLOT_INFO: the slot */
    uint64_t hint; /* RDB_OPCODE_RESIZE_DB, RDB_OPCODE_SLOT_INFO: hinted keys and expiries, added */
};

/*
 * One element of a value. String: value. List, set: value. Sorted set: value and score. Hash:
 * field, value and, where the field expires, expires_ms (else -1).
 */
struct rdb_element {
    struct rdb_bytes field;
    struct rdb_bytes value;
    double score;
    int64_t expires_ms;
};

enum rdb_want { RDB_SKIP, RDB_DECODE };

/* Each may be NULL. */
struct rdb_events {
    int (*header)(void *arg, const struct rdb_header *header, struct err *err);
    int (*aux)(void *arg, struct rdb_bytes key, struct rdb_bytes value, struct err *err);
    /* Name of a module that has data outside of keys in the file. */
    int (*module_aux)(void *arg, const char *module, struct err *err);
    int (*function)(void *arg, struct rdb_bytes code, struct err *err);
    /* Slots that a Valkey server was importing. The server that they leave still has them. */
    int (*importing)(void *arg, const struct slots *slots, struct err *err);
    /*
     * A unit was read to its end; this comes after its own event if it has one. Header, units and
     * records follow each other without gaps, except that prefixes of a record may precede a unit
     * in a file that no server writes.
     */
    int (*unit)(void *arg, const struct rdb_unit *unit, struct err *err);
    /* The key is known, the value is not read yet. Returns RDB_DECODE or RDB_SKIP; -1 stops. */
    int (*record)(void *arg, const struct rdb_record *record, struct err *err);
    /* For decoded records only, in the file's order. */
    int (*element)(void *arg, const struct rdb_record *record, const struct rdb_element *element,
        struct err *err);
    /* The value was read to its end, before `end_offset`. */
    int (*record_end)(
        void *arg, const struct rdb_record *record, uint64_t end_offset, struct err *err);
};

/* 0 means the default. */
struct rdb_limits {
    uint64_t file_bytes;  /* of the uncompressed file; default: unlimited */
    size_t key_bytes;     /* default: 512 MiB, the servers' own limit for a string */
    size_t element_bytes; /* of one element and one packed value, if decoded; default: 512 MiB */
};

struct rdb_reader;
struct rdb_reader *rdb_reader_new(
    const struct rdb_events *events, void *arg, const struct rdb_limits *limits);
void rdb_reader_free(struct rdb_reader *r);

int rdb_reader_feed(struct rdb_reader *r, const void *data, size_t len, struct err *err) MUST_CHECK;

/*
 * Call it when all bytes were fed. Checks that the file is complete, its checksum, and what follows
 * it. Only line ends and the 40 hex digits that mark the end of a diskless transfer may follow, as
 * in a dump through a pipe. Servers load such files.
 */
int rdb_reader_end(struct rdb_reader *r, struct err *err) MUST_CHECK;

/*
 * For an RDB file inside an append-only file: bytes after its end are accepted and ignored. Call it
 * before the first feed.
 */
void rdb_reader_allow_more(struct rdb_reader *r);
uint64_t rdb_reader_end_offset(const struct rdb_reader *r); /* 0: the end was not seen yet */

/* Offset of the opcode of the unit that is being read. */
uint64_t rdb_reader_unit_offset(const struct rdb_reader *r);

/* How many harmless bytes follow the end. */
uint64_t rdb_reader_trailing(const struct rdb_reader *r);

/* After the end was seen: the offset of its mark, and the checksum of all bytes before it. */
uint64_t rdb_reader_data_end(const struct rdb_reader *r, uint64_t *ret_crc);

/* Not reached: the file ends, or cannot be read further, before its checksum. */
enum rdb_checksum {
    RDB_CHECKSUM_ABSENT,
    RDB_CHECKSUM_OK,
    RDB_CHECKSUM_BAD,
    RDB_CHECKSUM_NOT_REACHED
};
const char *rdb_checksum_name(
    enum rdb_checksum checksum); /* "absent", "ok", "bad", "not reached" */
enum rdb_checksum rdb_reader_checksum(
    const struct rdb_reader *r);                        /* after end, even if that failed */
uint64_t rdb_reader_offset(const struct rdb_reader *r); /* bytes read so far */

#endif
