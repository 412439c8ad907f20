#include "setting_defaults.h"

#include <stdbool.h>
#include <string.h>

#include "recluster/json.h"
#include "recluster/mem.h"

static const struct {
    const char *name, *redis;
    const char *valkey;     /* NULL: as of Redis */
    const char *other_name; /* that all servers know; NULL: none */
} defaults[] = {
    {"acl-pubsub-default", "resetchannels", NULL, NULL},
    {"active-defrag-cycle-us", "500", NULL, NULL},
    {"aof-disable-auto-gc", "no", NULL, NULL},
    {"aof-rewrite-cpulist", "", NULL, "aof_rewrite_cpulist"},
    {"aof-timestamp-enabled", "no", NULL, NULL},
    {"availability-zone", "", NULL, NULL},
    {"bgsave-cpulist", "", NULL, "bgsave_cpulist"},
    {"bio-cpulist", "", NULL, "bio_cpulist"},
    {"busy-reply-threshold", "5000", NULL, "lua-time-limit"},
    {"cluster-allow-pubsubshard-when-down", "yes", NULL, NULL},
    {"cluster-allow-replica-migration", "yes", NULL, NULL},
    {"cluster-announce-human-nodename", "", NULL, NULL},
    {"cluster-blacklist-ttl", "60", NULL, NULL},
    {"cluster-compatibility-sample-ratio", "0", NULL, NULL},
    {"cluster-config-save-behavior", "sync", NULL, NULL},
    {"cluster-databases", "1", NULL, NULL},
    {"cluster-link-sendbuf-limit", "0", NULL, NULL},
    {"cluster-manual-failover-timeout", "5000", NULL, NULL},
    {"cluster-preferred-endpoint-type", "ip", NULL, NULL},
    {"cluster-slot-migration-log-max-len", "1000", NULL, NULL},
    {"cluster-slot-stats-enabled", "no", NULL, NULL},
    {"commandlog-execution-slower-than", "10000", NULL, "slowlog-log-slower-than"},
    {"commandlog-large-reply-max-len", "128", NULL, NULL},
    {"commandlog-large-request-max-len", "128", NULL, NULL},
    {"commandlog-reply-larger-than", "1048576", NULL, NULL},
    {"commandlog-request-larger-than", "1048576", NULL, NULL},
    {"commandlog-slow-execution-max-len", "128", NULL, "slowlog-max-len"},
    {"crash-log-enabled", "yes", NULL, NULL},
    {"crash-memcheck-enabled", "yes", NULL, NULL},
    {"dual-channel-replication-enabled", "no", NULL, NULL},
    {"dynamic-hz", "yes", NULL, NULL},
    {"enable-debug-command", "no", NULL, NULL},
    {"enable-module-command", "no", NULL, NULL},
    {"enable-protected-configs", "no", NULL, NULL},
    {"events-per-io-thread", "2", NULL, NULL},
    {"extended-redis-compatibility", "no", NULL, NULL},
    {"gopher-enabled", "no", NULL, NULL},
    {"hash-max-listpack-entries", "512", NULL, "hash-max-ziplist-entries"},
    {"hash-max-listpack-value", "64", NULL, "hash-max-ziplist-value"},
    {"hash-seed", "", NULL, NULL},
    {"hide-user-data-from-log", "no", "yes", NULL},
    {"import-mode", "no", NULL, NULL},
    {"io-threads-do-reads", "no", "yes", NULL},
    {"key-load-delay", "0", NULL, NULL},
    {"latency-tracking", "yes", NULL, NULL},
    {"latency-tracking-info-percentiles", "50 99 99.9", NULL, NULL},
    {"lazyfree-lazy-user-flush", "no", "yes", NULL},
    {"list-max-listpack-size", "-2", NULL, "list-max-ziplist-size"},
    {"locale-collate", "", NULL, NULL},
    {"log-format", "legacy", NULL, NULL},
    {"log-timestamp-format", "legacy", NULL, NULL},
    {"lua-replicate-commands", "yes", NULL, NULL},
    {"max-new-connections-per-cycle", "10", NULL, NULL},
    {"max-new-tls-connections-per-cycle", "1", NULL, NULL},
    {"maxmemory-clients", "0", NULL, NULL},
    {"maxmemory-eviction-tenacity", "10", NULL, NULL},
    {"mptcp", "no", NULL, NULL},
    {"prefetch-batch-max-size", "16", NULL, NULL},
    {"proc-title-template", "{title} {listen-addr} {server-mode}", NULL, NULL},
    {"propagation-error-behavior", "ignore", NULL, NULL},
    {"rdb-key-save-delay", "0", NULL, NULL},
    {"rdb-version-check", "strict", NULL, NULL},
    {"rdma-completion-vector", "-1", NULL, NULL},
    {"rdma-rx-size", "1048576", NULL, NULL},
    {"repl-diskless-sync-max-replicas", "0", NULL, NULL},
    {"repl-mptcp", "no", NULL, NULL},
    {"replica-announced", "yes", NULL, NULL},
    {"replica-full-sync-buffer-limit", "0", NULL, NULL},
    {"replica-ignore-disk-write-errors", "no", NULL, NULL},
    {"sanitize-dump-payload", "no", NULL, NULL},
    {"server-cpulist", "", NULL, "server_cpulist"},
    {"set-max-listpack-entries", "128", NULL, NULL},
    {"set-max-listpack-value", "64", NULL, NULL},
    {"set-proc-title", "yes", NULL, NULL},
    {"shutdown-on-sigint", "default", NULL, NULL},
    {"shutdown-on-sigterm", "default", NULL, NULL},
    {"shutdown-timeout", "10", NULL, NULL},
    {"slot-migration-max-failover-repl-bytes", "0", NULL, NULL},
    {"socket-mark-id", "0", NULL, NULL},
    {"tls-auth-clients-user", "off", NULL, NULL},
    {"tls-auto-reload-interval", "0", NULL, NULL},
    {"watchdog-period", "0", NULL, NULL},
    {"zset-max-listpack-entries", "128", NULL, "zset-max-ziplist-entries"},
    {"zset-max-listpack-value", "64", NULL, "zset-max-ziplist-value"},
};

/* Since 8.0: before, Valkey had the settings and defaults of Redis 7.2. */
static bool is_valkey(const json_t *config)
{
    return json_object_get(config, "extended-redis-compatibility") != NULL;
}

enum setting_default setting_compare(const json_t *config, const char *name, const char *value)
{
    size_t i = 0;

    while (i < ARRAY_SIZE(defaults) && strcmp(defaults[i].name, name) != 0)
        i++;
    if (i == ARRAY_SIZE(defaults))
        return SETTING_UNKNOWN;
    const char *usual =
        defaults[i].valkey && is_valkey(config) ? defaults[i].valkey : defaults[i].redis;
    const char *same =
        defaults[i].other_name ? json_text(config, defaults[i].other_name, NULL) : NULL;
    bool is_same = same && strcmp(same, value) == 0;
    return is_same || strcmp(usual, value) == 0 ? SETTING_USUAL : SETTING_CHANGED;
}
