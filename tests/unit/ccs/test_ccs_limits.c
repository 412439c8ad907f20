/* Files that are made to take much time or memory: refused by name, or read within seconds. */

#include "ccs_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/file.h"

/* A sanitizer's build is not about speed; gcc and clang each tell it in their own way. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

enum { KEYS_MAX = 100000, MANY = SANITIZED ? 40000 : 95000, LIMIT_MS = 10000 };

static void add_length(struct buf *rdb, size_t n)
{
    const char bytes[] = {(char)0x80, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};

    buf_add(rdb, bytes, sizeof(bytes));
}

static void add_bytes(struct buf *rdb, const char *text, size_t len)
{
    add_length(rdb, len);
    buf_add(rdb, text, len);
}

static void add_text(struct buf *rdb, const char *text)
{
    add_bytes(rdb, text, strlen(text));
}

/* What follows is its fields and values: 2 * count of add_text(). */
static void begin_hash(struct buf *rdb, const char *key, size_t count)
{
    buf_addc(rdb, 4);
    add_text(rdb, key);
    add_length(rdb, count);
}

static void begin_numbered(struct buf *rdb, const char *type, size_t number, size_t count)
{
    char key[40];

    snprintf(key, sizeof(key), "%s:%zu", type, number);
    begin_hash(rdb, key, count);
}

static void add_pair(struct buf *rdb, const char *field, const char *value)
{
    add_text(rdb, field);
    add_text(rdb, value);
}

static void add_fields(struct buf *rdb, size_t count)
{
    char field[32];

    for (size_t i = 0; i < count; i++) {
        snprintf(field, sizeof(field), "field%zu", i);
        add_pair(rdb, field, "x");
    }
}

/* A database, and `count` shards that `slots` names slots for. */
static void add_shards(struct buf *rdb, size_t count, void (*name_slots)(size_t i, char text[40]))
{
    begin_numbered(rdb, "bdb", 1, 1);
    add_pair(rdb, "sharding", "enabled");
    for (size_t i = 0; i < count; i++) {
        char slots[40];
        name_slots(i, slots);
        begin_numbered(rdb, "redis", i, 4);
        add_pair(rdb, "bdb_uid", "1");
        add_pair(rdb, "node_uid", i % 5 ? "1" : "2");
        add_pair(rdb, "role", i % 2 ? "slave" : "master");
        add_pair(rdb, "slots", slots);
    }
}

static void same_slots(size_t i, char text[40])
{
    (void)i;
    snprintf(text, 40, "0-16383");
}

static void last_slot_for_many(size_t i, char text[40])
{
    snprintf(text, 40, "%zu", i / 2 < SLOT_COUNT ? i / 2 : SLOT_COUNT - 1);
}

static void all_sets_differ(size_t i, char text[40])
{
    snprintf(text, 40, "0,%zu,%zu,%zu", i % SLOT_COUNT, i * 7 % SLOT_COUNT, i * 31 % SLOT_COUNT);
}

static void many_empty_nodes(struct buf *rdb)
{
    for (size_t i = 0; i < 3 * KEYS_MAX; i++)
        begin_numbered(rdb, "node", i, 0);
}

static void long_list(struct buf *rdb)
{
    struct buf list = BUF_INIT;

    buf_reserve(&list, 5000000);
    for (size_t i = 0; i < 2500000; i++)
        buf_add(&list, "1,", 2);
    begin_numbered(rdb, "bdb", 1, 1);
    add_text(rdb, "module_list");
    add_bytes(rdb, list.data, list.len);
    buf_release(&list);
}

static void many_members(struct buf *rdb)
{
    enum { MEMBERS = 2500000 };

    begin_numbered(rdb, "bdb", 1, 0);
    buf_addc(rdb, 2);
    add_text(rdb, "bdb:all");
    add_length(rdb, MEMBERS);
    for (int i = 0; i < MEMBERS; i++)
        buf_add(rdb, "\xc0\x01", 2);
}

static void long_value(struct buf *rdb)
{
    struct buf value = BUF_INIT;
    char piece[1000];

    memset(piece, 'x', sizeof(piece));
    for (size_t i = 0; i < 65 * 1100; i++)
        buf_add(&value, piece, sizeof(piece));
    begin_numbered(rdb, "bdb", 1, 1);
    add_text(rdb, "name");
    add_bytes(rdb, value.data, value.len);
    buf_release(&value);
}

