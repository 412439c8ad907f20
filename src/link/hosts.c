#include "recluster/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "host_spec.h"
#include "recluster/file.h"
#include "recluster/json.h"

enum { HOSTS_MAX = 10000, HOSTS_FILE_BYTES_MAX = 16 << 20 };

static const char *const top_keys[] = {
    "defaults", "hosts", "old_nodes", "sources", "trusted_endpoints", "databases", "live", NULL};

static const char *const host_keys[] = {"name", "addr", "rack", "replaces", "link", "base_dir",
    "server", "memory", "user", "identity", "port", "known_hosts", "password", "passphrase",
    "command", "relay", "recovery_path", "prepare", "cores", "disk", "second_rack",
    "max_redis_servers", "modules", "run_as", "tls", "announce_hostname", "announce_addr",
    "announce_ports", "link_addr", NULL};

static const char *const old_node_keys[] = {"node", "addr", "link", "base_dir", "user", "identity",
    "port", "known_hosts", "password", "passphrase", "command", "recovery_path", "data_path",
    "relay", "share_login", NULL};

/* Not allowed in "defaults", because each host needs its own. */
static const char *const own_keys[] = {
    "name", "addr", "replaces", "announce_addr", "link_addr", NULL};

static const char *const link_kinds[] = {"local", "ssh", "command", NULL};

/* What a link to a host or an old node needs. */
static int get_link(const json_t *spec, const char *where, const char **ret_link,
    const char **ret_base_dir, struct err *err)
{
    *ret_link = "ssh";
    *ret_base_dir = "/var/lib/recluster";
    if (spec_text(spec, "link", where, ret_link, err) < 0 ||
        spec_text(spec, "base_dir", where, ret_base_dir, err) < 0)
        return -1;
    if (!spec_in_list(*ret_link, link_kinds)) {
        err_set(err, ERR_USAGE, "%sunknown link '%s'", where, *ret_link);
        return err_hint(err, "The links are local, ssh and command.");
    }
    if (**ret_base_dir != '/')
        return err_set(
            err, ERR_USAGE, "%sbase_dir '%s' is not an absolute path", where, *ret_base_dir);
    return 0;
}

static int read_values(struct arena *arena, struct host *h, const char *where, struct err *err)
{
    const char *run_as = NULL, *link_addr = NULL;

    h->server = "redis-server";
    h->has_tls = json_object_get(h->spec, "tls") != NULL;
    return spec_text(h->spec, "rack", where, &h->rack, err) < 0 ||
                   get_link(h->spec, where, &h->link, &h->base_dir, err) < 0 ||
                   spec_text(h->spec, "server", where, &h->server, err) < 0 ||
                   spec_node(arena, h->spec, "replaces", where, &h->replaces, err) < 0 ||
                   spec_text(h->spec, "second_rack", where, &h->second_rack, err) < 0 ||
                   spec_bytes(h->spec, "memory", where, &h->memory_bytes, err) < 0 ||
                   spec_bytes(h->spec, "disk", where, &h->disk_bytes, err) < 0 ||
                   spec_check_flag(h->spec, "relay", where, err) < 0 ||
                   spec_check_paths(h->spec, "recovery_path", where, err) < 0 ||
                   spec_check_modules(h->spec, where, err) < 0 ||
                   spec_text(h->spec, "run_as", where, &run_as, err) < 0 ||
                   spec_check_tls(h->spec, where, err) < 0 ||
                   spec_text(h->spec, "announce_hostname", where, &h->hostname, err) < 0 ||
                   spec_announced(arena, h->spec, h->addr, where, &h->announced, err) < 0 ||
                   spec_text(h->spec, "link_addr", where, &link_addr, err) < 0 ||
                   spec_count(h->spec, "cores", where, &h->cores, err) < 0 ||
                   spec_count(h->spec, "max_redis_servers", where, &h->max_shards, err) < 0
               ? -1
               : 0;
}

static int read_host(
    struct hosts *hosts, struct host *h, json_t *entry, json_t *defaults, size_t n, struct err *err)
{
    const char *name = json_text(entry, "name", NULL);
    char *where = name ? arena_printf(&hosts->arena, "host '%s': ", name)
                       : arena_printf(&hosts->arena, "host no. %zu: ", n);

