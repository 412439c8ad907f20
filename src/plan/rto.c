/*
 * How many primaries it takes to be ready in time. A server loads on one core, so more primaries
 * load faster while there are hosts and cores. The first number comes from arithmetic, the next
 * ones are larger step by step; the best plan is kept.
 */

#include <math.h>
#include <stdlib.h>

#include "recluster/human.h"
#include "steps.h"

enum { TRIALS_MAX = 10, PRIMARIES_MAX = 1000 /* Redis Cluster's own limit */ };
static const double STEP = 1.3;

static bool is_splittable(const struct plan_database *db)
{
    return !db->skipped && db->database->sharded;
}

/* Seconds that the loads of its primaries take, one after the other. */
static double load_of(const struct plan *plan, const struct plan_database *db, double *ret_longest)
{
    double all = 0;

    *ret_longest = 0;
    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++) {
        const struct plan_shard *shard = &plan->shards[s];
        if (shard->primary < 0)
            all += shard->load_s;
        if (shard->load_s > *ret_longest)
            *ret_longest = shard->load_s;
    }
    return all;
}

/* More primaries for each database that loads too long; false: there is none. */
static bool add_primaries(
    const struct plan *plan, struct plan_database_input *databases, double rto_s)
{
    double fixed = plan->stages[STAGE_PREPARE].seconds + plan->stages[STAGE_TRANSFER].seconds +
                   plan->rates->open_s;
    bool changed = false;

    for (size_t i = 0; i < plan->database_count; i++) {
        const struct plan_database *db = &plan->databases[i];
        double longest;
        if (!is_splittable(db))
            continue;
        int now = plan_primaries(plan, db);
        double all = load_of(plan, db, &longest);
        double allowed = rto_s - fixed;
        if (longest <= allowed || now >= PRIMARIES_MAX || now == 0)
            continue;
        double wanted = allowed > 0 ? ceil(all / allowed) : 0;
        if (wanted < ceil(now * STEP))
            wanted = ceil(now * STEP);
        databases[i].primaries = wanted < (double)PRIMARIES_MAX ? (int)wanted : PRIMARIES_MAX;
        changed = true;
    }
    return changed;
}

static void block_too_slow(struct plan *plan, int64_t rto_s)
{
    struct draft draft = {.plan = plan}; /* has no blocker yet */
    char takes[HUMAN_TEXT_MAX], wanted[HUMAN_TEXT_MAX];

    human_duration((int64_t)(plan_seconds(plan) * 1000), takes);
    human_duration(rto_s * 1000, wanted);
    draft_block(&draft,
        &(struct plan_issue){.code = "rto",
            .hint = "Offer more hosts or cores, or give more time. A database that is not sharded "
                    "loads on one core, whatever the hosts."},
        "the best that these hosts can do is %s, which is more than the %s of --rto", takes,
        wanted);
    plan->feasible = false;
}

struct plan *rto_plan(const struct plan_input *input)
{
    struct plan *best = make_plan(input);
    struct plan_database_input *databases =
        xmemdup(input->databases, input->database_count * sizeof(*databases));
    struct plan_input faster = *input;
    const struct plan *last = best;
    struct plan *made = NULL;

    faster.databases = databases;
    for (int i = 0; i < TRIALS_MAX && best->feasible && plan_seconds(best) > (double)input->rto_s;
         i++) {
        if (!add_primaries(last, databases, (double)input->rto_s))
            break;
        struct plan *next = make_plan(&faster);
        plan_free(made);
        made = next;
        last = next;
        if (!next->feasible || plan_seconds(next) >= plan_seconds(best))
            continue;
        plan_free(best);
        best = next;
        made = NULL;
    }
    plan_free(made);
    free(databases);
    if (best->feasible && plan_seconds(best) > (double)input->rto_s)
        block_too_slow(best, input->rto_s);
    return best;
}
