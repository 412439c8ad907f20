/*
 * Improves a greedy placement: first the slowest host becomes faster, then the fullest host less
 * full. Shards leave the worst host, alone or in exchange for a smaller one, as long as this helps.
 * A shard on the host of its old node stays. With up to EXACT_SHARDS shards, a search through all
 * placements (depth first, within a budget) finds whether there is one at all, then more even ones,
 * in steps of 3 %.
 */

#include <stdlib.h>

#include "steps.h"

static const int64_t TIME_BUDGET = 500000; /* looks at a place */
static const int64_t MEMORY_BUDGET = 5000000;
static const int64_t EXACT_BUDGET = 3000000;
static const double SLACK = 1.02;     /* of memory: less is not worth a move */
static const double TIME_SLACK = 1.1; /* of time; and seconds */
static const double TIME_SLACK_S = 10;
/* Of the mean time of all hosts, in large clusters: less is not worth another plan. */
static const double UNEVEN_TIME = 1.05;
static const double EXACT_STEP = 0.97;

enum measure { MEASURE_TIME, MEASURE_MEMORY };

struct search {
    struct draft *d;
    double seconds_max; /* that a host may take; 0: any */
    double fill_max;    /* part of its memory that a host may fill */
    int64_t budget;
    int *order; /* the shards to place */
    size_t count;
    int64_t bytes_left; /* of those that are not placed yet */
};

static double fill_of(const struct draft *d, int host, int without, int with)
{
    const struct plan_host *ph = &d->plan->hosts[host];
    int64_t bytes = ph->planned_bytes;

    if (without >= 0)
        bytes -= d->plan->shards[without].memory_bytes;
    if (with >= 0)
        bytes += d->plan->shards[with].memory_bytes;
    return ph->memory_bytes > 0 ? (double)bytes / (double)ph->memory_bytes : bytes > 0;
}

static double measure_of(const struct draft *d, enum measure what, int host, int without, int with)
{
    return what == MEASURE_TIME ? times_of_host(d, host, without, with)
                                : fill_of(d, host, without, with);
}

static int worst_host(const struct draft *d, enum measure what, double *ret)
{
    int worst = -1;

    *ret = -1;
    for (int h = 0; h < (int)d->plan->host_count; h++) {
        double here = d->hosts[h].usable ? measure_of(d, what, h, -1, -1) : -1;
        if (here > *ret) {
            *ret = here;
            worst = h;
        }
    }
    return worst;
}

/* How long the slowest host may take before its shards are moved. */
static double time_good_enough(struct draft *d)
{
    double seconds = 0;
    size_t hosts = 0;

    if (improve_is_small(d))
        return TIME_SLACK_S;
    for (int h = 0; h < (int)d->plan->host_count; h++) {
        seconds += d->hosts[h].usable ? times_of_host(d, h, -1, -1) : 0;
        hosts += d->hosts[h].usable;
    }
    return TIME_SLACK_S + (hosts > 0 ? seconds / (double)hosts * UNEVEN_TIME : 0);
}

/* No placement fills the fullest host less than this. */
static double lower_bound(const struct draft *d)
{
    int64_t need = 0, have = 0, largest = 0, room = 0;

    for (size_t s = 0; s < d->plan->shard_count; s++) {
        need += d->plan->shards[s].host >= 0 ? d->plan->shards[s].memory_bytes : 0;
        if (d->plan->shards[s].host >= 0 && d->plan->shards[s].memory_bytes > largest)
            largest = d->plan->shards[s].memory_bytes;
    }
    for (size_t h = 0; h < d->plan->host_count; h++) {
        have += d->hosts[h].usable ? d->plan->hosts[h].memory_bytes : 0;
        if (d->hosts[h].usable && d->plan->hosts[h].memory_bytes > room)
            room = d->plan->hosts[h].memory_bytes;
    }
    double even = have > 0 ? (double)need / (double)have : 0;
    double one = room > 0 ? (double)largest / (double)room : 0;
    return even > one ? even : one;
}

static bool may_move(const struct draft *d, int shard)
{
    return !rules_is_old_host(d, shard, d->plan->shards[shard].host);
}

static unsigned of_database(const struct draft *d, int host, size_t database)
{
    unsigned found = 0;

    for (int s = d->hosts[host].first_shard; s >= 0; s = d->shards[s].next)
        found += d->plan->shards[s].database == database;
    return found;
}

/* Sparse databases keep their spread. */
static bool spread_allows(const struct draft *d, int shard, int from, int to)
{
    size_t database = d->plan->shards[shard].database;

    return !d->databases[database].sparse ||
           of_database(d, to, database) < of_database(d, from, database);
}

static bool time_allows(const struct search *s, int host, int without, int with)
{
    return s->seconds_max <= 0 || times_of_host(s->d, host, without, with) <= s->seconds_max;
}

