#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "world.h"

/* A sanitizer's build is not about speed; gcc and clang each tell it in their own way. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

#define MIB(n) ((int64_t)(n) << 20)

/*
 * Room for n shards of the default size, with replicas or without: a tenth more for copy-on-write,
 * 32 MiB for the process and its backlog.
 */
#define ROOM(n) ((n) * (MIB(1024) + MIB(1024) / 10 + MIB(32)))
#define ALONE MIB(1056)

/* The codes of all blockers, joined by spaces. */
static const char *codes_of(const struct plan *plan)
{
    static char text[1024];

    text[0] = '\0';
    for (size_t i = 0; i < plan->blocker_count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
            plan->blockers[i].code);
    return text;
}

static const struct {
    const char *name;
    struct world_database databases[4]; /* to the first without primaries */
    struct world_host hosts[8];         /* to the first without a name */
    const char *blockers;               /* codes; "": a plan is found */
    size_t most_on_a_host;              /* shards; 0: not looked at */
} cases[] = {
    {"one shard, one host", {{.primaries = 1}}, {{.name = "a"}}, "", 1},
    {"a replica, two hosts", {{.primaries = 1, .replicas = 1}}, {{.name = "a"}, {.name = "b"}}, "",
        1},
    {"a replica, one host", {{.primaries = 1, .replicas = 1}}, {{.name = "a"}}, "not-enough-hosts",
        0},
    {"two replicas", {{.primaries = 1, .replicas = 2}},
        {{.name = "a"}, {.name = "b"}, {.name = "c"}}, "", 1},
    {"3+3 on 1", {{.primaries = 3, .replicas = 1}}, {{.name = "a"}}, "not-enough-hosts", 0},
    {"3+3 on 2", {{.primaries = 3, .replicas = 1}}, {{.name = "a"}, {.name = "b"}}, "", 3},
    {"3+3 on 3", {{.primaries = 3, .replicas = 1}}, {{.name = "a"}, {.name = "b"}, {.name = "c"}},
        "", 2},
    {"3+3 on 3, tight", {{.primaries = 3, .replicas = 1}},
        {{.name = "a", .cap_bytes = ROOM(2)}, {.name = "b", .cap_bytes = ROOM(2)},
            {.name = "c", .cap_bytes = ROOM(2)}},
        "", 2},
    {"3+3 on 3, one short", {{.primaries = 3, .replicas = 1}},
        {{.name = "a", .cap_bytes = ROOM(2)}, {.name = "b", .cap_bytes = ROOM(2)},
            {.name = "c", .cap_bytes = ROOM(2) - 1}},
        "memory", 0},
    {"3+3 on 4", {{.primaries = 3, .replicas = 1}},
        {{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}}, "", 2},
    {"3+3 on 6", {{.primaries = 3, .replicas = 1}},
        {{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}, {.name = "e"}, {.name = "f"}},
        "", 1},
    {"3+3 on a large and a small host", {{.primaries = 3, .replicas = 1}},
        {{.name = "a", .cap_bytes = ROOM(3)}, {.name = "b", .cap_bytes = ROOM(2)},
            {.name = "c", .cap_bytes = ROOM(1)}},
        "", 3},
    {"2+2 in two racks", {{.primaries = 2, .replicas = 1, .rack_aware = true}},
        {{.name = "a1", .rack = "a"}, {.name = "a2", .rack = "a"}, {.name = "b1", .rack = "b"},
            {.name = "b2", .rack = "b"}},
        "", 1},
    {"3+3 in two racks, tight", {{.primaries = 3, .replicas = 1, .rack_aware = true}},
        {{.name = "a1", .rack = "a", .cap_bytes = ROOM(2)},
            {.name = "a2", .rack = "a", .cap_bytes = ROOM(1)},
            {.name = "b1", .rack = "b", .cap_bytes = ROOM(1)},
            {.name = "b2", .rack = "b", .cap_bytes = ROOM(2)}},
        "", 2},
    {"3+3, one rack holds one of each pair at most",
        {{.primaries = 3, .replicas = 1, .rack_aware = true}},
        {{.name = "b1", .rack = "b", .cap_bytes = ROOM(3)}, {.name = "a1", .rack = "a"},
            {.name = "a2", .rack = "a"}},
        "", 0},
    {"a rack too small", {{.primaries = 3, .replicas = 1, .rack_aware = true}},
        {{.name = "a1", .rack = "a"}, {.name = "a2", .rack = "a"},
            {.name = "b1", .rack = "b", .cap_bytes = ROOM(2)}},
        "memory", 0},
    {"rack aware, racks not said", {{.primaries = 1, .replicas = 1, .rack_aware = true}},
        {{.name = "a"}, {.name = "b"}}, "", 1},
    {"rack aware, one host's rack not said", {{.primaries = 1, .replicas = 1, .rack_aware = true}},
        {{.name = "x"}, {.name = "a", .rack = "a"}, {.name = "b", .rack = "b"}}, "", 1},
    {"the other rack's server is too old", {{.replicas = 1, .primaries = 1, .rack_aware = true}},
        {{.name = "a", .rack = "a"}, {.name = "a2", .rack = "a"},
            {.name = "b", .rack = "b", .version = "6.2.1"}},
        "rack", 0},
    {"no memory", {{.primaries = 1}}, {{.name = "a", .cap_bytes = ALONE - 1}}, "memory", 0},
    {"no memory by probe", {{.primaries = 1}},
        {{.name = "a", .available_bytes = ALONE + MIB(256) - 1}}, "memory", 0},
    {"just enough by probe: 256 MiB are kept", {{.primaries = 1}},
        {{.name = "a", .available_bytes = ALONE + MIB(256)}}, "", 1},
    {"two hosts of one machine share its memory", {{.primaries = 1, .replicas = 1}},
        {{.name = "a", .machine = "m", .available_bytes = MIB(2000)},
            {.name = "b", .machine = "m", .available_bytes = MIB(2000)}},
        "memory", 0},
    {"no disk", {{.primaries = 1}}, {{.name = "a", .disk_bytes = 5999999}}, "disk", 0},
    {"just enough disk", {{.primaries = 1}}, {{.name = "a", .disk_bytes = 6000000}}, "", 1},
    {"server too old", {{.primaries = 1, .rdb_version = 11}}, {{.name = "a"}, {.name = "b"}},
        "server-too-old", 0},
    {"one server is new enough", {{.primaries = 1, .rdb_version = 11}},
        {{.name = "a"}, {.name = "b", .version = "7.2.4"}}, "", 1},
    {"a replica is never older than its primary", {{.primaries = 1, .replicas = 1}},
        {{.name = "a", .version = "7.2.4"}, {.name = "b"}}, "", 1},
    {"a server without ACLs", {{.primaries = 1, .rdb_version = 9}},
        {{.name = "a", .version = "5.0.9"}}, "not-enough-hosts server-too-old", 0},
    {"not reached", {{.primaries = 1}}, {{.name = "a", .unreachable = true}},
        "not-enough-hosts host-unreachable", 0},
    {"not reached, and one that is", {{.primaries = 1}},
        {{.name = "a", .unreachable = true}, {.name = "b"}}, "", 1},
    {"same endpoint port twice, one host", {{.primaries = 1, .port = 12000}, {1, .port = 12000}},
        {{.name = "a"}}, "port", 0},
    {"same endpoint port twice, two hosts", {{.primaries = 1, .port = 12000}, {1, .port = 12000}},
        {{.name = "a"}, {.name = "b"}}, "", 1},
    {"two databases, 3+3 and 1+1",
        {{.primaries = 3, .replicas = 1}, {.primaries = 1, .replicas = 1}},
        {{.name = "a"}, {.name = "b"}, {.name = "c"}}, "", 3},
    {"a large replica after small primaries",
        {{.primaries = 1, .replicas = 1, .shard_bytes = MIB(6000)}, {1, .shard_bytes = MIB(2000)},
            {1, .shard_bytes = MIB(2000)}, {1, .shard_bytes = MIB(2000)}},
        {{.name = "a", .cap_bytes = MIB(10696)}, {.name = "b", .cap_bytes = MIB(8664)}}, "", 0},
};

