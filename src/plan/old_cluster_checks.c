/* Whether the old cluster is dead: survivors, silent nodes, Sentinels that watch it. */

#include <stdlib.h>
#include <string.h>

#include "steps.h"

enum { SHOWN = 8 };

/* --- is it alive --- */

/* How many nodes have an address that answers. */
static size_t nodes_alive(const struct ccs *ccs, const json_t *alive)
{
    json_t *addrs = json_object();
    const json_t *address;
    size_t i, count = 0;

    json_array_foreach (alive, i, address) {
        json_object_set_new(addrs, json_text(address, "addr", "?"), json_true());
    }
    for (size_t n = 0; n < ccs->node_count; n++)
        count += ccs->nodes[n].addr && json_object_get(addrs, ccs->nodes[n].addr);
    json_decref(addrs);
    return count;
}

/* A majority of its primaries keeps a sharded database open: its servers vote. */
static bool majority_answers(const struct ccs *ccs, const struct ccs_database *db,
    const json_t *addrs, const json_t *listening)
{
    size_t primaries = 0, answer = 0;

    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct ccs_shard *shard = &ccs->shards[s];
        if (!shard->primary)
            continue;
        primaries++;
        if (!shard->node_uid)
            continue;
        const char *addr = json_text(addrs, shard->node_uid, NULL);
        AUTO_FREE char *key = xasprintf("%s:%d", addr ? addr : "", shard->port);
        AUTO_FREE char *other = xasprintf("%s:%d", addr ? addr : "", shard->other_port);
        answer += json_object_get(listening, key) || json_object_get(listening, other);
    }
    return db->sharded && primaries > 1 && answer * 2 > primaries;
}

bool plan_old_cluster_lives(const struct ccs *ccs, const json_t *alive)
{
    json_t *listening = json_object(), *addrs = json_object();
    const json_t *address;
    /* If no node is known, any answer may be that of a majority. */
    bool lives = ccs->node_count == 0 ? json_array_size(alive) > 0
                                      : nodes_alive(ccs, alive) * 2 > ccs->node_count;
    size_t i;

    json_array_foreach (alive, i, address) {
        AUTO_FREE char *key =
            xasprintf("%s:%lld", json_text(address, "addr", "?"), json_int(address, "port", 0));
        json_object_set_new(listening, key, json_true());
    }
    for (size_t n = 0; n < ccs->node_count; n++)
        if (ccs->nodes[n].addr)
            json_object_set_new(addrs, ccs->nodes[n].uid, json_string(ccs->nodes[n].addr));
    for (i = 0; i < ccs->database_count && !lives && json_object_size(listening) > 0; i++)
        lives = majority_answers(ccs, &ccs->databases[i], addrs, listening);
    json_decref(listening);
    json_decref(addrs);
    return lives;
}

/* --- survivors --- */

/* The hint if recluster may not stop a server. */
static const char * override(struct draft *d)
{
    const char *name = d->input->ccs->cluster_name;

    return draft_text(d,
        "If it is something else, confirm it with the old cluster's name: --old-cluster-is-dead "
        "'%s'",
        name ? name : "");
}

/* "10.0.0.1:12000 (endpoint of db:1, as seen from h1)" */
static const char *address_text(struct draft *d, const json_t *address)
{
    const char *from = json_text(address, "seen_from", NULL);

    return draft_text(d, "%s:%lld (%s%s%s)", json_text(address, "addr", "?"),
        json_int(address, "port", 0), json_text(address, "what", "?"),
        from ? ", as seen from " : "", from ? from : "");
}

/* "redis-server, process 12, unit redis.service" */
static const char *process_text(struct draft *d, const json_t *server)
{
    const char *unit = json_text(server, "unit", NULL);

    return draft_text(d, "%s, process %lld%s%s", json_text(server, "name", "?"),
        json_int(server, "pid", 0), unit ? ", unit " : "", unit ? unit : "");
}

static void warn_of_fence(struct draft *d, const json_t *address)
{
    const json_t *server = json_object_get(address, "server");
    const char *unit = json_text(server, "unit", NULL);

    draft_warn(d,
        &(struct plan_issue){.code = "fence",
            .hint =
                "It loses what it has in memory and has not saved. If that may be newer than the "
                "backups, save it first (redis-cli --rdb FILE)."},
        "%s of the old cluster, %s, is stopped for good before anything else%s",
        address_text(d, address), process_text(d, server), unit ? ", and its unit masked" : "");
}

static void block_survivor(struct draft *d, const json_t *address, size_t nodes)
{
    const json_t *error = json_object_get(address, "error");
    const char *hint = json_text(error, "hint", NULL);

    if (!error)
        hint = draft_text(d,
            "On %s: ss -ltnp 'sport = :%lld' shows the process. Stop it and keep it from starting "
            "again (systemctl mask --now UNIT), or let --fence do this. %s",
            json_text(address, "addr", "?"), json_int(address, "port", 0), override(d));
    draft_block(d,
        &(struct plan_issue){.code = "old-cluster-survivor",
            .hint = hint ? arena_strdup(&d->plan->arena, hint) : override(d)},
        "of the old cluster, which has no quorum any more (%zu of %zu nodes answer), %s still "
        "accepts connections%s%s",
        nodes, d->input->ccs->node_count, address_text(d, address),
        error ? " and cannot be stopped: " : "", error ? json_text(error, "message", "?") : "");
}

