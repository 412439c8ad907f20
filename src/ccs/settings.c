#include "settings.h"

#include <stdint.h>
#include <string.h>

#include "recluster/json.h"
#include "setting_defaults.h"

/* Settings that tune a server, of Redis 6.0 to 8 and Valkey 7.2 to 9. */
static const char *const restored[] = {"acl-pubsub-default", "acllog-max-len",
    "active-defrag-cycle-max", "active-defrag-cycle-min", "active-defrag-cycle-us",
    "active-defrag-ignore-bytes", "active-defrag-max-scan-fields", "active-defrag-threshold-lower",
    "active-defrag-threshold-upper", "active-expire-effort", "activedefrag", "activerehashing",
    "always-show-logo", "aof-disable-auto-gc", "aof-load-truncated",
    "aof-rewrite-incremental-fsync", "aof-timestamp-enabled", "aof-use-rdb-preamble",
    "auto-aof-rewrite-min-size", "auto-aof-rewrite-percentage", "busy-reply-threshold",
    "client-output-buffer-limit", "client-query-buffer-limit",
    "cluster-allow-pubsubshard-when-down", "cluster-allow-reads-when-down",
    "cluster-allow-replica-migration", "cluster-announce-human-nodename", "cluster-blacklist-ttl",
    "cluster-compatibility-sample-ratio", "cluster-databases", "cluster-link-sendbuf-limit",
    "cluster-manual-failover-timeout", "cluster-migration-barrier", "cluster-node-timeout",
    "cluster-preferred-endpoint-type", "cluster-replica-no-failover",
    "cluster-replica-validity-factor", "cluster-require-full-coverage",
    "cluster-slot-migration-log-max-len", "cluster-slot-stats-enabled",
    "commandlog-execution-slower-than", "commandlog-large-reply-max-len",
    "commandlog-large-request-max-len", "commandlog-reply-larger-than",
    "commandlog-request-larger-than", "commandlog-slow-execution-max-len", "crash-log-enabled",
    "crash-memcheck-enabled", "databases", "dual-channel-replication-enabled", "dynamic-hz",
    "events-per-io-thread", "extended-redis-compatibility", "hash-max-listpack-entries",
    "hash-max-listpack-value", "hash-max-ziplist-entries", "hash-max-ziplist-value",
    "hide-user-data-from-log", "hll-sparse-max-bytes", "hz", "io-threads", "io-threads-do-reads",
    "jemalloc-bg-thread", "latency-monitor-threshold", "latency-tracking",
    "latency-tracking-info-percentiles", "lazyfree-lazy-eviction", "lazyfree-lazy-expire",
    "lazyfree-lazy-server-del", "lazyfree-lazy-user-del", "lazyfree-lazy-user-flush",
    "lfu-decay-time", "lfu-log-factor", "list-compress-depth", "list-max-listpack-size",
    "list-max-ziplist-size", "loglevel", "lua-replicate-commands", "lookahead", "lua-time-limit",
    "max-new-connections-per-cycle", "max-new-tls-connections-per-cycle", "maxmemory-clients",
    "maxmemory-eviction-tenacity", "maxmemory-samples", "min-io-threads-avoid-copy-reply",
    "min-replicas-max-lag", "min-replicas-to-write", "min-string-size-avoid-copy-reply",
    "no-appendfsync-on-rewrite", "notify-keyspace-events", "oom-score-adj-values",
    "prefetch-batch-max-size", "proc-title-template", "propagation-error-behavior",
    "proto-max-bulk-len", "rdb-del-sync-files", "rdb-save-incremental-fsync", "rdbchecksum",
    "rdbcompression", "repl-backlog-size", "repl-backlog-ttl", "repl-disable-tcp-nodelay",
    "repl-diskless-load", "repl-diskless-sync", "repl-diskless-sync-delay",
    "repl-diskless-sync-max-replicas", "repl-ping-replica-period", "repl-rdb-channel",
    "repl-timeout", "replica-announced", "replica-full-sync-buffer-limit",
    "replica-ignore-disk-write-errors", "replica-ignore-maxmemory", "replica-lazy-flush",
    "replica-priority", "replica-read-only", "replica-serve-stale-data", "sanitize-dump-payload",
    "save", "set-max-intset-entries", "set-max-listpack-entries", "set-max-listpack-value",
    "set-proc-title", "shutdown-on-sigint", "shutdown-on-sigterm", "shutdown-timeout",
    "slot-migration-max-failover-repl-bytes", "slowlog-log-slower-than", "slowlog-max-len",
    "stop-writes-on-bgsave-error", "stream-node-max-bytes", "stream-node-max-entries",
    "syslog-facility", "syslog-ident", "tcp-backlog", "tcp-keepalive", "timeout",
    "tls-auth-clients", "tls-ciphers", "tls-ciphersuites", "tls-prefer-server-ciphers",
    "tls-protocols", "tls-session-cache-size", "tls-session-cache-timeout", "tls-session-caching",
    "tracking-table-max-keys", "zset-max-listpack-entries", "zset-max-listpack-value",
    "zset-max-ziplist-entries", "zset-max-ziplist-value"};

