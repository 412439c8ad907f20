#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_text.h"
#include "recluster/clock.h"
#include "recluster/report.h"
#include "recovery.h"

static struct slots low, high, all;

static void make_slots(void)
{
    slots_clear(&low);
    slots_clear(&high);
    slots_add_range(&low, 0, 8191);
    slots_add_range(&high, 8192, 16000);
    slots_fill(&all);
}

/* A cluster with `pairs` primaries and as many replicas in database 1, and one plain database. */
static struct ccs *ccs_new(size_t pairs)
{
    struct ccs *ccs = xcalloc(1, sizeof(*ccs));
    struct arena *arena = &ccs->arena;
    static const char *const keys[] = {"bdb:1", NULL}, *const modules[] = {"bf", NULL};

    make_slots();
    ccs->cluster_name = HOSTILE_NAME;
    ccs->source = "/backups/ccs-redis.rdb";
    ccs->format = "rdb";
    ccs->saved_ms = clock_wall_ms() - 7200000;
    ccs->node_count = 2;
    ccs->nodes = arena_alloc(arena, 2 * sizeof(*ccs->nodes));
    ccs->nodes[0] = (struct ccs_node){.uid = "1",
        .addr = "10.0.0.1",
        .rack = "a",
        .status = "active",
        .memory_bytes = 64LL << 30,
        .max_shards = 100,
        .accepts_shards = true};
    ccs->nodes[1] = (struct ccs_node){.uid = "2", .memory_bytes = -1, .max_shards = -1};
    ccs->shard_count = 2 * pairs + 1;
    ccs->shards = arena_alloc(arena, ccs->shard_count * sizeof(*ccs->shards));
    for (size_t i = 0; i < 2 * pairs; i++)
        ccs->shards[i] = (struct ccs_shard){.uid = arena_printf(arena, "%zu", i + 1),
            .database_uid = "1",
            .node_uid = i % 2 ? "2" : "1",
            .primary = i < pairs,
            .slots = i % 2 ? &high : &low,
            .port = 20000};
    ccs->shards[2 * pairs] = (struct ccs_shard){
        .uid = "99999", .database_uid = "2", .node_uid = "1", .primary = true, .slots = &all};
    ccs->endpoint_count = 1;
    ccs->endpoints = arena_alloc(arena, sizeof(*ccs->endpoints));
    ccs->endpoints[0] = (struct ccs_endpoint){.uid = "1:1",
        .database_uid = "1",
        .port = 12000,
        .dns_name = "redis-12000.shop.example.com"};
    ccs->database_count = 2;
    ccs->databases = arena_alloc(arena, 2 * sizeof(*ccs->databases));
    ccs->json = json_pack("{s:s,s:s,s:s,s:s}", "type", "s3", "bucket_name", "b", "access_key_id",
        "AKIA", "secret_access_key", CANARY);
    ccs->databases[0] = (struct ccs_database){.uid = "1",
        .label = "db:1",
        .name = HOSTILE_NAME,
        .type = "redis",
        .status = "active",
        .sharded = true,
        .replicated = true,
        .memory_bytes = 10LL << 30,
        .persistence = CCS_PERSIST_AOF,
        .eviction_policy = "volatile-lru",
        .slots_policy = CCS_SLOTS_LEGACY,
        .password = CANARY,
        .backup_location = ccs->json,
        .backup_interval_s = 86400,
        .modules = modules,
        .shard_count = 2 * pairs,
        .endpoint_count = 1};
    ccs->databases[1] = (struct ccs_database){.uid = "2",
        .label = "db:2",
        .name = "one",
        .type = "redis",
        .eviction_policy = "noeviction",
        .first_shard = 2 * pairs,
        .shard_count = 1};
    ccs->finding_count = 2;
    ccs->findings = arena_alloc(arena, 2 * sizeof(*ccs->findings));
    ccs->findings[0] = (struct ccs_finding){
        "warning", "database-no-name", "database 'db:2' has a name that is \033[1mshort", keys};
    ccs->findings[1] = (struct ccs_finding){"error", "slots-missing",
        "slots 16001-16383 of database 'db:1' belong to no primary, so that what was stored there "
        "can't "
        "be recovered from any backup of the shards that are known",
        keys};
    return ccs;
}

static void ccs_drop(struct ccs *ccs)
{
    arena_release(&ccs->arena);
    json_decref(ccs->json);
    free(ccs);
}

