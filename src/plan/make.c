/* One plan, step by step. */

#include <stdlib.h>
#include <string.h>

#include "recluster/announced.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "steps.h"

static void *make_array(struct arena *arena, size_t count, size_t bytes)
{
    return arena_alloc(arena, (count + 1) * bytes);
}

static void start_draft(struct draft *d, const struct plan_input *input)
{
    struct plan *plan = d->plan;
    size_t shards = 0;

    for (size_t i = 0; i < input->database_count; i++)
        shards += source_shard_max(input, &input->databases[i]);
    arena_init(&plan->arena);
    plan->database_count = input->database_count;
    plan->databases = make_array(&plan->arena, plan->database_count, sizeof(*plan->databases));
    plan->host_count = input->host_count;
    plan->hosts = make_array(&plan->arena, plan->host_count, sizeof(*plan->hosts));
    plan->shards = make_array(&plan->arena, shards, sizeof(*plan->shards));
    arena_init(&d->arena);
    d->shards = make_array(&d->arena, shards, sizeof(*d->shards));
    d->hosts = make_array(&d->arena, plan->host_count, sizeof(*d->hosts));
    d->machine_memory_left = make_array(&d->arena, plan->host_count, sizeof(int64_t));
    d->disk_left = make_array(&d->arena, plan->host_count, sizeof(int64_t));
    d->databases = make_array(&d->arena, plan->database_count, sizeof(*d->databases));
    d->rates = plan->rates = input->rates ? input->rates : &plan_default_rates;
    plan->options = input->options;
    plan->logins = input->logins;
    plan->ccs_sha256 = arena_strdup(&plan->arena, input->ccs_sha256);
    plan->made_ms = input->now_ms;
    plan->offline = input->offline;
    d->racks = json_object();
    d->second_racks = json_object();
    d->nodes = json_object();
    d->machines = json_object();
    d->disks = json_object();
    d->host_names = json_object();
}

static void end_draft(struct draft *d)
{
    arena_release(&d->arena);
    json_decref(d->racks);
    json_decref(d->second_racks);
    json_decref(d->nodes);
    json_decref(d->machines);
    json_decref(d->disks);
    json_decref(d->host_names);
}

static void name_folders(struct plan *plan)
{
    for (size_t s = 0; s < plan->shard_count; s++) {
        struct plan_shard *shard = &plan->shards[s];
        char *db = path_component(plan->databases[shard->database].database->uid);
        char *uid = path_component(shard->shard->uid);
        shard->dir = arena_printf(&plan->arena, "db-%s/shard-%s", db, uid);
        free(db);
        free(uid);
    }
}

static bool is_endpoint(const struct plan_database *db, int port)
{
    for (size_t i = 0; i < db->endpoint_count; i++)
        if (db->endpoints[i].port == port)
            return true;
    return false;
}

/* Clients reach the primaries of a database: the only one, or by redirection all of them. */
static void list_endpoints(struct draft *d, struct plan_database *db)
{
    const struct ccs_database *database = db->database;
    const struct ccs_endpoint *old = d->input->ccs->endpoints + database->first_endpoint;
    struct draft_names lost = DRAFT_NAMES_INIT;
    int port = ports_endpoint(d, database);

    db->endpoints = make_array(&d->plan->arena, 2 * db->shard_count, sizeof(*db->endpoints));
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *shard = &d->plan->shards[s];
        if (shard->primary >= 0 || shard->host < 0)
            continue;
        const struct host *host = d->plan->hosts[shard->host].host;
        bool tls = plan_shard_uses_tls(d->plan, shard);
        db->endpoints[db->endpoint_count++] = (struct plan_endpoint){
            .addr = host->announced, .port = announced_port(host->spec, shard->port), .tls = tls};
        if (shard->other_port)
            db->endpoints[db->endpoint_count++] = (struct plan_endpoint){.addr = host->announced,
                .port = announced_port(host->spec, shard->other_port),
                .tls = !tls};
    }
    for (size_t i = 0; i < database->endpoint_count; i++)
        if (old[i].port != 0 && old[i].port != port && !is_endpoint(db, old[i].port))
            draft_names_add(&lost, "%d (endpoint:%s)", old[i].port, old[i].uid);
    if (lost.count > 0)
        draft_warn(d, &(struct plan_issue){.code = "endpoint-lost", .database = database->label},
            "clients reach it at port %d only, not at %s", port, draft_names(d, &lost));
}

static void check_anything_left(struct draft *d)
{
    size_t skipped = 0;

    for (size_t i = 0; i < d->plan->database_count; i++)
        skipped += d->plan->databases[i].skipped != NULL;
    if (skipped == d->plan->database_count && d->plan->blocker_count == 0)
        draft_block(
            d, &(struct plan_issue){.code = "nothing-to-recover"}, "no database can be recovered");
}

static void hash_plan(struct plan *plan)
{
    json_t *essence = plan_essence(plan);
    char *text = json_dumps(essence, JSON_SORT_KEYS | JSON_COMPACT);

    digest_of(text, strlen(text), plan->hash);
    free(text);
    json_decref(essence);
}

struct plan *make_plan(const struct plan_input *input)
{
    struct plan *plan = xcalloc(1, sizeof(*plan));
    struct draft draft = {.input = input, .plan = plan};

    start_draft(&draft, input);
    old_cluster_checks_run(&draft);
    host_checks_run(&draft);
    source_choose(&draft);
    access_decide(&draft);
    settings_warn(&draft);
    modules_warn(&draft);
    capacity_shards(&draft);
    placement_run(&draft);
    improve_run(&draft);
    refusal_report(&draft);
    ports_assign(&draft);
    sentinels_place(&draft);
    placed_check(&draft);
    for (size_t i = 0; i < plan->database_count && input->by_priority; i++)
        placement_leave_out(&draft, &plan->databases[i]);
    check_anything_left(&draft);
    placed_warn(&draft);
    times_of_stages(&draft);
    name_folders(plan);
    for (size_t i = 0; i < plan->database_count; i++)
        if (!plan->databases[i].skipped)
            list_endpoints(&draft, &plan->databases[i]);
    plan->feasible = plan->blocker_count == 0;
    hash_plan(plan);
    end_draft(&draft);
    return plan;
}

bool make_possible(const struct plan_input *input)
{
    struct plan *plan = xcalloc(1, sizeof(*plan));
    struct draft draft = {.input = input, .plan = plan, .trial = true};

    start_draft(&draft, input);
    host_checks_run(&draft);
    source_choose(&draft);
    capacity_shards(&draft);
    placement_run(&draft);
    bool possible = plan_is_placed(plan);
    end_draft(&draft);
    plan_free(plan);
    return possible;
}
