/*
 * The host of each shard: all primaries first, then the replicas, large before small, each onto the
 * best host that no rule forbids. Where none is left, a repair moves another shard out of the way,
 * and for that one, if need be, a third (a chain of at most REPAIR_DEPTH moves). Repairs share a
 * budget, so that a plan that can't work is found out in bounded time.
 */

#include <stdlib.h>

#include "draft.h"

enum { REPAIR_DEPTH = 4 };
static const int64_t REPAIR_BUDGET = 4000000;

int64_t placement_memory_left(const struct draft *d, int host)
{
    const struct draft_host *dh = &d->hosts[host];
    int64_t left = d->plan->hosts[host].memory_bytes - d->plan->hosts[host].planned_bytes;

    if (dh->shares_memory && d->machine_memory_left[dh->machine] < left)
        left = d->machine_memory_left[dh->machine];
    return left;
}

int64_t placement_disk_left(const struct draft *d, int host)
{
    const struct plan_host *ph = &d->plan->hosts[host];
    int disk = d->hosts[host].disk;

    if (disk >= 0)
        return d->disk_left[disk];
    return ph->disk_free_bytes < 0 ? INT64_MAX : ph->disk_free_bytes - ph->planned_disk_bytes;
}

static void count(struct draft *d, int shard, int host, int sign)
{
    const struct plan_shard *ps = &d->plan->shards[shard];
    struct plan_host *ph = &d->plan->hosts[host];
    struct draft_host *dh = &d->hosts[host];

    ph->planned_bytes += sign * ps->memory_bytes;
    ph->planned_disk_bytes += sign * ps->disk_bytes;
    ph->shard_count += (size_t)sign;
    if (dh->shares_memory)
        d->machine_memory_left[dh->machine] -= sign * ps->memory_bytes;
    if (dh->disk >= 0)
        d->disk_left[dh->disk] -= sign * ps->disk_bytes;
    if ((int)ps->database == d->database)
        dh->spread += (unsigned)sign;
    if (d->shards[shard].fixed_port)
        ports_set(dh, d->shards[shard].fixed_port, sign > 0);
    if (ph->memory_bytes > 0)
        dh->free_part = (double)(ph->memory_bytes - ph->planned_bytes) / (double)ph->memory_bytes;
}

static void put(struct draft *d, int shard, int host)
{
    struct draft_shard *ds = &d->shards[shard];
    struct draft_host *dh = &d->hosts[host];

    ds->previous = -1;
    ds->next = dh->first_shard;
    if (ds->next >= 0)
        d->shards[ds->next].previous = shard;
    dh->first_shard = shard;
    d->plan->shards[shard].host = host;
    count(d, shard, host, 1);
}

static void take(struct draft *d, int shard)
{
    struct draft_shard *ds = &d->shards[shard];
    int host = d->plan->shards[shard].host;

    if (ds->previous >= 0)
        d->shards[ds->previous].next = ds->next;
    else
        d->hosts[host].first_shard = ds->next;
    if (ds->next >= 0)
        d->shards[ds->next].previous = ds->previous;
    d->plan->shards[shard].host = -1;
    count(d, shard, host, -1);
}

/* The reverse of take(), to its old neighbours: a walk over the list goes on undisturbed. */
static void put_back(struct draft *d, int shard, int host, int previous, int next)
{
    struct draft_shard *ds = &d->shards[shard];

    ds->previous = previous;
    ds->next = next;
    if (ds->previous >= 0)
        d->shards[ds->previous].next = shard;
    else
        d->hosts[host].first_shard = shard;
    if (ds->next >= 0)
        d->shards[ds->next].previous = shard;
    d->plan->shards[shard].host = host;
    count(d, shard, host, 1);
}

static enum refusal pair_refusal(
    const struct draft *d, int primary_host, int replica_host, bool apart)
{
    const struct draft_host *p, *r;

    if (primary_host < 0 || replica_host < 0)
        return REFUSED_NOT;
    p = &d->hosts[primary_host];
    r = &d->hosts[replica_host];
    if (primary_host == replica_host)
        return REFUSED_SAME_HOST;
    /* The replica reads what the primary's server writes: files of its newest version. */
    if (!server_loads(r->valkey, r->rdb_version_max, server_writes_valkey(p->rdb_version_max),
            p->rdb_version_max))
        return REFUSED_PAIR_SERVER;
    if (apart && p->rack == r->rack)
        return REFUSED_RACK;
    return REFUSED_NOT;
}

/* The hardest refusal by the shard's primary or replicas; *ret_other is the first one to refuse. */
static enum refusal partner_refusal(const struct draft *d, int shard, int host, int *ret_other)
{
    const struct plan_shard *shards = d->plan->shards;
    bool apart = d->shards[shard].apart;
    enum refusal worst = REFUSED_NOT;

