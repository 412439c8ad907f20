/* Stage 2: the backup file of each primary, verified while it comes. */

#include <string.h>

#include "internal.h"
#include "recluster/file.h"
#include "recluster/slots.h"

enum { SAMPLED_KEYS = 32 };

/* The agent ends a fetch itself when nothing comes any more; this only bounds the whole. */
#define FETCH_TIMEOUT_MS (23LL * 3600 * 1000)

/* The name that a backup file has in incoming/: without ".gz", as it lies there inflated. */
static char *incoming_name(const char *file)
{
    CLEANUP(free_ptr) char *plain = xstrdup(file);
    size_t len = strlen(plain);

    if (len > 3 && strcmp(plain + len - 3, ".gz") == 0)
        plain[len - 3] = '\0';
    return path_component(plain);
}

static json_t *slot_ranges(const char *text)
{
    struct slots slots;
    struct err impossible = ERR_INIT;

    slots_clear(&slots);
    return slots_parse(text, &slots, &impossible) < 0 ? json_null() : slots_to_json(&slots);
}

static void fetch_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct shard_run *s = &x->shards[t->shard];
    const struct database_run *db = &x->databases[t->database];
    const json_t *server = json_object_get(x->hosts[s->host].facts, "server");
    const char *kind = json_string_value(json_object_get(server, "kind"));
    const char *version = json_string_value(json_object_get(server, "version"));
    CLEANUP(free_ptr) char *as = incoming_name(s->file);

    json_object_set(params, "location", db->location);
    json_object_set_new(params, "name", json_string(s->file));
    json_object_set_new(params, "bytes", json_integer(s->file_bytes));
    json_object_set_new(params, "as", json_string(as));
    json_object_set_new(params, "slots", db->ccs->sharded ? slot_ranges(s->slots) : json_null());
    json_object_set_new(params, "only_db0", json_boolean(db->ccs->sharded));
    json_object_set_new(params, "rdb_version_max",
        json_integer(kind && version ? plan_rdb_version_max(kind, version) : 0));
    json_object_set_new(params, "valkey_ok", json_boolean(kind && strcmp(kind, "valkey") == 0));
    json_object_set_new(params, "samples", json_integer(SAMPLED_KEYS));
    json_object_set_new(params, "seed", json_integer(t->id));
}

static enum finish fetch_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    struct shard_run *s = &x->shards[t->shard];
    json_t *facts = json_deep_copy(result);
    CLEANUP(free_ptr) char *as = incoming_name(s->file);

    json_object_set_new(facts, "as", json_string(as));
    if (state_run(x->st, err, "UPDATE placement SET facts = ? WHERE shard_uid = ?", "js", facts,
            s->uid) < 0) {
        json_decref(facts);
        return FINISH_FAIL;
    }
    json_decref(s->facts);
    s->facts = facts;
    return FINISH_OK;
}

const struct task_kind task_fetch = {
    .name = "fetch",
    .method = "fetch",
    .stage = STAGE_TRANSFER,
    .timeout_ms = FETCH_TIMEOUT_MS,
    .shard_state = "fetched",
    .params = fetch_params,
    .finish = fetch_finish,
};