    if (!json_is_object(entry))
        return err_set(err, ERR_USAGE, "%snot an object", where);
    if (spec_check_keys(entry, host_keys, where, err) < 0)
        return -1;
    h->spec = defaults ? json_copy(defaults) : json_object();
    json_object_update(h->spec, entry);
    spec_expand_paths(h->spec);
    if (spec_addr(&hosts->arena, h->spec, "addr", where, &h->addr, err) < 0 ||
        spec_text(h->spec, "name", where, &h->name, err) < 0)
        return -1;
    if (!h->addr) {
        err_set(err, ERR_USAGE, "%sno address", where);
        return err_hint(err, "Give it \"addr\", the IP address that its servers listen on.");
    }
    if (!h->name)
        h->name = h->addr;
    return read_values(&hosts->arena, h, where, err);
}

/* For an old node only the defaults of links apply; base_dir is for hosts. */
static json_t *old_node_spec(json_t *defaults, json_t *entry)
{
    json_t *spec = json_object(), *value;
    const char *key;

    json_object_foreach (defaults, key, value) {
        if (spec_in_list(key, old_node_keys) && strcmp(key, "base_dir") != 0)
            json_object_set(spec, key, value);
    }
    json_object_update(spec, entry);
    spec_expand_paths(spec);
    return spec;
}

static int read_old_node(struct hosts *hosts, struct old_node *o, json_t *entry, json_t *defaults,
    size_t n, struct err *err)
{
    char *where = arena_printf(&hosts->arena, "old node no. %zu: ", n);

    if (!json_is_object(entry))
        return err_set(err, ERR_USAGE, "%snot an object", where);
    if (spec_check_keys(entry, old_node_keys, where, err) < 0)
        return -1;
    o->spec = old_node_spec(defaults, entry);
    if (spec_node(&hosts->arena, o->spec, "node", where, &o->node, err) < 0 ||
        spec_addr(&hosts->arena, o->spec, "addr", where, &o->addr, err) < 0 ||
        get_link(o->spec, where, &o->link, &o->base_dir, err) < 0 ||
        spec_check_flag(o->spec, "relay", where, err) < 0 ||
        spec_check_flag(o->spec, "share_login", where, err) < 0 ||
        spec_check_paths(o->spec, "recovery_path", where, err) < 0 ||
        spec_check_paths(o->spec, "data_path", where, err) < 0)
        return -1;
    if (json_is_boolean(json_object_get(o->spec, "data_path")))
        return err_set(err, ERR_USAGE, "%s'data_path' is not an absolute path", where);
    if (o->node)
        return 0;
    err_set(err, ERR_USAGE, "%sno node is named", where);
    return err_hint(err, "Give it \"node\", the uid of the node in the CCS file.");
}

static int read_old_nodes(struct hosts *hosts, json_t *defaults, struct err *err)
{
    json_t *list = json_object_get(hosts->root, "old_nodes"), *entry;
    size_t count = json_array_size(list), i;

    if (list && !json_is_array(list))
        return err_set(err, ERR_USAGE, "'old_nodes' is not a list");
    if (count > HOSTS_MAX)
        return err_set(err, ERR_LIMIT, "%zu old nodes, more than %d", count, HOSTS_MAX);
    hosts->old_nodes = arena_alloc(&hosts->arena, (count + 1) * sizeof(*hosts->old_nodes));
    json_array_foreach (list, i, entry) {
        hosts->old_node_count = i + 1;
        if (read_old_node(hosts, &hosts->old_nodes[i], entry, defaults, i + 1, err) < 0)
            return -1;
    }
    return 0;
}

static int check_defaults(json_t *defaults, struct err *err)
{
    const char *key;
    json_t *value;

    if (!defaults)
        return 0;
    if (!json_is_object(defaults))
        return err_set(err, ERR_USAGE, "'defaults' is not an object");
    if (spec_check_keys(defaults, host_keys, "defaults: ", err) < 0)
        return -1;
    json_object_foreach (defaults, key, value) {
        if (spec_in_list(key, own_keys))
            return err_set(err, ERR_USAGE, "defaults: '%s' belongs to one host only", key);
    }
    return 0;
}