static void test_inspect_json(void **arg)
{
    static const struct expected fields[] = {
        {"nodes/0/uid", "\"1\""},
        {"nodes/0/label", "\"node:1\""},
        {"nodes/1/addr", "null"},
        {"databases/0/uid", "\"1\""},
        {"databases/0/label", "\"db:1\""},
        {"databases/0/sharded", "true"},
        {"databases/0/replicated", "true"},
        {"databases/0/slots_policy", "\"legacy\""},
        {"databases/0/memory", "10737418240"},
        {"databases/0/persistence", "\"aof\""},
        {"databases/0/password", "true"},
        {"databases/0/backup_location/secret_access_key", "\"********\""},
        {"databases/0/backup_location/bucket_name", "\"b\""},
        {"databases/0/slots_missing", "[[16001, 16383]]"},
        {"databases/0/shards/1",
            "{\"uid\": \"2\", \"label\": \"shard:2\", \"role\": \"primary\", \"node_uid\": \"2\","
            " \"slots\": [[8192, 16000]], \"port\": 20000}"},
        {"databases/0/shards/2/role", "\"replica\""},
        {"databases/0/endpoints",
            "[{\"uid\": \"1:1\", \"addr\": null, \"port\": 12000, \"dns_name\":"
            " \"redis-12000.shop.example.com\"}]"},
        {"databases/1/password", "false"},
        {"databases/1/backup_location", "null"},
        {"findings/0/code", "\"database-no-name\""},
        {"findings/0/keys", "[\"bdb:1\"]"},
    };
    struct ccs *ccs = ccs_new(2);
    json_t *doc = report_inspect_json(ccs);

    (void)arg;
    check_fields(doc, fields, sizeof(fields) / sizeof(*fields));
    assert_in_range(json_integer_value(at(doc, "cluster/age_s")), 7200, 7210);
    json_decref(doc);
    ccs_drop(ccs);
}

static void test_inspect_bytes_that_are_no_text(void **arg)
{
    struct ccs *ccs = ccs_new(1);

    (void)arg;
    ccs->databases[1].name = "caf\xE9";
    json_t *doc = report_inspect_json(ccs);
    assert_json(at(doc, "databases/1/name"), "\"caf\xEF\xBF\xBD\"");
    json_decref(doc);
    ccs_drop(ccs);
}

static void test_inspect_text(void **arg)
{
    struct ccs *ccs = ccs_new(10000);
    json_t *doc = report_inspect_json(ccs);
    struct buf out = BUF_INIT;

    (void)arg;
    report_inspect_text(doc, false, &out);
    check_text(out.data);
    assert_has(out.data, "10,000 primaries, 10,000 replicas");
    assert_has(out.data, "without a primary: 16001-16383");
    assert_has(out.data, "and 9994 more (see --json)");
    assert_has(out.data, "/backups/ccs-redis.rdb (rdb)");
    assert_has(out.data, "2 h ago");
    assert_has(out.data, "s3 bucket_name=b access_key_id=AKIA, every");
    assert_has(out.data, "redis-12000.shop.example.com:12000");
    assert_in_range(count_lines(out.data), 30, 70);
    /* Errors first. */
    assert_true(strstr(out.data, "slots-missing") < strstr(out.data, "database-no-name"));
    buf_release(&out);
    json_decref(doc);
    ccs_drop(ccs);
}

static json_t *plan_new(void)
{
    json_t *plan = json_loads(recovery_plan, 0, NULL);
    assert_non_null(plan);
    return plan;
}

static void test_plan_text(void **arg)
{
    json_t *plan = plan_new();
    struct buf out = BUF_INIT;

    (void)arg;
    report_plan_text(plan, false, &out);
    check_text(out.data);
    assert_true(strncmp(out.data, "Feasible", 8) == 0);
    assert_has(out.data, "20260131-120000 of 2026-01-31T12:00:00Z");
    assert_has(out.data, "what was written in the 1 h since then");
    assert_has(out.data, "3 MB in 2 files");
    assert_has(out.data, "██████████░░░░░░░░░░ 4 GB of 8 GB");
    assert_has(out.data, "shard:1, shard:4 (replica)");
    assert_has(out.data, "left out: memcached");
    assert_has(out.data, "together, at most");
    assert_has(out.data, "Write never into");
    /* A run that is about to carry it out shows it too, and needs no such hint. */
    assert_null(strstr(out.data, "Next"));
    json_object_set_new(
        plan, "next", json_string("recluster recover 'my ccs.rdb' --state x.state"));
    buf_clear(&out);
    report_plan_text(plan, false, &out);
    assert_has(out.data, "\nNext: run it with\n");
    assert_has(out.data, "\n  recluster recover 'my ccs.rdb' --state x.state\n");
    buf_release(&out);
    json_decref(plan);
}

