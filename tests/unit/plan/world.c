#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORLD_MAX = 2048, WORLD_SHARDS_MAX = 65536 };

void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    arena_init(&w->arena);
    w->hosts = xcalloc(WORLD_MAX, sizeof(*w->hosts));
    w->host_inputs = xcalloc(WORLD_MAX, sizeof(*w->host_inputs));
    w->facts = xcalloc(WORLD_MAX, sizeof(*w->facts));
    w->ccs.databases = xcalloc(WORLD_MAX, sizeof(*w->ccs.databases));
    w->ccs.endpoints = xcalloc(WORLD_MAX, sizeof(*w->ccs.endpoints));
    w->ccs.shards = xcalloc(WORLD_SHARDS_MAX, sizeof(*w->ccs.shards));
    w->catalogues = xcalloc(WORLD_MAX, sizeof(*w->catalogues));
    w->database_inputs = xcalloc(WORLD_MAX, sizeof(*w->database_inputs));
    w->location = json_string("/mnt/backups");
    w->input = (struct plan_input){.ccs = &w->ccs,
        .ccs_sha256 = "feed",
        .hosts = w->host_inputs,
        .databases = w->database_inputs,
        .now_ms = (int64_t)WORLD_NOW_S * 1000};
}

void world_release(struct world *w)
{
    for (size_t i = 0; i < w->input.host_count; i++) {
        json_decref(w->facts[i]);
        json_decref(w->hosts[i].spec);
    }
    for (size_t i = 0; i < w->head_count; i++)
        json_decref(w->heads[i]);
    json_decref(w->location);
    free(w->heads);
    free(w->hosts);
    free(w->host_inputs);
    free(w->facts);
    free(w->ccs.databases);
    free(w->ccs.endpoints);
    free(w->ccs.shards);
    free(w->catalogues);
    free(w->database_inputs);
    arena_release(&w->arena);
}

void world_host(struct world *w, const struct world_host *host)
{
    size_t i = w->input.host_count++;
    size_t n = i + 1;
    int64_t gib = WORLD_GIB;

    w->hosts[i] = (struct host){
        .name = host->name ? host->name : arena_printf(&w->arena, "h%zu", n),
        .addr = host->addr ? host->addr : arena_printf(&w->arena, "10.0.%zu.%zu", n / 256, n % 256),
        .rack = host->rack,
        .second_rack = host->second_rack,
        .link = "local",
        .base_dir = arena_printf(&w->arena, "/var/lib/recluster/%zu", n),
        .server = "redis-server",
        .replaces = host->replaces,
        .memory_bytes = host->cap_bytes ? host->cap_bytes : -1,
        .disk_bytes = -1,
        .cores = -1,
        .max_shards = host->max_shards ? host->max_shards : -1};
    w->hosts[i].announced = w->hosts[i].addr;
    w->facts[i] = json_pack("{s:I, s:I, s:I, s:i, s:i, s:s, s:i, s:I, s:{s:s, s:s}, s:[], s:{s:s}}",
        "memory_available", (json_int_t)(host->available_bytes ? host->available_bytes : 64 * gib),
        "disk_free", (json_int_t)(host->disk_bytes ? host->disk_bytes : 1024 * gib), "disk_total",
        (json_int_t)(2048 * gib), "cores", 8, "overcommit", 1, "thp", "madvise", "nofile", 65536,
        "clock_ms", (json_int_t)w->input.now_ms, "server", "kind",
        host->kind ? host->kind : "redis", "version", host->version ? host->version : "7.0.15",
        "listening", "base_dir", "state", "absent");
    json_object_set_new(
        w->facts[i], "machine", json_string(host->machine ? host->machine : w->hosts[i].name));
    w->host_inputs[i] = (struct plan_host_input){
        .host = &w->hosts[i], .facts = host->unreachable ? NULL : w->facts[i]};
}

void world_hosts(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        world_host(w, &(struct world_host){0});
}

static void add_shard(
    struct world *w, const struct ccs_database *db, int primary_index, const struct slots *slots)
{
    size_t n = w->ccs.shard_count++;

    w->ccs.shards[n] = (struct ccs_shard){.uid = arena_printf(&w->arena, "%zu", n + 1),
        .database_uid = db->uid,
        .node_uid = arena_printf(&w->arena, "%zu", n % 3 + 1),
        .primary = primary_index < 0,
        .slots = slots,
        .primary_index = primary_index};
}

static void fill_set(struct world *w, struct backup_set *set, const struct world_database *database,
    const struct ccs_shard *shards, int primaries)
{
    set->id = "20231114-220000";
    set->time_ms = ((int64_t)WORLD_NOW_S - 3600) * 1000;
    set->complete = true;
    set->file_count = (size_t)primaries;
    set->files = arena_alloc(&w->arena, set->file_count * sizeof(*set->files));
    for (int i = 0; i < primaries; i++) {
        json_t *head = json_pack("{s:i, s:b, s:{s:s}}", "rdb_version",
            database->rdb_version ? database->rdb_version : 10, "valkey", 0, "aux", "used-mem",
            "1000000");
        GROW(w->heads, w->head_count, w->head_alloc);
        w->heads[w->head_count++] = head;
        set->files[i] =
            (struct backup_file){.name = arena_printf(&w->arena, "shard-%s.rdb.gz", shards[i].uid),
                .bytes = 1000000,
                .slots = *shards[i].slots,
                .head = head};
    }
}