static int check_sources(json_t *sources, struct err *err)
{
    const char *database;
    json_t *location;

    if (!sources)
        return 0;
    if (!json_is_object(sources))
        return err_set(err, ERR_USAGE, "'sources' is not an object");
    json_object_foreach (sources, database, location) {
        if (json_is_string(location) || json_is_object(location))
            continue;
        err_set(err, ERR_USAGE, "sources: the location of '%s' is neither a text nor an object",
            database);
        return err_hint(err, "Write a URL or path, or an object with \"type\".");
    }
    return 0;
}

/* "sentinel": true, false, or how. */
static int check_sentinel(const json_t *entry, const char *where, struct err *err)
{
    static const char *const keys[] = {"name", "password", "port", "quorum", "down_after_ms",
        "failover_timeout_ms", "parallel_syncs", NULL};
    json_t *wish = json_object_get(entry, "sentinel");
    const char *name = NULL;
    int64_t n;

    if (!json_is_object(wish))
        return spec_check_flag(entry, "sentinel", where, err);
    if (spec_check_keys(wish, keys, where, err) < 0 ||
        spec_text(wish, "name", where, &name, err) < 0)
        return -1;
    if (name && name[strcspn(name, " \t\r\n\"'\\#")])
        return err_set(err, ERR_USAGE,
            "%sthe name '%s' of \"sentinel\" has a character that Sentinels cannot write", where,
            name);
    for (size_t i = 2; keys[i]; i++)
        if (spec_count(wish, keys[i], where, &n, err) < 0)
            return -1;
    if (json_int(wish, "port", 1) > UINT16_MAX)
        return err_set(err, ERR_USAGE, "%sthe port of \"sentinel\" is above %d", where, UINT16_MAX);
    return 0;
}

static int check_databases(json_t *databases, struct err *err)
{
    static const char *const keys[] = {"password", "open_access", "sentinel", NULL};
    const char *label;
    json_t *entry;

    if (databases && !json_is_object(databases))
        return err_set(err, ERR_USAGE, "'databases' is not an object");
    json_object_foreach (databases, label, entry) {
        AUTO_FREE char *where = xasprintf("databases: '%s': ", label);
        if (!json_is_object(entry))
            return err_set(err, ERR_USAGE, "%snot an object", where);
        if (spec_check_keys(entry, keys, where, err) < 0 ||
            spec_check_flag(entry, "open_access", where, err) < 0 ||
            check_sentinel(entry, where, err) < 0)
            return -1;
        if (json_object_get(entry, "password") && json_flag(entry, "open_access"))
            return err_set(err, ERR_USAGE, "%sboth a password and open access", where);
        if (json_is_string(json_object_get(entry, "password")) &&
            !*json_text(entry, "password", NULL)) {
            err_set(err, ERR_USAGE, "%sthe password is empty", where);
            return err_hint(err, "For a database without a password write \"open_access\": true.");
        }
    }
    return 0;
}

static int check_endpoints(const json_t *endpoints, struct err *err)
{
    static const char *const keys[] = {"url", "insecure", NULL};
    json_t *entry;
    size_t i;

    if (endpoints && !json_is_array(endpoints))
        return err_set(err, ERR_USAGE, "'trusted_endpoints' is not a list");
    json_array_foreach (endpoints, i, entry) {
        const json_t *url = json_is_object(entry) ? json_object_get(entry, "url") : entry;
        const char *text = json_string_value(url);
        if (json_is_object(entry) && spec_check_keys(entry, keys, "trusted_endpoints: ", err) < 0)
            return -1;
        if (text && strstr(text, "://") &&
            spec_check_flag(entry, "insecure", "trusted_endpoints: ", err) == 0)
            continue;
        err_set(err, ERR_USAGE, "trusted_endpoints: entry no. %zu is not the address of a server",
            i + 1);
        return err_hint(err, "Write \"https://storage.example.com\", or {\"url\": "
                             "\"http://10.0.0.9:9000\", \"insecure\": true}.");
    }
    return 0;
}

