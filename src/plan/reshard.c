/*
 * A database with another number of primaries than in the CCS: its slots, in the order of the old
 * primaries, are cut into even parts. A part equal to an old primary keeps its uid. The others are
 * named after the old shard of their first slot: "4/1", "4/2" of shard 4; their replicas after its
 * replicas.
 */

#include <stdlib.h>

#include "steps.h"

struct resharding {
    struct draft *d;
    const struct ccs *ccs;
    const struct ccs_database *database;
    struct plan_database *db;
    size_t primaries, replicas; /* of the CCS; of each primary from now on */
    int *parts;                 /* named after each old primary so far */
};

size_t reshard_old_primaries(const struct ccs *ccs, const struct ccs_database *db)
{
    size_t count = 0;

    while (count < db->shard_count && ccs->shards[db->first_shard + count].primary)
        count++;
    return count;
}

static size_t replicas_each(const struct plan_database_input *in, size_t primaries)
{
    size_t replicas = in->database->shard_count - primaries;

    return in->no_replicas || primaries == 0 ? 0 : (replicas + primaries - 1) / primaries;
}

bool reshard_is_wanted(const struct ccs *ccs, const struct plan_database_input *in)
{
    return in->primaries > 0 && in->database->sharded &&
           (size_t)in->primaries != reshard_old_primaries(ccs, in->database);
}

size_t reshard_shard_max(const struct ccs *ccs, const struct plan_database_input *in)
{
    size_t primaries = reshard_old_primaries(ccs, in->database);

    return (size_t)in->primaries * (1 + replicas_each(in, primaries));
}

/* The nth replica of an old primary; NULL: it has fewer. */
static const struct ccs_shard *old_replica(const struct resharding *r, size_t primary, size_t n)
{
    for (size_t i = r->primaries; i < r->database->shard_count; i++) {
        const struct ccs_shard *shard = &r->ccs->shards[r->database->first_shard + i];
        if (shard->primary_index == (int)(r->database->first_shard + primary) && n-- == 0)
            return shard;
    }
    return NULL;
}

static const struct ccs_shard *make_shard(struct resharding *r, const char *uid,
    const char *node_uid, const struct slots *slots, bool primary)
{
    struct ccs_shard *made = arena_alloc(&r->d->plan->arena, sizeof(*made));

    *made = (struct ccs_shard){.uid = uid,
        .database_uid = r->database->uid,
        .node_uid = node_uid,
        .primary = primary,
        .slots = slots,
        .primary_index = -1};
    return made;
}

static int append_shard(struct resharding *r, const struct ccs_shard *shard, int primary)
{
    struct plan *plan = r->d->plan;

    plan->shards[plan->shard_count] = (struct plan_shard){.shard = shard,
        .database = (size_t)(r->db - plan->databases),
        .host = -1,
        .primary = primary};
    return (int)plan->shard_count++;
}

/* One part, followed by its replicas. */
static void add_part(struct resharding *r, size_t old, const struct slots *slots)
{
    struct arena *arena = &r->d->plan->arena;
    const struct ccs_shard *from = &r->ccs->shards[r->database->first_shard + old];
    bool kept = slots_equal(from->slots, slots);
    int part = kept ? 0 : ++r->parts[old];
    const struct ccs_shard *shard = from;

    if (!kept)
        shard = make_shard(
            r, arena_printf(arena, "%s/%d", from->uid, part), from->node_uid, slots, true);
    int primary = append_shard(r, shard, -1);
    for (size_t n = 0; n < r->replicas; n++) {
        const struct ccs_shard *replica = old_replica(r, old, n);
        if (!replica || !kept) {
            const char *uid = replica ? arena_printf(arena, "%s/%d", replica->uid, part)
                                      : arena_printf(arena, "%s/%dr%zu", from->uid, part, n + 1);
            replica = make_shard(r, uid, replica ? replica->node_uid : NULL, shard->slots, false);
        }
        append_shard(r, replica, primary);
    }
}

/* All slots, in the order of the old primaries; returns how many. */
static size_t slots_in_order(const struct resharding *r, unsigned *slots, size_t *owners)
{
    size_t count = 0;

    for (size_t p = 0; p < r->primaries; p++) {
        const struct slots *own = r->ccs->shards[r->database->first_shard + p].slots;
        for (unsigned at = 0, first, last; slots_next_range(own, &at, &first, &last);)
            for (; first <= last && count < SLOT_COUNT; first++) {
                owners[count] = p;
                slots[count++] = first;
            }
    }
    return count;
}

void reshard_add(struct draft *d, struct plan_database *db, const struct plan_database_input *in)
{
    struct resharding r = {.d = d, .ccs = d->input->ccs, .database = in->database, .db = db};
    unsigned *slots = arena_alloc(&d->arena, SLOT_COUNT * sizeof(*slots));
    size_t *owners = arena_alloc(&d->arena, SLOT_COUNT * sizeof(*owners));
    size_t parts = (size_t)in->primaries, at = 0;

    r.primaries = reshard_old_primaries(r.ccs, in->database);
    r.replicas = replicas_each(in, r.primaries);
    r.parts = arena_alloc(&d->arena, (r.primaries + 1) * sizeof(*r.parts));
    size_t count = slots_in_order(&r, slots, owners);
    db->resharded = true;
    for (size_t part = 0; part < parts && count >= parts; part++) {
        struct slots *own = arena_alloc(&d->plan->arena, sizeof(*own));
        size_t first = at;
        for (; at < count * (part + 1) / parts; at++)
            slots_add(own, slots[at]);
        add_part(&r, owners[first], own);
    }
    db->shard_count = d->plan->shard_count - db->first_shard;
}
