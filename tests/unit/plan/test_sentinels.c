#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "recluster/json.h"
#include "world.h"

static const struct ccs_sentinels three = {
    .name = "orders", .count = 3, .port = 26379, .quorum = 2};

/* One database that is not sharded, with a replica, on hosts of these racks: "aab". */
static void make(struct world *w, const char *racks, const struct ccs_sentinels *sentinels)
{
    world_init(w);
    for (const char *p = racks; *p; p++)
        world_host(w, &(struct world_host){.rack = arena_printf(&w->arena, "%c", *p)});
    world_database(w, &(struct world_database){.primaries = 1, .replicas = 1, .port = 12000});
    w->ccs.databases[0].sentinels = sentinels;
}

/* "h1:26379 h3:26379", in the plan's order; the plan is freed. */
static const char *places(struct world *w, struct plan *plan)
{
    static char text[200];
    const struct plan_database *db = &plan->databases[0];

    text[0] = '\0';
    assert_null(world_check(w, plan));
    for (size_t i = 0; i < db->sentinel_count; i++) {
        size_t len = strlen(text);
        assert_string_equal(db->sentinels[i].dir, "db-1/sentinel");
        snprintf(text + len, sizeof(text) - len, "%s%s:%d", len ? " " : "",
            plan->hosts[db->sentinels[i].host].host->name, db->sentinels[i].port);
    }
    plan_free(plan);
    return text;
}

static void expect_warning(struct world *w, const char *code, const char *host)
{
    struct plan *plan = world_plan(w);
    const struct plan_issue *issue = world_issue(plan->warnings, plan->warning_count, code);

    assert_non_null(issue);
    if (host)
        assert_string_equal(issue->host, host);
    plan_free(plan);
}

static void racks_come_first(void **state)
{
    struct world w;

    (void)state;
    make(&w, "aabbc", &three);
    assert_string_equal(places(&w, world_plan(&w)), "h1:26379 h3:26379 h5:26379");
    world_release(&w);
    make(&w, "aaaa", &three); /* then those with its shards */
    assert_string_equal(places(&w, world_plan(&w)), "h1:26379 h2:26379 h3:26379");
    world_release(&w);
}

static void as_many_as_before_but_three(void **state)
{
    static const struct ccs_sentinels asked = {.name = "x"},
                                      five = {.name = "x", .count = 5, .quorum = 9};
    struct world w;

    (void)state;
    make(&w, "abcdef", &five);
    struct plan *plan = world_plan(&w);
    assert_int_equal(plan->databases[0].sentinel_count, 5);
    assert_int_equal(plan->databases[0].sentinel_quorum, 5);
    plan_free(plan);
    world_release(&w);
    make(&w, "abcdef", &asked);
    plan = world_plan(&w);
    assert_int_equal(plan->databases[0].sentinel_count, 3);
    assert_int_equal(plan->databases[0].sentinel_quorum, 2);
    assert_null(world_issue(plan->warnings, plan->warning_count, "sentinels-few"));
    plan_free(plan);
    world_release(&w);
    make(&w, "ab", &three);
    expect_warning(&w, "sentinels-few", NULL);
    assert_string_equal(places(&w, world_plan(&w)), "h1:26379 h2:26379");
    world_release(&w);
}

static void none_without_a_replica_or_in_a_cluster(void **state)
{
    struct world w;

    (void)state;
    make(&w, "abc", &three);
    w.database_inputs[0].no_replicas = true;
    expect_warning(&w, "sentinels-none", NULL);
    assert_string_equal(places(&w, world_plan(&w)), "");
    world_release(&w);
    make(&w, "abc", &three);
    w.ccs.databases[0].sharded = true;
    expect_warning(&w, "sentinels-none", NULL);
    world_release(&w);
    make(&w, "abc", NULL);
    assert_string_equal(places(&w, world_plan(&w)), "");
    world_release(&w);
}

static void none_were_captured(void **state)
{
    struct world w;
    json_t *settings = json_object();

    (void)state;
    make(&w, "abc", NULL);
    struct plan *plan = world_plan(&w);
    assert_null(world_issue(plan->warnings, plan->warning_count, "sentinels-unknown"));
    plan_free(plan);
    w.ccs.databases[0].settings = settings;
    expect_warning(&w, "sentinels-unknown", NULL);
    w.ccs.databases[0].no_sentinels = true;
    plan = world_plan(&w);
    assert_null(world_issue(plan->warnings, plan->warning_count, "sentinels-unknown"));
    plan_free(plan);
    world_release(&w);
    json_decref(settings);
}

static void a_port_that_is_taken(void **state)
{
    struct world w;

    (void)state;
    make(&w, "abc", &three);
    json_object_set_new(world_facts(&w, 1), "listening", json_pack("[i, i]", 26379, 26380));
    expect_warning(&w, "sentinel-port", "h2");
    assert_string_equal(places(&w, world_plan(&w)), "h1:26379 h3:26379 h2:26381");
    world_release(&w);
}

static void an_earlier_plan_is_kept(void **state)
{
    struct world w;

    (void)state;
    make(&w, "abcd", &three);
    struct plan *plan = world_plan(&w);
    json_t *document = plan_json(plan);
    json_t *list =
        json_object_get(json_array_get(json_object_get(document, "databases"), 0), "sentinels");
    plan_free(plan);
    json_object_set_new(json_array_get(list, 0), "host", json_string("h4"));
    json_object_set_new(json_array_get(list, 0), "port", json_integer(27000));
    w.input.pinned = document;
    w.input.mode = PLAN_PINNED;
    assert_string_equal(places(&w, world_plan(&w)), "h4:27000 h2:26379 h3:26379");

    /* Its Sentinel runs there: in a recovery that is under way this is no obstacle. */
    json_object_set_new(world_facts(&w, 3), "listening", json_pack("[i]", 27000));
    plan = world_plan(&w);
    assert_false(plan->feasible);
    assert_non_null(world_issue(plan->blockers, plan->blocker_count, "plan-changed"));
    plan_free(plan);
    w.input.mode = PLAN_REPLAN;
    assert_string_equal(places(&w, world_plan(&w)), "h4:27000 h2:26379 h3:26379");
    json_object_set_new(json_array_get(list, 0), "host", json_string("gone"));
    assert_string_equal(places(&w, world_plan(&w)), "h2:26379 h3:26379 h1:26379");
    json_decref(document);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(racks_come_first),
        cmocka_unit_test(as_many_as_before_but_three),
        cmocka_unit_test(none_without_a_replica_or_in_a_cluster),
        cmocka_unit_test(none_were_captured),
        cmocka_unit_test(a_port_that_is_taken),
        cmocka_unit_test(an_earlier_plan_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
