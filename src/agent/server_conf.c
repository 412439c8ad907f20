#include "server_conf.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "server_version.h"

enum { DATABASES_DEFAULT = 16 };

/* Longer than any load: a node must not be considered failed while it loads. */
enum { RECOVERY_NODE_TIMEOUT_MS = 600 * 1000 };

static void add_word(struct buf *out, const char *value)
{
    buf_addc(out, '"');
    for (const char *p = value; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            buf_addf(out, "\\x%02x", c);
        else
            buf_addc(out, *p);
    }
    buf_addc(out, '"');
}

void server_conf_add_setting(const char *name, const char *value, struct buf *conf)
{
    if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
        return;
    buf_addf(conf, "%s ", name);
    add_word(conf, value);
    buf_addc(conf, '\n');
}

static void add_quoted(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "%s ", name);
    add_word(out, value);
    buf_addc(out, '\n');
}

void server_conf_add_modules(const json_t *modules, struct buf *conf)
{
    const json_t *module, *word;
    size_t i, k;

    json_array_foreach (modules, i, module) {
        buf_adds(conf, "loadmodule");
        if (json_is_string(module)) {
            buf_addc(conf, ' ');
            add_word(conf, json_string_value(module));
        }
        json_array_foreach (module, k, word) {
            if (!json_is_string(word))
                continue;
            buf_addc(conf, ' ');
            add_word(conf, json_string_value(word));
        }
        buf_addc(conf, '\n');
    }
}

/* Where others reach the server: protocol.h. */
static const char *announced_address(const json_t *record)
{
    return json_text(json_object_get(record, "announce"), "addr", json_text(record, "addr", ""));
}

static void add_announced(const json_t *record, const char *port, const char *name, struct buf *out)
{
    json_int_t number = json_int(json_object_get(record, "announce"), port, 0);

    if (number)
        buf_addf(out, "%s %" JSON_INTEGER_FORMAT "\n", name, number);
}

/* Before 7.0 a server has one name for the port of its cluster. */
static void add_announced_ports(const json_t *record, bool tls_name, struct buf *out)
{
    const json_t *tls = json_object_get(record, "tls");
    bool inside = tls && tls_name && !json_is_false(json_object_get(tls, "inside"));

    add_announced(
        record, "port", inside ? "cluster-announce-tls-port" : "cluster-announce-port", out);
    if (tls && tls_name)
        add_announced(record, "other_port",
            inside ? "cluster-announce-port" : "cluster-announce-tls-port", out);
    add_announced(record, "bus_port", "cluster-announce-bus-port", out);
}

static void add_cluster(const json_t *record, struct buf *out)
{
    json_int_t port = json_int(record, "port", 0), bus_port = json_int(record, "bus_port", 0);
    json_int_t databases = json_int(record, "databases", 0);

    buf_adds(out, "cluster-enabled yes\n");
    if (databases > 1) /* Valkey 9 */
        buf_addf(out, "cluster-databases %" JSON_INTEGER_FORMAT "\n", databases);
    buf_adds(out, "cluster-config-file nodes.conf\n");
    buf_addf(out, "cluster-node-timeout %d\n", RECOVERY_NODE_TIMEOUT_MS);
    buf_adds(out, "cluster-replica-no-failover yes\n");
    struct server_version version;
    server_version_of_record(record, &version);
    add_quoted(out, "cluster-announce-ip", announced_address(record));
    add_announced_ports(record, server_version_at_least(&version, 7, 0), out);
    if (json_text(record, "announce_hostname", NULL) && server_version_at_least(&version, 7, 0))
        add_quoted(out, "cluster-announce-hostname", json_text(record, "announce_hostname", ""));
    /* Servers before 7.0 do not know the setting; they have this one port. */
    if (bus_port != port + 10000)
        buf_addf(out, "cluster-port %" JSON_INTEGER_FORMAT "\n", bus_port);
}

/*
 * A replica that loads the same file continues at the file's offset, so the primary must keep all
 * later commands, such as those that remove expired keys.
 */