/* Moves the shard to the host that it makes least bad, if that is below `limit`. */
static bool move_alone(struct search *s, enum measure what, int shard, int from, double limit)
{
    struct draft *d = s->d;
    int best = -1;
    double least = limit;

    for (int to = 0; to < (int)d->plan->host_count; to++) {
        if (to == from || !d->hosts[to].usable)
            continue;
        s->budget--;
        double there = measure_of(d, what, to, -1, shard);
        if (there >= least || !spread_allows(d, shard, from, to) ||
            !time_allows(s, to, -1, shard) || rules_refusal(d, shard, to) != REFUSED_NOT)
            continue;
        least = there;
        best = to;
    }
    if (best < 0)
        return false;
    rules_remove(d, shard);
    rules_put(d, shard, best);
    return true;
}

static bool swap_allowed(const struct search *s, int shard, int from, int other, int to)
{
    const struct draft *d = s->d;
    bool one_database = d->plan->shards[shard].database == d->plan->shards[other].database;

    return may_move(d, other) && time_allows(s, to, other, shard) &&
           time_allows(s, from, shard, other) &&
           (one_database ||
               (spread_allows(d, shard, from, to) && spread_allows(d, other, to, from)));
}

static bool swap_shards(
    struct search *s, enum measure what, int shard, int from, int other, double limit)
{
    struct draft *d = s->d;
    int to = d->plan->shards[other].host;

    s->budget--;
    if (measure_of(d, what, to, other, shard) >= limit ||
        measure_of(d, what, from, shard, other) >= limit ||
        !swap_allowed(s, shard, from, other, to))
        return false;
    rules_remove(d, shard);
    rules_remove(d, other);
    if (rules_refusal(d, shard, to) == REFUSED_NOT) {
        rules_put(d, shard, to);
        if (rules_refusal(d, other, from) == REFUSED_NOT) {
            rules_put(d, other, from);
            return true;
        }
        rules_remove(d, shard);
    }
    rules_put(d, other, to);
    rules_put(d, shard, from);
    return false;
}

static bool swap_any(struct search *s, enum measure what, int shard, int from, double limit)
{
    const struct draft *d = s->d;

    for (size_t o = 0; o < d->plan->shard_count && s->budget > 0; o++) {
        int to = d->plan->shards[o].host;
        if (to >= 0 && to != from && swap_shards(s, what, shard, from, (int)o, limit))
            return true;
    }
    return false;
}

/* One move or exchange after which all its hosts are better than the worst host was. */
static bool relieve(struct search *s, enum measure what, int host, double now)
{
    const struct draft *d = s->d;
    size_t count = d->plan->hosts[host].shard_count, n = 0;
    AUTO_FREE int *shards = xcalloc(count + 1, sizeof(*shards));
    double limit = now * (1 - 1e-9);

    for (int at = d->hosts[host].first_shard; at >= 0; at = d->shards[at].next)
        if (may_move(d, at))
            shards[n++] = at;
    for (size_t i = 0; i < n && s->budget > 0; i++)
        if (measure_of(d, what, host, shards[i], -1) < limit &&
            move_alone(s, what, shards[i], host, limit))
            return true;
    for (size_t i = 0; i < n && s->budget > 0; i++)
        if (swap_any(s, what, shards[i], host, limit))
            return true;
    return false;
}

static void relieve_all(struct search *s, enum measure what, double good_enough)
{
    double now;
    int host;

    while (s->budget > 0 && (host = worst_host(s->d, what, &now)) >= 0 && now > good_enough)
        if (!relieve(s, what, host, now))
            break;
}

/* --- small clusters --- */

/* Whether an earlier host like this one, empty too, was tried already. */
static bool tried_alike(const struct draft *d, int host)
{
    if (d->hosts[host].first_shard >= 0)
        return false;
    for (int h = d->hosts[host].alike; h < host; h++)
        if (d->hosts[h].alike == d->hosts[host].alike && d->hosts[h].first_shard < 0)
            return true;
    return false;
}

static bool room_is_left(const struct search *s)
{
    const struct draft *d = s->d;
    double room = 0;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        double most = (double)d->plan->hosts[h].memory_bytes * s->fill_max;
        double left = most - (double)d->plan->hosts[h].planned_bytes;
        if (d->hosts[h].usable && left > 0)
            room += left;
    }
    return room >= (double)s->bytes_left;
}

static bool place_from(struct search *s, size_t n)
{
    struct draft *d = s->d;

    if (n == s->count)
        return true;
    if (!room_is_left(s))
        return false;
    int shard = s->order[n];
    int64_t bytes = d->plan->shards[shard].memory_bytes;
    for (int h = 0; h < (int)d->plan->host_count; h++) {
        if (--s->budget < 0)
            return false;
        if (!d->hosts[h].usable || fill_of(d, h, -1, shard) > s->fill_max || tried_alike(d, h) ||
            rules_refusal(d, shard, h) != REFUSED_NOT || !time_allows(s, h, -1, shard))
            continue;
        rules_put(d, shard, h);
        s->bytes_left -= bytes;
        if (place_from(s, n + 1))
            return true;
        s->bytes_left += bytes;
        rules_remove(d, shard);
    }
    return false;
}

