/* The memory and disk that a shard needs. */

#include <stdlib.h>
#include <string.h>

#include "steps.h"

enum {
    PACKED_RATIO = 3, /* of gzip and zstd */
    MEMORY_RATIO = 3, /* data in RAM to stored bytes */
    PROCESS_MIB = 16,
    BACKLOG_MIB = 16,   /* of replication */
    COPY_ON_WRITE = 10, /* one in ten pages changes while a copy is written */
};

/* No server is larger. Sums over 1,000,000 shards cannot overflow, whatever a peer claims. */
static const int64_t SHARD_BYTES_MAX = (int64_t)1 << 42;

static int64_t limited(int64_t bytes)
{
    if (bytes < 0)
        return 0;
    return bytes < SHARD_BYTES_MAX ? bytes : SHARD_BYTES_MAX;
}

static int64_t unpacked_bytes(const struct backup_file *file)
{
    const json_t *scanned = file->scanned ? json_object_get(file->facts, "bytes") : NULL;
    size_t len = strlen(file->name);

    if (scanned)
        return limited(json_integer_value(scanned));
    if (file->plain_bytes > 0)
        return limited(file->plain_bytes);
    /* An archive's name is that of its data set; its streams write the same keys again and again. */
    bool packed = (len > 3 && strcmp(file->name + len - 3, ".gz") == 0) ||
                  (len > 4 && strcmp(file->name + len - 4, ".zst") == 0 && !file->aof);
    return limited(limited(file->bytes) * (packed ? PACKED_RATIO : 1));
}

static int64_t data_bytes(const struct backup_file *file)
{
    const json_t *aux = json_object_get(file_facts(file), "aux");
    const char *used = json_text(aux, "used-mem", NULL);
    int64_t bytes = used ? strtoll(used, NULL, 10) : 0;
    /* By type and encoding of the records of a file that was read whole (rdb_scan.h). */
    int64_t scanned = file->scanned ? limited(json_int(file->facts, "memory", 0)) : 0;

    /* The head is older than the commands, which need about the memory that they fill. */
    if (file->aof) {
        int64_t unpacked = unpacked_bytes(file);
        return limited(bytes > unpacked ? bytes : unpacked);
    }
    bytes = limited(bytes) > scanned ? bytes : scanned;
    return limited(bytes > 0 ? bytes : MEMORY_RATIO * limited(file->bytes));
}

/* The part of one shard in memory_size, which includes the replicas of the database. */
static int64_t memory_part(const struct draft *d, const struct plan_database *db)
{
    const struct ccs_database *database = db->database;
    int64_t primaries = plan_primaries(d->plan, db), copies = 1;

    /* The replicas of the CCS count even if they are not restored. */
    if (database->replicated) {
        size_t old = reshard_old_primaries(d->input->ccs, database);
        copies = old > 0 ? (int64_t)(database->shard_count / old) : 1;
        if (copies < 2)
            copies = 2;
    }
    if (primaries == 0 || database->memory_bytes <= 0)
        return 0;
    return database->memory_bytes / (primaries * copies);
}

static double part_of_file(const struct plan_shard *shard, const struct backup_file *file)
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
        double of_it = part_of_file(shard, file);
        ds->data_bytes += (int64_t)((double)data_bytes(file) * of_it);
        ds->file_bytes += (int64_t)((double)unpacked_bytes(file) * of_it);
        ds->from_aof |= file->aof;
        ds->stored_bytes += limited(file->bytes); /* a file that is cut is fetched whole */
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
    /* An append-only file needs a copy, its snapshot and the file that is checked. */
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
            "the CCS file sets no memory_size: the memory and disk it needs are not counted");
    }
    if (unknown > 0) {
        issue.code = "size-unknown";
        draft_warn(d, &issue,
            "the location does not say the size of %zu of the files: the memory and disk that "
            "they need are not counted",
            unknown);
    }
    if (over > 0) {
        issue.code = "limit-below-data";
        issue.hint = "The limit is raised if it is below what the data takes.";
        draft_warn(d, &issue,
            "the data of %zu of %zu shards is predicted to take more than the memory limit of "
            "each, %s",
            over, db->shard_count, draft_bytes(d, db->maxmemory_bytes));
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