static struct plan *plan_case(struct world *w, size_t i)
{
    world_init(w);
    for (size_t d = 0; d < ARRAY_SIZE(cases[i].databases); d++)
        if (cases[i].databases[d].primaries)
            world_database(w, &cases[i].databases[d]);
    for (size_t h = 0; h < ARRAY_SIZE(cases[i].hosts); h++)
        if (cases[i].hosts[h].name)
            world_host(w, &cases[i].hosts[h]);
    return world_plan(w);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        struct plan *plan = plan_case(&w, i);
        if (strcmp(codes_of(plan), cases[i].blockers) != 0)
            fail_msg(
                "%s: blockers '%s', not '%s'", cases[i].name, codes_of(plan), cases[i].blockers);
        assert_int_equal(plan->feasible, cases[i].blockers[0] == '\0');
        const char *wrong = plan->feasible ? world_check(&w, plan) : NULL;
        if (wrong)
            fail_msg("%s: %s", cases[i].name, wrong);
        for (size_t h = 0; h < plan->host_count && cases[i].most_on_a_host; h++)
            if (plan->hosts[h].shard_count > cases[i].most_on_a_host)
                fail_msg("%s: %zu shards on '%s'", cases[i].name, plan->hosts[h].shard_count,
                    plan->hosts[h].host->name);
        plan_free(plan);
        world_release(&w);
    }
}

