#include "recluster/plan.h"

#include <stdlib.h>
#include <string.h>

#include "draft.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/human.h"

enum { NAMES_SHOWN = 3 };

const char *plan_stage_name(enum plan_stage stage)
{
    static const char *const names[] = {[STAGE_PREPARE] = "prepare",
        [STAGE_TRANSFER] = "transfer",
        [STAGE_LOAD] = "load",
        [STAGE_OPEN] = "open"};

    return names[stage];
}

int draft_number(json_t *numbers, const char *name)
{
    if (!name)
        return -1;
    const json_t *known = json_object_get(numbers, name);
    if (known)
        return (int)json_integer_value(known);
    int number = (int)json_object_size(numbers);
    json_object_set_new_nocheck(numbers, name, json_integer(number));
    return number;
}

PRINTF_LIKE(3, 0)
static struct plan_issue make_issue(
    struct draft *d, const struct plan_issue *issue, const char *fmt, va_list args)
{
    struct plan_issue made = *issue;
    char *message = xvasprintf(fmt, args);

    made.message = arena_strdup(&d->plan->arena, message);
    free(message);
    return made;
}

void draft_block(struct draft *d, const struct plan_issue *issue, const char *fmt, ...)
{
    struct plan *plan = d->plan;
    va_list args;

    va_start(args, fmt);
    GROW(plan->blockers, plan->blocker_count, d->blocker_alloc);
    plan->blockers[plan->blocker_count++] = make_issue(d, issue, fmt, args);
    va_end(args);
}

void draft_warn(struct draft *d, const struct plan_issue *issue, const char *fmt, ...)
{
    struct plan *plan = d->plan;
    va_list args;

    va_start(args, fmt);
    GROW(plan->warnings, plan->warning_count, d->warning_alloc);
    plan->warnings[plan->warning_count++] = make_issue(d, issue, fmt, args);
    va_end(args);
}

void draft_unchecked(struct draft *d, const char *fmt, ...)
{
    struct plan *plan = d->plan;
    va_list args;

    va_start(args, fmt);
    char *text = xvasprintf(fmt, args);
    va_end(args);
    GROW(plan->unchecked, plan->unchecked_count, d->unchecked_alloc);
    plan->unchecked[plan->unchecked_count++] = arena_strdup(&plan->arena, text);
    free(text);
}

bool draft_leave_out(struct draft *d, struct plan_database *db)
{
    struct plan *plan = d->plan;
    size_t kept = 0;

    for (size_t i = 0; i < plan->blocker_count; i++) {
        const struct plan_issue *issue = &plan->blockers[i];
        if (issue->database != db->database->label)
            plan->blockers[kept++] = *issue;
        else if (!db->skipped)
            db->skipped = issue->message;
    }
    plan->blocker_count = kept;
    for (size_t i = db->first_shard; db->skipped && i < db->first_shard + db->shard_count; i++)
        if (plan->shards[i].host >= 0)
            rules_take(d, (int)i);
    return db->skipped != NULL;
}

void draft_names_add(struct draft_names *names, const char *fmt, ...)
{
    va_list args;

    if (++names->count > NAMES_SHOWN)
        return;
    if (names->count > 1)
        buf_adds(&names->text, ", ");
    va_start(args, fmt);
    buf_vaddf(&names->text, fmt, args);
    va_end(args);
}

const char *draft_names(struct draft *d, struct draft_names *names)
{
    if (names->count > NAMES_SHOWN)
        buf_addf(&names->text, " and %zu more", names->count - NAMES_SHOWN);
    const char *text = arena_strdup(&d->plan->arena, names->text.data);
    buf_release(&names->text);
    names->count = 0;
    return text;
}

const char *draft_bytes(struct draft *d, int64_t bytes)
{
    char text[HUMAN_TEXT_MAX];

    return arena_strdup(&d->plan->arena, human_bytes(bytes > 0 ? (uint64_t)bytes : 0, text));
}

const char *draft_slots(struct draft *d, const struct slots *s)
{
    struct buf text = BUF_INIT;

    slots_format(s, &text);
    const char *copy = arena_strdup(&d->plan->arena, text.data);
    buf_release(&text);
    return copy;
}

static void *make_array(struct plan *plan, size_t count, size_t bytes)
{
    return arena_alloc(&plan->arena, (count + 1) * bytes);
}

static void start_draft(struct draft *d, const struct plan_input *input)
{
    struct plan *plan = d->plan;
    size_t shards = 0;

    for (size_t i = 0; i < input->database_count; i++)
        shards += source_shard_max(input, &input->databases[i]);
    arena_init(&plan->arena);
    plan->database_count = input->database_count;
    plan->databases = make_array(plan, plan->database_count, sizeof(*plan->databases));
    plan->host_count = input->host_count;
    plan->hosts = make_array(plan, plan->host_count, sizeof(*plan->hosts));
    plan->shards = make_array(plan, shards, sizeof(*plan->shards));
    d->shards = xcalloc(shards + 1, sizeof(*d->shards));
    d->hosts = xcalloc(plan->host_count + 1, sizeof(*d->hosts));
    d->machine_memory_left = xcalloc(plan->host_count + 1, sizeof(*d->machine_memory_left));
    d->disk_left = xcalloc(plan->host_count + 1, sizeof(*d->disk_left));
    d->databases = xcalloc(plan->database_count + 1, sizeof(*d->databases));
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
}

