/*
 * Slots that no primary of the CCS file has, because a primary was dead when it was written. A
 * cluster serves nothing while a slot has no owner, so the primary with the fewest slots gets them,
 * empty, if --allow-missing-slots allows it.
 */

#include "steps.h"

/* Gives the plan a copy of the shard with these slots; the CCS stays unchanged. */
static void adopt(struct draft *d, size_t shard, const struct slots *all)
{
    struct plan_shard *ps = &d->plan->shards[shard];
    struct ccs_shard *copy = arena_alloc(&d->plan->arena, sizeof(*copy));

    *copy = *ps->shard;
    copy->slots = all;
    ps->shard = copy;
}

void ownerless_slots_adopt(struct draft *d, const struct plan_database *db)
{
    size_t end = db->first_shard + db->shard_count, least = end;
    struct slots missing;

    slots_fill(&missing);
    for (size_t i = db->first_shard; i < end; i++) {
        const struct plan_shard *ps = &d->plan->shards[i];
        if (ps->primary >= 0)
            continue;
        slots_subtract(&missing, ps->shard->slots);
        if (least == end ||
            slots_count(ps->shard->slots) < slots_count(d->plan->shards[least].shard->slots))
            least = i;
    }
    /* Other missing slots are a blocker. */
    if (d->input->allow_missing)
        slots_intersect(&missing, d->input->allow_missing);
    if (!d->input->allow_missing || !db->database->sharded || least == end ||
        slots_is_empty(&missing))
        return;
    struct slots *all = arena_alloc(&d->plan->arena, sizeof(*all));
    *all = *d->plan->shards[least].shard->slots;
    slots_union(all, &missing);
    draft_warn(d, &(struct plan_issue){.code = "slots-adopted", .database = db->database->label},
        "the slots %s have no primary in the CCS file: shard:%s gets them, without keys",
        draft_slots(d, &missing), d->plan->shards[least].shard->uid);
    for (size_t i = db->first_shard; i < end; i++)
        if (i == least || d->plan->shards[i].primary == (int)least)
            adopt(d, i, all);
}