static void test_plan_that_cannot_work(void **arg)
{
    json_t *plan = plan_new();
    struct buf out = BUF_INIT;

    (void)arg;
    json_object_set_new(plan, "feasible", json_false());
    json_object_set_new(plan, "blockers",
        json_pack("[{s:s,s:s,s:s,s:s,s:n}, s]", "code", "memory", "message",
            "no host has room for \033]0;shard\007 4 of database 'db:1': it takes 12 GB", "hint",
            "Offer a host with 12 GB of free memory.", "database", "db:1", "host",
            "a blocker in plain words"));
    report_plan_text(plan, true, &out);
    assert_true(strncmp(out.data, "\033[31mNOT FEASIBLE: 2 blockers stop this plan.", 40) == 0);
    buf_clear(&out);
    report_plan_text(plan, false, &out);
    check_text(out.data);
    assert_has(out.data, "no host has room for ?]0;shard? 4");
    assert_has(out.data, "Offer a host");
    assert_has(out.data, "a blocker in plain words");
    assert_has(out.data, "\nNext: fix what the blockers name");
    buf_release(&out);
    json_decref(plan);
}

static void test_verify_text(void **arg)
{
    json_t *verify = json_loads(
        "{\"files\": [{\"path\": \"a.rdb\", \"ok\": true, \"error\": null, \"rdb_version\": 10, "
        "\"keys\":"
        " 12345, \"expires\": 5, \"expired\": 2, \"keys_by_db\": {\"0\": 12340, \"3\": 5}, \"checksum\": \"ok\","
        " \"slots\": {\"covered\": 3, \"ranges\": [[0,1],[7,7]]}, \"aux\": {\"redis-ver\": "
        "\"7.0.15\"}},"
        " {\"path\": \"b\\u001b[2J.rdb\", \"ok\": false, \"error\": \"truncated at byte 77\"},"
        " {\"path\": \"c.rdb\", \"ok\": false, \"error\": \"checksum is wrong\", \"hint\":"
        " \"Take another copy.\", \"checksum\": \"bad\"}]}",
        0, NULL);
    struct buf out = BUF_INIT;

    (void)arg;
    report_verify_text(verify, false, &out);
    check_text(out.data);
    assert_has(out.data, "ok   a.rdb");
    assert_has(out.data, "12,345, 5 of them with an expiry; database 0: 12,340; database");
    assert_has(out.data, "expired by now: 2; recover --shift-ttl restores them too");
    assert_has(out.data, "RDB version 10, written by 7.0.15");
    assert_has(out.data, "3 hold keys: 0-1, 7");
    assert_has(out.data, "BAD  b?[2J.rdb");
    assert_has(out.data, "truncated at byte 77");
    assert_has(out.data, "Take another copy.");
    assert_has(out.data, "2 of 3 files are bad.");
    buf_release(&out);
    json_decref(verify);
}

/* Names of every length and shape: no line may be longer than a terminal is wide. */
static void test_long_names_fit(void **arg)
{
    (void)arg;
    for (size_t len = 1; len < 200; len += 7) {
        struct ccs *ccs = ccs_new(1);
        char *name = arena_alloc(&ccs->arena, len + 1);
        struct buf out = BUF_INIT;
        memset(name, 'x', len);
        ccs->cluster_name = ccs->databases[0].name = ccs->databases[0].status = name;
        ccs->nodes[0].addr = ccs->nodes[0].rack = ccs->nodes[0].status = name;
        ccs->endpoints[0].dns_name = name;
        ccs->findings[0].message = ccs->findings[0].code = name;
        json_t *doc = report_inspect_json(ccs);
        report_inspect_text(doc, false, &out);
        check_text(out.data);
        buf_release(&out);
        json_decref(doc);
        ccs_drop(ccs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inspect_json),
        cmocka_unit_test(test_inspect_bytes_that_are_no_text),
        cmocka_unit_test(test_inspect_text),
        cmocka_unit_test(test_plan_text),
        cmocka_unit_test(test_plan_that_cannot_work),
        cmocka_unit_test(test_verify_text),
        cmocka_unit_test(test_long_names_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
