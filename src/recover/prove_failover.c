/*
 * prove_failover: before a database with Sentinels is opened, they make a replica its primary and
 * then the old primary again. So the plan stays true, whatever happens in between.
 */

#include "recluster/announced.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "sentinels.h"
#include "shard_params.h"

/* Two failovers; in each, replicas may need full copies. The agent watches them. */
enum { PROVE_MS = 45 * 60 * 1000 };

/* Without those whose host was given up. */
static json_t *sentinels_of(const struct executor *x, const struct task_run *t, const char **name)
{
    json_t *sentinels = json_array();

    for (size_t i = 0; i < x->task_count; i++) {
        const struct task_run *s = &x->tasks[i];
        if (s->kind != &task_start_sentinel || s->database != t->database || s->state != TASK_DONE)
            continue;
        *name = json_text(json_object_get(s->params, "watch"), "name", "");
        const json_t *spec = x->hosts[s->host].spec;
        json_array_append_new(sentinels,
            json_pack("{s:s, s:i}", "addr", announced_addr(spec, json_text(s->params, "addr", "")),
                "port", announced_port(spec, (int)json_int(s->params, "port", 0))));
    }
    return sentinels;
}

static void prove_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct database_run *db = &x->databases[t->database];
    const struct shard_run *primary = &x->shards[t->shard];
    json_t *servers = json_array();
    const char *name = "";

    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        json_array_append_new(servers, shard_place(&x->shards[i]));
    json_object_set_new(params, "servers", servers);
    json_object_set_new(params, "primary", shard_place(primary));
    json_object_set_new(params, "sentinels", sentinels_of(x, t, &name));
    json_object_set_new(params, "name", json_string(name));
    if (sentinels_own_password(db))
        json_object_set_new(params, "sentinels_password", json_string(sentinels_own_password(db)));
}

static enum finish prove_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    const struct event event = task_event(t, "info", "failover-proven");
    const json_t *to = json_object_get(result, "to");
    const struct shard_run *primary = &x->shards[t->shard];

    return state_tell(x->st, &event, err,
               "%s: its Sentinels made %s:%d the primary (%.1f s), then %s:%d again (%.1f s)",
               x->databases[t->database].label, json_text(to, "addr", "?"),
               (int)json_int(to, "port", 0), (double)json_int(result, "away_ms", 0) / 1000,
               primary->seen_addr, primary->seen_port,
               (double)json_int(result, "back_ms", 0) / 1000) < 0
               ? FINISH_FAIL
               : FINISH_OK;
}

const struct task_kind task_prove_failover = {
    .name = "prove_failover",
    .method = "prove_failover",
    .stage = STAGE_OPEN,
    .gate = GATE_CONFIGURE,
    .timeout_ms = PROVE_MS,
    .doing = "failover",
    .params = prove_params,
    .finish = prove_finish,
};
