/* What the CCS files of fixtures/ccs become: tables, model, findings. */

#include "ccs_test.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"

static const struct ccs_database *database(const struct ccs *ccs, const char *uid)
{
    const struct ccs_database *db = ccs_database(ccs, uid);

    assert_non_null(db);
    return db;
}

/* The shards of a database: "1@1:0-5460 …", replicas as "4>1@2". */
static char *layout(const struct ccs *ccs, const struct ccs_database *db)
{
    struct buf out = BUF_INIT;

    for (size_t i = 0; i < db->shard_count; i++) {
        const struct ccs_shard *s = &ccs->shards[db->first_shard + i];
        assert_string_equal(s->database_uid, db->uid);
        buf_addf(&out, "%s%s", i ? " " : "", s->uid);
        if (!s->primary)
            buf_addf(&out, ">%s", s->primary_index < 0 ? "?" : ccs->shards[s->primary_index].uid);
        buf_addf(&out, "@%s", s->node_uid);
        if (s->primary) {
            buf_addc(&out, ':');
            slots_format(s->slots, &out);
        }
    }
    return buf_take(&out);
}

static void assert_layout(const struct ccs *ccs, const char *uid, const char *expected)
{
    char *text = layout(ccs, database(ccs, uid));

    assert_string_equal(text, expected);
    free(text);
}

static void test_small_cluster(void **state)
{
    struct state *st = import_file(FIXTURES "/ccs/small.rdb");
    struct ccs *ccs = load(st);

    (void)state;
    assert_string_equal(ccs->cluster_name, "small.example.com");
    assert_string_equal(ccs->format, "rdb");
    assert_string_equal(ccs->source, FIXTURES "/ccs/small.rdb");
    assert_true(ccs->rack_aware);
    assert_true(ccs->saved_ms > 1600000000000);
    assert_int_equal(ccs->node_count, 3);
    const struct ccs_node *node = &ccs->nodes[1];
    assert_string_equal(node->uid, "2");
    assert_string_equal(node->addr, "127.10.0.12");
    assert_string_equal(node->rack, "rack-2");
    assert_string_equal(node->persistent_path, "/var/opt/redislabs/persist");
    assert_int_equal(node->memory_bytes, (int64_t)16 << 30);
    assert_int_equal(node->max_shards, 100);
    assert_true(node->accepts_shards);
    assert_int_equal(ccs->database_count, 4);
    assert_int_equal(ccs->shard_count, 10);
    assert_int_equal(ccs->endpoint_count, 4);

    char *sha256 = state_meta(st, "ccs_sha256"), *format = state_meta(st, "ccs_format");
    assert_int_equal(strlen(sha256), 64);
    assert_string_equal(format, "rdb");
    free(sha256);
    free(format);
    ccs_free(ccs);
    state_close(st);
}

static void test_small_sharded(void **state)
{
    struct state *st = import_file(FIXTURES "/ccs/small.rdb");
    struct ccs *ccs = load(st);
    const struct ccs_database *db = database(ccs, "1");

    (void)state;
    assert_string_equal(db->label, "db:1");
    assert_string_equal(db->name, "orders");
    assert_true(db->sharded && db->replicated && db->rack_aware && !db->active_active);
    assert_int_equal(db->primaries, 3);
    assert_int_equal(db->memory_bytes, (int64_t)6 << 30);
    assert_int_equal(db->port, 12000);
    assert_int_equal(db->max_clients, 10000);
    assert_string_equal(db->eviction_policy, "volatile-lru");
    assert_int_equal(db->persistence, CCS_PERSIST_AOF);
    assert_false(db->fsync_always);
    assert_string_equal(db->shards_placement, "sparse");
    assert_string_equal(db->password, "canary-password");
    assert_null(db->modules[0]);
    assert_int_equal(db->backup_interval_s, 86400);
    assert_string_equal(
        json_string_value(json_object_get(db->backup_location, "bucket_name")), "backups");
    assert_string_equal(json_string_value(json_object_get(db->backup_location, "s3_url")),
        "https://s3.example.com");
    assert_layout(ccs, "1", "1@1:0-5460 2@2:5461-10922 3@3:10923-16383 4>1@2 5>2@3 6>3@1");
    assert_int_equal(db->endpoint_count, 1);
    const struct ccs_endpoint *e = &ccs->endpoints[db->first_endpoint];
    assert_string_equal(e->uid, "1:1");
    assert_int_equal(e->port, 12000);
    assert_string_equal(e->dns_name, "redis-12000.small.example.com");
    assert_null(e->addr);
    struct slots missing;
    ccs_missing_slots(ccs, db, &missing);
    assert_true(slots_is_empty(&missing));
    ccs_free(ccs);
    state_close(st);
}