    *ret_other = shards[shard].primary;
    if (*ret_other >= 0)
        return pair_refusal(d, shards[*ret_other].host, host, apart);
    for (int r = d->shards[shard].first_replica; r >= 0; r = d->shards[r].next_replica) {
        enum refusal refusal = pair_refusal(d, host, shards[r].host, apart);
        if (refusal != REFUSED_NOT && *ret_other < 0)
            *ret_other = r;
        if (refusal < worst)
            worst = refusal;
    }
    return worst;
}

enum refusal placement_refusal(const struct draft *d, int shard, int host)
{
    const struct draft_shard *ds = &d->shards[shard];
    const struct draft_host *dh = &d->hosts[host];
    int other;

    if (!dh->usable)
        return REFUSED_HOST;
    if (!server_loads(dh->valkey, dh->rdb_version_max, ds->valkey, ds->rdb_version))
        return REFUSED_SERVER;
    enum refusal refusal = partner_refusal(d, shard, host, &other);
    if (refusal != REFUSED_NOT)
        return refusal;
    /* Of a host whose rack isn't known, nobody can say that it is in another one. */
    if (ds->apart && dh->rack < 0)
        return REFUSED_RACK;
    if (ds->fixed_port && ports_taken(dh, ds->fixed_port))
        return REFUSED_PORT;
    if (placement_disk_left(d, host) < d->plan->shards[shard].disk_bytes)
        return REFUSED_DISK;
    if (placement_memory_left(d, host) < d->plan->shards[shard].memory_bytes)
        return REFUSED_MEMORY;
    return REFUSED_NOT;
}

static bool better(const struct draft *d, int shard, int a, int b)
{
    const struct draft_host *ha = &d->hosts[a], *hb = &d->hosts[b];
    int node = d->shards[shard].node;
    bool old_a = node >= 0 && ha->node == node, old_b = node >= 0 && hb->node == node;
    bool counts = (int)d->plan->shards[shard].database == d->database;

    if (old_a != old_b)
        return old_a;
    if (counts && ha->spread != hb->spread)
        return ha->spread < hb->spread;
    return ha->free_part > hb->free_part;
}

/*
 * Among equals the earlier host; for a replica the next one behind its primary's, round and round,
 * which spreads the replicas over equal hosts as evenly as the primaries.
 */
static int best_host(const struct draft *d, int shard)
{
    int hosts = (int)d->plan->host_count, best = -1;
    int primary = d->plan->shards[shard].primary;
    int start = primary >= 0 ? d->plan->shards[primary].host + 1 : 0;

    for (int i = 0; i < hosts; i++) {
        int h = start + i < hosts ? start + i : start + i - hosts;
        if ((best < 0 || better(d, shard, h, best)) &&
            placement_refusal(d, shard, h) == REFUSED_NOT)
            best = h;
    }
    return best;
}

static bool settle(struct draft *d, int shard, int depth);

/* Puts the shard onto the host in place of another one, and that one elsewhere. */
static bool exchange(struct draft *d, int shard, int host, int other, int depth)
{
    if (other < 0 || d->shards[other].moving || d->repair_budget <= 0)
        return false;
    int from = d->plan->shards[other].host;
    int previous = d->shards[other].previous, next = d->shards[other].next;
    take(d, other);
    if (placement_refusal(d, shard, host) == REFUSED_NOT) {
        d->repair_budget -= (int64_t)d->plan->host_count;
        put(d, shard, host);
        if (settle(d, other, depth - 1))
            return true;
        take(d, shard);
    }
    put_back(d, other, from, previous, next);
    return false;
}

static int port_holder(const struct draft *d, int host, int port)
{
    int s = d->hosts[host].first_shard;

    while (s >= 0 && d->shards[s].fixed_port != port)
        s = d->shards[s].next;
    return s;
}

