#include "plan_facts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "doc.h"
#include "recluster/json.h"
#include "recluster/plan.h"

int64_t plan_set_bytes(const json_t *set)
{
    int64_t total = 0;
    size_t i;
    json_t *file;

    json_array_foreach (json_object_get(set, "files"), i, file) {
        int64_t bytes = json_int(file, "bytes", -1);
        if (bytes < 0)
            return -1;
        total += bytes;
    }
    return total;
}

double plan_total_seconds(const json_t *plan)
{
    double seconds = 0;
    size_t i;
    json_t *stage;

    json_array_foreach (json_object_get(plan, "stages"), i, stage) {
        seconds += json_number(stage, "seconds", 0);
    }
    return seconds;
}

void plan_endpoint(const json_t *endpoint, struct buf *out)
{
    const char *addr = json_text(endpoint, "addr", "?");
    bool v6 = strchr(addr, ':') != NULL;

    buf_addf(out, "%s%s%s:%" PRId64, v6 ? "[" : "", addr, v6 ? "]" : "",
        (int64_t)json_int(endpoint, "port", 0));
    if (json_flag(endpoint, "tls"))
        buf_adds(out, " (TLS)");
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

void plan_sentinels(const json_t *database, struct buf *out)
{
    json_t *sentinel;
    size_t i;

    json_array_foreach (json_object_get(database, "sentinels"), i, sentinel) {
        buf_addf(out, "%s%s (", i > 0 ? ", " : "", json_text(sentinel, "host", "?"));
        json_t *seen = json_pack("{s:O, s:O}", "addr",
            json_object_get(
                sentinel, json_has(sentinel, "announce_addr") ? "announce_addr" : "addr"),
            "port",
            json_object_get(
                sentinel, json_has(sentinel, "announce_port") ? "announce_port" : "port"));
        plan_endpoint(seen, out);
        json_decref(seen);
        buf_addc(out, ')');
    }
}

void plan_host_shards(const json_t *plan, const char *host, size_t max, struct buf *out)
{
    size_t found = 0, i, k;
    json_t *database, *shard;

    json_array_foreach (json_object_get(plan, "databases"), i, database) {
        json_array_foreach (json_object_get(database, "shards"), k, shard) {
            if (strcmp(json_text(shard, "host", ""), host) != 0 || found++ >= max)
                continue;
            buf_addf(out, "%sshard:%s%s", found > 1 ? ", " : "", json_text(shard, "uid", "?"),
                strcmp(json_text(shard, "role", ""), "replica") == 0 ? " (replica)" : "");
        }
    }
    if (found > max)
        buf_addf(out, ", … and %zu more (see --json)", found - max);
}

static int by_host(const void *a, const void *b)
{
    const struct plan_placed *x = a, *y = b;
    int order = strcmp(x->host, y->host);

    if (order == 0)
        order = (x->database_index > y->database_index) - (x->database_index < y->database_index);
    /* Both are in one array, which is sorted by the slots of their primaries. */
    return order ? order : (x->position > y->position) - (x->position < y->position);
}

static void find_racks(struct plan_layout *layout, const json_t *plan)
{
    const json_t *hosts = json_object_get(plan, "hosts");
    json_t *known = json_object(), *host;
    size_t i;

    layout->racks = xcalloc(json_array_size(hosts) + 1, sizeof(*layout->racks));
    json_array_foreach (hosts, i, host) {
        const char *rack = json_text(host, "rack", "");
        if (json_object_get(known, rack))
            continue;
        json_object_set_new(known, rack, json_true());
        layout->racks[layout->rack_count++] = rack;
    }
    json_decref(known);
}

void plan_layout_init(struct plan_layout *layout, const json_t *plan)
{
    size_t i, k, alloc = 0;
    json_t *database, *shard;

    *layout = (struct plan_layout){.placed = NULL};
    json_array_foreach (json_object_get(plan, "databases"), i, database) {
        json_array_foreach (json_object_get(database, "shards"), k, shard) {
            if (!json_has(shard, "host"))
                continue;
            GROW(layout->placed, layout->count, alloc);
            layout->placed[layout->count++] =
                (struct plan_placed){json_text(shard, "host", ""), database, shard, i, k};
        }
    }
    if (layout->count > 0)
        qsort(layout->placed, layout->count, sizeof(*layout->placed), by_host);
    find_racks(layout, plan);
}

void plan_layout_release(struct plan_layout *layout)
{
    free(layout->placed);
    free(layout->racks);
}

const struct plan_placed *plan_layout_of(
    const struct plan_layout *layout, const char *host, size_t *ret_count)
{
    size_t low = 0, high = layout->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(layout->placed[middle].host, host) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (high = low; high < layout->count && strcmp(layout->placed[high].host, host) == 0;)
        high++;
    *ret_count = high - low;
    return layout->placed + low;
}

const char *stage_word(int64_t stage)
{
    return stage >= STAGE_PREPARE && stage <= STAGE_OPEN ? plan_stage_name((enum plan_stage)stage)
                                                         : "?";
}
