#include "scan_types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader_impl.h"

/* The oldest version of a server that knows it, as 100 * major + minor; 0: none. */
struct since {
    const char *name;
    unsigned redis, valkey;
};

/* Valkey begins with 7.2 and knows the types of Redis 7.2. */
enum { VALKEY_FIRST = 702 };

static const struct since types[TYPES_MAX] = {
    [RDB_STRING] = {"string", 100, VALKEY_FIRST},
    [RDB_LIST] = {"list", 100, VALKEY_FIRST},
    [RDB_SET] = {"set", 100, VALKEY_FIRST},
    [RDB_ZSET] = {"zset", 102, VALKEY_FIRST},
    [RDB_HASH] = {"hash", 200, VALKEY_FIRST},
    [RDB_ZSET_2] = {"zset with binary scores", 400, VALKEY_FIRST},
    [RDB_MODULE_2] = {"module value", 400, VALKEY_FIRST},
    [RDB_HASH_ZIPMAP] = {"hash as zipmap", 204, VALKEY_FIRST},
    [RDB_LIST_ZIPLIST] = {"list as ziplist", 204, VALKEY_FIRST},
    [RDB_SET_INTSET] = {"set as intset", 204, VALKEY_FIRST},
    [RDB_ZSET_ZIPLIST] = {"zset as ziplist", 204, VALKEY_FIRST},
    [RDB_HASH_ZIPLIST] = {"hash as ziplist", 206, VALKEY_FIRST},
    [RDB_LIST_QUICKLIST] = {"list as quicklist", 302, VALKEY_FIRST},
    [RDB_STREAM_LISTPACKS] = {"stream", 500, VALKEY_FIRST},
    [RDB_HASH_LISTPACK] = {"hash as listpack", 700, VALKEY_FIRST},
    [RDB_ZSET_LISTPACK] = {"zset as listpack", 700, VALKEY_FIRST},
    [RDB_LIST_QUICKLIST_2] = {"list as quicklist of listpacks", 700, VALKEY_FIRST},
    [RDB_STREAM_LISTPACKS_2] = {"stream of version 7.0", 700, VALKEY_FIRST},
    [RDB_SET_LISTPACK] = {"set as listpack", 702, VALKEY_FIRST},
    [RDB_STREAM_LISTPACKS_3] = {"stream of version 7.2", 702, VALKEY_FIRST},
    [RDB_HASH_METADATA_PRE_GA] = {"hash with field expiry, of a release candidate", 704, 0},
    [RDB_HASH_LISTPACK_EX_PRE_GA] = {"hash with field expiry, of a release candidate", 704, 0},
    [RDB_HASH_METADATA] = {"hash with field expiry", 704, 0},
    [RDB_HASH_LISTPACK_EX] = {"hash with field expiry, as listpack", 704, 0},
    [RDB_STREAM_LISTPACKS_4] = {"stream of version 8.6", 806, 0},
    [RDB_STREAM_LISTPACKS_5] = {"stream of version 8.8", 808, 0},
    [RDB_ARRAY] = {"array", 808, 0},
};

static const struct since valkey_hash_2 = {"hash with field expiry, of Valkey", 0, 900};

static const struct since opcodes[256 - OPCODE_FIRST] = {
#define OPCODE(id) [RDB_OPCODE_##id - OPCODE_FIRST]
    OPCODE(SLOT_IMPORT) = {"slot import", 0, 900},
    OPCODE(SLOT_INFO) = {"slot hints", 704, 800},
    OPCODE(FUNCTION_2) = {"functions", 700, VALKEY_FIRST},
    OPCODE(FUNCTION_PRE_GA) = {"functions, of a release candidate", 0, 0},
    OPCODE(MODULE_AUX) = {"data of modules", 500, VALKEY_FIRST},
    OPCODE(AUX) = {"aux fields", 302, VALKEY_FIRST},
    OPCODE(RESIZE_DB) = {"size hints", 302, VALKEY_FIRST},
};

