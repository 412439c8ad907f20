/*
 * The planner, top floor of this folder. Each file uses only those below it:
 *
 *     planner.c           a plan for the whole input
 *     advice.c            where shards found no place: which one change would help, tried
 *     rto.c               how many primaries it takes to be ready in time
 *     make.c              one plan, step by step
 *     placement.c         the host of each shard
 *     improve.c           moved once more: faster, more even; small clusters: searched to the end
 *     pins.c              places that an earlier plan gave
 *     ring.c              which host a shard of a large cluster goes to first
 *     refusal.c           why a shard found no place, in the user's words
 *     rules.c             whether a shard may be on a host
 *     placed_checks.c     what is wrong with the hosts that have shards now
 *     source.c            the shards of each database, the files of each primary; with
 *                         choose_set.c, reshard.c, ownerless_slots.c, modules.c
 *     access.c            how clients log in afterwards
 *     times.c             how long each stage takes
 *     capacity.c          memory and disk of each shard
 *     host_checks.c       which hosts can be used, what they have
 *     ports.c             the ports of each shard
 *     old_cluster_checks.c    is the old cluster dead
 *     file_facts.c, server_version.c    what is known of files, of servers
 *     draft.c             the plan in the making: issues, names, numbers
 *     plan_json.c         the document
 *     plan.c              the model
 */

#include "steps.h"

struct plan *plan_make(const struct plan_input *input)
{
    bool fresh = input->mode == PLAN_FRESH;
    struct plan *plan = fresh && input->rto_s > 0 ? rto_plan(input) : make_plan(input);

    if (fresh && !plan->feasible)
        advice_add(plan, input);
    return plan;
}
