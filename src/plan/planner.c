/*
 * The planner: top floor of this folder. Each file uses only files in the lines below its own.
 *
 *     planner.c               a plan for the whole input
 *     advice.c                which one change would help, tried, if shards have no place
 *     rto.c                   how many primaries it takes to be ready in time
 *     make.c                  one plan, step by step
 *     placement.c             the host of each shard
 *     improve.c               better hosts: faster, more even; small clusters are searched whole
 *     source.c                the shards of each database, the files of each primary
 *     choose_set.c            the backup set of a database
 *     ownerless_slots.c       slots that no primary has
 *     pins.c                  places that an earlier plan gave
 *     ring.c                  which host a shard of a large cluster is tried on first
 *     refusal.c               why a shard found no place
 *     rules.c                 whether a shard may be on a host; what is where
 *     modules.c               whether servers have the module types of the files
 *     host_checks.c           which hosts can be used, and what they have
 *     placed_checks.c         what is wrong with the hosts that have shards now
 *     old_cluster_checks.c    whether the old cluster is dead
 *     access.c                how clients log in afterwards
 *     capacity.c              memory and disk of each shard
 *     reshard.c               the shards of a database with another number of primaries
 *     times.c                 how long each stage takes
 *     ports.c                 the ports of each shard
 *     server_version.c        which files a server loads
 *     facts.c                 what is known of hosts and of files
 *     draft.c                 the plan in the making: issues, names, numbers
 *     plan_json.c             the document
 *     plan.c                  the model
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
