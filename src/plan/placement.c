/*
 * The host of each shard: all primaries first, then the replicas, large before small, each on the
 * best host that no rule forbids; in a plan by priority one database after the other. If no host is
 * left, a repair moves another shard away, and for this one a third if needed (a chain of at most
 * REPAIR_DEPTH moves). Repairs share a budget, which limits the time of a plan that cannot work.
 */

#include <stdlib.h>
#include <string.h>

#include "steps.h"

enum { REPAIR_DEPTH = 4 };
static const int64_t REPAIR_BUDGET = 4000000, TRIAL_REPAIR_BUDGET = 500000;

static bool better(const struct draft *d, int shard, int a, int b)
{
    const struct draft_host *ha = &d->hosts[a], *hb = &d->hosts[b];
    bool old_a = rules_is_old_host(d, shard, a), old_b = rules_is_old_host(d, shard, b);
    size_t database = d->plan->shards[shard].database;

    if (old_a != old_b)
        return old_a;
    if (d->databases[database].sparse && (int)database == d->database && ha->spread != hb->spread)
        return ha->spread < hb->spread;
    return ha->free_part > hb->free_part;
}

/*
 * Among equal hosts the earlier one; for a replica the next one after its primary's host, so that
 * replicas spread over equal hosts as evenly as primaries.
 */
static int best_host(const struct draft *d, int shard)
{
    int hosts = (int)d->plan->host_count, best = -1;
    int primary = d->plan->shards[shard].primary;
    int start = primary >= 0 ? d->plan->shards[primary].host + 1 : 0;

    for (int i = 0; i < hosts; i++) {
        int h = start + i < hosts ? start + i : start + i - hosts;
        if ((best < 0 || better(d, shard, h, best)) && rules_refusal(d, shard, h) == REFUSED_NOT)
            best = h;
    }
    return best;
}

static bool settle(struct draft *d, int shard, int depth);

/* Puts the shard on the host in place of another shard, and that one elsewhere. */
static bool exchange(struct draft *d, int shard, int host, int other, int depth)
{
    if (other < 0 || d->shards[other].moving || d->shards[other].stays || d->repair_budget <= 0)
        return false;
    int from = d->plan->shards[other].host;
    int previous = d->shards[other].previous, next = d->shards[other].next;
    rules_remove(d, other);
    if (rules_refusal(d, shard, host) == REFUSED_NOT) {
        d->repair_budget -= (int64_t)d->plan->host_count;
        rules_put(d, shard, host);
        if (settle(d, other, depth - 1))
            return true;
        rules_remove(d, shard);
    }
    rules_put_back(d, other, from, previous, next);
    return false;
}

static int port_holder(const struct draft *d, int host, int port)
{
    int s = d->hosts[host].first_shard;

    while (s >= 0 && d->shards[s].fixed_port != port)
        s = d->shards[s].next;
    return s;
}

/* Tries to move one of the database's primaries out of the host's rack. */
static bool move_primary_out(struct draft *d, int shard, int host, int depth)
{
    const struct plan_database *db = &d->plan->databases[d->plan->shards[shard].database];
    const struct plan_shard *shards = d->plan->shards;

    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        if (shards[s].primary < 0 && shards[s].host >= 0 &&
            d->hosts[shards[s].host].rack == d->hosts[host].rack &&
            exchange(d, shard, host, (int)s, depth))
            return true;
    return false;
}

/* Tries to make room for the shard on the host by moving another shard. */
static bool displace(struct draft *d, int shard, int host, int depth)
{
    int other;
    enum refusal refusal = rules_refusal(d, shard, host);

    if (refusal == REFUSED_SAME_HOST || refusal == REFUSED_PAIR_SERVER || refusal == REFUSED_RACK) {
        rules_pair_refusal(d, shard, host, &other);
        return exchange(d, shard, host, other, depth);
    }
    if (refusal == REFUSED_MAJORITY)
        return move_primary_out(d, shard, host, depth);
    if (refusal == REFUSED_PORT)
        return exchange(d, shard, host, port_holder(d, host, d->shards[shard].fixed_port), depth);
    if (refusal != REFUSED_COUNT && refusal != REFUSED_DISK && refusal != REFUSED_MEMORY)
        return false;
    for (other = d->hosts[host].first_shard; other >= 0; other = d->shards[other].next)
        if (exchange(d, shard, host, other, depth))
            return true;
    return false;
}