static void long_key(struct buf *rdb)
{
    char key[70000];

    memset(key, 'x', sizeof(key));
    memcpy(key, "bdb:", 4);
    key[sizeof(key) - 1] = '\0';
    begin_hash(rdb, key, 0);
}

static void shards_of_a_large_database(struct buf *rdb)
{
    begin_numbered(rdb, "bdb", 1, MANY);
    add_fields(rdb, MANY);
    for (size_t i = 0; i < MANY; i++) {
        begin_numbered(rdb, "redis", i, 1);
        add_pair(rdb, "bdb_uid", "1");
    }
}

static void one_large_shard_listed_often(struct buf *rdb)
{
    struct buf list = BUF_INIT;

    for (size_t i = 0; i < MANY; i++)
        buf_adds(&list, "1,");
    begin_numbered(rdb, "redis", 1, MANY);
    add_fields(rdb, MANY);
    begin_numbered(rdb, "bdb", 1, 1);
    add_pair(rdb, "redis_list", list.data);
    buf_release(&list);
}

static void replicas_of_one_set(struct buf *rdb)
{
    add_shards(rdb, MANY, same_slots);
}

static void primaries_that_overlap(struct buf *rdb)
{
    add_shards(rdb, MANY, last_slot_for_many);
}

static void shards_without_equals(struct buf *rdb)
{
    add_shards(rdb, MANY, all_sets_differ);
}

/* The whole file: header, database 0, what `fill` adds, the end without a checksum. */
static char *write_rdb(const char *dir, void (*fill)(struct buf *rdb), bool packed)
{
    struct buf rdb = BUF_INIT;

    buf_adds(&rdb, "REDIS0009");
    buf_add(&rdb, "\xfe\0", 2);
    fill(&rdb);
    buf_add(&rdb, "\xff\0\0\0\0\0\0\0\0", 9);
    size_t len = rdb.len;
    AUTO_FREE void *gz = packed ? gzip(rdb.data, rdb.len, &len) : NULL;
    char *path = write_file(dir, "hostile.rdb", packed ? gz : rdb.data, len);
    buf_release(&rdb);
    return path;
}

static void what_no_ccs_has_is_refused(void **state)
{
    static const struct {
        void (*fill)(struct buf *rdb);
        const char *words;
    } cases[] = {
        {many_empty_nodes, "more than 100000 keys, too much for a CCS file, at key 'node:100000'"},
        {long_list, "more than 2000000 values, too much for a CCS file, at key 'bdb:1'"},
        {many_members, "more than 2000000 values, too much for a CCS file, at key 'bdb:all'"},
        {long_value, "is over the limit of 67108864"},
        {long_key, "is over the limit of 65536"},
    };
    char *dir = make_dir();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int packed = 0; packed < 2; packed++) {
            AUTO_FREE char *path = write_rdb(dir, cases[i].fill, packed);
            int64_t start_ms = clock_mono_ms();
            assert_refused(path, ERR_LIMIT, cases[i].words);
            assert_true(SANITIZED || clock_mono_ms() - start_ms < LIMIT_MS);
            unlink(path);
        }
    }
    drop_dir(dir);
}

/* {"bdb:1": {"a": [V, V, …]}}: V in JSON, so often. */
static char *write_bomb(const char *dir, const char *value, size_t count, const char *end)
{
    struct buf json = BUF_INIT;
    size_t len;

    buf_adds(&json, "{\"bdb:1\":{\"a\":[");
    for (size_t i = 0; i < count; i++)
        buf_adds(&json, value);
    buf_adds(&json, end);
    AUTO_FREE void *gz = gzip(json.data, json.len, &len);
    buf_release(&json);
    return write_file(dir, "bomb.json.gz", gz, len);
}