static void end_draft(struct draft *d)
{
    free(d->shards);
    free(d->hosts);
    free(d->machine_memory_left);
    free(d->disk_left);
    for (size_t i = 0; i < d->plan->database_count; i++)
        free(d->databases[i].in_rack);
    free(d->databases);
    json_decref(d->pins);
    json_decref(d->racks);
    json_decref(d->second_racks);
    json_decref(d->nodes);
    json_decref(d->machines);
    json_decref(d->disks);
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

/* Clients of a database reach its primaries: the one, or by redirection from any of them all. */
static void list_endpoints(struct draft *d, struct plan_database *db)
{
    const struct ccs_database *database = db->database;
    const struct ccs_endpoint *old = d->input->ccs->endpoints + database->first_endpoint;
    struct draft_names lost = DRAFT_NAMES_INIT;
    int port = ports_endpoint(d, database);

    db->endpoints = make_array(d->plan, db->shard_count, sizeof(*db->endpoints));
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *shard = &d->plan->shards[s];
        if (shard->primary < 0 && shard->host >= 0)
            db->endpoints[db->endpoint_count++] = (struct plan_endpoint){
                .addr = d->plan->hosts[shard->host].host->addr, .port = shard->port};
    }
    for (size_t i = 0; i < database->endpoint_count; i++)
        if (old[i].port != 0 && old[i].port != port)
            draft_names_add(&lost, "%d (endpoint:%s)", old[i].port, old[i].uid);
    if (lost.count > 0)
        draft_warn(d, &(struct plan_issue){.code = "endpoint-lost", .database = database->label},
            "%s: clients reach it at port %d only, not at %s", database->label, port,
            draft_names(d, &lost));
}

/* "shard uid": its part of the document of an earlier plan. */
static void read_pins(struct draft *d)
{
    const json_t *database;
    json_t *shard;
    size_t i, k;

    if (!d->input->pinned)
        return;
    d->pins = json_object();
    json_array_foreach (json_object_get(d->input->pinned, "databases"), i, database) {
        json_array_foreach (json_object_get(database, "shards"), k, shard) {
            const char *uid = json_string_value(json_object_get(shard, "uid"));
            if (uid)
                json_object_set(d->pins, uid, shard);
        }
    }
}

static void check_anything_left(struct draft *d)
{
    size_t skipped = 0;

    for (size_t i = 0; i < d->plan->database_count; i++)
        skipped += d->plan->databases[i].skipped != NULL;
    if (skipped == d->plan->database_count && d->plan->blocker_count == 0)
        draft_block(d, &(struct plan_issue){.code = "nothing-to-recover"},
            "there is no database that could be recovered");
}

static void hash(struct plan *plan)
{
    json_t *essence = plan_essence(plan);
    char *text = json_dumps(essence, JSON_SORT_KEYS | JSON_COMPACT);

    digest_of(text, strlen(text), plan->hash);
    free(text);
    json_decref(essence);
}

struct plan *draft_plan(const struct plan_input *input)
{
    struct plan *plan = xcalloc(1, sizeof(*plan));
    struct draft draft = {.input = input, .plan = plan};

    start_draft(&draft, input);
    read_pins(&draft);
    survey_old_cluster(&draft);
    survey_hosts(&draft);
    source_choose(&draft);
    clients_decide(&draft);
    capacity_shards(&draft);
    placement_run(&draft);
    improve_run(&draft);
    refusal_report(&draft);
    ports_assign(&draft);
    unseen_check(&draft);
    silent_check(&draft);
    for (size_t i = 0; i < plan->database_count && input->by_priority; i++)
        draft_leave_out(&draft, &plan->databases[i]);
    check_anything_left(&draft);
    survey_warnings(&draft);
    capacity_stages(&draft);
    name_folders(plan);
    for (size_t i = 0; i < plan->database_count; i++)
        if (!plan->databases[i].skipped)
            list_endpoints(&draft, &plan->databases[i]);
    plan->feasible = plan->blocker_count == 0;
    hash(plan);
    end_draft(&draft);
    return plan;
}

bool draft_possible(const struct plan_input *input)
{
    struct plan *plan = xcalloc(1, sizeof(*plan));
    struct draft draft = {.input = input, .plan = plan, .trial = true};
    bool possible = true;

    start_draft(&draft, input);
    survey_hosts(&draft);
    source_choose(&draft);
    capacity_shards(&draft);
    placement_run(&draft);
    for (size_t s = 0; s < plan->shard_count && possible; s++)
        possible =
            plan->shards[s].host >= 0 || plan->databases[plan->shards[s].database].skipped != NULL;
    end_draft(&draft);
    plan_free(plan);
    return possible;
}

struct plan *plan_make(const struct plan_input *input)
{
    return input->rto_s > 0 && !input->pinned ? rto_plan(input) : draft_plan(input);
}

double plan_seconds(const struct plan *plan)
{
    double seconds = 0;

    for (int i = STAGE_PREPARE; i <= STAGE_OPEN; i++)
        seconds += plan->stages[i].seconds;
    return seconds;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    free(plan->blockers);
    free(plan->warnings);
    free(plan->unchecked);
    arena_release(&plan->arena);
    free(plan);
}