static void test_replaces(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    /* Shards 1 to 6 were on nodes 1, 2, 3, 1, 2, 3: a primary and its own replica on one node. */
    world_database(&w, &(struct world_database){.primaries = 3, .replicas = 1});
    for (size_t s = 3; s < 6; s++)
        w.ccs.shards[s].node_uid = s == 3 ? "2" : s == 4 ? "3" : "1";
    world_host(&w, &(struct world_host){.name = "new"});
    world_host(&w, &(struct world_host){.name = "c", .replaces = "3"});
    world_host(&w, &(struct world_host){.name = "a", .replaces = "1"});
    world_host(&w, &(struct world_host){.name = "b", .replaces = "2"});
    struct plan *plan = world_plan(&w);
    static const char *const expected[] = {"a", "b", "c", "b", "c", "a"};
    assert_true(plan->feasible);
    for (size_t s = 0; s < 6; s++)
        assert_string_equal(w.hosts[plan->shards[s].host].name, expected[s]);
    plan_free(plan);
    world_release(&w);
}

static void set_listening(struct world *w, size_t host, int port)
{
    json_array_append_new(json_object_get(world_facts(w, host), "listening"), json_integer(port));
}

static void test_ports_of_a_single_database(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_hosts(&w, 3);
    world_database(&w, &(struct world_database){.replicas = 1, .port = 12000});
    set_listening(&w, 0, 12000);
    struct plan *plan = world_plan(&w);
    assert_true(plan->feasible);
    assert_int_equal(plan->shards[0].host, 1);
    assert_int_equal(plan->shards[0].port, 12000);
    assert_int_equal(plan->shards[1].host, 2);
    assert_int_equal(plan->shards[1].port, 12000);
    assert_int_equal(plan->databases[0].endpoint_count, 1);
    assert_string_equal(plan->databases[0].endpoints[0].addr, "10.0.0.2");
    plan_free(plan);

    set_listening(&w, 2, 12000); /* the replica's: any other port will do */
    plan = world_plan(&w);
    assert_true(plan->feasible);
    assert_null(world_check(&w, plan));
    plan_free(plan);

    set_listening(&w, 1, 12000);
    plan = world_plan(&w);
    assert_string_equal(codes_of(plan), "port");
    assert_non_null(strstr(plan->blockers[0].message, "12000 is taken on 'h1', 'h2', 'h3'"));
    assert_string_equal(plan->blockers[0].host, "h1");
    plan_free(plan);
    world_release(&w);
}

