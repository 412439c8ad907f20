#include "recluster/plan.h"

#include <stdlib.h>

const char *plan_stage_name(enum plan_stage stage)
{
    static const char *const names[] = {[STAGE_PREPARE] = "prepare",
        [STAGE_TRANSFER] = "transfer",
        [STAGE_LOAD] = "load",
        [STAGE_OPEN] = "open"};

    return names[stage];
}

const char *plan_login_name(enum plan_login login)
{
    static const char *const names[] = {
        [PLAN_LOGIN_AS_BEFORE] = "as-before",
        [PLAN_LOGIN_NEW] = "new-password",
        [PLAN_LOGIN_GIVEN] = "given-password",
        [PLAN_LOGIN_OPEN] = "open",
    };
    return names[login];
}

bool plan_shard_uses_tls(const struct plan *plan, const struct plan_shard *shard)
{
    const struct plan_database *db = &plan->databases[shard->database];

    return db->tls && (db->database->tls_inside || !shard->other_port);
}

bool plan_shard_needs_cut(const struct plan_shard *shard)
{
    return shard->file_count > 0 && !shard->file;
}

int plan_primaries(const struct plan *plan, const struct plan_database *db)
{
    int count = 0;

    for (size_t s = db->first_shard; s < db->first_shard + db->shard_count; s++)
        count += plan->shards[s].primary < 0;
    return count;
}

bool plan_is_placed(const struct plan *plan)
{
    for (size_t s = 0; s < plan->shard_count; s++)
        if (plan->shards[s].host < 0 && !plan->databases[plan->shards[s].database].skipped)
            return false;
    return true;
}

double plan_seconds(const struct plan *plan)
{
    double seconds = 0;

    for (int i = STAGE_PREPARE; i <= STAGE_OPEN; i++)
        seconds += plan->stages[i].seconds;
    return seconds;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    free(plan->blockers);
    free(plan->warnings);
    free(plan->unchecked);
    arena_release(&plan->arena);
    free(plan);
}
