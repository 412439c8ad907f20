#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* One sharded database 3+3 on three hosts. */
static void make_cluster(struct world *w)
{
    world_init(w);
    world_hosts(w, 3);
    world_database(w, &(struct world_database){.primaries = 3, .replicas = 1, .port = 12000});
}

static void make_single(struct world *w)
{
    world_init(w);
    world_hosts(w, 1);
    world_database(w, &(struct world_database){.primaries = 1});
}

/* Plans, looks for the issue and for a part of its message; then all is freed. */
static void expect(struct world *w, bool blocker, const char *code, const char *message)
{
    struct plan *plan = world_plan(w);
    const struct plan_issue *issue = blocker
                                         ? world_issue(plan->blockers, plan->blocker_count, code)
                                         : world_issue(plan->warnings, plan->warning_count, code);

    if (!issue)
        fail_msg("no %s '%s'", blocker ? "blocker" : "warning", code);
    else if (!strstr(issue->message, message))
        fail_msg("'%s' lacks '%s'", issue->message, message);
    assert_int_equal(plan->feasible, !blocker);
    if (blocker && plan->blocker_count != 1)
        fail_msg("another blocker: %s", plan->blockers[1].message);
    plan_free(plan);
    world_release(w);
}

static void expect_blocker(struct world *w, const char *code, const char *message)
{
    expect(w, true, code, message);
}

static void expect_warning(struct world *w, const char *code, const char *message)
{
    expect(w, false, code, message);
}

static void test_nothing_amiss(void **state)
{
    struct world w;

    (void)state;
    make_cluster(&w);
    struct plan *plan = world_plan(&w);
    assert_true(plan->feasible);
    assert_int_equal(plan->blocker_count, 0);
    assert_int_equal(plan->warning_count, 0);
    assert_int_equal(plan->databases[0].age_s, 3600);
    assert_int_equal(plan->databases[0].maxmemory_bytes, WORLD_GIB);
    /* A tenth for copy-on-write, as it has a replica; backlog and process. */
    assert_int_equal(plan->shards[0].memory_bytes, WORLD_GIB + WORLD_GIB / 10 + (32 << 20));
    assert_int_equal(plan->shards[0].disk_bytes, 6000000); /* gzip: three times, and a rewrite */
    assert_string_equal(plan->shards[3].dir, "db-1/shard-4");
    assert_int_equal(plan->shards[3].primary, 0);
    assert_ptr_equal(plan->shards[3].file, plan->shards[0].file);
    assert_int_equal(plan->stages[STAGE_TRANSFER].bytes, 6000000); /* replicas fetch too */
    assert_int_equal(plan->stages[STAGE_LOAD].bytes, 18000000);
    assert_true(plan->stages[STAGE_LOAD].seconds > 0);
    assert_string_equal(plan_stage_name(STAGE_OPEN), "open");
    plan_free(plan);
    world_release(&w);
}

/* How much room the file of a shard takes when it is unpacked. */
static void test_packed_files(void **state)
{
    static const struct {
        const char *name;
        int64_t disk_bytes;
    } cases[] = {{"a.rdb", 2000000}, {"a.rdb.gz", 6000000}, {"a.rdb.zst", 6000000}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        make_single(&w);
        w.catalogues[0].sets[0].files[0].name = cases[i].name;
        struct plan *plan = world_plan(&w);
        assert_int_equal(plan->shards[0].disk_bytes, cases[i].disk_bytes);
        plan_free(plan);
        world_release(&w);
    }
}

