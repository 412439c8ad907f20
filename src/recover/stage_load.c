/* Stage 3: the primaries' servers load their files and prove their counts. */

#include <string.h>

#include "internal.h"

/* The agent watches for progress; this only bounds the whole. */
#define LOAD_TIMEOUT_MS (23LL * 3600 * 1000)

static void load_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const json_t *facts = x->shards[t->shard].facts;

    /* A shard without slots has no file: it starts empty, and must be. */
    if (!facts) {
        json_object_update_new(params, json_pack("{s:n, s:i, s:i}", "as", "keys", 0, "expires", 0));
        return;
    }
    json_object_set(params, "as", json_object_get(facts, "as"));
    json_object_set(params, "keys", json_object_get(facts, "keys"));
    json_object_set(params, "expires", json_object_get(facts, "expires"));
}

static enum finish load_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    struct shard_run *s = &x->shards[t->shard];
    const char *check = json_string_value(json_object_get(result, "check"));
    json_int_t in_file = json_integer_value(json_object_get(s->facts, "keys"));
    json_int_t loaded = json_integer_value(json_object_get(result, "keys_loaded"));
    json_int_t expired = json_integer_value(json_object_get(result, "keys_expired"));

    /*
     * The agent has compared them too; the records are ours, and so is the verdict. A server that
     * came up from its own files in a later run can't be compared any more: its first proof stands.
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
    .timeout_ms = LOAD_TIMEOUT_MS,
    .shard_state = "loaded",
    .params = load_params,
    .finish = load_finish,
};
