#include "topology.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "recluster/buf.h"

const char *live_info(struct live *live, const struct live_server *server, const char *field)
{
    return server->info ? info_line(&live->arena, server->info, field) : NULL;
}

int64_t live_info_int(
    struct live *live, const struct live_server *server, const char *field, int64_t missing)
{
    const char *text = live_info(live, server, field);
    char *end;

    if (!text)
        return missing;
    long long n = strtoll(text, &end, 10);
    return end == text ? missing : n;
}

static int by_setting(const void *name, const void *setting)
{
    return strcmp(name, ((const struct live_setting *)setting)->name);
}

const char *live_setting(const struct live_server *server, const char *name)
{
    const struct live_setting *s = server->setting_count
                                       ? bsearch(name, server->settings, server->setting_count,
                                             sizeof(*server->settings), by_setting)
                                       : NULL;
    return s ? s->value : NULL;
}

const struct live_node *live_myself(const struct live_server *server)
{
    for (size_t i = 0; i < server->node_count; i++)
        if (server->nodes[i].myself)
            return &server->nodes[i];
    return NULL;
}

bool live_is_primary(struct live *live, const struct live_server *server)
{
    const struct live_node *own = live_myself(server);
    const char *role = live_info(live, server, "role");

    return own ? !own->primary_id : role && strcmp(role, "master") == 0;
}

/* --- one entry for each server --- */

static int by_address(const void *a, const void *b)
{
    const struct live_server *x = *(struct live_server *const *)a,
                             *y = *(struct live_server *const *)b;
    int order = strcmp(x->addr, y->addr);
    return order ? order : x->port - y->port;
}

/* Whether the server is called by the address under which others know it. */
static bool is_known_so(const struct live_server *s)
{
    const struct live_node *own = live_myself(s);
    return own ? strcmp(own->addr, s->addr) == 0 && own->port == s->port : !s->seed;
}

static void remove_duplicates(struct live *live)
{
    size_t kept = 0;

    for (size_t i = 0; i < live->count; i++) {
        struct live_server *s = live->servers[i];
        const char *run_id = live_info(live, s, "run_id");
        size_t same = 0;
        while (same < kept && run_id) {
            const char *other = live_info(live, live->servers[same], "run_id");
            if (other && strcmp(other, run_id) == 0)
                break;
            same++;
        }
        if (!run_id || same == kept)
            live->servers[kept++] = s;
        else if (is_known_so(s) && !is_known_so(live->servers[same]))
            live->servers[same] = s;
    }
    live->count = kept;
}

/* --- which servers belong together --- */

static int by_id(const void *id, const void *node)
{
    return strcmp(id, ((const struct live_node *)node)->id);
}

static bool knows(const struct live_server *s, const char *id)
{
    return s->node_count && bsearch(id, s->nodes, s->node_count, sizeof(*s->nodes), by_id);
}

static bool is_one_cluster(const struct live_server *a, const struct live_server *b)
{
    const struct live_node *x = live_myself(a), *y = live_myself(b);
    return x && y && (knows(a, y->id) || knows(b, x->id));
}

const struct live_server *live_server_at(const struct live *live, const char *addr, int port)
{
    for (size_t i = 0; i < live->count; i++) {
        const struct live_server *s = live->servers[i];
        if (s->port == port &&
            (strcmp(s->addr, addr) == 0 || (s->name && strcmp(s->name, addr) == 0)))
            return s;
    }
    return NULL;
}

bool live_is_whole(const struct live_server *server)
{
    return server->answered && server->error.code == ERR_NONE;
}

/* The primary that a server of no cluster follows, through other replicas; itself if none. */
static const struct live_server *root_of(struct live *live, const struct live_server *s)
{
    for (size_t hops = 0; hops < live->count; hops++) {
        const char *host = live_info(live, s, "master_host");
        const struct live_server *above =
            host ? live_server_at(live, host, (int)live_info_int(live, s, "master_port", 0)) : NULL;
        if (!above || !live_is_whole(above))
            return s;
        s = above;
    }
    return s;
}

/* Replicas of a primary that cannot be asked belong together as well. */
static bool is_one_group(
    struct live *live, const struct live_server *a, const struct live_server *b)
{
    if (a->mode != b->mode || a->mode == LIVE_SENTINEL)
        return false;
    if (a->mode == LIVE_CLUSTER)
        return is_one_cluster(a, b);
    a = root_of(live, a);
    b = root_of(live, b);
    const char *x = live_info(live, a, "master_host"), *y = live_info(live, b, "master_host");
    return a == b || (x && y && strcmp(x, y) == 0 &&
                         live_info_int(live, a, "master_port", 0) ==
                             live_info_int(live, b, "master_port", 0));
}

/* Primaries first, then by address, as the list of all is sorted. */
static void sort_primaries_first(struct live *live, struct live_database *db)
{
    const struct live_server **sorted = arena_alloc(&live->arena, db->count * sizeof(*sorted));
    size_t at = 0;

    for (int primary = 1; primary >= 0; primary--)
        for (size_t i = 0; i < db->count; i++)
            if (live_is_primary(live, db->servers[i]) == (primary == 1))
                sorted[at++] = db->servers[i];
    db->servers = sorted;
    db->first = sorted[0];
}

