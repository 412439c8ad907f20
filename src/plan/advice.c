/*
 * Which one change would make a plan work: one more host, or a database without its replicas. Each
 * advice has been tried with the planner itself.
 */

#include <stdlib.h>
#include <string.h>

#include "recluster/human.h"
#include "steps.h"

/* The time of a plan grows with hosts times shards: large plans are tried less often. */
static const int64_t TRIAL_WORK = 100000000;
enum { TRIALS_MAX = 24, ALTERNATIVES_MAX = 2 };

struct advice {
    const struct plan_input *input;
    const struct plan *plan; /* that does not work */
    int trials_left;
    struct buf text;
    size_t count; /* of alternatives that help */
};

static bool try_input(struct advice *a, const struct plan_input *input)
{
    return a->trials_left-- > 0 && make_possible(input);
}

/* To a usual size: a multiple of 64 MB, from 2 GB on whole gigabytes. */
static int64_t rounded_up(int64_t bytes)
{
    int64_t unit = bytes >= (int64_t)2 << 30 ? (int64_t)1 << 30 : (int64_t)64 << 20;

    return (bytes + unit - 1) / unit * unit;
}

static bool works_with_host(struct advice *a, const char *rack, int64_t memory_bytes)
{
    const struct plan_input *input = a->input;
    struct plan_host_input *hosts = xcalloc(input->host_count + 1, sizeof(*hosts));
    json_t *facts = json_pack("{s:I, s:i, s:{s:s, s:s}, s:[], s:{s:s}, s:s}", "memory_available",
        (json_int_t)memory_bytes * 2, "cores", 1000, "server", "kind", "redis", "version", "0",
        "listening", "base_dir", "state", "absent", "machine", "\x01 one more host");
    /* Like the first usable host but for its name, memory, rack and ports. */
    struct host host = {.name = "\x01 one more host",
        .addr = "192.0.2.1",
        .rack = rack,
        .second_rack = rack ? "\x01 another" : NULL,
        .base_dir = "/",
        .memory_bytes = memory_bytes,
        .disk_bytes = -1,
        .cores = -1,
        .max_shards = -1};

    bool found = false;
    for (size_t h = 0; h < input->host_count; h++) {
        hosts[h] = input->hosts[h];
        json_t *server = json_object_get(input->hosts[h].facts, "server");
        if (a->plan->hosts[h].usable && server && !found)
            json_object_set(facts, "server", server);
        found = found || (a->plan->hosts[h].usable && server);
    }
    hosts[input->host_count] = (struct plan_host_input){.host = &host, .facts = facts};
    struct plan_input more = *input;
    more.hosts = hosts;
    more.host_count++;
    bool result = try_input(a, &more);
    json_decref(facts);
    free(hosts);
    return result;
}

