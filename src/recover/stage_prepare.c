/* Stage 1: the folder, configuration and access list of each shard, with clients locked out. */

#include <stdlib.h>

#include "nodes_conf.h"
#include "recluster/json.h"
#include "shard_params.h"

enum { REPLICATION_BACKLOG_BYTES = 16 * 1024 * 1024 };

static void prepare_params(const struct executor *x, const struct task_run *t, json_t *params)
{
    const struct shard_run *s = &x->shards[t->shard];
    const struct database_run *db = &x->databases[t->database];

    shard_add_server(x, &x->hosts[s->host], db, params);
    if (json_object_get(params, "tls"))
        json_object_set_new(json_object_get(params, "tls"), "inside",
            json_boolean(db->ccs->tls_inside || !s->other_port));
    json_object_set_new(params, "addr", json_string(s->addr));
    json_object_set_new(params, "port", json_integer(s->port));
    json_object_set_new(params, "bus_port", json_integer(s->bus_port));
    json_object_set_new(params, "other_port", json_integer(s->other_port));
    shard_add_announced(&x->hosts[s->host], params);
    json_object_set_new(params, "database", json_string(db->uid));
    json_object_set_new(params, "shard", json_string(s->uid));
    json_object_set_new(params, "role", json_string(s->is_primary ? "primary" : "replica"));
    json_object_set_new(params, "replication_password", json_string(db->replication_password));
    json_object_set_new(params, "generation", json_integer(db->generation));
    json_object_set_new(params, "repl_backlog_bytes", json_integer(REPLICATION_BACKLOG_BYTES));
    json_object_set_new(params, "fast_load", json_boolean(x->fast_load));
    shard_add_databases(x, s, params);
    json_object_set_new(params, "settings", shard_settings(x, s, "at_start"));
    if (json_object_get(x->hosts[s->host].spec, "announce_hostname"))
        json_object_set(params, "announce_hostname",
            json_object_get(x->hosts[s->host].spec, "announce_hostname"));
    if (json_object_get(x->hosts[s->host].spec, "modules"))
        json_object_set(params, "modules", json_object_get(x->hosts[s->host].spec, "modules"));
    if (s->node_id) {
        AUTO_FREE char *text = nodes_conf_text(x, s);
        json_object_set_new(params, "nodes_conf", json_string(text));
    } else if (!db->ccs->sharded && !s->is_primary) {
        json_object_set_new(params, "primary", shard_place(&x->shards[s->primary]));
    }
}

/* Reported once for each host, with its first shard. */
static bool is_first_of_host(const struct executor *x, const struct shard_run *s)
{
    for (const struct shard_run *other = x->shards; other < s; other++)
        if (other->host == s->host)
            return false;
    return true;
}

static enum finish prepare_finish(
    struct executor *x, struct task_run *t, const json_t *result, struct err *err)
{
    const struct shard_run *s = &x->shards[t->shard];
    json_t *measured = json_object_get(result, "fast_load");
    bool helps = json_flag(measured, "helps");

    if (!json_is_object(measured) || !is_first_of_host(x, s))
        return FINISH_OK;
    struct event event = task_event(t, helps ? "info" : "warning", "fast-load");
    event.database = event.shard = NULL;
    event.detail = measured;
    return state_tell(x->st, &event, err,
               "--fast-load is %s on host '%s': a test file took %lld ms to load with huge "
               "pages, %lld ms without",
               helps ? "used" : "not used", event.host, (long long)json_int(measured, "fast_ms", 0),
               (long long)json_int(measured, "usual_ms", 0)) < 0
               ? FINISH_FAIL
               : FINISH_OK;
}

const struct task_kind task_prepare_shard = {
    .name = "prepare_shard",
    .method = "prepare_shard",
    .stage = STAGE_PREPARE,
    .lane = LANE_PREPARE,
    .beside_others = true,
    .timeout_ms = 60 * 1000,
    .shard_state = "prepared",
    .params = prepare_params,
    .finish = prepare_finish,
};