void world_database(struct world *w, const struct world_database *database)
{
    size_t n = w->ccs.database_count++;
    struct ccs_database *db = &w->ccs.databases[n];
    struct catalogue *catalogue = &w->catalogues[n];
    int primaries = database->primaries ? database->primaries : 1;
    int64_t shard_bytes = database->shard_bytes ? database->shard_bytes : WORLD_GIB;

    *db = (struct ccs_database){.uid = arena_printf(&w->arena, "%zu", n + 1),
        .label = arena_printf(&w->arena, "db:%zu", n + 1),
        .name = "orders",
        .type = "redis",
        .sharded = primaries > 1,
        .replicated = database->replicas > 0,
        .rack_aware = database->rack_aware,
        .primaries = primaries,
        .persistence = database->persistent ? CCS_PERSIST_AOF : CCS_PERSIST_NONE,
        .shards_placement = database->placement,
        .avoid_nodes = database->avoid,
        .use_nodes = database->use,
        .memory_bytes = shard_bytes * primaries * (1 + database->replicas),
        .first_shard = w->ccs.shard_count,
        .first_endpoint = w->ccs.endpoint_count,
        .endpoint_count = database->port != 0};
    if (database->port)
        w->ccs.endpoints[w->ccs.endpoint_count++] = (struct ccs_endpoint){
            .uid = arena_printf(&w->arena, "%zu:1", n + 1), .port = database->port};
    for (int i = 0; i < primaries; i++) {
        struct slots *slots = arena_alloc(&w->arena, sizeof(*slots));
        slots_add_range(slots, (unsigned)(SLOT_COUNT * i / primaries),
            (unsigned)(SLOT_COUNT * (i + 1) / primaries - 1));
        add_shard(w, db, -1, slots);
    }
    for (int i = 0; i < primaries * database->replicas; i++) {
        size_t of = db->first_shard + (size_t)(i % primaries);
        add_shard(w, db, (int)of, w->ccs.shards[of].slots);
    }
    db->shard_count = w->ccs.shard_count - db->first_shard;
    catalogue->sets = arena_alloc(&w->arena, 2 * sizeof(*catalogue->sets));
    catalogue->set_count = 1;
    fill_set(w, &catalogue->sets[0], database, w->ccs.shards + db->first_shard, primaries);
    w->database_inputs[w->input.database_count++] = (struct plan_database_input){.database = db,
        .location = w->location,
        .location_label = "/mnt/backups",
        .catalogue = catalogue};
}

struct plan *world_plan(struct world *w)
{
    return plan_make(&w->input);
}

json_t *world_facts(struct world *w, size_t host)
{
    return w->facts[host];
}

const struct plan_issue *world_issue(
    const struct plan_issue *issues, size_t count, const char *code)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(issues[i].code, code) == 0)
            return &issues[i];
    return NULL;
}

bool world_listens(const struct world *w, int host, int port)
{
    const json_t *facts = w->host_inputs[host].facts;
    json_t *value;
    size_t i;

    json_array_foreach (json_object_get(facts, "listening"), i, value) {
        if (json_integer_value(value) == port)
            return true;
    }
    return false;
}

static bool is_offered(const struct world *w, size_t host)
{
    return (w->host_inputs[host].facts || w->input.offline) && !w->host_inputs[host].without;
}

static const char *rack_of(const struct world *w, int host, bool second)
{
    return second ? w->hosts[host].second_rack : w->hosts[host].rack;
}

/* How many racks the hosts that are offered name. */
static int racks_there(const struct world *w, bool second)
{
    json_t *names = json_object();

    for (size_t i = 0; i < w->input.host_count; i++)
        if (is_offered(w, i) && rack_of(w, (int)i, second))
            json_object_set_new(names, rack_of(w, (int)i, second), json_true());
    int count = (int)json_object_size(names);
    json_decref(names);
    return count;
}

const char *world_check_pair(
    const struct world *w, const struct plan *plan, const struct plan_shard *replica)
{
    const struct plan_shard *primary = &plan->shards[replica->primary];

    if (!primary->shard->primary || primary->shard->slots != replica->shard->slots)
        return "a replica of another primary";
    if (primary->host == replica->host)
        return "primary and replica on one host";
    for (const struct plan_shard *s = plan->shards; s < replica; s++)
        if (s->primary == replica->primary && s->host == replica->host)
            return "two replicas of one primary on one host";
    for (int second = 0; second <= 1; second++) {
        const char *a = rack_of(w, primary->host, second), *b = rack_of(w, replica->host, second);
        if (plan->databases[replica->database].database->rack_aware && racks_there(w, second) > 1 &&
            (!a || !b || strcmp(a, b) == 0))
            return "primary and replica in one rack";
    }
    return NULL;
}