static void test_sources(void **state)
{
    struct world w;
    struct err denied = {.code = ERR_DENIED, .message = "the door is shut", .hint = "Knock."};
    struct err absent = {.code = ERR_NOT_FOUND, .message = "only cat.jpg is there"};

    (void)state;
    make_single(&w);
    w.database_inputs[0].catalogue = NULL;
    w.database_inputs[0].location = NULL;
    struct plan *plan = world_plan(&w);
    assert_string_equal(plan->blockers[0].code, "no-source");
    assert_string_equal(
        plan->blockers[0].hint, "Name the location of its backups: --source db:1=LOCATION.");
    /* What else is known is planned all the same. */
    assert_int_equal(plan->shards[0].host, 0);
    plan_free(plan);
    world_release(&w);

    make_single(&w);
    w.database_inputs[0].catalogue = NULL;
    w.database_inputs[0].error = &denied;
    expect_blocker(&w, "source-unreadable", "/mnt/backups: the door is shut");
    make_single(&w);
    w.database_inputs[0].catalogue = NULL;
    w.database_inputs[0].error = &absent;
    expect_blocker(&w, "set-missing", "only cat.jpg is there");
    make_single(&w);
    w.catalogues[0].set_count = 0;
    w.catalogues[0].chosen = -1;
    expect_blocker(&w, "set-missing", "no backup set at /mnt/backups");
    make_single(&w);
    w.catalogues[0].chosen = -1;
    expect_blocker(&w, "set-missing", "old enough; the oldest is of 2023-11-14T21:13:20Z");
}

static void test_incomplete_sets(void **state)
{
    struct world w;

    (void)state;
    make_cluster(&w);
    w.catalogues[0].sets[0].complete = false;
    w.catalogues[0].chosen = -1;
    slots_add_range(&w.catalogues[0].sets[0].missing, 5461, 10922);
    expect_blocker(&w, "slots-missing", "lacks the slots 5461-10922");

    make_cluster(&w);
    w.catalogues[0].sets[0].complete = false;
    w.catalogues[0].sets[0].reason = "file 2 of 3 is missing";
    w.catalogues[0].chosen = -1;
    expect_blocker(&w, "set-incomplete", "file 2 of 3 is missing");

    make_cluster(&w);
    w.catalogues[0].sets[1] = w.catalogues[0].sets[0];
    w.catalogues[0].sets[0] = (struct backup_set){
        .id = "20231114-230000", .time_ms = w.input.now_ms, .reason = "slots 0-5460 are missing"};
    w.catalogues[0].set_count = 2;
    w.catalogues[0].chosen = 1;
    expect_warning(&w, "set-incomplete", "'20231114-230000' of 2023-11-14T22:13:20Z");
}

static void test_files_and_shards(void **state)
{
    struct world w;

    (void)state;
    make_cluster(&w);
    struct backup_file *files = w.catalogues[0].sets[0].files;
    slots_clear(&files[0].slots);
    slots_add_range(&files[0].slots, 0, 8191);
    expect_warning(&w, "cut-needed", "files are cut and joined for shard:1 (0-5460)");

    make_single(&w);
    struct backup_file halves[2] = {w.catalogues[0].sets[0].files[0], {.name = "b.rdb"}};
    w.catalogues[0].sets[0].files = halves;
    w.catalogues[0].sets[0].file_count = 2;
    expect_warning(&w, "cut-needed", "shard:1");

    /* A primary without slots starts empty. */
    make_cluster(&w);
    struct slots none = {{0}}, rest = *w.ccs.shards[2].slots;
    slots_union(&rest, w.ccs.shards[1].slots);
    w.ccs.shards[1].slots = w.ccs.shards[4].slots = &none;
    w.ccs.shards[2].slots = w.ccs.shards[5].slots = &rest;
    files = w.catalogues[0].sets[0].files;
    files[1].slots = rest;
    w.catalogues[0].sets[0].file_count = 2;
    struct plan *plan = world_plan(&w);
    assert_true(plan->feasible);
    assert_null(plan->shards[1].file);
    assert_ptr_equal(plan->shards[2].file, &files[1]);
    plan_free(plan);
    world_release(&w);

    make_cluster(&w);
    w.catalogues[0].sets[0].files[1].scanned = true;
    w.catalogues[0].sets[0].files[1].facts =
        json_pack("{s:i, s:{s:i, s:i}}", "rdb_version", 10, "keys_by_db", "0", 5, "3", 7);
    w.heads = xreallocarray(w.heads, w.head_count + 1, sizeof(*w.heads));
    w.heads[w.head_count++] = w.catalogues[0].sets[0].files[1].facts;
    expect_blocker(&w, "keys-outside-db0", "'shard-2.rdb.gz' holds 7 keys in database 3");
}