/* How the running cluster is asked. Secrets are resolved later. */
static int check_live(const json_t *live, struct err *err)
{
    static const char *const keys[] = {
        "addresses", "user", "password", "sentinel_user", "sentinel_password", "tls", "name", NULL};
    static const char *const tls_keys[] = {"ca", "cert", "key", "any_name", NULL};
    static const char *const texts[] = {"user", "sentinel_user", "name"};
    static const char *const files[] = {"ca", "cert", "key"};
    json_t *tls = json_object_get(live, "tls"), *address;
    const char *text;
    size_t i;

    if (!live)
        return 0;
    if (!json_is_object(live))
        return err_set(err, ERR_USAGE, "'live' is not an object");
    if (spec_check_keys((json_t *)(uintptr_t)live, keys, "live: ", err) < 0)
        return -1;
    for (i = 0; i < ARRAY_SIZE(texts); i++)
        if (spec_text(live, texts[i], "live: ", &text, err) < 0)
            return -1;
    json_array_foreach (json_object_get(live, "addresses"), i, address) {
        if (!json_is_string(address))
            return err_set(err, ERR_USAGE, "live: \"addresses\" is not a list of addresses");
    }
    if (tls && !json_is_boolean(tls) && !json_is_object(tls))
        return err_set(err, ERR_USAGE, "live: \"tls\" is neither true nor an object");
    if (!json_is_object(tls))
        return 0;
    if (spec_check_keys(tls, tls_keys, "live: tls: ", err) < 0)
        return -1;
    for (i = 0; i < ARRAY_SIZE(files); i++)
        if (spec_text(tls, files[i], "live: tls: ", &text, err) < 0)
            return -1;
    return spec_check_flag(tls, "any_name", "live: tls: ", err);
}

/* Servers of a cluster know each other by these addresses. `addrs`: {address: host}, added to. */
static int check_announced(const struct host *h, json_t *addrs, struct err *err)
{
    const char *other = json_text(addrs, h->announced, h->name);

    if (strcmp(other, h->name) != 0)
        return err_set(err, ERR_USAGE, "host '%s' announces the address of host '%s', %s", h->name,
            other, h->announced);
    json_object_set_new(addrs, h->announced, json_string(h->name));
    return 0;
}

/* Refuses a second host with the name or address of an earlier one. */
static int check_unique(const struct hosts *hosts, struct err *err)
{
    json_t *names = json_object(), *addrs = json_object();
    int result = 0;

    for (size_t i = 0; i < hosts->count && result == 0; i++) {
        const struct host *h = &hosts->hosts[i];
        const char *other = json_text(addrs, h->addr, NULL);
        if (json_object_get(names, h->name))
            result = err_set(err, ERR_USAGE, "two hosts have the name '%s'", h->name);
        else if (other)
            result = err_set(err, ERR_USAGE, "hosts '%s' and '%s' have the same address %s", other,
                h->name, h->addr);
        json_object_set_new(names, h->name, json_true());
        json_object_set_new(addrs, h->addr, json_string(h->name));
    }
    for (size_t i = 0; i < hosts->count && result == 0; i++)
        result = check_announced(&hosts->hosts[i], addrs, err);
    json_object_clear(names);
    for (size_t i = 0; i < hosts->old_node_count && result == 0; i++) {
        const struct old_node *o = &hosts->old_nodes[i];
        if (json_object_get(names, o->node))
            result = err_set(err, ERR_USAGE, "two old nodes are node:%s", o->node);
        json_object_set_new(names, o->node, json_true());
    }
    json_decref(names);
    json_decref(addrs);
    return result;
}

static int parse(struct hosts *hosts, struct err *err)
{
    json_t *defaults = json_object_get(hosts->root, "defaults");
    json_t *list = json_object_get(hosts->root, "hosts");
    json_t *entry;
    size_t i;

    if (!json_is_object(hosts->root))
        return err_set(err, ERR_USAGE, "not a JSON object");
    hosts->sources = json_object_get(hosts->root, "sources");
    hosts->trusted_endpoints = json_object_get(hosts->root, "trusted_endpoints");
    hosts->databases = json_object_get(hosts->root, "databases");
    hosts->live = json_object_get(hosts->root, "live");
    if (spec_check_keys(hosts->root, top_keys, "", err) < 0 || check_defaults(defaults, err) < 0 ||
        check_sources(hosts->sources, err) < 0 ||
        check_endpoints(hosts->trusted_endpoints, err) < 0 ||
        check_databases(hosts->databases, err) < 0 || check_live(hosts->live, err) < 0)
        return -1;
    if (json_array_size(list) == 0) {
        err_set(err, ERR_USAGE, "no hosts");
        return err_hint(err, "List the machines: {\"hosts\": [{\"name\": \"a1\", \"addr\": …}]}.");
    }
    if (json_array_size(list) > HOSTS_MAX)
        return err_set(err, ERR_LIMIT, "%zu hosts, more than %d", json_array_size(list), HOSTS_MAX);
    hosts->hosts = arena_alloc(&hosts->arena, json_array_size(list) * sizeof(*hosts->hosts));
    json_array_foreach (list, i, entry) {
        /* The count is set first, so that hosts_free() frees the specs after an error too. */
        hosts->count = i + 1;
        if (read_host(hosts, &hosts->hosts[i], entry, defaults, i + 1, err) < 0)
            return -1;
    }
    return read_old_nodes(hosts, defaults, err) < 0 ? -1 : check_unique(hosts, err);
}