/* Restored by other means, each with a field of its own, or another name of one that is. */
static const char *const elsewhere[] = {"appendfsync", "appendonly", "cluster-enabled",
    "cluster-slave-no-failover", "cluster-slave-validity-factor", "ignore-warnings", "maxclients",
    "maxmemory", "maxmemory-policy", "min-slaves-max-lag", "min-slaves-to-write",
    "repl-ping-slave-period", "slave-announced", "slave-ignore-maxmemory", "slave-lazy-flush",
    "slave-priority", "slave-read-only", "slave-serve-stale-data"};

/* recluster gives each new server its own: names of files, addresses, ports, logins of replicas. */
static const char *const own[] = {"aclfile", "appenddirname", "appendfilename", "bind",
    "bind-source-addr", "cluster-announce-bus-port", "cluster-announce-client-ipv4",
    "cluster-announce-client-ipv6", "cluster-announce-client-port",
    "cluster-announce-client-tls-port", "cluster-announce-hostname", "cluster-announce-ip",
    "cluster-announce-port", "cluster-announce-tls-port", "cluster-config-file", "cluster-port",
    "daemonize", "dbfilename", "dir", "disable-thp", "logfile", "masterauth", "masteruser",
    "pidfile", "port", "primaryauth", "primaryuser", "protected-mode", "rdma-bind", "rdma-port",
    "replica-announce-ip", "replica-announce-port", "replicaof", "slave-announce-ip",
    "slave-announce-port", "slaveof", "supervised", "tls-ca-cert-dir", "tls-ca-cert-file",
    "tls-cert-file", "tls-client-cert-file", "tls-client-key-file", "tls-cluster",
    "tls-dh-params-file", "tls-key-file", "tls-port", "tls-replication", "unixsocket",
    "unixsocketgroup", "unixsocketperm"};

/*
 * The same, but `capture` keeps passwords out of redis_config. The password of "requirepass" holds,
 * as a hash of user default.
 */
static const char *const own_secrets[] = {
    "masterauth", "primaryauth", "requirepass", "tls-client-key-file-pass", "tls-key-file-pass"};

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

void settings_divide(const json_t *redis_config, struct settings_parts *ret)
{
    const char *name;
    json_t *value;

    *ret = (struct settings_parts){
        json_object(), json_object(), json_array(), json_array(), json_array()};
    for (size_t i = 0; i < ARRAY_SIZE(own_secrets); i++)
        json_array_append_new(ret->own, json_string(own_secrets[i]));
    json_object_foreach ((json_t *)(uintptr_t)redis_config, name, value) {
        const char *text = json_string_value(value);
        if (!text)
            continue;
        enum setting_default is = setting_compare(redis_config, name, text);
        if (is_among(name, restored, ARRAY_SIZE(restored))) {
            json_object_set(ret->restored, name, value);
            if (is == SETTING_USUAL)
                json_object_set_new(ret->usual, name, json_true());
        } else if (is_among(name, own, ARRAY_SIZE(own)))
            json_array_append_new(ret->own, json_string(name));
        else if (is_among(name, elsewhere, ARRAY_SIZE(elsewhere)))
            json_array_append_new(ret->elsewhere, json_string(name));
        else if (is == SETTING_UNKNOWN ? !is_unset(text) : is == SETTING_CHANGED)
            json_array_append_new(ret->left, json_string(name));
    }
}
