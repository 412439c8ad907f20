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

void settings_add(struct making *m, const struct live_database *db, struct hash *bdb)
{
    const struct live_server *first = db->first;
    json_t *settings = json_object();

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
