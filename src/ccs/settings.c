#include "settings.h"

#include <stdint.h>
#include <string.h>

#include "recluster/json.h"

/* Settings that tune a server, of Redis 6.0 to 8 and Valkey 7.2 to 9. */
static const char *const restored[] = {"acl-pubsub-default", "acllog-max-len",
    "active-defrag-cycle-max", "active-defrag-cycle-min", "active-defrag-cycle-us",
    "active-defrag-ignore-bytes", "active-defrag-max-scan-fields", "active-defrag-threshold-lower",
    "active-defrag-threshold-upper", "active-expire-effort", "activedefrag", "activerehashing",
    "aof-load-truncated", "aof-rewrite-incremental-fsync", "aof-timestamp-enabled",
    "aof-use-rdb-preamble", "auto-aof-rewrite-min-size", "auto-aof-rewrite-percentage",
    "busy-reply-threshold", "client-output-buffer-limit", "client-query-buffer-limit",
    "cluster-allow-pubsubshard-when-down", "cluster-allow-reads-when-down",
    "cluster-allow-replica-migration", "cluster-databases", "cluster-link-sendbuf-limit",
    "cluster-migration-barrier", "cluster-node-timeout", "cluster-preferred-endpoint-type",
    "cluster-replica-no-failover", "cluster-replica-validity-factor",
    "cluster-require-full-coverage", "cluster-slot-stats-enabled",
    "commandlog-execution-slower-than", "commandlog-large-reply-max-len",
    "commandlog-large-request-max-len", "commandlog-reply-larger-than",
    "commandlog-request-larger-than", "commandlog-slow-execution-max-len", "crash-log-enabled",
    "crash-memcheck-enabled", "databases", "dual-channel-replication-enabled", "dynamic-hz",
    "events-per-io-thread", "hash-max-listpack-entries", "hash-max-listpack-value",
    "hash-max-ziplist-entries", "hash-max-ziplist-value", "hide-user-data-from-log",
    "hll-sparse-max-bytes", "hz", "io-threads", "io-threads-do-reads", "jemalloc-bg-thread",
    "latency-monitor-threshold", "latency-tracking", "latency-tracking-info-percentiles",
    "lazyfree-lazy-eviction", "lazyfree-lazy-expire", "lazyfree-lazy-server-del",
    "lazyfree-lazy-user-del", "lazyfree-lazy-user-flush", "lfu-decay-time", "lfu-log-factor",
    "list-compress-depth", "list-max-listpack-size", "list-max-ziplist-size", "loglevel",
    "lookahead", "lua-time-limit", "max-new-connections-per-cycle",
    "max-new-tls-connections-per-cycle", "maxmemory-clients", "maxmemory-eviction-tenacity",
    "maxmemory-samples", "min-io-threads-avoid-copy-reply", "min-replicas-max-lag",
    "min-replicas-to-write", "min-string-size-avoid-copy-reply", "no-appendfsync-on-rewrite",
    "notify-keyspace-events", "prefetch-batch-max-size", "propagation-error-behavior",
    "proto-max-bulk-len", "rdb-del-sync-files", "rdb-save-incremental-fsync", "rdbchecksum",
    "rdbcompression", "repl-backlog-size", "repl-backlog-ttl", "repl-disable-tcp-nodelay",
    "repl-diskless-load", "repl-diskless-sync", "repl-diskless-sync-delay",
    "repl-diskless-sync-max-replicas", "repl-ping-replica-period", "repl-rdb-channel",
    "repl-timeout", "replica-announced", "replica-full-sync-buffer-limit",
    "replica-ignore-disk-write-errors", "replica-ignore-maxmemory", "replica-lazy-flush",
    "replica-priority", "replica-read-only", "replica-serve-stale-data", "sanitize-dump-payload",
    "set-max-intset-entries", "set-max-listpack-entries", "set-max-listpack-value",
    "slowlog-log-slower-than", "slowlog-max-len", "stop-writes-on-bgsave-error",
    "stream-node-max-bytes", "stream-node-max-entries", "tcp-backlog", "tcp-keepalive", "timeout",
    "tracking-table-max-keys", "zset-max-listpack-entries", "zset-max-listpack-value",
    "zset-max-ziplist-entries", "zset-max-ziplist-value"};

/* Restored in another way, aliases of others, or irrelevant to a new server. */
static const char *const handled[] = {"aclfile", "always-show-logo", "aof-disable-auto-gc",
    "appenddirname", "appendfilename", "appendfsync", "appendonly", "bind", "cluster-announce-ip",
    "cluster-announce-port", "cluster-announce-bus-port", "cluster-announce-tls-port",
    "cluster-config-file", "cluster-enabled", "cluster-port", "cluster-slave-no-failover",
    "cluster-slave-validity-factor", "daemonize", "dbfilename", "dir", "disable-thp",
    "ignore-warnings", "logfile", "maxclients", "maxmemory", "maxmemory-policy", "masteruser",
    "min-slaves-max-lag", "min-slaves-to-write", "pidfile", "port", "primaryuser",
    "proc-title-template", "protected-mode", "repl-ping-slave-period", "replicaof", "save",
    "set-proc-title", "slave-ignore-maxmemory", "slave-lazy-flush", "slave-priority",
    "slave-read-only", "slave-serve-stale-data", "slave-announced", "slaveof", "supervised",
    "syslog-facility", "syslog-ident", "unixsocketperm", "unixsocketgroup", "rdma-port",
    "shutdown-timeout", "shutdown-on-sigint", "shutdown-on-sigterm", "oom-score-adj-values",
    "extended-redis-compatibility"};

static bool is_among(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

/* As servers show a setting that is not used. */
static bool is_unset(const char *value)
{
    static const char *const values[] = {"", "no", "0", "-1"};
    return is_among(value, values, ARRAY_SIZE(values));
}

void settings_divide(const json_t *redis_config, json_t **ret_restored, json_t **ret_left)
{
    const char *name;
    json_t *value;

    *ret_restored = json_object();
    *ret_left = json_array();
    json_object_foreach ((json_t *)(uintptr_t)redis_config, name, value) {
        const char *text = json_string_value(value);
        if (!text)
            continue;
        if (is_among(name, restored, ARRAY_SIZE(restored)))
            json_object_set(*ret_restored, name, value);
        else if (!is_unset(text) && strncmp(name, "tls-", 4) != 0 &&
                 !is_among(name, handled, ARRAY_SIZE(handled)))
            json_array_append_new(*ret_left, json_string(name));
    }
}
