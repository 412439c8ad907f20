/* What a shard will take, and how long each stage will. */

#include <stdlib.h>
#include <string.h>

#include "draft.h"

/* Defaults until rates are measured: bytes a second. */
static const double TRANSFER_RATE = 100e6; /* of stored bytes, into one host */
static const double LOAD_RATE = 80e6;      /* of uncompressed bytes, by one server on one core */
static const double PREPARE_SECONDS = 2;
static const double OPEN_SECONDS = 2;

enum {
    GZIP_RATIO = 3,
    MEMORY_RATIO = 3, /* data in RAM to stored bytes */
    PROCESS_MIB = 16, /* the process and its replication backlog */
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

    return limited(bytes > 0 ? bytes : MEMORY_RATIO * limited(file->bytes));
}

static int64_t uncompressed_bytes(const struct backup_file *file)
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
    int64_t primaries = 0, replicas = 0;

    for (size_t i = 0; i < db->shard_count; i++)
        if (d->plan->shards[db->first_shard + i].primary < 0)
            primaries++;
        else
            replicas++;
    if (!db->database->replicated)
        replicas = 0;
    else if (replicas < primaries)
        replicas = primaries;
    if (primaries == 0 || db->database->memory_bytes <= 0)
        return 0;
    return db->database->memory_bytes / (primaries + replicas);
}

void capacity_shards(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++) {
        struct plan_database *db = &d->plan->databases[i];
        size_t unknown = 0, over = 0;
        if (db->skipped)
            continue;
        db->maxmemory_bytes = memory_part(d, db);
        for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
            struct plan_shard *shard = &d->plan->shards[s];
            struct draft_shard *ds = &d->shards[s];
            if (shard->file) {
                ds->data_bytes = data_bytes(shard->file);
                ds->file_bytes = uncompressed_bytes(shard->file);
                unknown += shard->primary < 0 && shard->file->bytes < 0;
                over += db->maxmemory_bytes > 0 && ds->data_bytes > db->maxmemory_bytes;
            }
            int64_t part = limited(db->maxmemory_bytes);
            shard->memory_bytes =
                (part > ds->data_bytes ? part : ds->data_bytes) + ((int64_t)PROCESS_MIB << 20);
            shard->disk_bytes = 2 * ds->file_bytes; /* the file and one rewrite of it */
        }
        struct plan_issue issue = {.database = db->database->label};
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
}

static void raise(double *seconds, double at_least)
{
    if (at_least > *seconds)
        *seconds = at_least;
}

/* What the shards of one host bring to the stages; hosts work at the same time. */
static void add_host(struct draft *d, size_t host, struct plan_stage_cost *stages)
{
    int64_t transfer = 0, load = 0, sync = 0;
    double longest_load = 0, longest_sync = 0;
    const json_t *cores = json_object_get(d->plan->hosts[host].facts, "cores");

    for (int s = d->hosts[host].first_shard; s >= 0; s = d->shards[s].next) {
        const struct plan_shard *shard = &d->plan->shards[s];
        int64_t bytes = d->shards[s].file_bytes;
        if (shard->primary < 0) {
            transfer += shard->file ? limited(shard->file->bytes) : 0;
            load += bytes;
            raise(&longest_load, (double)bytes / LOAD_RATE);
        } else {
            sync += bytes;
            raise(&longest_sync, (double)bytes / LOAD_RATE);
        }
    }
    double parallel = json_integer_value(cores) > 0 ? (double)json_integer_value(cores) : 1;
    stages[STAGE_TRANSFER].bytes += transfer;
    raise(&stages[STAGE_TRANSFER].seconds, (double)transfer / TRANSFER_RATE);
    stages[STAGE_LOAD].bytes += load;
    raise(&longest_load, (double)load / LOAD_RATE / parallel);
    raise(&stages[STAGE_LOAD].seconds, longest_load);
    stages[STAGE_OPEN].bytes += sync;
    raise(&longest_sync, (double)sync / LOAD_RATE / parallel);
    raise(&stages[STAGE_OPEN].seconds, OPEN_SECONDS + (double)sync / TRANSFER_RATE + longest_sync);
}

void capacity_stages(struct draft *d)
{
    struct plan_stage_cost *stages = d->plan->stages;

    if (d->plan->shard_count == 0)
        return;
    stages[STAGE_PREPARE].seconds = PREPARE_SECONDS;
    for (size_t i = 0; i < d->plan->host_count; i++)
        if (d->plan->hosts[i].shard_count > 0)
            add_host(d, i, stages);
}