/* Clients may still write to a server without a quorum. */
static void report_survivors(struct draft *d)
{
    size_t nodes = nodes_alive(d->input->ccs, d->input->alive), i, blocked = 0;
    const json_t *address;

    json_array_foreach (d->input->alive, i, address) {
        if (json_object_get(address, "server"))
            warn_of_fence(d, address);
        else if (blocked++ < SHOWN)
            block_survivor(d, address, nodes);
    }
    if (blocked > SHOWN)
        draft_block(d, &(struct plan_issue){.code = "old-cluster-survivor", .hint = override(d)},
            "of the old cluster, %zu more addresses accept connections", blocked - SHOWN);
}

/* If clients write to two clusters with the same data, the data diverges. */
static void block_alive(struct draft *d)
{
    struct draft_names names = DRAFT_NAMES_INIT;
    const json_t *address;
    size_t i;

    json_array_foreach (d->input->alive, i, address) {
        draft_names_add(&names, "%s", address_text(d, address));
    }
    draft_block(d,
        &(struct plan_issue){.code = "old-cluster-alive",
            .hint = draft_text(d, "Stop it with its own tools. %s", override(d))},
        "the old cluster is alive, a majority of it answers: %s accept connections",
        draft_names(d, &names));
}

/* A Sentinel takes new servers at old addresses for those that it watches. */
static void warn_of_sentinels(struct draft *d)
{
    const json_t *sentinel;
    size_t i;

    json_array_foreach (d->input->sentinels, i, sentinel) {
        const char *addr = json_text(sentinel, "addr", "?");
        const char *master = json_text(sentinel, "master", "?");
        draft_warn(d,
            &(struct plan_issue){.code = "old-sentinel",
                .hint = draft_text(d, "redis-cli -h %s -p %lld SENTINEL REMOVE '%s'", addr,
                    json_int(sentinel, "port", 0), master)},
            "a Sentinel at %s:%lld still watches '%s' of the old cluster (%s): it may send "
            "clients there, or change servers that get its address",
            addr, json_int(sentinel, "port", 0), master, json_text(sentinel, "watches", "?"));
    }
}

/* A silent node may be off, or just unreachable from here. */
static void report_silent(struct draft *d)
{
    struct draft_names names = DRAFT_NAMES_INIT;
    size_t nodes = json_array_size(d->input->silent_nodes), i;
    const json_t *address;

    json_array_foreach (d->input->silent, i, address) {
        draft_names_add(&names, "%s", address_text(d, address));
    }
    size_t count = names.count;
    const char *list = draft_names(d, &names);
    if (count && d->input->old_cluster_silent)
        draft_block(d,
            &(struct plan_issue){.code = "old-cluster-silent",
                .hint = draft_text(d, "Check whether its machines are off. %s", override(d))},
            "%zu of %zu nodes of the old cluster do not answer at all: they may be off, or they "
            "may be running behind a firewall or a broken network: %s",
            nodes, d->input->ccs->node_count, list);
    else if (count)
        draft_warn(d,
            &(struct plan_issue){.code = "old-cluster-silent",
                .hint = "Make sure that they are off, and not just unreachable from here."},
            "addresses of the old cluster that neither answer nor refuse: %s", list);
}

/* Clients may know a name that this machine cannot look up. */
static void report_unasked(struct draft *d)
{
    struct draft_names unknown = DRAFT_NAMES_INIT, late = DRAFT_NAMES_INIT;
    const json_t *item;
    size_t i;

    json_array_foreach (d->input->unasked, i, item) {
        bool none = strcmp(json_text(item, "why", "?"), "no such name") == 0;
        draft_names_add(none ? &unknown : &late, "%s (%s)", json_text(item, "name", "?"),
            json_text(item, "what", "?"));
    }
    if (unknown.count)
        draft_unchecked(d, "nodes of the old cluster whose names cannot be looked up here: %s",
            draft_names(d, &unknown));
    if (late.count)
        draft_warn(d,
            &(struct plan_issue){.code = "old-cluster-unasked",
                .hint = "Make sure that nothing of the old cluster answers there."},
            "names of the old cluster could not be looked up in time, so it was not asked there: "
            "%s",
            draft_names(d, &late));
}

static void list_unchecked(struct draft *d)
{
    if (d->input->offline) {
        draft_unchecked(d,
            "the hosts: whether they can be reached, their server versions, folders, free ports, "
            "clocks, and how much memory and disk is free");
        if (!d->input->only_configuration)
            draft_unchecked(d,
                "the backups: whether there are any, whether they are complete and readable, "
                "their age, sizes and slots; sizes come from memory_size");
        draft_unchecked(d, "the old cluster: whether it is dead");
    } else if (d->input->alive_not_asked) {
        draft_unchecked(d, "the old cluster: whether it is dead (--old-cluster-is-dead)");
    }
}

void old_cluster_checks_run(struct draft *d)
{
    if (plan_old_cluster_lives(d->input->ccs, d->input->alive))
        block_alive(d);
    else
        report_survivors(d);
    report_silent(d);
    report_unasked(d);
    warn_of_sentinels(d);
    list_unchecked(d);
}