static void test_ports_of_a_cluster(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_hosts(&w, 2);
    world_database(&w, &(struct world_database){.primaries = 4, .port = 12000});
    set_listening(&w, 0, 21000);
    set_listening(&w, 0, 22000); /* the bus port of 12000 */
    struct plan *plan = world_plan(&w);
    assert_true(plan->feasible);
    assert_null(world_check(&w, plan));
    assert_int_equal(plan->shards[0].port, 12000);
    assert_int_equal(plan->shards[0].bus_port, 31000);
    assert_int_equal(plan->shards[1].port, 12000);
    assert_int_equal(plan->shards[1].bus_port, 22000);
    assert_int_equal(plan->shards[2].port, 21001);
    assert_int_equal(plan->shards[2].bus_port, 31001);
    assert_int_equal(plan->shards[3].port, 21000);
    assert_int_equal(plan->shards[3].bus_port, 31000);
    assert_int_equal(plan->databases[0].endpoint_count, 4);
    plan_free(plan);
    world_release(&w);
}

static void test_memory_says_how_much(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_database(&w, &(struct world_database){.shard_bytes = MIB(4064)});
    world_host(&w, &(struct world_host){.name = "a", .cap_bytes = MIB(1024)});
    struct plan *plan = world_plan(&w);
    assert_string_equal(codes_of(plan), "memory");
    assert_string_equal(plan->blockers[0].message,
        "db:1: no memory for shard:1: 4 GB needed; the hosts have 1 GB left, and none more than "
        "1 GB ('a'): 3 GB are missing");
    assert_string_equal(plan->blockers[0].database, "db:1");
    plan_free(plan);
    world_release(&w);
}

/* A small generator: the same numbers everywhere. */
static uint64_t seed;

static int random_below(int n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int)((seed >> 33) % (uint64_t)n);
}

static const char *any_of(const char *const *words, int count)
{
    return words[random_below(count)];
}

static void make_random_world(struct world *w)
{
    static const char *const racks[] = {"a", "b", "c", NULL};
    static const char *const second_racks[] = {"x", "y", NULL};
    static const char *const placements[] = {"dense", "sparse", NULL};
    static const char *const nodes[] = {"1", "2", "3", NULL};
    static const char *const lists[][3] = {{"1"}, {"2", "3"}, {"3"}};

    world_init(w);
    int databases = 1 + random_below(2), hosts = 1 + random_below(4);
    bool second = random_below(4) == 0;
    for (int i = 0; i < databases; i++)
        world_database(w, &(struct world_database){.primaries = 1 + random_below(3),
                              .replicas = random_below(8) == 0 ? 2 : random_below(2),
                              .shard_bytes = MIB(100 * (1 + random_below(6))),
                              .port = random_below(2) ? 12000 + random_below(2) : 0,
                              .rack_aware = random_below(2),
                              .persistent = random_below(2),
                              .placement = any_of(placements, 3),
                              .avoid = random_below(8) == 0 ? lists[random_below(3)] : NULL,
                              .use = random_below(8) == 0 ? lists[random_below(3)] : NULL});
    for (int i = 0; i < hosts; i++)
        world_host(w, &(struct world_host){.rack = any_of(racks, 4),
                          .second_rack = second ? any_of(second_racks, 3) : NULL,
                          .replaces = any_of(nodes, 4),
                          .max_shards = random_below(6) == 0 ? 2 : 0,
                          .cap_bytes = MIB(300 * (1 + random_below(6))),
                          .unreachable = random_below(10) == 0});
    for (int i = 0; i < hosts; i++)
        if (random_below(3) == 0)
            set_listening(w, (size_t)i, random_below(2) ? 12000 : 21000);
}

