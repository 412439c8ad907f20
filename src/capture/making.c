/* The nodes and the findings of a CCS file in the making. */

#include "making.h"

#include <stdarg.h>
#include <string.h>

#include "recluster/hosts.h"
#include "recluster/json.h"

static const struct host *host_at(const struct capture_params *params, const char *addr)
{
    for (size_t i = 0; params->hosts && i < params->hosts->count; i++)
        if (strcmp(params->hosts->hosts[i].addr, addr) == 0)
            return &params->hosts->hosts[i];
    return NULL;
}

struct hash *making_node(struct making *m, const char *addr, const struct live_server *server)
{
    const struct host *host = host_at(m->params, addr);
    struct hash *node = document_find(&m->now, "node", "addr", addr);
    const struct hash *before = document_find(&m->before, "node", "addr", addr);

    if (!node) {
        node = document_add(
            &m->now, "node", before ? before->uid : document_new_uid(&m->now, &m->before, "node"));
        hash_set(&m->now, node, "addr", addr);
        hash_set(&m->now, node, "status", "down");
        hash_set(&m->now, node, "rack_id", host ? host->rack : hash_get(before, "rack_id"));
        hash_set(&m->now, node, "second_rack_id",
            host ? host->second_rack : hash_get(before, "second_rack_id"));
        hash_set(&m->now, node, "software_version", hash_get(before, "software_version"));
        hash_set(&m->now, node, "os_name", hash_get(before, "os_name"));
        hash_set(&m->now, node, "total_memory", hash_get(before, "total_memory"));
    }
    if (server) {
        hash_set(&m->now, node, "status", "active");
        const char *valkey = live_info(m->live, server, "valkey_version");
        hash_set(&m->now, node, "software_version",
            valkey ? valkey : live_info(m->live, server, "redis_version"));
        hash_set(&m->now, node, "os_name", live_info(m->live, server, "os"));
        hash_set(&m->now, node, "total_memory", live_info(m->live, server, "total_system_memory"));
    }
    return node;
}

void making_finding(struct making *m, const char *code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *message = xvasprintf(fmt, args);
    va_end(args);
    json_array_append_new(
        m->findings, json_pack("{s:s, s:o}", "code", code, "message", json_text_of(message)));
}