static const struct since prefixes[PREFIXES] = {
    {"idle times", 500, VALKEY_FIRST},
    {"use frequencies", 500, VALKEY_FIRST},
    {"metadata of modules on keys", 806, 0},
    {"fields of Redis Enterprise", 0, 0},
};

/* The oldest Redis that accepts an RDB file of that version. */
static const unsigned redis_of_version[] = {
    0, 100, 204, 206, 206, 206, 206, 302, 400, 500, 700, 702, 704, 806, 808};

void seen_key_set(struct seen_key *seen, const struct rdb_record *record, size_t max)
{
    free(seen->key);
    seen->db = record->db;
    seen->kind = record->kind;
    seen->len = record->key.len < max ? record->key.len : max;
    seen->key = xmemdup(record->key.data, seen->len);
}

void seen_key_release(struct seen_key *seen)
{
    free(seen->key);
}

json_t *hex_json(const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *hex = xmalloc(2 * len + 1);

    for (size_t i = 0; i < len; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    json_t *json = json_stringn(hex, 2 * len);
    free(hex);
    return json;
}

json_t *seen_key_json(const struct seen_key *seen)
{
    return json_pack("{s:I, s:o, s:s}", "db", (json_int_t)seen->db, "key",
        hex_json(seen->key, seen->len), "kind", rdb_kind_name(seen->kind));
}

void scan_types_release(struct scan_types *t)
{
    for (size_t i = 0; i < TYPES_MAX; i++)
        seen_key_release(&t->types[i].first);
    for (size_t i = 0; i < PREFIXES; i++)
        seen_key_release(&t->prefixes[i].first);
    for (size_t i = 0; i < LARGEST; i++)
        seen_key_release(&t->largest[i].key);
}

void scan_types_first(struct scan_types *t, const struct rdb_record *record)
{
    seen_key_set(&t->types[record->type].first, record, SHOWN_KEY_MAX);
}

void scan_types_prefixes(struct scan_types *t, const struct rdb_record *record)
{
    for (size_t i = 0; i < PREFIXES; i++)
        if ((record->prefixes >> i & 1) && !t->prefixes[i].keys++)
            seen_key_set(&t->prefixes[i].first, record, SHOWN_KEY_MAX);
}

/* The smallest of the largest is replaced. */
void scan_types_large(struct scan_types *t, const struct rdb_record *record, uint64_t bytes)
{
    size_t at = LARGEST - 1;
    struct seen_key key = t->largest[at].key;

    for (; at && t->largest[at - 1].bytes < bytes; at--)
        t->largest[at] = t->largest[at - 1];
    seen_key_set(&key, record, SHOWN_KEY_MAX);
    t->largest[at].bytes = bytes;
    t->largest[at].key = key;
}

static json_t *version_json(unsigned version)
{
    return version ? json_sprintf("%u.%u", version / 100, version % 100) : json_null();
}

/* {"redis": "7.0", "valkey": null} into json. */
static void add_versions(json_t *json, unsigned redis, unsigned valkey)
{
    json_object_set_new(json, "redis", version_json(redis));
    json_object_set_new(json, "valkey", version_json(valkey));
}

/* The version that all types need: 0 if no server knows one of them. */
static void need(struct since *all, const struct since *one)
{
    all->redis = !all->redis || !one->redis ? 0 : all->redis > one->redis ? all->redis : one->redis;
    all->valkey = !all->valkey || !one->valkey ? 0
                  : all->valkey > one->valkey  ? all->valkey
                                               : one->valkey;
}

static json_t *since_json(const struct since *since, uint64_t count, const char *unit)
{
    json_t *json = json_pack("{s:s, s:I}", "name", since->name, unit, (json_int_t)count);
    add_versions(json, since->redis, since->valkey);
    return json;
}

static json_t *types_json(const struct scan_types *t, bool valkey, struct since *oldest)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < TYPES_MAX; i++) {
        if (!t->types[i].keys)
            continue;
        const struct since *since =
            valkey && i == RDB_HASH_METADATA_PRE_GA ? &valkey_hash_2 : &types[i];
        json_t *json = since_json(since, t->types[i].keys, "keys");
        json_object_set_new(json, "type", json_integer(i));
        json_object_set_new(json, "bytes", json_integer((json_int_t)t->types[i].bytes));
        json_object_set_new(json, "memory", json_integer((json_int_t)t->types[i].memory));
        json_object_set_new(json, "first", seen_key_json(&t->types[i].first));
        json_array_append_new(list, json);
        need(oldest, since);
    }
    return list;
}

