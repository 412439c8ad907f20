#ifndef RECLUSTER_SCAN_TYPES_H
#define RECLUSTER_SCAN_TYPES_H

/*
 * The types and opcodes in a file: how many of each, which servers know them, how much memory the
 * values need, and which records are the largest.
 */

#include <jansson.h>

#include "recluster/rdb.h"

enum { TYPES_MAX = 32, OPCODE_FIRST = RDB_OPCODE_SLOT_IMPORT, PREFIXES = 4, LARGEST = 10 };
enum {
    SEEN_KEY_MAX = 16 * 1024, /* a scan will ask for it again */
    SHOWN_KEY_MAX = 256,
};

struct seen_key {
    uint64_t db;
    enum rdb_kind kind;
    size_t len;
    uint8_t *key;
};

/* A longer key is cut. */
void seen_key_set(struct seen_key *seen, const struct rdb_record *record, size_t max);
void seen_key_release(struct seen_key *seen);
/* {"db": n, "key": hex, "kind": name} */
json_t *seen_key_json(const struct seen_key *seen);
json_t *hex_json(const uint8_t *bytes, size_t len);

struct scan_types {
    struct {
        uint64_t keys, bytes, memory;
        struct seen_key first;
    } types[TYPES_MAX];
    struct {
        uint64_t keys;
        struct seen_key first;
    } prefixes[PREFIXES];
    uint64_t opcodes[256 - OPCODE_FIRST];
    struct {
        uint64_t bytes;
        struct seen_key key;
    } largest[LARGEST]; /* the largest first */
};

void scan_types_release(struct scan_types *t);

void scan_types_first(struct scan_types *t, const struct rdb_record *record);
void scan_types_prefixes(struct scan_types *t, const struct rdb_record *record);
void scan_types_large(struct scan_types *t, const struct rdb_record *record, uint64_t bytes);

static inline void scan_types_record(struct scan_types *t, const struct rdb_record *record)
{
    if (!t->types[record->type].keys++)
        scan_types_first(t, record);
    if (record->prefixes)
        scan_types_prefixes(t, record);
}

/* The memory of the record's value, key and entry, without the tables of all keys. */
uint64_t record_memory(const struct rdb_header *header, const struct rdb_record *record);

static inline void scan_types_record_end(struct scan_types *t, const struct rdb_header *header,
    const struct rdb_record *record, uint64_t bytes)
{
    t->types[record->type].bytes += bytes;
    t->types[record->type].memory += record_memory(header, record);
    if (bytes > t->largest[LARGEST - 1].bytes)
        scan_types_large(t, record, bytes);
}

static inline void scan_types_unit(struct scan_types *t, const struct rdb_unit *unit)
{
    t->opcodes[unit->opcode - OPCODE_FIRST]++;
}

/* Adds "kinds", "types", "opcodes", "oldest", "memory" and "largest". */
void scan_types_json(
    const struct scan_types *t, const struct rdb_header *header, uint64_t expires, json_t *json);

#endif
