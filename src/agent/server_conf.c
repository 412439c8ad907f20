#include "server_conf.h"

#include <string.h>

#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/protocol.h"
#include "server_version.h"

/* Longer than any load: a node that is busy loading must not be taken for dead. */
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

static const char *string_of(const json_t *record, const char *name)
{
    const char *s = json_string_value(json_object_get(record, name));
    return s ? s : "";
}

static json_int_t int_of(const json_t *record, const char *name)
{
    return json_integer_value(json_object_get(record, name));
}

static void add_cluster(const json_t *record, struct buf *out)
{
    json_int_t port = int_of(record, "port"), bus_port = int_of(record, "bus_port");
    json_int_t databases = int_of(record, "databases");

    buf_adds(out, "cluster-enabled yes\n");
    if (databases > 1) /* Valkey 9 */
        buf_addf(out, "cluster-databases %" JSON_INTEGER_FORMAT "\n", databases);
    buf_adds(out, "cluster-config-file nodes.conf\n");
    buf_addf(out, "cluster-node-timeout %d\n", RECOVERY_NODE_TIMEOUT_MS);
    buf_adds(out, "cluster-replica-no-failover yes\n");
    add_quoted(out, "cluster-announce-ip", string_of(record, "addr"));
    /* Servers before 7.0 don't know the setting; they have this one port. */
    if (bus_port != port + 10000)
        buf_addf(out, "cluster-port %" JSON_INTEGER_FORMAT "\n", bus_port);
}

/* A replica that loads the same file takes up where the file ends: what its primary dropped since
 * must still be there then. */
static void add_replication(const json_t *record, struct buf *out)
{
    const json_t *primary = json_object_get(record, "primary");
    json_int_t backlog = int_of(record, "load_backlog_bytes");

    if (backlog < int_of(record, "repl_backlog_bytes"))
        backlog = int_of(record, "repl_backlog_bytes");
    add_quoted(out, "masteruser", REPLICATION_USER);
    add_quoted(out, "masterauth", string_of(record, "replication_password"));
    buf_adds(out, "repl-diskless-sync yes\n");
    buf_adds(out, "repl-diskless-sync-delay 0\n");
    buf_adds(out, "repl-backlog-ttl 0\n");
    if (backlog > 0)
        buf_addf(out, "repl-backlog-size %" JSON_INTEGER_FORMAT "\n", backlog);
    if (!int_of(record, "bus_port") && json_is_object(primary))
        buf_addf(out, "replicaof %s %" JSON_INTEGER_FORMAT "\n", string_of(primary, "addr"),
            int_of(primary, "port"));
}

static void add_conf(const json_t *record, const char *path, struct buf *out)
{
    json_int_t databases = int_of(record, "databases");

    add_quoted(out, "dir", path);
    add_quoted(out, "bind", string_of(record, "addr"));
    buf_addf(out, "port %" JSON_INTEGER_FORMAT "\n", int_of(record, "port"));
    buf_adds(out, "protected-mode no\n");
    buf_adds(out, "unixsocket redis.sock\n");
    buf_adds(out, "unixsocketperm 700\n");
    buf_adds(out, "daemonize yes\n");
    buf_adds(out, "pidfile redis.pid\n");
    buf_adds(out, "logfile server.log\n");
    buf_adds(out, "aclfile users.acl\n");
    if (databases > 16 && !int_of(record, "bus_port"))
        buf_addf(out, "databases %" JSON_INTEGER_FORMAT "\n", databases);
    buf_adds(out, "dbfilename dump.rdb\n");
    buf_adds(out, "save \"\"\n");
    buf_adds(out, "appendonly no\n");
    buf_adds(out, "maxmemory 0\n");
    buf_adds(out, "maxmemory-policy noeviction\n");
    server_conf_add_modules(json_object_get(record, "modules"), out);
    add_replication(record, out);
    if (int_of(record, "bus_port"))
        add_cluster(record, out);
    if (json_is_true(json_object_get(record, "fast_load")))
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
    const char *recovery = string_of(record, "recovery_password");
    const char *replication = string_of(record, "replication_password");
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