static void test_memory_of_a_scanned_file(void **state)
{
    struct world w;
    int64_t memory_bytes[2];

    (void)state;
    for (int scanned = 0; scanned <= 1; scanned++) {
        make_cluster(&w);
        struct backup_file *file = &w.catalogues[0].sets[0].files[1];
        file->scanned = scanned;
        file->facts = json_pack("{s:i, s:I, s:{s:s}}", "rdb_version", 10, "memory",
            (json_int_t)3 * WORLD_GIB, "aux", "used-mem", "1000000");
        GROW(w.heads, w.head_count, w.head_alloc);
        w.heads[w.head_count++] = file->facts;
        struct plan *plan = world_plan(&w);
        memory_bytes[scanned] = plan->shards[1].memory_bytes;
        plan_free(plan);
        world_release(&w);
    }
    assert_true(memory_bytes[0] < (int64_t)2 * WORLD_GIB);
    assert_true(memory_bytes[1] >= (int64_t)3 * WORLD_GIB);
}

static void test_ccs_faults(void **state)
{
    struct world w;
    struct slots more;

    (void)state;
    make_cluster(&w);
    w.ccs.databases[0].first_shard = 1; /* without the first primary */
    w.ccs.databases[0].shard_count = 2;
    w.catalogues[0].sets[0].files++;
    w.catalogues[0].sets[0].file_count--;
    expect_blocker(&w, "ccs-slots-missing", "no primary of the CCS file has the slots 0-5460");

    make_cluster(&w);
    more = *w.ccs.shards[1].slots;
    slots_add(&more, 0);
    w.ccs.shards[1].slots = w.ccs.shards[4].slots = &more;
    w.catalogues[0].sets[0].files[1].slots = more;
    w.catalogues[0].sets[0].files[1].slots.bits[0] = 0;
    struct plan *plan = world_plan(&w);
    assert_non_null(world_issue(plan->blockers, plan->blocker_count, "ccs-slots-overlap"));
    plan_free(plan);
    world_release(&w);

    make_cluster(&w);
    w.ccs.shards[5].primary_index = -1;
    expect_warning(&w, "replica-without-primary", "shard:6");
    make_single(&w);
    w.ccs.databases[0].replicated = true;
    expect_warning(&w, "replicas-missing", "db:1");
}

static void test_skipped(void **state)
{
    struct world w;

    (void)state;
    make_single(&w);
    w.ccs.databases[0].type = "memcached";
    w.database_inputs[0].location = NULL;
    world_database(&w, &(struct world_database){.primaries = 1});
    struct plan *plan = world_plan(&w);
    assert_true(plan->feasible);
    assert_non_null(strstr(plan->databases[0].skipped, "memcached"));
    assert_null(plan->databases[1].skipped);
    assert_int_equal(plan->shard_count, 1);
    plan_free(plan);
    world_release(&w);

    make_single(&w);
    w.ccs.databases[0].active_active = true;
    expect_blocker(&w, "nothing-to-recover", "no database");
}