const char *world_check_majority(const struct world *w, const struct plan *plan, size_t database)
{
    const struct plan_database *db = &plan->databases[database];
    size_t primaries = 0;

    if (!db->database->sharded || racks_there(w, false) < 3)
        return NULL;
    for (size_t s = 0; s < db->shard_count; s++)
        primaries += plan->shards[db->first_shard + s].primary < 0;
    for (size_t i = 0; i < db->shard_count && primaries > 1; i++) {
        const struct plan_shard *one = &plan->shards[db->first_shard + i];
        size_t together = 0;
        for (size_t k = 0; k < db->shard_count && one->primary < 0; k++) {
            const struct plan_shard *other = &plan->shards[db->first_shard + k];
            const char *a = w->hosts[one->host].rack, *b = w->hosts[other->host].rack;
            together += other->primary < 0 && a && b && strcmp(a, b) == 0;
        }
        if (together * 2 > primaries)
            return "a majority of the primaries in one rack";
    }
    return NULL;
}

static bool lists(const char *const *uids, const char *uid)
{
    for (; uids && *uids; uids++)
        if (uid && strcmp(*uids, uid) == 0)
            return true;
    return false;
}

bool world_node_allowed(const struct world *w, const struct ccs_database *db, int host)
{
    bool possible = false;

    for (size_t i = 0; i < w->input.host_count; i++)
        possible = possible || (is_offered(w, i) && lists(db->use_nodes, w->hosts[i].replaces));
    return !lists(db->avoid_nodes, w->hosts[host].replaces) &&
           (!possible || lists(db->use_nodes, w->hosts[host].replaces));
}

static const char *check_shard(
    const struct world *w, const struct plan *plan, const struct plan_shard *s)
{
    const struct plan_database *db = &plan->databases[s->database];
    bool sharded = db->database->sharded;

    if (s->host < 0)
        return "a shard without a host";
    if (!is_offered(w, (size_t)s->host))
        return "a host that was not reached";
    if (!world_node_allowed(w, db->database, s->host))
        return "a host that avoid_nodes or use_nodes forbid";
    if (s->port <= 0 || s->port > 65535 || world_listens(w, s->host, s->port))
        return "a port that can't be used";
    if (sharded &&
        (s->bus_port <= 0 || s->bus_port > 65535 || world_listens(w, s->host, s->bus_port)))
        return "a bus port that can't be used";
    if (!sharded && s->bus_port != 0)
        return "a bus port without a cluster";
    if (!sharded && s->primary < 0 && db->database->endpoint_count > 0 &&
        s->port != w->ccs.endpoints[db->database->first_endpoint].port)
        return "an endpoint at another port";
    if (!w->input.offline && (!s->file || !slots_equal(&s->file->slots, s->shard->slots)))
        return "a file of other slots";
    return s->primary >= 0 ? world_check_pair(w, plan, s) : NULL;
}

static const char *check_host(const struct world *w, const struct plan *plan, int h)
{
    int64_t memory = 0, disk = 0;
    const json_t *facts = w->host_inputs[h].facts;
    bool *used = xcalloc(65536, sizeof(*used));
    bool twice = false;

    for (size_t i = 0; i < plan->shard_count; i++) {
        const struct plan_shard *s = &plan->shards[i];
        if (s->host != h)
            continue;
        memory += s->memory_bytes;
        disk += s->disk_bytes;
        twice = twice || used[s->port] || (s->bus_port && used[s->bus_port]);
        used[s->port] = true;
        if (s->bus_port)
            used[s->bus_port] = true;
    }
    free(used);
    int64_t available = json_integer_value(json_object_get(facts, "memory_available"));
    int64_t cap =
        w->hosts[h].memory_bytes >= 0 ? w->hosts[h].memory_bytes : available - available / 10;
    if (twice)
        return "a port twice";
    if (w->hosts[h].max_shards > 0 && (int64_t)plan->hosts[h].shard_count > w->hosts[h].max_shards)
        return "too many servers";
    if (memory > cap)
        return "too much memory";
    if (facts && disk > json_integer_value(json_object_get(facts, "disk_free")))
        return "too much disk";
    return memory == plan->hosts[h].planned_bytes ? NULL : "a wrong sum";
}

const char *world_check(const struct world *w, const struct plan *plan)
{
    const char *wrong = NULL;

    for (size_t i = 0; i < plan->shard_count && !wrong; i++)
        if (!plan->databases[plan->shards[i].database].skipped)
            wrong = check_shard(w, plan, &plan->shards[i]);
    for (size_t i = 0; i < plan->database_count && !wrong; i++)
        if (!plan->databases[i].skipped)
            wrong = world_check_majority(w, plan, i);
    for (size_t h = 0; h < plan->host_count && !wrong; h++)
        wrong = is_offered(w, h) ? check_host(w, plan, (int)h) : NULL;
    return wrong;
}
