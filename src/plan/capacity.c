/* What a shard will take, and how long each stage will. */

#include <stdlib.h>
#include <string.h>

#include "draft.h"

const struct plan_rates plan_default_rates = {.transfer = 100e6,
    .load = 80e6,
    .sync = 100e6,
    .prepare_s = 2,
    .open_s = 2,
    .source = "defaults"};

enum {
    GZIP_RATIO = 3,
    MEMORY_RATIO = 3, /* data in RAM to stored bytes */
    PROCESS_MIB = 16,
    BACKLOG_MIB = 16,   /* of replication */
    COPY_ON_WRITE = 10, /* its part of the data: one in ten pages changes while a copy is written */
};

/* No one server is larger; so sums over 1,000,000 shards can't overflow, whatever a peer claims. */
static const int64_t SHARD_BYTES_MAX = (int64_t)1 << 42;

static int64_t limited(int64_t bytes)
{
    if (bytes < 0)
        return 0;
    return bytes < SHARD_BYTES_MAX ? bytes : SHARD_BYTES_MAX;
}

static int64_t data_bytes(const struct backup_file *file)
{
    const json_t *facts = file->scanned && file->facts ? file->facts : file->head;
    const char *used =
        json_string_value(json_object_get(json_object_get(facts, "aux"), "used-mem"));
    int64_t bytes = used ? strtoll(used, NULL, 10) : 0;
    /* Of a file that was read whole: by type and encoding of its records (rdb_scan.h). */
    int64_t scanned =
        file->scanned ? limited(json_integer_value(json_object_get(file->facts, "memory"))) : 0;

    /* Its head speaks of what it began with; commands take about what they leave. */
    if (file->aof)
        return limited(bytes > file->bytes ? bytes : file->bytes);
    bytes = limited(bytes) > scanned ? bytes : scanned;
    return limited(bytes > 0 ? bytes : MEMORY_RATIO * limited(file->bytes));
}

static int64_t unpacked_bytes(const struct backup_file *file)
{
    const json_t *scanned = file->scanned ? json_object_get(file->facts, "bytes") : NULL;
    size_t len = strlen(file->name);

    if (scanned)
        return limited(json_integer_value(scanned));
    bool gzipped = len > 3 && strcmp(file->name + len - 3, ".gz") == 0;
    return limited(limited(file->bytes) * (gzipped ? GZIP_RATIO : 1));
}

/* The part of one shard in memory_size, which counts replicas where the database is replicated. */
static int64_t memory_part(const struct draft *d, const struct plan_database *db)
{
    const struct ccs_database *database = db->database;
    int64_t primaries = 0, copies = 1;

    for (size_t i = 0; i < db->shard_count; i++)
        primaries += d->plan->shards[db->first_shard + i].primary < 0;
    /* By the CCS's own replicas, also where they are not brought back. */
    if (database->replicated) {
        int64_t old_primaries = 0, old_replicas = 0;
        for (size_t i = 0; i < database->shard_count; i++)
            if (d->input->ccs->shards[database->first_shard + i].primary)
                old_primaries++;
            else
                old_replicas++;
        copies = old_primaries > 0 ? 1 + old_replicas / old_primaries : 1;
        if (copies < 2)
            copies = 2;
    }
    if (primaries == 0 || database->memory_bytes <= 0)
        return 0;
    return database->memory_bytes / (primaries * copies);
}

/* The part of a file that has the shard's slots. */
static double share(const struct plan_shard *shard, const struct backup_file *file)
{
    if (shard->file || slots_is_empty(&file->slots))
        return 1;
    struct slots common = *shard->shard->slots;
    slots_intersect(&common, &file->slots);
    return (double)slots_count(&common) / (double)slots_count(&file->slots);
}

static void size_of_data(struct draft *d, size_t s, int64_t part)
{
    const struct plan_shard *shard = &d->plan->shards[s];
    struct draft_shard *ds = &d->shards[s];

    if (d->input->only_configuration)
        return;
    if (d->input->offline) {
        ds->file_bytes = ds->data_bytes = limited(part);
        ds->stored_bytes = ds->file_bytes / MEMORY_RATIO;
        return;
    }
    for (size_t i = 0; i < shard->file_count; i++) {
        const struct backup_file *file = shard->files[i];
        double of_it = share(shard, file);
        ds->data_bytes += (int64_t)((double)data_bytes(file) * of_it);
        ds->file_bytes += (int64_t)((double)unpacked_bytes(file) * of_it);
        ds->from_aof |= file->aof;
        ds->stored_bytes += limited(file->bytes); /* what is cut out comes there whole */
    }
}

static bool forks(const struct draft *d, const struct plan_shard *shard)
{
    size_t s = (size_t)(shard - d->plan->shards);

    return d->plan->databases[shard->database].database->persistence != CCS_PERSIST_NONE ||
           shard->primary >= 0 || d->shards[s].first_replica >= 0;
}

