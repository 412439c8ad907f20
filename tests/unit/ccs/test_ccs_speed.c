/* A large cluster, in an RDB file that is written here: 1,000 nodes, 200 databases, 20,000 shards. */

#include "ccs_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

enum { NODES = 1000, DATABASES = 200, PRIMARIES = 50, LIMIT_MS = 3000 };

static void add_string(struct buf *rdb, const char *text)
{
    size_t len = strlen(text);

    if (len >= 64)
        buf_addc(rdb, (char)(0x40 | (len >> 8)));
    buf_addc(rdb, (char)len);
    buf_add(rdb, text, len);
}

/* A hash, as RDB version 9 has them: type, key, count, fields and values. NULL-ended. */
static void add_hash(struct buf *rdb, const char *key, const char *const *pairs)
{
    size_t count = 0;

    while (pairs[count])
        count++;
    buf_addc(rdb, 4);
    add_string(rdb, key);
    buf_addc(rdb, (char)(count / 2));
    for (size_t i = 0; i < count; i++)
        add_string(rdb, pairs[i]);
}

static void add_node(struct buf *rdb, int n)
{
    char key[32], addr[32], uid[16];

    snprintf(key, sizeof(key), "node:%d", n);
    snprintf(addr, sizeof(addr), "10.1.%d.%d", n / 250, n % 250);
    snprintf(uid, sizeof(uid), "%d", n);
    add_hash(rdb, key,
        (const char *const[]){"addr", addr, "dmc_uid", uid, "status", "active", "rack_id", uid,
            "total_memory", "68719476736", "max_redis_servers", "100", "cores", "16",
            "persistent_storage_path", "/var/opt/persist", NULL});
}

static void add_shard(struct buf *rdb, int database, int i, bool primary)
{
    const int uid = database * 2 * PRIMARIES + 2 * i + !primary;
    const int first = SLOT_COUNT * i / PRIMARIES, last = SLOT_COUNT * (i + 1) / PRIMARIES - 1;
    char key[32], bdb[16], node[16], slots[32], port[16];

    snprintf(key, sizeof(key), "redis:%d", uid + 1);
    snprintf(bdb, sizeof(bdb), "%d", database + 1);
    snprintf(node, sizeof(node), "%d", uid % NODES);
    snprintf(slots, sizeof(slots), "%d-%d", first, last);
    snprintf(port, sizeof(port), "%d", 20000 + uid);
    add_hash(rdb, key,
        (const char *const[]){"bdb_uid", bdb, "node_uid", node, "role",
            primary ? "master" : "slave", "assigned_slots", slots, "port", port, NULL});
}

static void add_database(struct buf *rdb, int n)
{
    char key[32], endpoint[32], name[32], port[16], uid[16];

    snprintf(uid, sizeof(uid), "%d", n + 1);
    snprintf(key, sizeof(key), "bdb:%s", uid);
    snprintf(endpoint, sizeof(endpoint), "endpoint:%s:1", uid);
    snprintf(name, sizeof(name), "database-%d", n);
    snprintf(port, sizeof(port), "%d", 12000 + n);
    add_hash(rdb, key,
        (const char *const[]){"name", name, "port", port, "shards_count", "50", "sharding",
            "enabled", "replication", "enabled", "memory_size", "1gb", "backup_location",
            "{\"type\":\"mount_point\",\"path\":\"/backups\"}", "data_persistence", "aof", NULL});
    add_hash(rdb, endpoint, (const char *const[]){"bdb_uid", uid, "port", port, NULL});
    for (int i = 0; i < PRIMARIES; i++) {
        add_shard(rdb, n, i, true);
        add_shard(rdb, n, i, false);
    }
}

static char *write_large(const char *dir)
{
    struct buf rdb = BUF_INIT;

    buf_adds(&rdb, "REDIS0009");
    buf_add(&rdb, "\xfe\0", 2); /* database 0 */
    add_hash(&rdb, "cluster", (const char *const[]){"name", "large", NULL});
    for (int i = 0; i < NODES; i++)
        add_node(&rdb, i);
    for (int i = 0; i < DATABASES; i++)
        add_database(&rdb, i);
    buf_add(&rdb, "\xff\0\0\0\0\0\0\0\0", 9); /* no checksum */
    char *path = write_file(dir, "large.rdb", rdb.data, rdb.len);
    buf_release(&rdb);
    return path;
}

static void test_large_import(void **state)
{
    char *dir = make_dir(), *path = write_large(dir), *state_file = path_join(dir, "state");
    struct err err = ERR_INIT;
    struct state *st;

    (void)state;
    assert_int_equal(state_open(state_file, STATE_CREATE, &st, &err), 0);
    int64_t start_ms = clock_mono_ms();
    if (ccs_import(path, NULL, st, &err) < 0)
        fail_msg("%s", err.message);
    int64_t imported_ms = clock_mono_ms();
    struct ccs *ccs = load(st);
    int64_t loaded_ms = clock_mono_ms();
    print_message("imported in %lld ms, loaded in %lld ms\n", (long long)(imported_ms - start_ms),
        (long long)(loaded_ms - imported_ms));
    assert_int_equal(ccs->node_count, NODES);
    assert_int_equal(ccs->shard_count, 2 * DATABASES * PRIMARIES);
    assert_null(find_finding(ccs, "slots-missing", NULL));
    assert_null(find_finding(ccs, "replica-unpaired", NULL));
    assert_null(find_finding(ccs, "replica-missing", NULL));
    if (!SANITIZED)
        assert_true(imported_ms - start_ms < LIMIT_MS);
    ccs_free(ccs);
    state_close(st);
    free(state_file);
    free(path);
    drop_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_import),
    };

    return cmocka_run_group_tests_name("ccs_speed", tests, NULL, NULL);
}
