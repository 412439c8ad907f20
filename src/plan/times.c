/* How long each stage takes, by host. */

#include "steps.h"

const struct plan_rates plan_default_rates = {.transfer = 100e6,
    .load = 80e6,
    .sync = 100e6,
    .prepare_s = 2,
    .open_s = 2,
    .source = "defaults"};

/* Since 7.0 (RDB version 10) a replica starts with its primary's file; before, it gets a copy. */
static bool loads_file(const struct draft *d, int shard, int host)
{
    enum { VERSION_MIN = 10 };
    int primary = d->plan->shards[shard].primary;
    int at = primary >= 0 ? d->plan->shards[primary].host : -1;

    if (primary < 0 || d->input->full_sync || d->shards[shard].from_aof)
        return primary < 0;
    return d->input->offline || (d->hosts[host].rdb_version_max >= VERSION_MIN &&
                                    (at < 0 || d->hosts[at].rdb_version_max >= VERSION_MIN));
}

static void add_shard(const struct draft *d, int shard, int host, struct draft_work *work)
{
    const struct draft_shard *ds = &d->shards[shard];
    bool loads = loads_file(d, shard, host);
    int64_t *longest = loads ? &work->longest_load : &work->longest_sync;

    if (loads) {
        work->transfer += ds->file_host == host ? 0 : ds->stored_bytes;
        work->load += ds->file_bytes;
    } else {
        work->sync += ds->file_bytes;
    }
    if (ds->file_bytes > *longest)
        *longest = ds->file_bytes;
}

static struct draft_work count_work(const struct draft *d, int host, int without)
{
    struct draft_work work = {0};

    for (int s = d->hosts[host].first_shard; s >= 0; s = d->shards[s].next)
        if (s != without)
            add_shard(d, s, host, &work);
    return work;
}

/* The work of the shards here, without one and with another; -1: none. */
static struct draft_work work_of(const struct draft *d, int host, int without, int with)
{
    struct draft_host *dh = &d->hosts[host];

    if (!dh->work_known) {
        dh->work = count_work(d, host, -1);
        dh->work_known = true;
    }
    struct draft_work work = without >= 0 ? count_work(d, host, without) : dh->work;
    if (with >= 0)
        add_shard(d, with, host, &work);
    return work;
}

static double transfer_seconds(const struct draft *d, int host, int64_t stored, int64_t unpacked)
{
    const struct plan_host *h = &d->plan->hosts[host];
    double coming = (double)stored / (h->network > 0 ? h->network : d->rates->transfer);
    double written = h->disk_write > 0 ? (double)unpacked / h->disk_write : 0;

    return coming > written ? coming : written;
}

/* Bounded by the longest load, by the cores, and by the disk. */
static double load_seconds(const struct draft *d, int host, int64_t longest, int64_t all)
{
    const struct plan_host *h = &d->plan->hosts[host];
    double one = (double)longest / d->rates->load;
    double together = (double)all / d->rates->load / (double)h->cores;
    double read = h->disk_read > 0 ? (double)all / h->disk_read : 0;
    double loaded = one > together ? one : together;

    return loaded > read ? loaded : read;
}

double times_of_host(const struct draft *d, int host, int without, int with)
{
    struct draft_work work = work_of(d, host, without, with);

    return transfer_seconds(d, host, work.transfer, work.load) +
           load_seconds(d, host, work.longest_load, work.load) +
           (double)work.sync / d->rates->sync + load_seconds(d, host, work.longest_sync, work.sync);
}

static void raise_to(double *seconds, double at_least)
{
    if (at_least > *seconds)
        *seconds = at_least;
}

/* Hosts work at the same time: the slowest host counts. */
static void add_host(
    const struct draft *d, int host, const struct draft_work *work, struct plan_stage_cost *stages)
{
    stages[STAGE_TRANSFER].bytes += work->transfer;
    raise_to(
        &stages[STAGE_TRANSFER].seconds, transfer_seconds(d, host, work->transfer, work->load));
    stages[STAGE_LOAD].bytes += work->load;
    raise_to(&stages[STAGE_LOAD].seconds, load_seconds(d, host, work->longest_load, work->load));
    stages[STAGE_OPEN].bytes += work->sync;
    raise_to(
        &stages[STAGE_OPEN].seconds, d->rates->open_s + (double)work->sync / d->rates->sync +
                                         load_seconds(d, host, work->longest_sync, work->sync));
}

/* The time of one shard, while others of its host are fetched and loaded too. */
static void time_shard(const struct draft *d, int shard, int host, const struct draft_work *all)
{
    struct plan_shard *ps = &d->plan->shards[shard];
    const struct draft_shard *ds = &d->shards[shard];
    int64_t at_once = (int64_t)d->plan->hosts[host].shard_count;
    int64_t bytes = ds->file_bytes;

    if (!loads_file(d, shard, host)) {
        ps->transfer_s = 0;
        ps->load_s = (double)bytes / d->rates->sync + load_seconds(d, host, bytes, bytes);
        return;
    }
    if (at_once > PLAN_FETCHES_PER_HOST)
        at_once = PLAN_FETCHES_PER_HOST;
    double beside = transfer_seconds(d, host, ds->stored_bytes * at_once, bytes * at_once);
    double together = transfer_seconds(d, host, all->transfer, all->load);
    ps->transfer_s = beside < together ? beside : together;
    ps->load_s = load_seconds(d, host, bytes, bytes);
}

void times_of_stages(struct draft *d)
{
    struct plan_stage_cost *stages = d->plan->stages;

    if (d->plan->shard_count == 0)
        return;
    stages[STAGE_PREPARE].seconds = d->rates->prepare_s;
    for (int h = 0; h < (int)d->plan->host_count; h++) {
        struct draft_work work = work_of(d, h, -1, -1);
        if (d->plan->hosts[h].shard_count > 0)
            add_host(d, h, &work, stages);
        for (int s = d->hosts[h].first_shard; s >= 0; s = d->shards[s].next)
            time_shard(d, s, h, &work);
    }
}