static void add_replication(const json_t *record, struct buf *out)
{
    const json_t *primary = json_object_get(record, "primary");
    json_int_t backlog = json_int(record, "load_backlog_bytes", 0);

    if (backlog < json_int(record, "repl_backlog_bytes", 0))
        backlog = json_int(record, "repl_backlog_bytes", 0);
    add_quoted(out, "masteruser", REPLICATION_USER);
    add_quoted(out, "masterauth", json_text(record, "replication_password", ""));
    buf_adds(out, "repl-diskless-sync yes\n");
    buf_adds(out, "repl-diskless-sync-delay 0\n");
    buf_adds(out, "repl-backlog-ttl 0\n");
    if (backlog > 0)
        buf_addf(out, "repl-backlog-size %" JSON_INTEGER_FORMAT "\n", backlog);
    /* Sentinels reach a replica where it says, not where its connection seems to come from. */
    if (!json_int(record, "bus_port", 0)) {
        add_quoted(out, "replica-announce-ip", announced_address(record));
        add_announced(record, "port", "replica-announce-port", out);
    }
    if (!json_int(record, "bus_port", 0) && json_is_object(primary))
        buf_addf(out, "replicaof %s %" JSON_INTEGER_FORMAT "\n", json_text(primary, "addr", ""),
            json_int(primary, "port", 0));
}

/*
 * How many databases there were, and as many as the data needs. "databases" of the record is what
 * the data needs, but in a cluster of Valkey 9 it is the number for "cluster-databases".
 */
static void add_databases(const json_t *record, struct buf *out)
{
    const char *wanted = json_text(json_object_get(record, "settings"), "databases", NULL);
    json_int_t needed = json_int(record, "bus_port", 0) ? 0 : json_int(record, "databases", 0);
    json_int_t databases = wanted ? atoll(wanted) : DATABASES_DEFAULT;

    if (databases < needed)
        databases = needed;
    if (databases != DATABASES_DEFAULT)
        buf_addf(out, "databases %" JSON_INTEGER_FORMAT "\n", databases);
}

/* Those of the database that a server takes only at its start; "databases" is decided above. */
static void add_settings(const json_t *record, struct buf *out)
{
    const char *name;
    json_t *value;

    json_object_foreach (json_object_get(record, "settings"), name, value) {
        if (json_is_string(value) && !strstr(name, "databases"))
            server_conf_add_setting(name, json_string_value(value), out);
    }
}

/*
 * "port" is that of replication and of the cluster bus; a second one is for clients that want TLS,
 * or none. "tls-replication" also decides how a Sentinel connects.
 */
static void add_port(const json_t *record, struct buf *out)
{
    const json_t *tls = json_object_get(record, "tls");
    json_int_t port = json_int(record, "port", 0), other = json_int(record, "other_port", 0);
    const bool inside = !json_is_false(json_object_get(tls, "inside"));

    if (!tls) {
        buf_addf(out, "port %" JSON_INTEGER_FORMAT "\n", port);
        return;
    }
    add_quoted(out, "tls-cert-file", json_text(tls, "cert", ""));
    add_quoted(out, "tls-key-file", json_text(tls, "key", ""));
    add_quoted(out, "tls-ca-cert-file", json_text(tls, "ca", ""));
    add_quoted(out, "tls-auth-clients", json_text(tls, "clients", "yes"));
    buf_addf(out, "port %" JSON_INTEGER_FORMAT "\ntls-port %" JSON_INTEGER_FORMAT "\n",
        inside ? other : port, inside ? port : other);
    buf_addf(out, "tls-replication %s\n", inside ? "yes" : "no");
    if (json_int(record, "bus_port", 0))
        buf_addf(out, "tls-cluster %s\n", inside ? "yes" : "no");
}

/* What a server of data and a Sentinel have in common. */
static void add_process(const json_t *record, const char *path, struct buf *out)
{
    add_quoted(out, "dir", path);
    add_quoted(out, "bind", json_text(record, "addr", ""));
    add_port(record, out);
    buf_adds(out, "protected-mode no\n");
    buf_adds(out, "unixsocket redis.sock\n");
    buf_adds(out, "unixsocketperm 700\n");
    buf_adds(out, "daemonize yes\n");
    buf_adds(out, "pidfile redis.pid\n");
    buf_adds(out, "logfile server.log\n");
}

static void add_conf(const json_t *record, const char *path, struct buf *out)
{
    add_process(record, path, out);
    buf_adds(out, "aclfile users.acl\n");
    add_databases(record, out);
    buf_adds(out, "dbfilename dump.rdb\n");
    buf_adds(out, "save \"\"\n");
    buf_adds(out, "appendonly no\n");
    buf_adds(out, "maxmemory 0\n");
    buf_adds(out, "maxmemory-policy noeviction\n");
    server_conf_add_modules(json_object_get(record, "modules"), out);
    add_settings(record, out);
    add_replication(record, out);
    if (json_int(record, "bus_port", 0))
        add_cluster(record, out);
    if (json_flag(record, "fast_load"))
        buf_adds(out, "disable-thp no\n");
}

