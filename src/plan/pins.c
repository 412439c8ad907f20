/*
 * The places that an earlier plan gave to shards. PLAN_PINNED takes all of them, unless a rule
 * forbids one by now. PLAN_REPLAN keeps those that still have a host, whatever state the host is
 * in, because the servers are already there.
 */

#include "steps.h"

/* Finds each shard in the document of the earlier plan. */
static void read_pins(struct draft *d)
{
    json_t *by_uid = json_object(), *database, *shard;
    size_t i, k;

    json_array_foreach (json_object_get(d->input->pinned, "databases"), i, database) {
        json_array_foreach (json_object_get(database, "shards"), k, shard) {
            const char *uid = json_text(shard, "uid", NULL);
            if (uid)
                json_object_set(by_uid, uid, shard);
        }
    }
    for (size_t s = 0; s < d->plan->shard_count; s++)
        d->shards[s].pin = json_object_get(by_uid, d->plan->shards[s].shard->uid);
    json_decref(by_uid);
}

static void block_pin(struct draft *d, size_t s, const char *host, const char *what)
{
    const struct plan_database *db = &d->plan->databases[d->plan->shards[s].database];

    draft_block(d,
        &(struct plan_issue){.code = "plan-changed",
            .database = db->database->label,
            .host = host ? arena_strdup(&d->plan->arena, host) : NULL,
            .hint = "Make a new plan."},
        "shard:%s %s%s%s%s", d->plan->shards[s].shard->uid, host ? "was planned on host '" : "",
        host ? host : "", host ? "', which " : "", what);
}

/* On the same host, if the rules still allow it. */
static void place_again(struct draft *d, size_t s, const char *name, int host)
{
    static const char *const reasons[REFUSED_NOT] = {[REFUSED_HOST] = "cannot be used",
        [REFUSED_SERVER] = "has a server that cannot load the file",
        [REFUSED_MODULE] = "has a server that lacks a module of the file",
        [REFUSED_DATABASES] = "has a server whose clusters have only database 0",
        [REFUSED_NODE] = "replaces another node",
        [REFUSED_SAME_HOST] = "has its primary or replica",
        [REFUSED_PAIR_SERVER] = "has a server that cannot read what the primary's server writes",
        [REFUSED_RACK] = "is in the rack of its primary or replica",
        [REFUSED_MAJORITY] = "is in a rack that would have more than half of the primaries",
        [REFUSED_COUNT] = "would have more servers than max_redis_servers",
        [REFUSED_PORT] = "has the port taken",
        [REFUSED_DISK] = "has too little disk left",
        [REFUSED_MEMORY] = "has too little memory left"};

    if (!name) {
        block_pin(d, s, NULL, "is not in the plan");
    } else if (host < 0) {
        block_pin(d, s, name, "is no longer among the hosts");
    } else {
        enum refusal refusal = rules_refusal(d, (int)s, host);
        if (refusal == REFUSED_NOT)
            rules_put(d, (int)s, host);
        else
            block_pin(d, s, name, reasons[refusal]);
    }
}

void pins_place(struct draft *d)
{
    read_pins(d);
    for (size_t s = 0; s < d->plan->shard_count; s++) {
        const char *name = json_text(d->shards[s].pin, "host", NULL);
        int host = draft_host_named(d, name);
        if (d->plan->databases[d->plan->shards[s].database].skipped)
            continue;
        if (d->input->mode == PLAN_PINNED)
            place_again(d, s, name, host);
        else if (host >= 0)
            rules_put(d, (int)s, host);
        d->shards[s].stays = d->plan->shards[s].host >= 0;
    }
}