struct hosts *hosts_parse(const json_t *root, struct err *err)
{
    struct hosts *hosts = xcalloc(1, sizeof(*hosts));

    arena_init(&hosts->arena);
    hosts->root = json_deep_copy(root);
    if (parse(hosts, err) < 0) {
        hosts_free(hosts);
        return NULL;
    }
    return hosts;
}

struct hosts *hosts_load(const char *path, struct err *err)
{
    struct buf text = BUF_INIT;
    struct hosts *hosts = NULL;
    json_error_t where;

    if (file_read(path, HOSTS_FILE_BYTES_MAX, &text, err) < 0) {
        buf_release(&text);
        return NULL;
    }
    json_t *root = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        err_set(err, ERR_USAGE, "hosts file '%s', line %d, column %d: %s", path, where.line,
            where.column, where.text);
    else if (!(hosts = hosts_parse(root, err)))
        err_wrap(err, "hosts file '%s'", path);
    json_decref(root);
    buf_release(&text);
    return hosts;
}

static int append(struct hosts *hosts, struct hosts *more, struct err *err)
{
    const struct hosts old = *hosts;
    size_t count = old.count + more->count;
    size_t node_count = old.old_node_count + more->old_node_count;
    struct host *all = arena_alloc(&hosts->arena, count * sizeof(*all));
    struct old_node *nodes = arena_alloc(&hosts->arena, (node_count + 1) * sizeof(*nodes));

    if (count > HOSTS_MAX)
        return err_set(err, ERR_LIMIT, "%zu hosts, more than %d", count, HOSTS_MAX);
    memcpy(all, old.hosts, old.count * sizeof(*all));
    memcpy(all + old.count, more->hosts, more->count * sizeof(*all));
    memcpy(nodes, old.old_nodes, old.old_node_count * sizeof(*nodes));
    memcpy(nodes + old.old_node_count, more->old_nodes, more->old_node_count * sizeof(*nodes));
    hosts->hosts = all;
    hosts->count = count;
    hosts->old_nodes = nodes;
    hosts->old_node_count = node_count;
    if (check_unique(hosts, err) < 0) {
        hosts->hosts = old.hosts;
        hosts->count = old.count;
        hosts->old_nodes = old.old_nodes;
        hosts->old_node_count = old.old_node_count;
        return -1;
    }
    more->count = more->old_node_count = 0; /* the specs belong to `hosts` now */
    return 0;
}

int hosts_add(struct hosts *hosts, const char *path, struct err *err)
{
    struct hosts *more = hosts_load(path, err);

    if (!more)
        return -1;
    if (append(hosts, more, err) < 0) {
        hosts_free(more);
        return err_wrap(err, "hosts file '%s'", path);
    }
    more->more = hosts->more;
    hosts->more = more;
    return 0;
}

void hosts_free(struct hosts *hosts)
{
    if (!hosts)
        return;
    hosts_free(hosts->more);
    for (size_t i = 0; i < hosts->count; i++)
        json_decref(hosts->hosts[i].spec);
    for (size_t i = 0; i < hosts->old_node_count; i++)
        json_decref(hosts->old_nodes[i].spec);
    json_decref(hosts->root);
    arena_release(&hosts->arena);
    free(hosts);
}

const struct old_node *hosts_old_node(const struct hosts *hosts, const char *uid)
{
    for (size_t i = 0; i < hosts->old_node_count; i++)
        if (strcmp(hosts->old_nodes[i].node, uid) == 0)
            return &hosts->old_nodes[i];
    return NULL;
}
