#include "shard_params.h"

#include "recluster/announced.h"
#include "recluster/json.h"
#include <stdlib.h>
#include <string.h>

json_t *shard_params(const struct executor *x, const struct shard_run *s)
{
    const struct database_run *db = &x->databases[s->database];

    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?}", "base_dir", x->hosts[s->host].base_dir,
        "recovery", x->recovery, "dir", s->dir, "recovery_password", x->recovery_password,
        "password", db->password, "admin_password", db->admin_password);
}

json_t *shard_place(const struct shard_run *s)
{
    return json_pack("{s:s, s:i}", "addr", s->seen_addr, "port", s->seen_port);
}

json_t *shard_meeting_place(const struct shard_run *s)
{
    return json_pack("{s:s, s:i, s:i}", "addr", s->seen_addr, "port", s->seen_port, "bus_port",
        s->seen_bus_port);
}

void shard_add_announced(const struct host_run *h, json_t *params)
{
    static const char *const names[] = {"port", "other_port", "bus_port"};

    if (!announced_differs(h->spec))
        return;
    json_t *announced =
        json_pack("{s:s}", "addr", announced_addr(h->spec, json_text(params, "addr", "")));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int port = (int)json_int(params, names[i], 0), seen = announced_port(h->spec, port);
        if (port && seen != port)
            json_object_set_new(announced, names[i], json_integer(seen));
    }
    json_object_set_new(params, "announce", announced);
}

static const char *repl_id(const struct shard_run *s)
{
    return json_text(s->facts, "repl_id", NULL);
}

bool shard_loads_file(const struct executor *x, const struct shard_run *s)
{
    if (s->is_primary || !s->facts)
        return s->facts != NULL;
    const char *ours = repl_id(s), *theirs = repl_id(&x->shards[s->primary]);
    return ours && theirs && strcmp(ours, theirs) == 0;
}

bool shard_has_free_replica(const struct executor *x, const struct shard_run *s)
{
    const struct shard_run *primary = s->is_primary ? s : &x->shards[s->primary];
    const struct database_run *db = &x->databases[s->database];

    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        if (!x->shards[i].is_primary && &x->shards[x->shards[i].primary] == primary &&
            x->shards[i].file)
            return true;
    return false;
}

void shard_add_databases(const struct executor *x, const struct shard_run *s, json_t *params)
{
    const struct shard_run *primary = s->is_primary ? s : &x->shards[s->primary];
    json_t *by_db = json_object_get(primary->facts, "keys_by_db"), *keys;
    const json_t *server = json_object_get(x->hosts[s->host].facts, "server");
    const char *number;
    long needed = 0;

    /* Nodes of a cluster need the same number, and start before all files have been read. */
    if (s->bus_port) {
        const json_t *settings = x->databases[s->database].ccs->settings;
        const char *before = json_text(settings, "cluster-databases", NULL);
        json_int_t databases = before ? atoll(before) : settings ? 1 : CLUSTER_DATABASES;
        if (json_flag(server, "cluster_databases"))
            json_object_set_new(params, "databases", json_integer(databases));
        return;
    }
    json_object_foreach (by_db, number, keys) {
        long db = strtol(number, NULL, 10);
        if (json_integer_value(keys) > 0 && db >= needed)
            needed = db + 1;
    }
    if (needed)
        json_object_set_new(params, "databases", json_integer(needed));
}

json_t *shard_settings(const struct executor *x, const struct shard_run *s, const char *when)
{
    const json_t *server = json_object_get(x->hosts[s->host].facts, "server");
    const json_t *wanted = json_object_get(server, "wanted");
    AUTO_FREE char *own = xasprintf("shard:%s", s->uid);
    const char *labels[] = {x->databases[s->database].label, own};
    json_t *settings = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
        json_t *some = json_object_get(json_object_get(wanted, labels[i]), when);
        if (some)
            json_object_update(settings, some);
    }
    return settings;
}

bool database_uses_tls(const struct executor *x, const struct database_run *db)
{
    bool all = db->ccs->tls;

    for (size_t i = db->first_shard; all && i < db->first_shard + db->shard_count; i++)
        all = json_object_get(x->hosts[x->shards[i].host].spec, "tls") != NULL;
    return all;
}

void shard_add_server(const struct executor *x, const struct host_run *h,
    const struct database_run *db, json_t *params)
{
    json_object_set_new(params, "server", json_string(h->server));
    if (json_object_get(h->spec, "run_as"))
        json_object_set(params, "run_as", json_object_get(h->spec, "run_as"));
    if (!database_uses_tls(x, db))
        return;
    json_t *tls = json_copy(json_object_get(h->spec, "tls"));
    json_object_set_new(tls, "clients", json_string(db->ccs->client_certificates ? "yes" : "no"));
    json_object_set_new(params, "tls", tls);
}