static void test_small_others(void **state)
{
    struct state *st = import_file(FIXTURES "/ccs/small.rdb");
    struct ccs *ccs = load(st);
    const struct ccs_database *db = database(ccs, "2");

    (void)state;
    assert_true(!db->sharded && db->replicated);
    assert_null(db->password);
    assert_int_equal(db->memory_bytes, (int64_t)2 << 30);
    assert_int_equal(db->persistence, CCS_PERSIST_SNAPSHOT);
    assert_int_equal(db->save_point_count, 2);
    assert_int_equal(db->save_points[1].seconds, 60);
    assert_int_equal(db->save_points[1].changes, 1000);
    assert_layout(ccs, "2", "7@1:0-16383 8>7@2");
    assert_string_equal(database(ccs, "3")->type, "memcached");
    assert_true(database(ccs, "4")->active_active);

    assert_finding(ccs, "memcached", "bdb:3");
    assert_finding(ccs, "active-active", "bdb:4");
    assert_null(find_finding(ccs, "no-backup-location", NULL));
    assert_null(find_finding(ccs, "link-mismatch", NULL));
    assert_null(find_finding(ccs, "set-mismatch", NULL));
    assert_null(find_finding(ccs, "unreadable-value", NULL));
    assert_null(find_finding(ccs, "shard-key-rules", NULL));
    for (size_t i = 1; i < ccs->finding_count; i++)
        assert_false(strcmp(ccs->findings[i].severity, "error") == 0 &&
                     strcmp(ccs->findings[i - 1].severity, "error") != 0);
    ccs_free(ccs);
    state_close(st);
}

static void test_verbatim(void **state)
{
    static const struct {
        const char *sql, *value;
    } cases[] = {
        {"SELECT value FROM ccs_entry WHERE key = 'future:1' AND field = 'what'",
            "a key that no reader knows"},
        {"SELECT value FROM ccs_entry WHERE key = 'bdb:2' AND field = 'future_field'", "kept"},
        {"SELECT value FROM ccs_entry WHERE key = 'node_heartbeat:1' AND kind = 'string'",
            "1767323045"},
        {"SELECT group_concat(value) FROM (SELECT value FROM ccs_entry WHERE key = 'node:all'"
         " AND kind = 'set' AND field IS NULL ORDER BY value)",
            "1,2,3"},
        {"SELECT value FROM ccs_entry WHERE key = 'redis:1' AND field = '_changestate:dmc:30'",
            "done"},
        {"SELECT typeof(value) FROM ccs_entry WHERE key = 'cluster' AND field = 's3_ca_cert'",
            "text"},
        {"SELECT group_concat(DISTINCT kind) FROM (SELECT kind FROM ccs_entry ORDER BY kind)",
            "hash,set,string"},
    };
    struct state *st = import_file(FIXTURES "/ccs/small.rdb");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *value = query(st, cases[i].sql);
        assert_non_null(value);
        assert_string_equal(value, cases[i].value);
        free(value);
    }
    state_close(st);
}

static void test_legacy(void **state)
{
    struct state *st = import_file(FIXTURES "/ccs/legacy.rdb");
    struct ccs *ccs = load(st);
    const struct ccs_database *db = database(ccs, "1");
    struct slots missing;

    (void)state;
    assert_int_equal(db->slots_policy, CCS_SLOTS_LEGACY);
    assert_true(db->sharded);
    assert_true(db->fsync_always);
    assert_layout(ccs, "1",
        "1@1:0-2047,4096-6143,8192-10239,12288-14335"
        " 2@2:2048-4095,6144-8191,10240-12287,14336-16383 3>1@2 4>2@1");
    ccs_missing_slots(ccs, db, &missing);
    assert_true(slots_is_empty(&missing));
    assert_string_equal(json_string_value(json_object_get(db->backup_location, "type")), "sftp");
    assert_string_equal(
        json_string_value(json_object_get(db->backup_location, "key")), "canary-private-key");
    assert_null(find_finding(ccs, "slots-missing", NULL));
    ccs_free(ccs);
    state_close(st);
}