static void test_unusable_hosts(void **state)
{
    static const struct {
        const char *code, *message, *fact, *value; /* a fact of the second host, as JSON */
    } cases[] = {
        {"server-missing", "'h2' is not used: it has no server 'redis-server': not found", "server",
            "{\"error\": {\"message\": \"not found\"}}"},
        {"server-missing", "keydb 6.3.4, is not known", "server",
            "{\"kind\": \"keydb\", \"version\": \"6.3.4\"}"},
        {"server-too-old", "redis 5.0.9", "server",
            "{\"kind\": \"redis\", \"version\": \"5.0.9\"}"},
        {"base-dir-foreign", "'/var/lib/recluster/2' is not empty (holds etc)", "base_dir",
            "{\"state\": \"foreign\", \"detail\": \"holds etc\"}"},
        {"base-dir-foreign", "belongs to another recovery (abc)", "base_dir",
            "{\"state\": \"recovery\", \"recovery\": \"abc\"}"},
        {"base-dir-foreign", "(abc of me@there pid 1 since noon)", "base_dir",
            "{\"state\": \"recovery\", \"recovery\": \"abc\", \"operator\": \"me@there pid 1\","
            " \"since\": \"noon\"}"},
        {"addr-not-local", "does not have the address 10.0.0.2", "addr_local", "false"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        make_single(&w);
        world_hosts(&w, 1);
        json_object_set_new(
            w.facts[1], cases[i].fact, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        struct plan *plan = world_plan(&w);
        assert_false(plan->hosts[1].usable);
        plan_free(plan);
        expect_warning(&w, cases[i].code, cases[i].message);
    }
}

static void test_one_folder_twice(void **state)
{
    struct world w;

    (void)state;
    make_single(&w);
    world_host(&w, &(struct world_host){.machine = "h1"});
    w.hosts[1].base_dir = w.hosts[0].base_dir;
    expect_warning(&w, "base-dir-shared", "'h2'");
}

static void test_reasons_of_hosts_become_blockers(void **state)
{
    struct world w;
    struct err lost = {.code = ERR_LINK, .message = "no route", .hint = "Look at the cable."};

    (void)state;
    make_cluster(&w);
    w.host_inputs[1].facts = w.host_inputs[2].facts = NULL;
    w.host_inputs[1].error = &lost;
    struct plan *plan = world_plan(&w);
    assert_int_equal(plan->blocker_count, 3);
    assert_string_equal(plan->blockers[0].code, "not-enough-hosts");
    assert_string_equal(plan->blockers[0].hint,
        "Add one host of 4 GB, or drop the replicas of db:1 (--no-replicas db:1).");
    assert_string_equal(plan->blockers[1].code, "host-unreachable");
    assert_string_equal(plan->blockers[1].message, "host 'h2' is not used: no route");
    assert_string_equal(plan->blockers[1].hint, "Look at the cable.");
    assert_string_equal(plan->blockers[2].host, "h3");
    plan_free(plan);
    world_release(&w);
}

static void test_server_and_file(void **state)
{
    struct world w;

    (void)state;
    make_single(&w);
    json_object_set_new(w.heads[0], "rdb_version", json_integer(11));
    expect_blocker(&w, "server-too-old",
        "'shard-1.rdb.gz' (shard:1) has RDB version 11, which no host's server loads: "
        "redis 7.0.15 on 'h1'");
    make_single(&w);
    json_object_set_new(w.heads[0], "rdb_version", json_integer(80));
    json_object_set_new(w.heads[0], "valkey", json_true());
    expect_blocker(&w, "valkey-file", "no host has such a server: redis 7.0.15 on 'h1'");
}

/* A file that two shards share, so that neither has it whole, is named where no server loads it. */
static void test_file_to_cut_that_no_server_loads(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_hosts(&w, 2);
    world_database(&w, &(struct world_database){.primaries = 2, .rdb_version = 14});
    struct backup_set *set = &w.catalogues[0].sets[0];
    set->file_count = 1;
    slots_fill(&set->files[0].slots);
    expect_blocker(&w, "server-too-old", "'shard-1.rdb.gz' (shard:1, shard:2) has RDB version 14");
}

/* A host whose free disk is not known adds nothing to what the hosts have left. */
static void test_disk_that_is_not_known(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_host(&w, &(struct world_host){.disk_bytes = 4 << 20});
    world_host(&w, &(struct world_host){0});
    json_object_del(world_facts(&w, 1), "disk_free");
    json_object_set_new(world_facts(&w, 1), "listening", json_pack("[i]", 12000));
    world_database(&w, &(struct world_database){.port = 12000});
    expect_blocker(&w, "disk", "the hosts have 4 MB left");
}

static void test_facts_that_warn(void **state)
{
    static const struct {
        const char *code, *fact, *value;
    } cases[] = {
        {"overcommit", "overcommit", "0"},
        {"overcommit", "overcommit", "2"},
        {"busy", "load1", "1000.0"},
        {"other-servers", "servers", "[{\"pid\": 1, \"name\": \"redis-server\"}]"},
        {"no-linger", "supervisor", "\"none, no linger\""},
        {"thp", "thp", "\"always\""},
        {"nofile", "nofile", "1024"},
        {"clock", "clock_ms", "1699999994000"},
        {"clock", "clock_ms", "1700000005001"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        make_cluster(&w);
        for (size_t h = 0; h < 2; h++)
            json_object_set_new(
                w.facts[h], cases[i].fact, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        expect_warning(&w, cases[i].code, "hosts 'h1', 'h2': ");
    }
}

static void test_other_warnings(void **state)
{
    struct world w;

    (void)state;
    make_single(&w);
    w.ccs.databases[0].memory_bytes = 999999;
    expect_warning(&w, "limit-below-data", "1 of 1 shards");
    make_single(&w);
    w.ccs.databases[0].max_clients = 65536 - 32 + 1;
    expect_warning(&w, "max-clients", "a server can serve 65504 clients at a time, not 65505");
    make_single(&w);
    w.catalogues[0].sets[0].files[0].bytes = -1;
    expect_warning(&w, "size-unknown", "1 of the files");
    make_single(&w);
    w.hosts[0].memory_bytes = (int64_t)65 << 30;
    expect_warning(&w, "memory-over-available", "allows 65 GB of memory, but 64 GB are available");
    make_single(&w);
    w.ccs.databases[0].port = 7000;
    w.ccs.databases[0].endpoint_count = 2;
    w.ccs.endpoints[0] = (struct ccs_endpoint){.uid = "1:1", .port = 12000};
    w.ccs.endpoints[1] = (struct ccs_endpoint){.uid = "1:2", .port = 12001};
    expect_warning(&w, "endpoint-lost", "at port 12000 only, not at 12001 (endpoint:1:2)");

    world_init(&w);
    world_host(&w, &(struct world_host){.machine = "m"});
    world_host(&w, &(struct world_host){.machine = "m"});
    world_database(&w, &(struct world_database){.replicas = 1});
    expect_warning(&w, "same-machine", "shard:2 is on the same machine as its primary");
}

static void test_old_cluster_is_alive(void **state)
{
    struct world w;

    (void)state;
    make_single(&w);
    w.ccs.cluster_name = "c1.example.com";
    json_t *alive =
        json_pack("[{s:s, s:i, s:s}]", "addr", "10.9.0.1", "port", 12000, "what", "endpoint:1:1");
    w.input.alive = alive;
    struct plan *plan = world_plan(&w);
    assert_false(plan->feasible);
    assert_non_null(strstr(plan->blockers[0].hint, "--old-cluster-is-dead 'c1.example.com'"));
    plan_free(plan);
    expect_blocker(&w, "old-cluster-alive", "10.9.0.1:12000 (endpoint:1:1)");
    json_decref(alive);
}

/* A majority of its nodes, or of the primaries of a sharded database, makes a cluster alive. */
static void test_old_cluster_lives(void **state)
{
    static const struct {
        const char *answers; /* of nodes 1 to 5: primaries of shards 1 to 5 at 20001 to 20005 */
        bool lives;
    } cases[] = {
        {"[]", false}, {"[[1, 20001], [2, 20002]]", false},
        {"[[1, 20001], [1, 12000], [1, 12001]]", false},
        {"[[1, 12000], [2, 12000], [3, 12000]]", true},
        {"[[9, 12000], [8, 12000], [7, 12000]]", false}, /* addresses of no node */
    };
    struct ccs_node nodes[5];
    struct world w;

    (void)state;
    world_init(&w);
    world_host(&w, &(struct world_host){0});
    world_database(&w, &(struct world_database){.primaries = 3});
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        nodes[i] = (struct ccs_node){.uid = arena_printf(&w.arena, "%zu", i + 1),
            .addr = arena_printf(&w.arena, "10.9.0.%zu", i + 1)};
    w.ccs.nodes = nodes;
    w.ccs.node_count = ARRAY_SIZE(nodes);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *pairs = json_loads(cases[i].answers, 0, NULL), *alive = json_array(), *pair;
        size_t k;
        json_array_foreach (pairs, k, pair) {
            char *addr = xasprintf("10.9.0.%d", (int)json_integer_value(json_array_get(pair, 0)));
            json_array_append_new(alive, json_pack("{s:s, s:O, s:s}", "addr", addr, "port",
                                             json_array_get(pair, 1), "what", "shard:1"));
            free(addr);
        }
        assert_int_equal(plan_old_cluster_lives(&w.ccs, alive), cases[i].lives);
        w.input.alive = alive;
        struct plan *plan = world_plan(&w);
        assert_int_equal(plan->feasible, json_array_size(alive) == 0);
        assert_int_equal(
            world_issue(plan->blockers, plan->blocker_count, "old-cluster-alive") != NULL,
            cases[i].lives);
        plan_free(plan);
        json_decref(alive);
        json_decref(pairs);
    }
    /* Two of three primaries answer, on two of five nodes. */
    for (size_t i = 0; i < 3; i++)
        w.ccs.shards[i].port = (int)(20001 + i);
    json_t *alive = json_pack("[{s:s, s:i}, {s:s, s:i}]", "addr", "10.9.0.1", "port", 20001, "addr",
        "10.9.0.2", "port", 20002);
    assert_true(plan_old_cluster_lives(&w.ccs, alive));
    json_object_set_new(json_array_get(alive, 1), "port", json_integer(12000));
    assert_false(plan_old_cluster_lives(&w.ccs, alive));
    json_decref(alive);
    world_release(&w);
}

static void test_hash(void **state)
{
    struct world w;
    char hash[65];

    (void)state;
    make_cluster(&w);
    struct plan *plan = world_plan(&w);
    strcpy(hash, plan->hash);
    assert_int_equal(strlen(hash), 64);
    plan_free(plan);

    /* What comes and goes does not matter … */
    w.input.now_ms += 60000;
    json_object_set_new(w.facts[0], "clock_ms", json_integer(w.input.now_ms));
    for (size_t h = 0; h < 3; h++)
        json_object_set_new(w.facts[h], "memory_available", json_integer((json_int_t)60 << 30));
    plan = world_plan(&w);
    assert_string_equal(plan->hash, hash);
    plan_free(plan);

    /* … what is recovered, from what and to where, does. */
    w.catalogues[0].sets[0].files[1].bytes++;
    plan = world_plan(&w);
    assert_string_not_equal(plan->hash, hash);
    plan_free(plan);
    w.catalogues[0].sets[0].files[1].bytes--;
    w.hosts[2].addr = "10.0.0.33";
    plan = world_plan(&w);
    assert_string_not_equal(plan->hash, hash);
    plan_free(plan);
    w.hosts[2].addr = "10.0.0.3";
    w.input.ccs_sha256 = "beef";
    plan = world_plan(&w);
    assert_string_not_equal(plan->hash, hash);
    plan_free(plan);
    world_release(&w);
}

static void expect_keys(const json_t *object, const char *const *keys)
{
    for (; *keys; keys++)
        if (!json_object_get(object, *keys))
            fail_msg("no '%s'", *keys);
}

static void test_document(void **state)
{
    static const char *const top[] = {
        "hash", "feasible", "databases", "hosts", "stages", "blockers", "warnings", NULL};
    static const char *const database[] = {"uid", "label", "name", "skipped", "source",
        "backup_set", "maxmemory", "shards", "endpoints", NULL};
    static const char *const shard[] = {"uid", "role", "database", "host", "addr", "port",
        "bus_port", "dir", "slots", "memory", "disk", "source", "primary", NULL};
    static const char *const host[] = {
        "name", "rack", "memory", "planned_memory", "shards", "usable", NULL};
    static const char *const issue[] = {"code", "message", "hint", "database", "host", NULL};
    struct world w;

    (void)state;
    make_cluster(&w);
    w.catalogues[0].sets[0].files[0].name = "caf\xe9.rdb"; /* not UTF-8 */
    json_object_set_new(w.facts[0], "overcommit", json_integer(0));
    struct plan *plan = world_plan(&w);
    json_t *doc = plan_json(plan);
    expect_keys(doc, top);
    json_t *db = json_array_get(json_object_get(doc, "databases"), 0);
    expect_keys(db, database);
    assert_true(json_is_null(json_object_get(db, "skipped")));
    json_t *backup = json_object_get(db, "backup_set");
    assert_int_equal(json_integer_value(json_object_get(backup, "age_s")), 3600);
    assert_string_equal(json_string_value(json_object_get(backup, "time")), "2023-11-14T21:13:20Z");
    assert_int_equal(json_array_size(json_object_get(backup, "files")), 3);
    json_t *first = json_array_get(json_object_get(db, "shards"), 0);
    json_t *replica = json_array_get(json_object_get(db, "shards"), 3);
    expect_keys(first, shard);
    assert_string_equal(json_string_value(json_object_get(first, "source")), "caf\\xe9.rdb");
    const json_t *range = json_array_get(json_object_get(first, "slots"), 0);
    assert_int_equal(json_integer_value(json_array_get(range, 0)), 0);
    assert_int_equal(json_integer_value(json_array_get(range, 1)), 5460);
    assert_true(json_is_null(json_object_get(first, "primary")));
    assert_string_equal(json_string_value(json_object_get(replica, "primary")), "1");
    assert_string_equal(json_string_value(json_object_get(replica, "role")), "replica");
    assert_int_equal(json_array_size(json_object_get(db, "endpoints")), 3);
    expect_keys(json_array_get(json_object_get(doc, "hosts"), 0), host);
    assert_int_equal(json_array_size(json_object_get(doc, "stages")), 4);
    expect_keys(json_array_get(json_object_get(doc, "warnings"), 0), issue);
    json_decref(doc);
    plan_free(plan);
    world_release(&w);
}

static void test_rdb_versions(void **state)
{
    static const struct {
        const char *kind, *version;
        int rdb_version;
    } cases[] = {
        {"redis", "2.4.18", 2},
        {"redis", "2.8.24", 6},
        {"redis", "3.2.12", 7},
        {"redis", "4.0.14", 8},
        {"redis", "5.0.14", 9},
        {"redis", "6.2.14", 9},
        {"redis", "7.0.15", 10},
        {"redis", "7.2.4", 11},
        {"redis", "7.4.0", 12},
        {"redis", "8.4.0", 12},
        {"redis", "8.6.1", 13},
        {"redis", "8.8.0", 14},
        {"redis", "255.255.255", 14},
        {"valkey", "7.2.5", 11},
        {"valkey", "8.1.1", 11},
        {"valkey", "9.0.0", 80},
        {"valkey", "6.0.0", 0},
        {"redis", "new", 0},
        {"redis", NULL, 0},
        {"keydb", "6.3.4", 0},
        {NULL, "7.0.15", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(
            plan_rdb_version_max(cases[i].kind, cases[i].version), cases[i].rdb_version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_amiss),
        cmocka_unit_test(test_packed_files),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_incomplete_sets),
        cmocka_unit_test(test_files_and_shards),
        cmocka_unit_test(test_memory_of_a_scanned_file),
        cmocka_unit_test(test_ccs_faults),
        cmocka_unit_test(test_skipped),
        cmocka_unit_test(test_unusable_hosts),
        cmocka_unit_test(test_one_folder_twice),
        cmocka_unit_test(test_reasons_of_hosts_become_blockers),
        cmocka_unit_test(test_server_and_file),
        cmocka_unit_test(test_file_to_cut_that_no_server_loads),
        cmocka_unit_test(test_disk_that_is_not_known),
        cmocka_unit_test(test_facts_that_warn),
        cmocka_unit_test(test_other_warnings),
        cmocka_unit_test(test_old_cluster_is_alive),
        cmocka_unit_test(test_old_cluster_lives),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_rdb_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
