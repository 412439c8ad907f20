/* redis_config: what CONFIG GET says, as JSON. */

#include <stdlib.h>
#include <string.h>

#include "database.h"
#include "recluster/json.h"

/* Passwords have fields of their own, which are masked wherever a CCS file is shown. */
static bool is_secret(const char *name)
{
    return strstr(name, "pass") || strstr(name, "secret") || strcmp(name, "masterauth") == 0 ||
           strcmp(name, "primaryauth") == 0;
}

static bool is_equal_on_all(const struct live_database *db, const struct live_setting *setting)
{
    for (size_t i = 0; i < db->count; i++) {
        const char *value = live_setting(db->servers[i], setting->name);
        if (!value || strcmp(value, setting->value) != 0)
            return false;
    }
    return true;
}

static void set_json(struct making *m, struct hash *h, json_t *settings)
{
    AUTO_FREE char *text =
        json_object_size(settings) ? json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    hash_set(&m->now, h, "redis_config", text);
    json_decref(settings);
}

static void add_setting(
    struct making *m, json_t *settings, const struct live_setting *s, const struct live_server *of)
{
    if (json_object_set_new(settings, s->name, json_string(s->value)) < 0)
        making_finding(m, "setting-not-text", "the setting %.64s of %s:%d is not text", s->name,
            of->addr, of->port);
}

/* Whether the server listens at this address or port itself. */
static bool is_own(const struct live_server *s, const char *name, const char *value)
{
    const char *port = live_setting(s, strstr(name, "-tls-port") ? "tls-port" : "port");
    const char *bind = live_setting(s, "bind"), *bus = live_setting(s, "cluster-port");

    if (strstr(name, "-ip"))
        return bind && strstr(bind, value);
    if (strstr(name, "-bus-port"))
        return atoi(value) == (bus && atoi(bus) ? atoi(bus) : s->port + 10000);
    return port && strcmp(port, value) == 0;
}

/* Addresses that clients and other servers were told instead of the server's own. */
static void find_announced(struct making *m, const struct live_server *s)
{
    static const char *const names[] = {"cluster-announce-ip", "cluster-announce-port",
        "cluster-announce-tls-port", "cluster-announce-bus-port", "replica-announce-ip",
        "replica-announce-port"};
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *value = live_setting(s, names[i]);
        if (value && *value && strcmp(value, "0") != 0 && !is_own(s, names[i], value))
            buf_addf(&text, "%s%s %s", text.len ? ", " : "", names[i], value);
    }
    if (text.len)
        making_finding(m, "announced",
            "the server %s:%d announced another address than its own (%s); the new servers "
            "announce those of their hosts",
            s->addr, s->port, text.data);
}

void settings_add(struct making *m, const struct live_database *db, struct hash *bdb)
{
    const struct live_server *first = db->first;
    json_t *settings = json_object();

    for (size_t i = 0; i < db->count; i++)
        find_announced(m, db->servers[i]);

    for (size_t i = 0; i < first->setting_count; i++)
        if (!is_secret(first->settings[i].name) && is_equal_on_all(db, &first->settings[i]))
            add_setting(m, settings, &first->settings[i], first);
    set_json(m, bdb, settings);
}

void settings_add_own(struct making *m, const struct live_database *db,
    const struct live_server *server, struct hash *shard)
{
    json_t *settings = json_object();

    for (size_t i = 0; i < server->setting_count; i++)
        if (!is_secret(server->settings[i].name) && !is_equal_on_all(db, &server->settings[i]))
            add_setting(m, settings, &server->settings[i], server);
    set_json(m, shard, settings);
}
