/*
 * The memory of a value in a server of the release that wrote the file: the allocations of its
 * structures, each rounded to the size classes of jemalloc. Of a skipped value only the strings are
 * known, so all elements count as equally long.
 */

#include "reader_impl.h"
#include "scan_types.h"

enum {
    OBJECT_BYTES = 16,
    ENTRY_BYTES = 32, /* of a hash table: 24, rounded */
    /* Since 7.2 (RDB version 11) a table without values has entries only in shared buckets. */
    LONE_KEYS_SINCE = 11,
    LONE_KEY_BYTES = 8, /* on average */
    TABLE_BYTES = 64,   /* a hash table without its buckets */
    POINTER_BYTES = 8,
    EMBEDDED_MAX = 44, /* shorter strings share the allocation of their object */
    NODE_BYTES = 32,   /* of a quicklist */
    QUICKLIST_BYTES = 48,
    PACKED_ENTRY_BYTES = 2,   /* around the bytes of an entry */
    SKIPLIST_NODE_BYTES = 48, /* on average */
    SKIPLIST_BYTES = 600,
    STREAM_BYTES = 400,
    TREE_NODE_BYTES = 48,
};

/* Rounds a request as jemalloc does: to 8 or to 16, then to quarters of a power of two. */
static inline uint64_t rounded(uint64_t n)
{
    if (n <= 8)
        return n ? 8 : 0;
    if (n <= 128)
        return (n + 15) & ~UINT64_C(15);
    uint64_t step = UINT64_C(1) << (61 - __builtin_clzll(n - 1));
    return (n + step - 1) & ~(step - 1);
}

static inline uint64_t string(uint64_t len)
{
    uint64_t head = len < 32 ? 1 : len < 256 ? 3 : len < 65536 ? 5 : len <= UINT32_MAX ? 9 : 17;
    return rounded(head + len + 1);
}

static uint64_t buckets(uint64_t entries)
{
    uint64_t count = 4;
    while (count < entries)
        count *= 2;
    return count * POINTER_BYTES;
}

static uint64_t elements(const struct rdb_header *header, const struct rdb_record *record)
{
    uint64_t strings = record->strings, each = strings ? record->string_bytes / strings : 0;
    uint64_t count = record->kind == RDB_KIND_HASH ? strings / 2 : strings;
    bool lone = record->kind == RDB_KIND_SET && header->version >= LONE_KEYS_SINCE;
    uint64_t table = TABLE_BYTES + buckets(count) + count * (lone ? LONE_KEY_BYTES : ENTRY_BYTES) +
                     strings * string(each);

    switch (record->kind) {
    case RDB_KIND_LIST:
        return QUICKLIST_BYTES + NODE_BYTES + record->string_bytes + strings * PACKED_ENTRY_BYTES;
    case RDB_KIND_ZSET:
        return table + SKIPLIST_BYTES + count * SKIPLIST_NODE_BYTES;
    case RDB_KIND_STRING:
    case RDB_KIND_SET:
    case RDB_KIND_HASH:
    case RDB_KIND_STREAM:
    case RDB_KIND_MODULE:
    case RDB_KIND_ARRAY:
    case RDB_KIND_COUNT:
        break;
    }
    return table;
}

static uint64_t value(const struct rdb_header *header, const struct rdb_record *record)
{
    uint64_t strings = record->strings, bytes = record->string_bytes;

    if (record->type == RDB_STRING)
        return bytes <= EMBEDDED_MAX ? rounded(OBJECT_BYTES + (bytes ? 3 + bytes + 1 : 0))
                                     : OBJECT_BYTES + string(bytes);
    switch (type_info_of(header->valkey, record->type)->layout) {
    case LAYOUT_PACKED:
        return OBJECT_BYTES + rounded(bytes);
    case LAYOUT_NODES:
        return OBJECT_BYTES + QUICKLIST_BYTES +
               strings * (NODE_BYTES + rounded(strings ? bytes / strings : 0));
    case LAYOUT_ELEMENTS:
        return OBJECT_BYTES + elements(header, record);
    case LAYOUT_STRING:
    case LAYOUT_OPAQUE:
        break;
    }
    return OBJECT_BYTES + STREAM_BYTES + bytes + strings * TREE_NODE_BYTES;
}

uint64_t record_memory(const struct rdb_header *header, const struct rdb_record *record)
{
    return ENTRY_BYTES + string(record->key.len) + value(header, record);
}