const char *const *server_acl_all(const json_t *record)
{
    static const char *const with_channels[] = {"~*", "&*", "+@all", NULL};
    static const char *const without_channels[] = {"~*", "+@all", NULL};
    struct server_version version;

    server_version_of_record(record, &version);
    return server_version_at_least(&version, 6, 2) ? with_channels : without_channels;
}

static void add_users(const json_t *record, struct buf *out)
{
    const char *recovery = json_text(record, "recovery_password", "");
    const char *replication = json_text(record, "replication_password", "");
    char hex[DIGEST_HEX_MAX];

    buf_adds(out, "user default off\n");
    buf_addf(out, "user %s on #%s", RECOVERY_USER, digest_of(recovery, strlen(recovery), hex));
    for (const char *const *rule = server_acl_all(record); *rule; rule++)
        buf_addf(out, " %s", *rule);
    buf_addf(out, "\nuser %s off #%s +psync +sync +replconf +ping\n", REPLICATION_USER,
        digest_of(replication, strlen(replication), hex));
}

int server_conf_write(const json_t *record, const char *path, struct err *err)
{
    CLEANUP(buf_release) struct buf users = BUF_INIT;
    CLEANUP(buf_release) struct buf conf = BUF_INIT;

    add_users(record, &users);
    add_conf(record, path, &conf);
    if (file_write_atomic("users.acl", users.data, users.len, 0600, err) < 0)
        return -1;
    return file_write_atomic("redis.conf", conf.data, conf.len, 0600, err);
}

/* "sentinel OPTION NAME VALUE" */
static void add_watch(struct buf *out, const char *option, const char *name, const char *value)
{
    buf_addf(out, "sentinel %s ", option);
    add_word(out, name);
    buf_addc(out, ' ');
    add_word(out, value);
    buf_addc(out, '\n');
}

static void add_watch_number(
    struct buf *out, const char *option, const char *name, const json_t *watch, const char *field)
{
    json_int_t n = json_int(watch, field, 0);
    AUTO_FREE char *value = xasprintf("%" JSON_INTEGER_FORMAT, n);

    if (n > 0)
        add_watch(out, option, name, value);
}

/*
 * Sentinels believe the one with the highest epoch. One of an earlier generation may still run on a
 * lost host, and must not lead the new ones to its servers. A failover counts up by one.
 */
static void add_epochs(const json_t *record, const char *name, struct buf *out)
{
    AUTO_FREE char *epoch = xasprintf("%lld", (long long)json_int(record, "generation", 0) << 32);

    if (!json_int(record, "generation", 0))
        return;
    buf_addf(out, "sentinel current-epoch %s\n", epoch);
    add_watch(out, "config-epoch", name, epoch);
}

int server_conf_write_sentinel(
    const json_t *record, const json_t *watch, const char *path, struct err *err)
{
    const char *name = json_text(watch, "name", ""), *user = json_text(watch, "user", NULL);
    CLEANUP(buf_release) struct buf conf = BUF_INIT;
    AUTO_FREE char *place = xasprintf("%" JSON_INTEGER_FORMAT " %" JSON_INTEGER_FORMAT,
        json_int(watch, "port", 0), json_int(watch, "quorum", 0));

    add_process(record, path, &conf);
    /* Sentinels also log in to each other with it. */
    if (json_text(record, "own_password", NULL))
        add_quoted(&conf, "requirepass", json_text(record, "own_password", ""));
    add_quoted(&conf, "sentinel announce-ip", announced_address(record));
    add_announced(record, "port", "sentinel announce-port", &conf);
    buf_adds(&conf, "sentinel monitor ");
    add_word(&conf, name);
    buf_addf(&conf, " %s %s\n", json_text(watch, "addr", ""), place);
    add_epochs(record, name, &conf);
    if (user) {
        add_watch(&conf, "auth-user", name, user);
        add_watch(&conf, "auth-pass", name, json_text(watch, "password", ""));
    }
    add_watch_number(&conf, "down-after-milliseconds", name, watch, "down_after_ms");
    add_watch_number(&conf, "failover-timeout", name, watch, "failover_timeout_ms");
    add_watch_number(&conf, "parallel-syncs", name, watch, "parallel_syncs");
    return file_write_atomic("redis.conf", conf.data, conf.len, 0600, err);
}