static void find_watch(struct live *live, struct live_database *db)
{
    db->sentinels = arena_alloc(&live->arena, live->count * sizeof(*db->sentinels));
    for (size_t i = 0; i < live->count && !db->cluster; i++) {
        const struct live_server *sentinel = live->servers[i];
        for (size_t w = 0; w < sentinel->watch_count; w++) {
            const struct live_watch *watch = &sentinel->watches[w];
            const struct live_server *watched = live_server_at(live, watch->addr, watch->port);
            bool ours = false;
            for (size_t k = 0; k < db->count; k++)
                ours |= db->servers[k] == watched;
            if (!ours)
                continue;
            db->sentinels[db->sentinel_count++] = sentinel;
            if (!db->watch)
                db->watch = watch;
            break;
        }
    }
    db->name = db->watch ? db->watch->name : NULL;
}

void topology_find(struct live *live)
{
    remove_duplicates(live);
    qsort(live->servers, live->count, sizeof(struct live_server *), by_address);
    bool *taken = arena_alloc(&live->arena, live->count + 1);
    live->databases = arena_alloc(&live->arena, (live->count + 1) * sizeof(*live->databases));
    for (size_t i = 0; i < live->count; i++) {
        const struct live_server *s = live->servers[i];
        if (taken[i] || !live_is_whole(s) || s->mode == LIVE_SENTINEL)
            continue;
        struct live_database *db = &live->databases[live->database_count++];
        db->cluster = s->mode == LIVE_CLUSTER;
        db->servers = arena_alloc(&live->arena, live->count * sizeof(struct live_server *));
        for (size_t k = i; k < live->count; k++)
            if (!taken[k] && live_is_whole(live->servers[k]) &&
                (k == i || is_one_group(live, s, live->servers[k]))) {
                taken[k] = true;
                db->servers[db->count++] = live->servers[k];
            }
        sort_primaries_first(live, db);
        find_watch(live, db);
    }
}

/* --- what is being changed --- */

static const char *node_text(struct arena *arena, const struct live_node *n)
{
    struct buf slots = BUF_INIT;

    /* Nodes that came later have only heard of one that failed before. */
    if ((n->fails || n->no_addr) && slots_is_empty(&n->slots))
        return arena_printf(arena, "%s failed", n->id);
    slots_format(&n->slots, &slots);
    const char *text = arena_printf(arena, "%s %s:%d@%d %s %s %d %" PRId64 " %s", n->id, n->addr,
        n->port, n->bus_port, n->hostname, n->primary_id ? n->primary_id : "-",
        n->fails || n->no_addr, n->epoch, slots.data);
    buf_release(&slots);
    return text;
}

/* A node that this one is only just meeting is not in others' lists yet. */
static const char *view_text(struct live *live, const struct live_server *s)
{
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < s->node_count; i++)
        if (!s->nodes[i].handshaking)
            buf_addf(&text, "%s\n", node_text(&live->arena, &s->nodes[i]));
    const char *ret = arena_strdup(&live->arena, text.data);
    buf_release(&text);
    return ret;
}

static const char *unsettled_cluster(struct live *live, const struct live_database *db)
{
    const struct live_server *first = db->servers[0];
    const char *view = view_text(live, first);

    for (size_t i = 0; i < db->count; i++) {
        const struct live_server *s = db->servers[i];
        for (size_t k = 0; k < s->node_count; k++) {
            const struct live_node *n = &s->nodes[k];
            if (n->handshaking || n->suspected)
                return arena_printf(&live->arena, "%s:%d %s the node %s:%d", s->addr, s->port,
                    n->handshaking ? "is only just meeting" : "suspects that it has lost", n->addr,
                    n->port);
            if (n->moves_slots)
                return arena_printf(
                    &live->arena, "%s:%d moves slots to or from other nodes", s->addr, s->port);
        }
        if (s->epoch != first->epoch || strcmp(view_text(live, s), view) != 0)
            return arena_printf(&live->arena, "%s:%d and %s:%d see the cluster differently",
                first->addr, first->port, s->addr, s->port);
    }
    return NULL;
}

static const char *unsettled_group(struct live *live, const struct live_database *db)
{
    if (db->count > 1 && live_is_primary(live, db->servers[1]))
        return arena_printf(&live->arena, "%s:%d and %s:%d are both primaries",
            db->servers[0]->addr, db->servers[0]->port, db->servers[1]->addr, db->servers[1]->port);
    for (size_t i = 0; i < db->sentinel_count; i++)
        for (size_t w = 0; w < db->sentinels[i]->watch_count; w++) {
            const struct live_watch *watch = &db->sentinels[i]->watches[w];
            if (strcmp(watch->name, db->name) != 0)
                continue;
            const struct live_server *primary = live_server_at(live, watch->addr, watch->port);
            if (primary != db->first || watch->is_down || !live_is_primary(live, db->first))
                return arena_printf(&live->arena,
                    "the Sentinel %s:%d names %s:%d as the primary of '%s', which %s",
                    db->sentinels[i]->addr, db->sentinels[i]->port, watch->addr, watch->port,
                    watch->name, watch->is_down ? "is down" : "it is not");
        }
    return NULL;
}

const char *live_unsettled(struct live *live)
{
    for (size_t i = 0; i < live->database_count; i++) {
        const struct live_database *db = &live->databases[i];
        const char *why = db->cluster ? unsettled_cluster(live, db) : unsettled_group(live, db);
        if (why)
            return why;
    }
    return NULL;
}
