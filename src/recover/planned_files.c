#include "planned_files.h"

#include "recluster/json.h"
#include <string.h>

bool planned_files_any(const struct executor *x, size_t database)
{
    const json_t *source;
    size_t k;

    for (size_t i = 0; i < x->shard_count; i++)
        json_array_foreach (x->shards[i].sources, k, source)
            if (x->shards[i].database == (int)database && json_object_get(source, "where"))
                return true;
    return false;
}

static bool is_lost(const struct executor *x, const char *host)
{
    for (size_t h = 0; host && h < x->host_count; h++)
        if (strcmp(x->hosts[h].name, host) == 0)
            return x->hosts[h].lost;
    return false;
}

const json_t *planned_files_lost(const struct executor *x, size_t database)
{
    const json_t *source;
    size_t k;

    for (size_t i = 0; i < x->shard_count; i++) {
        if (x->shards[i].database != (int)database)
            continue;
        json_array_foreach (x->shards[i].sources, k, source) {
            if (is_lost(x, json_text(source, "host", NULL)))
                return source;
        }
    }
    return NULL;
}

static bool has_file(const struct executor *x, const char *shard_uid, const char *where)
{
    const json_t *source;
    size_t k;

    for (size_t i = 0; i < x->shard_count; i++) {
        if (strcmp(x->shards[i].uid, shard_uid) != 0)
            continue;
        json_array_foreach (x->shards[i].sources, k, source) {
            const char *known = json_text(source, "where", NULL);
            if (known && strcmp(known, where) == 0)
                return true;
        }
    }
    return false;
}

const struct backup_file *planned_files_other(
    const struct executor *x, size_t database, const struct plan *plan)
{
    for (size_t s = 0; s < plan->shard_count; s++) {
        const struct plan_shard *shard = &plan->shards[s];
        if (strcmp(plan->databases[shard->database].database->uid, x->databases[database].uid) != 0)
            continue;
        for (size_t f = 0; f < shard->file_count; f++)
            if (!shard->files[f]->where || !has_file(x, shard->shard->uid, shard->files[f]->where))
                return shard->files[f];
    }
    return NULL;
}