static void json_that_grows_is_refused(void **state)
{
    static const struct {
        const char *value, *end;
        size_t count;
        const char *words; /* NULL: it is read */
    } cases[] = {
        {"[],", "1]}}", 3000000, "more than 1000000 values"},
        {"1.5,", "1]}}", 3000000, "more than 1000000 values"},
        {"[", "", 3000000, "nested more than 64 deep"},
        {"1,,,,", "1]}}", 30000000, "JSON document is longer than 134217728 bytes"},
        {"[],", "1]}}", 300000, NULL},
        {"1e300,", "1]}}", 300000, NULL},
    };
    char *dir = make_dir();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *path = write_bomb(dir, cases[i].value, cases[i].count, cases[i].end);
        if (cases[i].words)
            assert_refused(path, ERR_LIMIT, cases[i].words);
        else
            state_close(import_file(path));
        unlink(path);
    }
    drop_dir(dir);
}

static void nothing_takes_the_square_of_its_size(void **state)
{
    static const struct {
        void (*fill)(struct buf *rdb);
        const char *code; /* of a finding that it has */
    } cases[] = {
        {shards_of_a_large_database, "unknown-node"},
        {one_large_shard_listed_often, "unknown-database"},
        {replicas_of_one_set, "slots-overlap"},
        {primaries_that_overlap, "slots-overlap"},
        {shards_without_equals, "slots-overlap"},
    };
    char *dir = make_dir();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *path = write_rdb(dir, cases[i].fill, false);
        int64_t start_ms = clock_mono_ms();
        struct state *st = import_file(path);
        struct ccs *ccs = load(st);
        print_message("case %zu: %lld ms\n", i, (long long)(clock_mono_ms() - start_ms));
        assert_true(SANITIZED || clock_mono_ms() - start_ms < LIMIT_MS);
        assert_finding(ccs, cases[i].code, NULL);
        ccs_free(ccs);
        state_close(st);
        unlink(path);
    }
    drop_dir(dir);
}

/* Of primaries with the same slots, the first on another node. */
static void replicas_find_a_primary_elsewhere(void **state)
{
    struct state *st = import_json(
        "{\"bdb:1\": {\"sharding\": \"enabled\"},"
        " \"redis:1\": {\"bdb_uid\": \"1\", \"role\": \"master\", \"slots\": \"0-9\", \"node_uid\": \"1\"},"
        " \"redis:2\": {\"bdb_uid\": \"1\", \"role\": \"master\", \"slots\": \"0-9\", \"node_uid\": \"1\"},"
        " \"redis:3\": {\"bdb_uid\": \"1\", \"role\": \"master\", \"slots\": \"0-9\", \"node_uid\": \"2\"},"
        " \"redis:4\": {\"bdb_uid\": \"1\", \"role\": \"master\", \"slots\": \"10\", \"node_uid\": \"1\"},"
        " \"redis:5\": {\"bdb_uid\": \"1\", \"role\": \"slave\", \"slots\": \"0-9\", \"node_uid\": \"1\"},"
        " \"redis:6\": {\"bdb_uid\": \"1\", \"role\": \"slave\", \"slots\": \"0-9\", \"node_uid\": \"2\"},"
        " \"redis:7\": {\"bdb_uid\": \"1\", \"role\": \"slave\", \"slots\": \"0-9\"},"
        " \"redis:8\": {\"bdb_uid\": \"1\", \"role\": \"slave\", \"slots\": \"10\", \"node_uid\": \"1\"},"
        " \"redis:9\": {\"bdb_uid\": \"1\", \"role\": \"slave\", \"slots\": \"11\"}}");
    struct ccs *ccs = load(st);
    static const struct {
        const char *replica, *primary;
    } cases[] = {{"5", "3"}, {"6", "1"}, {"7", "1"}, {"8", "4"}, {"9", NULL}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct ccs_shard *s = ccs->shards;
        while (strcmp(s->uid, cases[i].replica) != 0)
            s++;
        assert_int_equal(s->primary_index < 0, cases[i].primary == NULL);
        if (cases[i].primary)
            assert_string_equal(ccs->shards[s->primary_index].uid, cases[i].primary);
    }
    ccs_free(ccs);
    state_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_ccs_has_is_refused),
        cmocka_unit_test(json_that_grows_is_refused),
        cmocka_unit_test(nothing_takes_the_square_of_its_size),
        cmocka_unit_test(replicas_find_a_primary_elsewhere),
    };

    return cmocka_run_group_tests_name("ccs_limits", tests, NULL, NULL);
}