static void test_broken_findings(void **state)
{
    static const struct {
        const char *code, *keys;
    } expected[] = {
        {"password-unreadable", "bdb:1"},
        {"slots-missing", "bdb:1"},
        {"slots-overlap", "bdb:1 redis:1 redis:3"},
        {"primary-count", "bdb:1"},
        {"same-node", "redis:1 redis:2 node:1"},
        {"same-rack", "redis:1 redis:9"},
        {"replica-unpaired", "redis:4 bdb:1"},
        {"same-node", "redis:3 redis:8 node:2"},
        {"no-primary", "bdb:2"},
        {"not-sharded", "bdb:3"},
        {"unknown-database", "redis:5 bdb:77"},
        {"unknown-node", "redis:5 node:88"},
        {"unknown-database", "endpoint:9:1 bdb:9"},
        {"duplicate-port", "endpoint:1:1 endpoint:2:1"},
        {"duplicate-port", "redis:1 redis:2"},
        {"duplicate-name", "bdb:1 bdb:2"},
        {"no-endpoint", "endpoint:3:1"},
        {"database-status", "bdb:1"},
        {"node-status", "node:2"},
        {"modules", "bdb:1"},
        {"flash", "bdb:1"},
        {"tls", "bdb:1"},
        {"users", "bdb:1 user:2"},
        {"default-user-off", "bdb:1"},
        {"shard-key-rules", "bdb:1"},
        {"no-backup-location", "bdb:1"},
        {"link-mismatch", "bdb:1 redis:99"},
        {"link-mismatch", "redis:4 bdb:1"},
        {"link-mismatch", "bdb:1 endpoint:1:9"},
        {"link-mismatch", "endpoint:1:1 dmc:5"},
        {"link-mismatch", "node:2 dmc:2"},
        {"set-mismatch", "bdb:all bdb:66"},
        {"set-mismatch", "node:all node:3"},
        {"unreadable-key", "redis:66"},
        {"unreadable-key", ""},
        {"unreadable-value", "cluster"},
        {"unreadable-value", "redis:3"},
        {"unreadable-value", "redis:5"},
        {"unreadable-value", "node:1"},
        {"unreadable-value", "dmc:1"},
        {"unreadable-value", "endpoint:3:1"},
        {"unreadable-value", "bdb:2"},
        {"memcached", "bdb:a'b\"c\nd/../e;$(reboot)"},
        {"active-active", "bdb:a'b\"c\nd/../e;$(reboot)"},
    };
    struct state *st = import_file(FIXTURES "/ccs/broken.rdb");
    struct ccs *ccs = load(st);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        assert_finding(ccs, expected[i].code, expected[i].keys);
    for (size_t i = 0; i < ccs->finding_count; i++) {
        const char *message = ccs->findings[i].message;
        assert_null(strchr(message, '\n'));
        assert_null(strstr(message, "canary-pass"));
        assert_null(strstr(message, "canary-location"));
    }
    assert_non_null(strstr(find_finding(ccs, "slots-missing", "bdb:1")->message, "'10000-16383'"));
    ccs_free(ccs);
    state_close(st);
}

static void test_broken_model(void **state)
{
    struct state *st = import_file(FIXTURES "/ccs/broken.rdb");
    struct ccs *ccs = load(st);
    const struct ccs_database *db = database(ccs, "1");

    (void)state;
    assert_layout(ccs, "1", "1@1:0-5460 3@2:5000-9999 2>1@1 9>1@2 8>3@2 4>?@2");
    assert_string_equal(db->eviction_policy, "noeviction");
    assert_int_equal(db->persistence, CCS_PERSIST_NONE);
    assert_int_equal(db->memory_bytes, 0);
    assert_null(db->password);
    assert_null(db->backup_location);
    assert_string_equal(db->modules[0], "ReJSON");
    assert_string_equal(db->modules[1], "search");
    assert_null(db->modules[2]);
    db = database(ccs, "2");
    assert_int_equal(db->save_point_count, 1);
    assert_int_equal(db->save_points[0].seconds, 3600);
    assert_int_equal(ccs_node(ccs, "1")->memory_bytes, -1);
    /* Sharding is off, but each primary holds a part: it must not come back as one shard. */
    assert_true(database(ccs, "3")->sharded);
    assert_int_equal(database(ccs, "a'b\"c\nd/../e;$(reboot)")->shard_count, 0);
    ccs_free(ccs);
    state_close(st);
}