static bool settle(struct draft *d, int shard, int depth)
{
    bool done = false;
    int host = best_host(d, shard);

    if (host >= 0) {
        rules_put(d, shard, host);
        return true;
    }
    if (depth == 0)
        return false;
    d->shards[shard].moving = true;
    for (host = 0; host < (int)d->plan->host_count && !done; host++)
        done = displace(d, shard, host, depth);
    d->shards[shard].moving = false;
    return done;
}

/*
 * Moves shards off the host, one by one, until the new one fits; otherwise moves them back. Unlike
 * a chain of exchanges, this replaces several small shards by a large one.
 */
static bool evacuate(struct draft *d, int shard, int host)
{
    enum refusal refusal = rules_refusal(d, shard, host);
    size_t count = 0, moved = 0;

    if (refusal != REFUSED_COUNT && refusal != REFUSED_DISK && refusal != REFUSED_MEMORY)
        return false;
    int *shards = xcalloc(d->plan->hosts[host].shard_count, sizeof(*shards));
    for (int s = d->hosts[host].first_shard; s >= 0; s = d->shards[s].next)
        if (!d->shards[s].stays)
            shards[count++] = s;
    d->hosts[host].usable = false;
    for (; moved < count && refusal != REFUSED_NOT; moved++) {
        int from = shards[moved];
        rules_remove(d, from);
        int to = best_host(d, from);
        rules_put(d, from, to >= 0 ? to : host);
        d->hosts[host].usable = true;
        refusal = rules_refusal(d, shard, host);
        d->hosts[host].usable = false;
    }
    d->hosts[host].usable = true;
    d->repair_budget -= (int64_t)(moved * d->plan->host_count);
    while (refusal != REFUSED_NOT && moved > 0) {
        rules_remove(d, shards[--moved]);
        rules_put(d, shards[moved], host);
    }
    if (refusal == REFUSED_NOT)
        rules_put(d, shard, host);
    free(shards);
    return refusal == REFUSED_NOT;
}

static bool repair(struct draft *d, int shard)
{
    for (int depth = 1; depth <= REPAIR_DEPTH && d->repair_budget > 0; depth++)
        if (settle(d, shard, depth))
            return true;
    for (int host = 0; host < (int)d->plan->host_count && d->repair_budget > 0; host++)
        if (evacuate(d, shard, host))
            return true;
    return false;
}

/* Larger items first, in steps of a sixteenth: a small change of size changes little. */
struct item {
    int64_t bytes;
    int index;
};

static int64_t in_steps(int64_t bytes)
{
    int64_t step = 1;

    while (bytes / step >= 32)
        step *= 2;
    return bytes / step * step;
}

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int64_t n = in_steps(x->bytes), m = in_steps(y->bytes);

    if (n != m)
        return n > m ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static void start_database(struct draft *d, int database)
{
    const struct plan_database *db = &d->plan->databases[database];

    d->database = database;
    for (size_t h = 0; h < d->plan->host_count; h++)
        d->hosts[h].spread = 0;
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        if (d->plan->shards[s].host >= 0)
            d->hosts[d->plan->shards[s].host].spread++;
}

/* A replica would take the place that its primary may need. */
static bool has_partner_placed(const struct draft *d, int shard)
{
    int primary = d->plan->shards[shard].primary;

    return primary < 0 || d->plan->shards[primary].host >= 0;
}

/* On the first suitable host of the ring, else on the best host, else by a repair. */
static bool place(struct draft *d, int shard)
{
    int host = ring_decides(d, shard) ? ring_host(d, shard) : -1;

    if (host < 0)
        return settle(d, shard, 0) || repair(d, shard);
    rules_put(d, shard, host);
    return true;
}