/* Whether the shards before s leave room and port for it on h. */
static bool has_place(const struct world *w, const struct plan *plan, size_t s, int h)
{
    const struct plan_shard *shard = &plan->shards[s];
    int64_t used = shard->memory_bytes;

    if (!w->host_inputs[h].facts || (shard->port && world_listens(w, h, shard->port)) ||
        !world_node_allowed(w, plan->databases[shard->database].database, h))
        return false;
    int64_t count = 1;
    for (size_t i = 0; i < s; i++) {
        if (plan->shards[i].host != h)
            continue;
        used += plan->shards[i].memory_bytes;
        count++;
        if (shard->port && plan->shards[i].port == shard->port)
            return false;
    }
    return used <= w->hosts[h].memory_bytes &&
           (w->hosts[h].max_shards < 0 || count <= w->hosts[h].max_shards);
}

/* Whether any placement at all obeys the rules, by trying each. */
static bool solvable(const struct world *w, struct plan *plan, size_t s)
{
    if (s == plan->shard_count) {
        for (size_t i = 0; i < plan->database_count; i++)
            if (world_check_majority(w, plan, i))
                return false;
        return true;
    }
    struct plan_shard *shard = &plan->shards[s];
    const struct ccs_database *db = plan->databases[shard->database].database;
    bool fixed = !db->sharded && shard->primary < 0 && db->endpoint_count;
    /* 0: any port will do. */
    shard->port = fixed ? w->ccs.endpoints[db->first_endpoint].port : 0;
    for (int h = 0; h < (int)plan->host_count; h++) {
        shard->host = h;
        if (has_place(w, plan, s, h) && (shard->primary < 0 || !world_check_pair(w, plan, shard)) &&
            solvable(w, plan, s + 1))
            return true;
    }
    return false;
}

/* Plans obey the rules, and one is found wherever there is one. */
static void test_random_worlds(void **state)
{
    int found = 0, none = 0;

    (void)state;
    for (int i = 0; i < 800; i++) {
        struct world w;
        seed = (uint64_t)i;
        make_random_world(&w);
        struct plan *plan = world_plan(&w);
        const char *wrong = plan->feasible ? world_check(&w, plan) : NULL;
        if (wrong)
            fail_msg("seed %d: %s", i, wrong);
        if (plan->feasible)
            found++;
        else if (solvable(&w, plan, 0))
            fail_msg("seed %d: there is a plan, but it was not found: %s", i, codes_of(plan));
        else
            none++;
        plan_free(plan);
        world_release(&w);
    }
    /* Both kinds were tried. */
    assert_true(found > 100);
    assert_true(none > 100);
}

/* The same hosts in another order: another plan, but a plan. */
static void test_host_order(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        bool feasible[2];
        for (int reversed = 0; reversed <= 1; reversed++) {
            struct world w;
            seed = (uint64_t)i;
            make_random_world(&w);
            for (size_t a = 0, b = w.input.host_count - 1; reversed && a < b; a++, b--) {
                struct host host = w.hosts[a];
                struct plan_host_input input = w.host_inputs[a];
                w.hosts[a] = w.hosts[b];
                w.hosts[b] = host;
                w.host_inputs[a].facts = w.host_inputs[b].facts;
                w.host_inputs[b].facts = input.facts;
            }
            struct plan *plan = world_plan(&w);
            feasible[reversed] = plan->feasible;
            if (plan->feasible)
                assert_null(world_check(&w, plan));
            plan_free(plan);
            world_release(&w);
        }
        assert_int_equal(feasible[0], feasible[1]);
    }
}

/* The document of a plan, those of its shards that were on a host without one. */
static json_t *without_host(const struct plan *plan, const char *host)
{
    json_t *document = plan_json(plan), *database, *shard;
    size_t i, k;

    json_array_foreach (json_object_get(document, "databases"), i, database) {
        json_array_foreach (json_object_get(database, "shards"), k, shard)
            if (strcmp(json_string_value(json_object_get(shard, "host")), host) == 0)
                json_object_set_new(shard, "host", json_null());
    }
    return document;
}

