/* shard_status: the state of a shard. Changes nothing. */

#include <stdlib.h>
#include <string.h>

#include "join_cluster.h"
#include "method.h"
#include "recluster/json.h"
#include "samples.h"
#include "server.h"
#include "server_log.h"
#include "shard.h"
#include "systemd_unit.h"

enum { LOG_MAX = 2000 };

static int add_cluster(json_t *status, struct redis *r, struct err *err)
{
    AUTO_FREE char *info = NULL;

    if (redis_text(r, &info, (const char *const[]){"CLUSTER", "INFO", NULL}, err) < 0)
        return -1;
    AUTO_FREE char *state = info_string(info, "cluster_state");
    json_object_set_new(status, "cluster_state", json_string(state ? state : ""));
    json_object_set_new(status, "slots_ok", json_integer(info_int(info, "cluster_slots_ok", 0)));
    json_object_set_new(
        status, "known_nodes", json_integer(info_int(info, "cluster_known_nodes", 0)));
    json_t *unheard;
    if (nodes_unheard(r, &unheard, err) < 0)
        return -1;
    json_object_set_new(status, "unheard", unheard);
    return 0;
}

/* "user default on …" in the answer of ACL LIST. */
static int add_open(json_t *status, struct redis *r, struct err *err)
{
    redisReply *list;
    bool open = false;

    if (redis_command(r, &list, err, "ACL", "LIST") < 0)
        return -1;
    for (size_t i = 0; i < list->elements; i++)
        if (list->element[i]->str && strncmp(list->element[i]->str, "user default on", 15) == 0)
            open = true;
    freeReplyObject(list);
    json_object_set_new(status, "open", json_boolean(open));
    return 0;
}

static void add_info(json_t *status, const char *info)
{
    AUTO_FREE char *valkey = info_string(info, "valkey_version");
    AUTO_FREE char *redis = info_string(info, "redis_version");
    bool replica = info_is(info, "role", "slave");
    int64_t offset = info_int(info, replica ? "slave_repl_offset" : "master_repl_offset", 0);

    json_t *seen = json_pack("{s:s, s:b, s:o, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:s}", "role",
        replica ? "replica" : "primary", "loading", info_is(info, "loading", "1"), "keys_by_db",
        info_keys_by_db(info), "keys", (json_int_t)info_keys(info), "used_memory",
        (json_int_t)info_int(info, "used_memory", 0), "offset", (json_int_t)offset, "replicas",
        (json_int_t)info_int(info, "connected_slaves", 0), "appendonly",
        info_is(info, "aof_enabled", "1"), "maxmemory", (json_int_t)info_int(info, "maxmemory", 0),
        "uptime_s", (json_int_t)info_int(info, "uptime_in_seconds", 0), "version",
        valkey  ? valkey
        : redis ? redis
                : "");
    if (replica)
        json_object_set_new(
            seen, "link_up", json_boolean(info_is(info, "master_link_status", "up")));
    json_object_update(status, seen);
    json_decref(seen);
}

static int check_samples(json_t *status, struct redis *r, const struct shard *shard,
    const json_t *samples, struct err *err)
{
    struct samples_seen seen;

    if (samples_look(r, shard_int(shard, "bus_port") != 0, samples, &seen, err) < 0)
        return -1;
    /* Clients may have changed any key. */
    if (seen.first.code != ERR_NONE && !shard_has(shard, SHARD_OPENED)) {
        *err = seen.first;
        return -1;
    }
    json_object_set_new(status, "samples_ok", json_integer((json_int_t)seen.same));
    return 0;
}

static int add_running(json_t *status, const struct shard *shard, const char *password,
    const json_t *samples, struct err *err)
{
    CLEANUP(redis_close_ptr) struct redis *r = NULL;
    AUTO_FREE char *info = NULL;
    struct err refused = ERR_INIT;

    if (server_connect(shard, password, &r, &refused) < 0) {
        /* Only clients can log in to a sealed shard, so all that can be seen is whether it runs. */
        if (refused.code == ERR_DENIED)
            return 0;
        *err = refused;
        return -1;
    }
    if (redis_info(r, &info, err) < 0)
        return -1;
    add_info(status, info);
    if (info_is(info, "loading", "1"))
        return 0; /* a loading server answers little else */
    if (shard_int(shard, "bus_port") && add_cluster(status, r, err) < 0)
        return -1;
    /* A cluster that is not ok yet answers no commands about keys. */
    const char *state = json_text(status, "cluster_state", NULL);
    if (samples && (!state || strcmp(state, "ok") == 0) &&
        check_samples(status, r, shard, samples, err) < 0)
        return -1;
    return add_open(status, r, err);
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const char *password = json_text(params, "password", NULL);
    struct shard shard;
    int rc = 0;

    (void)call;
    if (shard_find(params, &shard, err) < 0)
        return -1;
    pid_t pid = shard.record ? server_pid(&shard) : 0;
    json_t *status = json_pack("{s:b, s:b, s:b, s:b}", "running", pid != 0, "prepared",
        shard.record != NULL, "configured", shard_has(&shard, SHARD_CONFIGURED), "sealed",
        shard_has(&shard, SHARD_SEALED));
    AUTO_FREE char *unit = unit_state(&shard);
    if (unit)
        json_object_set_new(status, "unit",
            json_pack("{s:s, s:s}", "name", shard_string(&shard, "unit"), "state", unit));
    if (pid) {
        json_object_set_new(status, "pid", json_integer(pid));
        rc = add_running(status, &shard, password, json_object_get(params, "samples"), err);
    } else if (shard.record) {
        AUTO_FREE char *tail = server_log_tail(LOG_MAX);
        json_t *log = json_string(tail);
        json_object_set_new(status, "log", log ? log : json_string("(not UTF-8)"));
    }
    if (rc == 0)
        *ret = status;
    else
        json_decref(status);
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_shard_status = {.name = "shard_status", .run = run};