/* Tries to make the host free for the shard by moving another one that stands in its way. */
static bool displace(struct draft *d, int shard, int host, int depth)
{
    int other;
    enum refusal refusal = placement_refusal(d, shard, host);

    if (refusal == REFUSED_SAME_HOST || refusal == REFUSED_PAIR_SERVER || refusal == REFUSED_RACK) {
        partner_refusal(d, shard, host, &other);
        return exchange(d, shard, host, other, depth);
    }
    if (refusal == REFUSED_PORT)
        return exchange(d, shard, host, port_holder(d, host, d->shards[shard].fixed_port), depth);
    if (refusal != REFUSED_DISK && refusal != REFUSED_MEMORY)
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
        put(d, shard, host);
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
 * Moves shards off the host, one by one, until the new one fits; where that fails, back again. What
 * the chain of exchanges can't do: make room for a large shard where several small ones are.
 */
static bool evacuate(struct draft *d, int shard, int host)
{
    enum refusal refusal = placement_refusal(d, shard, host);
    size_t count = d->plan->hosts[host].shard_count, moved = 0;

    if (refusal != REFUSED_DISK && refusal != REFUSED_MEMORY)
        return false;
    int *shards = xcalloc(count, sizeof(*shards));
    for (int s = d->hosts[host].first_shard, i = 0; s >= 0; s = d->shards[s].next)
        shards[i++] = s;
    d->hosts[host].usable = false;
    for (; moved < count && refusal != REFUSED_NOT; moved++) {
        int from = shards[moved];
        take(d, from);
        int to = best_host(d, from);
        put(d, from, to >= 0 ? to : host);
        d->hosts[host].usable = true;
        refusal = placement_refusal(d, shard, host);
        d->hosts[host].usable = false;
    }
    d->hosts[host].usable = true;
    d->repair_budget -= (int64_t)(moved * d->plan->host_count);
    while (refusal != REFUSED_NOT && moved > 0) {
        take(d, shards[--moved]);
        put(d, shards[moved], host);
    }
    if (refusal == REFUSED_NOT)
        put(d, shard, host);
    free(shards);
    return refusal == REFUSED_NOT;
}

static void repair(struct draft *d, int shard)
{
    for (int depth = 1; depth <= REPAIR_DEPTH; depth++)
        if (settle(d, shard, depth))
            return;
    for (int host = 0; host < (int)d->plan->host_count && d->repair_budget > 0; host++)
        if (evacuate(d, shard, host))
            return;
    /* The plan can't work now, whatever becomes of the others. */
    d->repair_budget = 0;
}

/* By memory, then as they come. */
struct item {
    int64_t bytes;
    int index;
};

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
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

/* A replica whose primary has no place would only be in its way. */
static bool has_partner_placed(const struct draft *d, int shard)
{
    int primary = d->plan->shards[shard].primary;

    return primary < 0 || d->plan->shards[primary].host >= 0;
}

static void place_database(struct draft *d, int database, bool replicas, struct item *items)
{
    const struct plan_database *db = &d->plan->databases[database];
    size_t n = 0;

    start_database(d, database);
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        if ((d->plan->shards[s].primary >= 0) == replicas)
            items[n++] = (struct item){d->plan->shards[s].memory_bytes, (int)s};
    qsort(items, n, sizeof(*items), compare_items);
    for (size_t i = 0; i < n; i++)
        if (has_partner_placed(d, items[i].index) && !settle(d, items[i].index, 0))
            repair(d, items[i].index);
}

/* Are there two racks among the hosts? If not, a rack-aware database can't be held to them. */
static bool two_racks(const struct draft *d)
{
    int first = -1;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        int rack = d->hosts[h].usable ? d->hosts[h].rack : -1;
        if (rack >= 0 && first >= 0 && rack != first)
            return true;
        if (rack >= 0)
            first = rack;
    }
    return false;
}

static void prepare_shards(struct draft *d)
{
    bool racks = two_racks(d);

    for (size_t s = 0; s < d->plan->shard_count; s++) {
        const struct plan_shard *shard = &d->plan->shards[s];
        struct draft_shard *ds = &d->shards[s];
        const struct ccs_database *db = d->plan->databases[shard->database].database;
        ds->first_replica = ds->next_replica = ds->next = ds->previous = -1;
        ds->node = draft_number(d->nodes, shard->shard->node_uid);
        if (shard->primary < 0) {
            ds->fixed_port = db->sharded ? 0 : ports_endpoint(d, db);
            continue;
        }
        struct draft_shard *primary = &d->shards[shard->primary];
        ds->next_replica = primary->first_replica;
        primary->first_replica = (int)s;
        ds->apart = primary->apart = db->rack_aware && racks;
    }
    for (size_t i = 0; i < d->plan->database_count && !racks; i++)
        if (!d->plan->databases[i].skipped && d->plan->databases[i].database->rack_aware)
            draft_warn(d,
                &(struct plan_issue){.code = "rack",
                    .database = d->plan->databases[i].database->label,
                    .hint = "Give each host its \"rack\" in the hosts file."},
                "%s: is rack aware, but the hosts that can be used do not name two racks",
                d->plan->databases[i].database->label);
}

void placement_run(struct draft *d)
{
    struct plan *plan = d->plan;
    struct item *databases = xcalloc(plan->database_count + 1, sizeof(*databases));
    struct item *shards = xcalloc(plan->shard_count + 1, sizeof(*shards));

    prepare_shards(d);
    d->repair_budget = REPAIR_BUDGET;
    for (size_t i = 0; i < plan->database_count; i++) {
        const struct plan_database *db = &plan->databases[i];
        databases[i].index = (int)i;
        for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
            if (plan->shards[s].memory_bytes > databases[i].bytes)
                databases[i].bytes = plan->shards[s].memory_bytes;
    }
    qsort(databases, plan->database_count, sizeof(*databases), compare_items);
    for (int replicas = 0; replicas <= 1; replicas++)
        for (size_t i = 0; i < plan->database_count; i++)
            place_database(d, databases[i].index, replicas, shards);
    free(databases);
    free(shards);
}