/* A plan that was made before is taken over as it stands, or it says what has changed. */
static void test_pinned(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_hosts(&w, 5);
    world_database(&w, &(struct world_database){.primaries = 3, .replicas = 1, .port = 12000});
    struct plan *before = world_plan(&w);
    json_t *pinned = plan_json(before);
    w.input.mode = PLAN_PINNED;
    w.input.pinned = pinned;
    /* A new plan would put its first shard onto the host of its old node. */
    w.hosts[4].replaces = w.ccs.shards[0].node_uid;
    struct plan *plan = world_plan(&w);
    assert_true(plan->feasible);
    assert_string_equal(plan->hash, before->hash);
    plan_free(plan);

    w.input.host_count = 1;
    plan = world_plan(&w);
    const struct plan_issue *issue =
        world_issue(plan->blockers, plan->blocker_count, "plan-changed");
    assert_non_null(issue);
    assert_string_equal(issue->message,
        "db:1: shard:2 was planned on host 'h2', which is no longer among the hosts");
    plan_free(plan);
    w.input.host_count = 5;

    int h1 = before->shards[0].host;
    json_array_append_new(
        json_object_get(world_facts(&w, (size_t)h1), "listening"), json_integer(12000));
    plan = world_plan(&w);
    assert_false(plan->feasible);
    issue = world_issue(plan->blockers, plan->blocker_count, "plan-changed");
    assert_non_null(issue);
    assert_string_equal(
        issue->message, "db:1: the port that was planned for shard:1 on host 'h1' is taken");
    plan_free(plan);
    plan_free(before);
    json_decref(pinned);
    world_release(&w);
}

static void test_replan(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_hosts(&w, 5);
    world_database(&w, &(struct world_database){.primaries = 3, .replicas = 1, .port = 12000});
    world_database(&w, &(struct world_database){.replicas = 1, .port = 12001});
    struct plan *before = world_plan(&w);
    assert_true(before->feasible);
    json_t *pinned = without_host(before, "h1");

    /* Of the lost host nothing is known; the others stay although h2 could not be used any more. */
    w.host_inputs[0].facts = NULL;
    json_object_set_new(world_facts(&w, 1), "server", json_pack("{s:{}}", "error"));
    w.input.pinned = pinned;
    w.input.mode = PLAN_REPLAN;
    struct plan *plan = world_plan(&w);
    assert_true(plan->feasible);
    size_t moved = 0;
    for (size_t s = 0; s < plan->shard_count; s++) {
        const struct plan_shard *old = &before->shards[s], *new = &plan->shards[s];
        moved += old->host == 0;
        if (old->host == 0) {
            assert_true(new->host > 1);
        } else {
            assert_int_equal(new->host, old->host);
            assert_int_equal(new->port, old->port);
            assert_int_equal(new->bus_port, old->bus_port);
        }
        if (new->primary >= 0)
            assert_int_not_equal(new->host, plan->shards[new->primary].host);
        for (size_t other = 0; other < s; other++)
            assert_false(plan->shards[other].host == new->host &&
                         (plan->shards[other].port == new->port ||
                             plan->shards[other].bus_port == new->port));
    }
    assert_true(moved > 0);
    plan_free(plan);

    /* With no other host left, each database says so. */
    w.input.host_count = 2;
    plan = world_plan(&w);
    assert_false(plan->feasible);
    assert_non_null(world_issue(plan->blockers, plan->blocker_count, "not-enough-hosts"));
    plan_free(plan);
    w.input.host_count = 5;
    plan_free(before);
    json_decref(pinned);
    world_release(&w);
}

static void test_same_input_same_hash(void **state)
{
    char first[65];

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world w;
        seed = 7;
        make_random_world(&w);
        struct plan *plan = world_plan(&w);
        if (i == 0)
            strcpy(first, plan->hash);
        else
            assert_string_equal(plan->hash, first);
        plan_free(plan);
        world_release(&w);
    }
}