static void test_find_database(void **state)
{
    struct state *st = import_file(FIXTURES "/ccs/broken.rdb");
    struct ccs *ccs = load(st);
    struct err err = ERR_INIT;

    (void)state;
    assert_ptr_equal(ccs_find_database(ccs, "db:1", &err), database(ccs, "1"));
    assert_ptr_equal(ccs_find_database(ccs, "3", &err), database(ccs, "3"));
    assert_ptr_equal(ccs_find_database(ccs, "split", &err), database(ccs, "3"));
    assert_null(ccs_find_database(ccs, "torn", &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.hint, "db:1 or db:2"));
    assert_null(ccs_find_database(ccs, "splitt", &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.hint, "'split'"));
    ccs_free(ccs);
    state_close(st);
}

static void test_import_twice(void **state)
{
    struct state *st = import_file(FIXTURES "/ccs/small.rdb");
    char *before = typed_rows(st);
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(ccs_import(FIXTURES "/ccs/legacy.rdb", NULL, st, &err), -1);
    assert_int_equal(err.code, ERR_STATE_FILE);
    assert_non_null(strstr(err.message, "already holds"));
    char *after = typed_rows(st), *path = state_meta(st, "ccs_path");
    assert_string_equal(before, after);
    assert_string_equal(path, FIXTURES "/ccs/small.rdb");
    free(before);
    free(after);
    free(path);
    state_close(st);
}

static void test_load_without_import(void **state)
{
    struct err err = ERR_INIT;
    struct state *st;

    (void)state;
    assert_int_equal(state_open("", STATE_MEMORY, &st, &err), 0);
    assert_null(ccs_load(st, &err));
    assert_int_equal(err.code, ERR_STATE_FILE);
    state_close(st);
}

static void test_nodes_json(void **state)
{
    struct state *st = import_file(FIXTURES "/ccs/nodes.json");
    struct ccs *ccs = load(st);
    const struct ccs_database *db = database(ccs, "1");

    (void)state;
    assert_string_equal(ccs->format, "nodes.json");
    assert_int_equal(ccs->database_count, 1);
    assert_int_equal(ccs->node_count, 1);
    assert_string_equal(ccs->nodes[0].addr, "127.0.0.1");
    assert_true(db->sharded && db->replicated);
    assert_int_equal(db->primaries, 3);
    assert_int_equal(db->shard_count, 6);
    assert_int_equal(db->port, 27101);
    assert_int_equal(db->persistence, CCS_PERSIST_SNAPSHOT);
    assert_int_equal(db->save_point_count, 3);
    char *folder = realpath(FIXTURES "/ccs", NULL);
    assert_string_equal(json_string_value(json_object_get(db->backup_location, "path")), folder);
    free(folder);
    const struct ccs_shard *first = &ccs->shards[db->first_shard];
    assert_int_equal(strlen(first->uid), 40);
    assert_int_equal(first->port, 27101);
    assert_int_equal(slots_count(first->slots), 5461);
    for (size_t i = 3; i < 6; i++)
        assert_int_not_equal(ccs->shards[db->first_shard + i].primary_index, -1);
    assert_int_equal(db->endpoint_count, 6);
    assert_int_equal(ccs->endpoints[db->first_endpoint].port, 27101);
    assert_string_equal(ccs->endpoints[db->first_endpoint].addr, "127.0.0.1");
    assert_finding(ccs, "settings-unknown", "bdb:1");
    assert_finding(ccs, "ccs-age-unknown", "");
    assert_null(find_finding(ccs, "slots-missing", NULL));
    assert_null(find_finding(ccs, "unreadable-value", NULL));
    char *value = query(st, "SELECT value FROM ccs_entry WHERE key = 'nodes.json:0'"
                            " AND field = 'slots'");
    assert_string_equal(value, "[[0,5460]]");
    free(value);
    ccs_free(ccs);
    state_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_cluster),
        cmocka_unit_test(test_small_sharded),
        cmocka_unit_test(test_small_others),
        cmocka_unit_test(test_verbatim),
        cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_broken_findings),
        cmocka_unit_test(test_broken_model),
        cmocka_unit_test(test_find_database),
        cmocka_unit_test(test_import_twice),
        cmocka_unit_test(test_load_without_import),
        cmocka_unit_test(test_nodes_json),
    };

    return cmocka_run_group_tests_name("ccs_import", tests, NULL, NULL);
}
