#ifndef RECLUSTER_RDB_H
#define RECLUSTER_RDB_H

/*
 * Reader of RDB files: versions 1 to 14 of Redis, and Valkey's 80 (magic "VALKEY"). Pure: no I/O, no clock. It takes the bytes as they come, in pieces
 * of any size, and never holds more of the file than one key, one packed value that was asked for,
 * and a small carry-over:
 *
 *     struct rdb_reader *r = rdb_reader_new(&events, arg, &limits);
 *     while (more)
 *         if (rdb_reader_feed(r, data, len, err) < 0) …
 *     if (rdb_reader_end(r, err) < 0) …              // the file was cut, or its checksum is bad
 *     rdb_reader_free(r);
 *
 * Every record's boundary, key, type, expiry and database number is found whatever its value is.
 * The values of strings, lists, sets, sorted sets and hashes are decoded, in all encodings, for
 * records for which `record` returns RDB_DECODE; other values are skipped by their lengths. Streams
 * and module values are always skipped.
 *
 * Events come in the order of the file. Pointers in them are good until the callback returns. A
 * callback that returns -1 (with err set) stops the reader with that error. Events of a record come
 * while it is being read, so a consumer that must not see half a value undoes it when feed fails.
 *
 * Errors are ERR_CORRUPT (ERR_UNSUPPORTED for an opcode, type or version that is not known;
 * ERR_LIMIT for one over a limit) and say what, at which offset of the uncompressed file, in which
 * key. After an error the reader can only be freed.
 *
 * Format: the public sources of Redis (rdb.c, ziplist.c, listpack.c, …), of Valkey and of librdb.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/slots.h"

/* Value types as they stand in the file. Two numbers mean another thing in files of Valkey 9. */
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

/* What a value is to its user; the words of the TYPE command. */
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
    const void *data; /* a NUL is not guaranteed behind it */
    size_t len;
};

enum { RDB_HEADER_BYTES = 9 };
struct rdb_header {
    bool valkey; /* magic VALKEY: version counts on its own scale, from 80 */
    int version;
};

/* What may stand before a key, besides its expiry. Bits. */
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
     * In record_end, of a value that was skipped: how many strings it is made of, and their bytes,
     * decompressed; integers count as strings of no bytes.
     */
    uint64_t strings, string_bytes;
    bool repeated; /* the record before it is of the same key */
    /* In record_end: a collection without elements. Servers since 6.2.6 leave such keys out. */
    bool empty;
};

/* Opcodes of what is in a file beside records. */
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

/* A part of the file that is no record: the bytes from `offset` to before `end_offset`. */
struct rdb_unit {
    uint8_t opcode; /* enum rdb_opcode */
    uint64_t offset, end_offset;
    uint64_t db;
    uint64_t slot; /* RDB_OPCODE_SLOT_INFO: whose hints they are */
    uint64_t hint; /* RDB_OPCODE_RESIZE_DB, RDB_OPCODE_SLOT_INFO: keys and expiries, as they say */
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
    /* Name of a module whose data outside of keys is in the file. */
    int (*module_aux)(void *arg, const char *module, struct err *err);
    int (*function)(void *arg, struct rdb_bytes code, struct err *err);
    /* Slots that a server of Valkey was importing: the one that they leave has them still. */
    int (*importing)(void *arg, const struct slots *slots, struct err *err);
    /*
     * A unit was read whole, behind its own event if it has one. Header, units and records follow
     * each other without gaps; only prefixes of a record can stand before a unit, in a file that no
     * server writes.
     */
    int (*unit)(void *arg, const struct rdb_unit *unit, struct err *err);
    /* The key is known, the value not read yet. RDB_DECODE or RDB_SKIP, -1 to stop. */
    int (*record)(void *arg, const struct rdb_record *record, struct err *err);
    /* For decoded records only, in the file's order. */
    int (*element)(void *arg, const struct rdb_record *record, const struct rdb_element *element,
        struct err *err);
    /* The value was read whole: it ends before `end_offset`. */
    int (*record_end)(
        void *arg, const struct rdb_record *record, uint64_t end_offset, struct err *err);
};

/* 0 means the default, named behind it. */
struct rdb_limits {
    uint64_t file_bytes;  /* what the uncompressed file may at most have; unlimited */
    size_t key_bytes;     /* 512 MiB, the servers' own limit for a string */
    size_t element_bytes; /* decoded records: one element, and one packed value; 512 MiB */
};

struct rdb_reader;
struct rdb_reader *rdb_reader_new(
    const struct rdb_events *events, void *arg, const struct rdb_limits *limits);
void rdb_reader_free(struct rdb_reader *r);

int rdb_reader_feed(struct rdb_reader *r, const void *data, size_t len, struct err *err) MUST_CHECK;

/*
 * All bytes were fed. Checks that the file is whole, its checksum, and that nothing follows but what
 * a dump through a pipe has behind it: line ends, and the 40 hex digits that mark the end of a
 * diskless transfer. Servers load such files.
 */
int rdb_reader_end(struct rdb_reader *r, struct err *err) MUST_CHECK;

/*
 * For an RDB file that something else follows, as in an append-only file: bytes behind its end are
 * taken and ignored. To be called before the first feed.
 */
void rdb_reader_let_more_follow(struct rdb_reader *r);
uint64_t rdb_reader_end_offset(const struct rdb_reader *r); /* 0: the end was not seen yet */

/* Where the unit (its opcode) starts that is being read. */
uint64_t rdb_reader_unit_offset(const struct rdb_reader *r);

/* How many bytes stand behind the end that do no harm. */
uint64_t rdb_reader_trailing(const struct rdb_reader *r);

/* Once the end was seen: where its mark stands, and the checksum of all before it. */
uint64_t rdb_reader_data_end(const struct rdb_reader *r, uint64_t *ret_crc);

/* Not reached: the file ends, or can't be read on, before its checksum. */
enum rdb_checksum {
    RDB_CHECKSUM_ABSENT,
    RDB_CHECKSUM_OK,
    RDB_CHECKSUM_BAD,
    RDB_CHECKSUM_NOT_REACHED
};
const char *rdb_checksum_name(
    enum rdb_checksum checksum); /* "absent", "ok", "bad", "not reached" */
enum rdb_checksum rdb_reader_checksum(
    const struct rdb_reader *r);                        /* after end, also a failed one */
uint64_t rdb_reader_offset(const struct rdb_reader *r); /* bytes taken so far */

#endif