/* 30 hosts, 600 shards; host 7 with so much memory, and `more` hosts. */
static struct plan *plan_of_600(struct world *w, int64_t seventh, int more)
{
    world_init(w);
    for (int i = 0; i < 30 + more; i++)
        world_host(
            w, &(struct world_host){.cap_bytes = i == 7 ? seventh : (int64_t)32 * WORLD_GIB});
    for (int i = 0; i < 30; i++)
        world_database(w, &(struct world_database){.primaries = 10,
                              .replicas = 1,
                              .shard_bytes = WORLD_GIB / 2 + (int64_t)i * (WORLD_GIB / 64)});
    return world_plan(w);
}

/* A small change of the input is a small change of the plan. */
static void test_small_changes(void **state)
{
    static const struct {
        int64_t percent; /* of the memory of one host */
        int more;        /* hosts */
        size_t moved;    /* at most */
    } cases[] = {{100, 0, 0}, {101, 0, 180}, {99, 0, 180}, {100, 1, 300}};
    struct world w;
    struct plan *before = plan_of_600(&w, (int64_t)32 * WORLD_GIB, 0);
    struct world other;

    (void)state;
    assert_true(before->feasible);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct plan *after =
            plan_of_600(&other, (int64_t)32 * WORLD_GIB / 100 * cases[i].percent, cases[i].more);
        size_t moved = 0;
        assert_true(after->feasible);
        assert_null(world_check(&other, after));
        for (size_t s = 0; s < after->shard_count; s++)
            moved += after->shards[s].host != before->shards[s].host;
        if (moved > cases[i].moved)
            fail_msg("case %zu: %zu of %zu shards moved", i, moved, after->shard_count);
        plan_free(after);
        world_release(&other);
    }
    plan_free(before);
    world_release(&w);
}

/* A shard goes to the host that has its file on a disk. */
static void test_files_on_disks(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_hosts(&w, 4);
    world_database(&w, &(struct world_database){.primaries = 2, .replicas = 1});
    w.catalogues[0].sets[0].files[0].host = "h4";
    w.catalogues[0].sets[0].files[1].host = "h3";
    struct plan *plan = world_plan(&w);
    assert_true(plan->feasible);
    assert_string_equal(w.hosts[plan->shards[0].host].name, "h4");
    assert_string_equal(w.hosts[plan->shards[1].host].name, "h3");
    plan_free(plan);
    world_release(&w);
}

static double seconds_of(struct world *w, struct plan **ret)
{
    struct timespec a, b;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    *ret = world_plan(w);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

/* 1,000 hosts, 20,000 shards: with room to spare, and with hosts that are too small. */
static void test_scale(void **state)
{
    (void)state;
    for (int tight = 0; tight <= 1; tight++) {
        struct world w;
        struct plan *plan;
        world_init(&w);
        for (int i = 0; i < 1000; i++)
            world_host(&w, &(struct world_host){.cap_bytes = ROOM(tight ? 19 : 20)});
        for (int i = 0; i < 1000; i++)
            world_database(&w, &(struct world_database){.primaries = 10, .replicas = 1});
        double seconds = seconds_of(&w, &plan);
        print_message("%s: %.2f s\n", tight ? "too small" : "95 to 100 % full", seconds);
        assert_int_equal(plan->shard_count, 20000);
        assert_string_equal(
            tight ? "memory" : "", plan->blocker_count ? plan->blockers[0].code : "");
        if (!tight)
            assert_null(world_check(&w, plan));
        assert_true(seconds < (SANITIZED ? 60 : 5));
        plan_free(plan);
        world_release(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_replaces),
        cmocka_unit_test(test_ports_of_a_single_database),
        cmocka_unit_test(test_ports_of_a_cluster),
        cmocka_unit_test(test_memory_says_how_much),
        cmocka_unit_test(test_random_worlds),
        cmocka_unit_test(test_host_order),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_replan),
        cmocka_unit_test(test_same_input_same_hash),
        cmocka_unit_test(test_small_changes),
        cmocka_unit_test(test_files_on_disks),
        cmocka_unit_test(test_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