static void add_alternative(struct advice *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add_alternative(struct advice *a, const char *fmt, ...)
{
    va_list args;

    buf_adds(&a->text, a->count++ > 0 ? ", or " : "");
    va_start(args, fmt);
    buf_vaddf(&a->text, fmt, args);
    va_end(args);
}

/* The least memory that one more host must have, roughly; 0: no memory is enough. */
static int64_t least_host(struct advice *a, const char *rack, int64_t largest, int64_t all)
{
    int64_t low = rounded_up(largest), high = rounded_up(all + largest);

    if (works_with_host(a, rack, low))
        return low;
    if (!works_with_host(a, rack, high))
        return 0;
    while (a->trials_left > 1 && high - low > high / 16 && rounded_up((low + high) / 2) < high) {
        int64_t middle = rounded_up((low + high) / 2);
        if (works_with_host(a, rack, middle))
            high = middle;
        else
            low = middle;
    }
    return high;
}

static void add_host_of(struct advice *a, int64_t bytes, const char *where, const char *rack)
{
    char size[HUMAN_TEXT_MAX];

    add_alternative(a, "add one host of %s%s%s", human_bytes((uint64_t)bytes, size), where, rack);
}

static void try_hosts(struct advice *a)
{
    const struct plan *plan = a->plan;
    json_t *tried = json_object();
    int64_t largest = 0, all = 0, bytes = 0;

    for (size_t s = 0; s < plan->shard_count; s++) {
        const struct plan_shard *shard = &plan->shards[s];
        if (shard->host >= 0 || plan->databases[shard->database].skipped)
            continue;
        all += shard->memory_bytes;
        if (shard->memory_bytes > largest)
            largest = shard->memory_bytes;
    }
    for (size_t h = 0; h < plan->host_count && bytes == 0; h++) {
        const char *rack = plan->hosts[h].host->rack;
        if (!rack || json_object_get(tried, rack))
            continue;
        json_object_set_new_nocheck(tried, rack, json_true());
        bytes = least_host(a, rack, largest, all);
        if (bytes > 0)
            add_host_of(a, bytes, " in rack ", rack);
    }
    bool racks = json_object_size(tried) > 0;
    json_decref(tried);
    if (!racks && (bytes = least_host(a, NULL, largest, all)) > 0)
        add_host_of(a, bytes, "", "");
    else if (racks && bytes == 0 && works_with_host(a, "\x01 another", rounded_up(all)))
        add_host_of(a, rounded_up(all), " in another rack", "");
}

static bool has_replicas(const struct plan *plan, const struct plan_database *db)
{
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        if (plan->shards[s].primary >= 0)
            return true;
    return false;
}

static void try_without_replicas(struct advice *a)
{
    const struct plan_input *input = a->input;
    struct plan_database_input *databases =
        xmemdup(input->databases, input->database_count * sizeof(*databases));
    struct plan_input fewer = *input;
    size_t found = 0;

    fewer.databases = databases;
    for (size_t i = 0; i < input->database_count && found < ALTERNATIVES_MAX; i++) {
        const struct plan_database *db = &a->plan->databases[i];
        if (db->skipped || !has_replicas(a->plan, db))
            continue;
        databases[i].no_replicas = true;
        if (try_input(a, &fewer)) {
            add_alternative(a, "drop the replicas of %s (--no-replicas %s)", db->database->label,
                db->database->label);
            found++;
        }
        databases[i].no_replicas = input->databases[i].no_replicas;
    }
    for (size_t i = 0; i < input->database_count; i++)
        databases[i].no_replicas = true;
    if (found == 0 && a->count == 0 && try_input(a, &fewer))
        add_alternative(a, "drop all replicas (--no-replicas)");
    free(databases);
}

/* A sentence: "Add one host of 48 GB in rack b, or …"; NULL: no one change helps. */
static const char *find_change(struct plan *plan, const struct plan_input *input)
{
    int64_t work = (int64_t)(plan->host_count + 1) * (int64_t)(plan->shard_count + 1);
    int64_t trials = TRIAL_WORK / work;
    struct advice a = {.input = input,
        .plan = plan,
        .trials_left = trials > TRIALS_MAX ? TRIALS_MAX : (int)trials,
        .text = BUF_INIT};
    const char *text = NULL;

    try_hosts(&a);
    try_without_replicas(&a);
    if (a.count > 0) {
        a.text.data[0] = (char)(a.text.data[0] - 'a' + 'A');
        text = arena_printf(&plan->arena, "%s.", a.text.data);
    }
    buf_release(&a.text);
    return text;
}

/* Whether another host or fewer replicas can remove the blocker. */
static bool is_about_places(const struct plan_issue *issue)
{
    static const char *const codes[] = {"memory", "disk", "not-enough-hosts", "rack",
        "rack-majority", "max-redis-servers", "port", "nodes"};

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (strcmp(issue->code, codes[i]) == 0)
            return true;
    return false;
}

void advice_add(struct plan *plan, const struct plan_input *input)
{
    size_t i = 0;

    while (i < plan->blocker_count && !is_about_places(&plan->blockers[i]))
        i++;
    if (i == plan->blocker_count || plan_is_placed(plan))
        return;
    const char *advice = find_change(plan, input);
    if (advice)
        plan->blockers[i].hint = advice;
}
