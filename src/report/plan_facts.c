#include "plan_facts.h"

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "recluster/plan.h"

int64_t plan_set_bytes(const json_t *set)
{
    int64_t total = 0;
    size_t i;
    json_t *file;

    json_array_foreach (json_object_get(set, "files"), i, file) {
        int64_t bytes = doc_int(file, "bytes", -1);
        if (bytes < 0)
            return -1;
        total += bytes;
    }
    return total;
}

void plan_endpoint(const json_t *endpoint, struct buf *out)
{
    const char *addr = doc_text(endpoint, "addr", "?");
    bool v6 = strchr(addr, ':') != NULL;

    buf_addf(
        out, "%s%s%s:%" PRId64, v6 ? "[" : "", addr, v6 ? "]" : "", doc_int(endpoint, "port", 0));
}

void plan_endpoints(const json_t *database, size_t max, struct buf *out)
{
    const json_t *endpoints = json_object_get(database, "endpoints");
    size_t count = json_array_size(endpoints);

    for (size_t i = 0; i < count && i < max; i++) {
        buf_adds(out, i > 0 ? ", " : "");
        plan_endpoint(json_array_get(endpoints, i), out);
    }
    if (count > max)
        buf_addf(out, ", … and %zu more", count - max);
    if (count == 0)
        buf_adds(out, "none");
}

void plan_host_shards(const json_t *plan, const char *host, size_t max, struct buf *out)
{
    size_t found = 0, i, k;
    json_t *database, *shard;

    json_array_foreach (json_object_get(plan, "databases"), i, database) {
        json_array_foreach (json_object_get(database, "shards"), k, shard) {
            if (strcmp(doc_text(shard, "host", ""), host) != 0 || found++ >= max)
                continue;
            buf_addf(out, "%sshard:%s%s", found > 1 ? ", " : "", doc_text(shard, "uid", "?"),
                strcmp(doc_text(shard, "role", ""), "replica") == 0 ? " (replica)" : "");
        }
    }
    if (found > max)
        buf_addf(out, ", … and %zu more (see --json)", found - max);
}

const char *stage_word(int64_t stage)
{
    return stage >= STAGE_PREPARE && stage <= STAGE_OPEN ? plan_stage_name((enum plan_stage)stage)
                                                         : "?";
}