/* Largest first; a primary is followed by its replicas. */
static int compare_shards(const void *a, const void *b, void *arg)
{
    const struct plan_shard *shards = ((const struct draft *)arg)->plan->shards;
    int x = *(const int *)a, y = *(const int *)b;
    int p = shards[x].primary >= 0 ? shards[x].primary : x;
    int q = shards[y].primary >= 0 ? shards[y].primary : y;

    if (shards[p].memory_bytes != shards[q].memory_bytes)
        return shards[p].memory_bytes > shards[q].memory_bytes ? -1 : 1;
    if (p != q)
        return p < q ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Takes the shards off their hosts and searches; puts them back if nothing is found. */
static bool place_all(struct search *s, bool also_settled)
{
    struct draft *d = s->d;
    int *hosts = xcalloc(d->plan->shard_count + 1, sizeof(*hosts));
    int *order = xcalloc(d->plan->shard_count + 1, sizeof(*order));

    s->order = order;
    s->count = 0;
    s->bytes_left = 0;
    for (int i = 0; i < (int)d->plan->shard_count; i++) {
        hosts[i] = d->plan->shards[i].host;
        if (d->plan->databases[d->plan->shards[i].database].skipped || d->shards[i].stays ||
            (hosts[i] >= 0 && !also_settled && !may_move(d, i)))
            continue;
        s->order[s->count++] = i;
        s->bytes_left += d->plan->shards[i].memory_bytes;
        if (hosts[i] >= 0)
            rules_remove(d, i);
    }
    qsort_r(order, s->count, sizeof(*order), compare_shards, d);
    bool found = place_from(s, 0);
    for (size_t i = 0; i < s->count && !found; i++)
        if (hosts[order[i]] >= 0)
            rules_put(d, order[i], hosts[order[i]]);
    free(hosts);
    free(order);
    return found;
}

static bool same_ports(const struct draft_host *a, const struct draft_host *b)
{
    for (int i = 0; i < (PORT_MAX + 1) / 64; i++)
        if (a->ports[i] != b->ports[i])
            return false;
    return true;
}

static bool are_alike(const struct draft *d, int a, int b)
{
    const struct draft_host *x = &d->hosts[a], *y = &d->hosts[b];
    const struct plan_host *p = &d->plan->hosts[a], *q = &d->plan->hosts[b];

    return x->usable && y->usable && x->rack == y->rack && x->second_rack == y->second_rack &&
           x->node < 0 && y->node < 0 && x->rdb_version_max == y->rdb_version_max &&
           x->valkey == y->valkey && x->max_shards == y->max_shards && p->cores == q->cores &&
           p->memory_bytes == q->memory_bytes && p->disk_free_bytes == q->disk_free_bytes &&
           !x->shares_memory && !y->shares_memory && (x->disk < 0 || x->disk != y->disk) &&
           same_ports(x, y);
}

bool improve_is_small(struct draft *d)
{
    if (d->plan->shard_count > EXACT_SHARDS || d->plan->host_count > EXACT_SHARDS)
        return false;
    for (int h = 0; h < (int)d->plan->host_count; h++) {
        d->hosts[h].alike = h;
        for (int other = 0; other < h && d->hosts[h].alike == h; other++)
            if (d->hosts[h].usable && are_alike(d, other, h))
                d->hosts[h].alike = d->hosts[other].alike;
    }
    return true;
}

void improve_find(struct draft *d)
{
    struct search s = {.d = d, .fill_max = 1, .budget = EXACT_BUDGET};

    if (!plan_is_placed(d->plan) && improve_is_small(d))
        place_all(&s, true);
}

static bool any_sparse(const struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++)
        if (d->databases[i].sparse)
            return true;
    return false;
}

void improve_run(struct draft *d)
{
    struct search s = {.d = d, .budget = TIME_BUDGET};
    double seconds, now;

    /* A plan that cannot work is not improved. */
    if (d->input->mode != PLAN_FRESH || !plan_is_placed(d->plan))
        return;
    relieve_all(&s, MEASURE_TIME, time_good_enough(d));
    worst_host(d, MEASURE_TIME, &seconds);
    s.seconds_max = seconds * TIME_SLACK + TIME_SLACK_S;
    s.budget = MEMORY_BUDGET;
    double bound = lower_bound(d), even = ring_fill_max(d);
    relieve_all(
        &s, MEASURE_MEMORY, improve_is_small(d) || even < bound * SLACK ? bound * SLACK : even);
    if (!improve_is_small(d) || any_sparse(d))
        return;
    double last;
    worst_host(d, MEASURE_MEMORY, &now);
    do {
        last = now;
        s.fill_max = last * EXACT_STEP;
        s.budget = EXACT_BUDGET;
        if (s.fill_max < bound || !place_all(&s, false))
            return;
        worst_host(d, MEASURE_MEMORY, &now);
    } while (now < last);
}