static void size_shard(struct draft *d, size_t s, const struct plan_database *db)
{
    struct plan_shard *shard = &d->plan->shards[s];
    int64_t part = limited(db->maxmemory_bytes);

    size_of_data(d, s, part);
    int64_t data = part > d->shards[s].data_bytes ? part : d->shards[s].data_bytes;
    shard->memory_bytes = data + (forks(d, shard) ? data / COPY_ON_WRITE : 0) +
                          ((int64_t)(PROCESS_MIB + BACKLOG_MIB) << 20);
    bool persists = db->database->persistence != CCS_PERSIST_NONE;
    /* Of an append-only file there are a copy, its snapshot and the file that is checked. */
    shard->disk_bytes = (persists || d->shards[s].from_aof ? 3 : 2) * d->shards[s].file_bytes;
    shard->transfer_s = (double)d->shards[s].stored_bytes / d->rates->transfer;
    shard->load_s = (double)d->shards[s].file_bytes / d->rates->load;
}

static void warn_of_sizes(
    struct draft *d, const struct plan_database *db, size_t unknown, size_t over)
{
    struct plan_issue issue = {.database = db->database->label};

    if (d->input->offline && db->maxmemory_bytes == 0) {
        issue.code = "size-unknown";
        draft_warn(d, &issue,
            "%s: the CCS file sets no memory_size: the memory and disk it needs are not counted",
            db->database->label);
    }
    if (unknown > 0) {
        issue.code = "size-unknown";
        draft_warn(d, &issue,
            "%s: the location doesn't tell the size of %zu of the files: the memory and disk "
            "they need are not counted",
            db->database->label, unknown);
    }
    if (over > 0) {
        issue.code = "limit-below-data";
        issue.hint = "The limit is raised where it is below what the data takes.";
        draft_warn(d, &issue,
            "%s: the data of %zu of %zu shards is predicted to take more than the memory limit "
            "of each, %s",
            db->database->label, over, db->shard_count, draft_bytes(d, db->maxmemory_bytes));
    }
}

void capacity_shards(struct draft *d)
{
    for (size_t s = 0; s < d->plan->shard_count; s++)
        d->shards[s].first_replica = -1;
    for (size_t s = 0; s < d->plan->shard_count; s++)
        if (d->plan->shards[s].primary >= 0)
            d->shards[d->plan->shards[s].primary].first_replica = (int)s;
    for (size_t i = 0; i < d->plan->database_count; i++) {
        struct plan_database *db = &d->plan->databases[i];
        size_t unknown = 0, over = 0;
        if (db->skipped)
            continue;
        db->maxmemory_bytes = memory_part(d, db);
        for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
            const struct plan_shard *shard = &d->plan->shards[s];
            size_shard(d, s, db);
            for (size_t f = 0; f < shard->file_count && shard->primary < 0; f++)
                unknown += shard->files[f]->bytes < 0;
            over += db->maxmemory_bytes > 0 && d->shards[s].data_bytes > db->maxmemory_bytes;
        }
        warn_of_sizes(d, db, unknown, over);
    }
}

/* --- time --- */

/* From 7.0 on (RDB version 10) a replica starts on its primary's file; else it is sent a copy. */
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

/* Of the shards that are here, without one and with another; -1: none. */
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

/* By one server at least, by as many at a time as there are cores, all of them from one disk. */
static double load_seconds(const struct draft *d, int host, int64_t longest, int64_t all)
{
    const struct plan_host *h = &d->plan->hosts[host];
    double one = (double)longest / d->rates->load;
    double together = (double)all / d->rates->load / (double)h->cores;
    double read = h->disk_read > 0 ? (double)all / h->disk_read : 0;
    double loaded = one > together ? one : together;

    return loaded > read ? loaded : read;
}

double capacity_host_seconds(const struct draft *d, int host, int without, int with)
{
    struct draft_work work = work_of(d, host, without, with);

    return transfer_seconds(d, host, work.transfer, work.load) +
           load_seconds(d, host, work.longest_load, work.load) +
           (double)work.sync / d->rates->sync + load_seconds(d, host, work.longest_sync, work.sync);
}

static void raise(double *seconds, double at_least)
{
    if (at_least > *seconds)
        *seconds = at_least;
}

/* Hosts work at the same time: the slowest one counts. */
static void add_host(
    const struct draft *d, int host, const struct draft_work *work, struct plan_stage_cost *stages)
{
    stages[STAGE_TRANSFER].bytes += work->transfer;
    raise(&stages[STAGE_TRANSFER].seconds, transfer_seconds(d, host, work->transfer, work->load));
    stages[STAGE_LOAD].bytes += work->load;
    raise(&stages[STAGE_LOAD].seconds, load_seconds(d, host, work->longest_load, work->load));
    stages[STAGE_OPEN].bytes += work->sync;
    raise(&stages[STAGE_OPEN].seconds, d->rates->open_s + (double)work->sync / d->rates->sync +
                                           load_seconds(d, host, work->longest_sync, work->sync));
}

/* What one shard of a host takes beside the others that are at it at the same time. */
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

void capacity_stages(struct draft *d)
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