static json_t *opcodes_json(const struct scan_types *t, struct since *oldest)
{
    json_t *list = json_array();

    for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
        if (!opcodes[i].name || !t->opcodes[i])
            continue;
        json_array_append_new(list, since_json(&opcodes[i], t->opcodes[i], "count"));
        need(oldest, &opcodes[i]);
    }
    for (size_t i = 0; i < PREFIXES; i++) {
        if (!t->prefixes[i].keys)
            continue;
        json_t *json = since_json(&prefixes[i], t->prefixes[i].keys, "count");
        json_object_set_new(json, "first", seen_key_json(&t->prefixes[i].first));
        json_array_append_new(list, json);
        need(oldest, &prefixes[i]);
    }
    return list;
}

static json_t *oldest_json(const struct rdb_header *header, const struct since *content)
{
    unsigned version = (unsigned)header->version;
    unsigned redis =
        !header->valkey && version < ARRAY_SIZE(redis_of_version) ? redis_of_version[version] : 0;
    unsigned valkey = header->valkey ? 900 : version <= 11 ? VALKEY_FIRST : 0;
    const struct since by_version = {"", redis, valkey};
    struct since all = *content;
    json_t *json = json_object(), *by_content = json_object();

    need(&all, &by_version);
    add_versions(json, all.redis, all.valkey);
    add_versions(by_content, content->redis, content->valkey);
    json_object_set_new(json, "by_content", by_content);
    return json;
}

static json_t *kinds_json(const struct scan_types *t, bool valkey)
{
    uint64_t kinds[RDB_KIND_COUNT] = {0};
    json_t *json = json_object();

    for (uint8_t i = 0; i < TYPES_MAX; i++)
        if (t->types[i].keys)
            kinds[type_info_of(valkey, i)->kind] += t->types[i].keys;
    for (unsigned kind = 0; kind < RDB_KIND_COUNT; kind++)
        if (kind < RDB_KIND_ARRAY || kinds[kind])
            json_object_set_new(json, rdb_kind_name(kind), json_integer((json_int_t)kinds[kind]));
    return json;
}

static json_t *largest_json(const struct scan_types *t)
{
    json_t *list = json_array();

    for (size_t i = 0; i < LARGEST && t->largest[i].bytes; i++) {
        json_t *json = seen_key_json(&t->largest[i].key);
        json_object_set_new(json, "bytes", json_integer((json_int_t)t->largest[i].bytes));
        json_array_append_new(list, json);
    }
    return list;
}

/* Buckets of a table of so many entries: a power of two. */
static uint64_t table_memory(uint64_t entries)
{
    uint64_t buckets = 4;

    while (buckets < entries)
        buckets *= 2;
    return entries ? buckets * sizeof(void *) : 0;
}

void scan_types_json(
    const struct scan_types *t, const struct rdb_header *header, uint64_t expires, json_t *json)
{
    enum { EXPIRY_BYTES = 32 };
    struct since oldest = {"", 100, VALKEY_FIRST};
    uint64_t keys = 0, memory = 0;

    for (size_t i = 0; i < TYPES_MAX; i++) {
        keys += t->types[i].keys;
        memory += t->types[i].memory;
    }
    memory += table_memory(keys) + table_memory(expires) + expires * EXPIRY_BYTES;
    json_object_set_new(json, "kinds", kinds_json(t, header->valkey));
    json_object_set_new(json, "types", types_json(t, header->valkey, &oldest));
    json_object_set_new(json, "opcodes", opcodes_json(t, &oldest));
    if (header->version)
        json_object_set_new(json, "oldest", oldest_json(header, &oldest));
    json_object_set_new(json, "memory", json_integer((json_int_t)memory));
    json_object_set_new(json, "largest", largest_json(t));
}