/* False: a shard found no place. */
static bool place_database(struct draft *d, int database, bool replicas, struct item *items)
{
    const struct plan_database *db = &d->plan->databases[database];
    size_t n = 0;
    bool all = true;

    start_database(d, database);
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        if ((d->plan->shards[s].primary >= 0) == replicas && d->plan->shards[s].host < 0)
            items[n++] = (struct item){d->plan->shards[s].memory_bytes, (int)s};
    qsort(items, n, sizeof(*items), compare_items);
    for (size_t i = 0; i < n; i++) {
        int shard = items[i].index;
        if (!has_partner_placed(d, shard) || place(d, shard))
            continue;
        all = false;
        /* The plan cannot work any more. */
        if (!d->input->by_priority)
            d->repair_budget = 0;
    }
    return all;
}

bool placement_leave_out(struct draft *d, struct plan_database *db)
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
            rules_remove(d, (int)i);
    return db->skipped != NULL;
}

/* One database after the other; one that does not fit is left out and frees its space. */
static void place_by_priority(struct draft *d, const struct item *order, struct item *items)
{
    for (size_t i = 0; i < d->plan->database_count; i++) {
        struct plan_database *db = &d->plan->databases[order[i].index];
        if (db->skipped || placement_leave_out(d, db))
            continue;
        d->repair_budget = REPAIR_BUDGET;
        if (place_database(d, order[i].index, false, items) &&
            place_database(d, order[i].index, true, items))
            continue;
        refusal_report_database(d, db);
        placement_leave_out(d, db);
    }
}

/* By priority, then the largest shard first. */
static int compare_databases(const void *a, const void *b, void *arg)
{
    const struct plan_input *input = ((const struct draft *)arg)->input;
    int x = input->databases[((const struct item *)a)->index].priority;
    int y = input->databases[((const struct item *)b)->index].priority;

    if (!input->by_priority || x == y)
        return compare_items(a, b);
    if (x > 0 && y > 0)
        return x - y;
    return x > 0 ? -1 : 1;
}

static struct item *order_databases(struct draft *d)
{
    const struct plan *plan = d->plan;
    struct item *order = arena_alloc(&d->arena, (plan->database_count + 1) * sizeof(*order));

    for (size_t i = 0; i < plan->database_count; i++) {
        const struct plan_database *db = &plan->databases[i];
        order[i].index = (int)i;
        for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
            if (plan->shards[s].memory_bytes > order[i].bytes)
                order[i].bytes = plan->shards[s].memory_bytes;
    }
    qsort_r(order, plan->database_count, sizeof(*order), compare_databases, d);
    return order;
}

static bool place_databases(struct draft *d, const struct item *order, struct item *items)
{
    bool all = true;

    d->repair_budget = d->trial ? TRIAL_REPAIR_BUDGET : REPAIR_BUDGET;
    for (int replicas = 0; replicas <= 1; replicas++)
        for (size_t i = 0; i < d->plan->database_count; i++)
            all = place_database(d, order[i].index, replicas, items) && all;
    return all;
}

/* If a shard finds no place by the ring, all are placed again, as evenly as possible. */
static void place_all(struct draft *d, const struct item *order, struct item *items)
{
    if (place_databases(d, order, items) || !d->ring)
        return;
    d->ring = NULL;
    for (size_t s = 0; s < d->plan->shard_count; s++)
        if (d->plan->shards[s].host >= 0 && !d->shards[s].stays)
            rules_remove(d, (int)s);
    place_databases(d, order, items);
}

void placement_run(struct draft *d)
{
    rules_prepare(d);
    if (d->input->mode != PLAN_FRESH)
        pins_place(d);
    if (d->input->mode == PLAN_PINNED)
        return;
    struct item *databases = order_databases(d);
    struct item *shards = arena_alloc(&d->arena, (d->plan->shard_count + 1) * sizeof(*shards));
    if (!improve_is_small(d))
        d->ring = ring_new(d);
    if (d->input->by_priority)
        place_by_priority(d, databases, shards);
    else
        place_all(d, databases, shards);
    d->ring = NULL;
    d->database = -1;
    if (!d->input->by_priority)
        improve_find(d);
}
