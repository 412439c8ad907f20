/*
 * Where the shards of a large cluster are placed first. A small change of the input should change
 * the plan little, so a place must not depend on all places before it. Hosts have points on a ring,
 * in proportion to their memory. A shard goes to the first host after its own point that the rules
 * allow and that stays about as empty as all hosts can be.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "steps.h"

enum {
    POINTS = 32,       /* of a host with the memory that most have; up to twice as many */
    POINTS_MAX = 1024, /* of one host */
    HOSTS_TRIED = 64,
};
/* How full hosts may get, in steps: a small change of the need changes nothing. */
static const double FILL_SLACK = 1.025, FILL_STEP = 1.02;

struct point {
    uint64_t at;
    int host;
};

struct ring {
    struct point *points;
    size_t count;
    double fill_max;
    unsigned walk;   /* number of the last one */
    unsigned *tried; /* by host: the last walk that tried it */
    bool *replaced;  /* by node: a host replaces it */
};

static uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325U;

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3U;
    return mixed(hash);
}

static int by_place(const void *a, const void *b)
{
    const struct point *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->host < y->host ? -1 : x->host > y->host;
}

/* A power of two near the mean. The factor keeps usual sizes away from the steps. */
static double usual_memory(const struct draft *d)
{
    double sum = 0, count = 0;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        sum += d->hosts[h].usable ? (double)d->plan->hosts[h].memory_bytes : 0;
        count += d->hosts[h].usable;
    }
    return sum > 0 ? exp2(floor(log2(sum / count * 1.4))) : 1;
}

static size_t points_of(const struct draft *d, size_t host, double usual)
{
    double points = (double)d->plan->hosts[host].memory_bytes / usual * (double)POINTS;

    if (!d->hosts[host].usable)
        return 0;
    return points < 1 ? 1 : points < (double)POINTS_MAX ? (size_t)(points + 0.5) : POINTS_MAX;
}

double ring_fill_max(const struct draft *d)
{
    double need = 0, have = 0;

    for (size_t s = 0; s < d->plan->shard_count; s++)
        if (!d->plan->databases[d->plan->shards[s].database].skipped)
            need += (double)d->plan->shards[s].memory_bytes;
    for (size_t h = 0; h < d->plan->host_count; h++)
        have += d->hosts[h].usable ? (double)d->plan->hosts[h].memory_bytes : 0;
    if (need <= 0 || have <= 0)
        return 1;
    double steps = ceil(log(need / have * FILL_SLACK) / log(FILL_STEP));
    return fmin(1, pow(FILL_STEP, steps));
}

struct ring *ring_new(struct draft *d)
{
    struct ring *ring = arena_alloc(&d->arena, sizeof(*ring));
    double usual = usual_memory(d);
    size_t hosts = d->plan->host_count, all = 0;

    for (size_t h = 0; h < hosts; h++)
        all += points_of(d, h, usual);
    ring->points = arena_alloc(&d->arena, (all + 1) * sizeof(*ring->points));
    ring->tried = arena_alloc(&d->arena, (hosts + 1) * sizeof(*ring->tried));
    ring->replaced = arena_alloc(&d->arena, json_object_size(d->nodes) + 1);
    ring->fill_max = ring_fill_max(d);
    for (size_t h = 0; h < hosts; h++) {
        uint64_t name = hash_of(d->plan->hosts[h].host->name);
        for (size_t i = points_of(d, h, usual); i > 0; i--)
            ring->points[ring->count++] = (struct point){mixed(name + i), (int)h};
        if (d->hosts[h].node >= 0)
            ring->replaced[d->hosts[h].node] = true;
    }
    qsort(ring->points, ring->count, sizeof(*ring->points), by_place);
    return ring;
}

/* The first point after the point of the shard. */
static size_t start_of(const struct ring *ring, const char *uid)
{
    uint64_t at = hash_of(uid);
    size_t low = 0, high = ring->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ring->points[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < ring->count ? low : 0;
}

static bool stays_even(const struct draft *d, int shard, int host, double fill_max)
{
    const struct plan_host *h = &d->plan->hosts[host];

    return (double)(h->planned_bytes + d->plan->shards[shard].memory_bytes) <=
           (double)h->memory_bytes * fill_max;
}

/* The fewest shards of its database on a host that the rules allow. */
static unsigned least_spread(const struct draft *d, int shard)
{
    unsigned least = UINT32_MAX;

    for (int h = 0; h < (int)d->plan->host_count; h++)
        if (d->hosts[h].spread < least && rules_refusal(d, shard, h) == REFUSED_NOT)
            least = d->hosts[h].spread;
    return least;
}

bool ring_decides(const struct draft *d, int shard)
{
    int node = d->shards[shard].node;

    return d->ring && d->shards[shard].file_host < 0 && (node < 0 || !d->ring->replaced[node]);
}

int ring_host(struct draft *d, int shard)
{
    struct ring *ring = d->ring;
    size_t database = d->plan->shards[shard].database, tried = 0;
    unsigned spread = d->databases[database].sparse ? least_spread(d, shard) : UINT32_MAX;
    size_t at = start_of(ring, d->plan->shards[shard].shard->uid);

    ring->walk++;
    for (size_t i = 0; i < ring->count && tried < HOSTS_TRIED; i++) {
        int host = ring->points[(at + i) % ring->count].host;
        if (ring->tried[host] == ring->walk || d->hosts[host].spread > spread)
            continue;
        ring->tried[host] = ring->walk;
        tried++;
        if (stays_even(d, shard, host, ring->fill_max) &&
            rules_refusal(d, shard, host) == REFUSED_NOT)
            return host;
    }
    return -1;
}
