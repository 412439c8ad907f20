#include "agents.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/host_link.h"
#include "recluster/json.h"
#include "recluster/store.h"

enum { AGAIN_MS = 15 * 1000, PEM_BYTES_MAX = 1 << 20 };

struct agent {
    struct agents *all;
    const struct host *host; /* NULL: this machine */
    struct link *link;       /* NULL: not open */
    bool ready;
    int64_t again_at_ms; /* it was lost */
};

struct agents {
    const struct backup_params *params;
    struct loop *loop;
    void (*wake)(void *arg);
    void *arg;
    struct agent *agents; /* of the hosts, and last of this machine */
    size_t host_count;
    bool told_about_local, closing;
};

/* --- one agent --- */

static void on_ready(void *arg)
{
    struct agent *g = arg;

    g->ready = true;
    g->all->wake(g->all->arg);
}

static void on_failed(void *arg, const struct err *err)
{
    struct agent *g = arg;
    struct link *link = g->link;

    if (!link || g->all->closing)
        return;
    g->link = NULL;
    g->ready = false;
    g->again_at_ms = clock_mono_ms() + AGAIN_MS;
    if (g->host && g->all->params->warn) {
        AUTO_FREE char *text = xasprintf("host '%s' cannot be used now: %s%s%s", g->host->name,
            err->message, *err->hint ? " " : "", err->hint);
        g->all->params->warn(g->all->params->arg, text);
    }
    link_close(link);
    g->all->wake(g->all->arg);
}

static int open_local(struct agent *g, struct err *err)
{
    static const struct link_events events = {on_failed};
    const struct link_target target = {.host = "this machine", .kind = "local"};

    g->ready = true;
    return link_open(g->all->loop, &target, &events, g, &g->link, err);
}

static int open_agent(struct agent *g, struct err *err)
{
    if (!g->host)
        return open_local(g, err);
    const struct host_opening opening = {
        .target = {.host = g->host->name, .kind = g->host->link, .spec = g->host->spec},
        .base_dir = g->host->base_dir,
        .ready = on_ready,
        .failed = on_failed,
        .arg = g,
    };
    return host_link_open(g->all->params->links, g->all->loop, &opening, &g->link, err);
}

/* --- all --- */

struct agents *agents_new(
    const struct backup_params *params, struct loop *loop, void (*wake)(void *arg), void *arg)
{
    struct agents *a = xmalloc(sizeof(*a));

    *a = (struct agents){.params = params, .loop = loop, .wake = wake, .arg = arg};
    a->host_count = params->hosts ? params->hosts->count : 0;
    a->agents = xcalloc(a->host_count + 1, sizeof(*a->agents));
    for (size_t i = 0; i <= a->host_count; i++)
        a->agents[i] =
            (struct agent){.all = a, .host = i < a->host_count ? &params->hosts->hosts[i] : NULL};
    return a;
}

void agents_free(struct agents *a)
{
    if (!a)
        return;
    a->closing = true;
    for (size_t i = 0; i <= a->host_count; i++)
        link_close(a->agents[i].link);
    free(a->agents);
    free(a);
}

static struct agent *agent_at(struct agents *a, const char *addr)
{
    for (size_t i = 0; i < a->host_count; i++)
        if (strcmp(a->agents[i].host->addr, addr) == 0)
            return &a->agents[i];
    return NULL;
}

/* 1: it is ready; 0: not yet; -1: not now. */
static int prepare(struct agent *g, struct err *err)
{
    if (!g->link && g->again_at_ms > clock_mono_ms())
        return -1;
    if (!g->link && open_agent(g, err) < 0)
        return -1;
    return g->ready;
}

static void tell_about_local(struct agents *a, const struct backup_shard *shard)
{
    if (!a->host_count || a->told_about_local || !a->params->warn)
        return;
    a->told_about_local = true;
    AUTO_FREE char *text = xasprintf("no host of the hosts file that can be used now has the "
                                     "servers of %s: this machine reads from them",
        shard->label);
    a->params->warn(a->params->arg, text);
}

int agents_find(struct agents *a, const struct backup_shard *shard, size_t first,
    struct agent_place *ret, struct err *err)
{
    for (size_t i = 0; i < shard->source_count; i++) {
        size_t source = (first + i) % shard->source_count;
        struct agent *g = agent_at(a, shard->sources[source].server->addr);
        struct err failure = ERR_INIT;
        int rc = g ? prepare(g, &failure) : -1;
        if (rc >= 0) {
            *ret = (struct agent_place){g->link, g->host, source};
            return rc;
        }
        if (failure.code != ERR_NONE) {
            *err = failure;
            return -1;
        }
    }
    tell_about_local(a, shard);
    struct agent *local = &a->agents[a->host_count];
    int rc = prepare(local, err);
    if (rc < 0 && err->code == ERR_NONE)
        return 0; /* it was lost a moment ago */
    *ret = (struct agent_place){local->link, NULL, first};
    return rc;
}

/* --- parameters --- */

static json_t *sources_of(const struct backup_shard *shard, size_t first)
{
    json_t *sources = json_array();

    for (size_t i = 0; i < shard->source_count; i++) {
        const struct live_server *s = shard->sources[(first + i) % shard->source_count].server;
        json_array_append_new(sources,
            json_pack("{s:s, s:i, s:s*}", "addr", s->addr, "port", s->port, "name", s->name));
    }
    return sources;
}

/* Their content: the files are on this machine. */
static int add_pem(json_t *tls, const char *key, const char *path, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (!path)
        return 0;
    if (file_read(path, PEM_BYTES_MAX, &text, err) < 0)
        return -1;
    json_t *value = json_stringn(text.data, text.len);
    explicit_bzero(text.data, text.len);
    if (!value)
        return err_set(err, ERR_USAGE, "'%s' is not a file in PEM", path);
    json_object_set_new(tls, key, value);
    return 0;
}

static int add_login(json_t *params, const struct backup_params *backup, struct err *err)
{
    const struct live_login *login = &backup->ask->login;
    const char *password = secret_reveal(login->password);
    const struct tls_params *files = backup->tls;

    if (password)
        json_object_set_new(
            params, "login", json_pack("{s:s*, s:s}", "user", login->user, "password", password));
    if (!files)
        return 0;
    json_t *tls = json_pack("{s:b}", "any_name", files->any_name);
    json_object_set_new(params, "tls", tls);
    return add_pem(tls, "ca", files->ca, err) < 0 || add_pem(tls, "cert", files->cert, err) < 0 ||
                   add_pem(tls, "key", files->key, err) < 0
               ? -1
               : 0;
}

/* What hosts only write to needs no key that decrypts: such a key does not leave this machine. */
static json_t *location_to_write(const struct backup_params *params)
{
    json_t *location = json_deep_copy(params->location);

    if (json_is_object(location))
        json_object_del(location, STORE_DECRYPT_KEY);
    return location;
}

json_t *agents_params(const struct backup_params *params, const struct backup_shard *shard,
    const struct agent_place *place, const char *witness, struct err *err)
{
    json_t *ret = json_pack("{s:o, s:o}", "sources", sources_of(shard, place->source), "location",
        location_to_write(params));

    if (params->recipients)
        json_object_set_new(ret, "recipients", json_deep_copy(params->recipients));
    if (place->host && strcmp(place->host->link, "local") != 0)
        json_object_set_new(ret, "witness", json_string(witness));
    if (add_login(ret, params, err) < 0) {
        json_decref(ret);
        return NULL;
    }
    return ret;
}
