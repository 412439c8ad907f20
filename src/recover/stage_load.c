/* Stage 3: servers load their files, primaries and replicas side by side, and keys are counted. */

#include <string.h>

#include "nodes_conf.h"
#include "recluster/json.h"
#include "shard_params.h"

/* The agent watches the progress; this only bounds the whole. */
#define LOAD_TIMEOUT_MS (23LL * 3600 * 1000)

/*
 * For commands such as the removal of expired keys, which a replica must get when it connects.
 * Servers allocate only as much as they need.
 */
enum { REMOVAL_BYTES = 256 };
static const int64_t BACKLOG_MAX = (int64_t)1 << 30;

static void load_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct shard_run *s = &x->shards[t->shard];
    int64_t expires = json_int(s->facts, "expires", 0) + json_int(s->facts, "field_expires", 0);
    int64_t backlog = expires < BACKLOG_MAX / REMOVAL_BYTES ? expires * REMOVAL_BYTES : BACKLOG_MAX;

    shard_add_databases(x, s, params);
    if (s->is_primary && s->bus_port && !s->node_id)
        json_object_set_new(params, "cluster", nodes_by_command(x, s));
    if (!shard_loads_file(x, s)) {
        /* A primary without slots must be empty. A replica without a file gets its copy later. */
        json_object_update_new(params,
            json_pack("{s:n, s:i, s:i}", "as", "keys", s->is_primary ? 0 : -1, "expires", 0));
        return;
    }
    json_object_set(params, "as", json_object_get(s->facts, "as"));
    json_object_set(params, "keys", json_object_get(s->facts, "keys"));
    json_object_set(params, "expires", json_object_get(s->facts, "expires"));
    json_object_set(params, "empty", json_object_get(s->facts, "empty"));
    json_object_set(params, "field_expires", json_object_get(s->facts, "field_expires"));
    if (s->is_primary && shard_has_free_replica(x, s))
        json_object_set_new(params, "backlog_bytes", json_integer(backlog));
}

static enum finish load_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    struct shard_run *s = &x->shards[t->shard];
    const char *check = json_text(result, "check", NULL);
    json_int_t in_file = json_int(s->facts, "keys", 0) - json_int(s->facts, "empty", 0);
    json_int_t loaded = json_int(result, "keys_loaded", 0);
    json_int_t expired = json_int(result, "keys_expired", 0);

    /*
     * The agent has compared the counts too, but the records and the verdict are ours. A server
     * that started from its own files in a later run cannot be compared, so its first check stays
     * valid.
     */
    if (!check || strcmp(check, "exact") != 0) {
        if (s->loaded)
            return FINISH_OK;
    } else if (loaded + expired != in_file) {
        err_set(err, ERR_CHECK,
            "shard '%s' on host '%s': the file has %lld keys, the server loaded %lld and dropped "
            "%lld "
            "that have expired",
            s->uid, x->hosts[s->host].name, (long long)in_file, (long long)loaded,
            (long long)expired);
        return FINISH_FAIL;
    }
    if (state_run(x->st, err, "UPDATE placement SET loaded = ?, keys = ? WHERE shard_uid = ?",
            "jis", result, (int64_t)loaded, s->uid) < 0)
        return FINISH_FAIL;
    json_decref(s->loaded);
    s->loaded = json_deep_copy(result);
    return FINISH_OK;
}

const struct task_kind task_load_shard = {
    .name = "load_shard",
    .method = "load_shard",
    .stage = STAGE_LOAD,
    .lane = LANE_LOAD,
    .timeout_ms = LOAD_TIMEOUT_MS,
    .shard_state = "loaded",
    .params = load_params,
    .finish = load_finish,
};
