/* load_shard: starts a shard's server on the verified file and waits until it is loaded. */

#include <stdlib.h>

#include "access.h"
#include "dump_file.h"
#include "join_cluster.h"
#include "landing.h"
#include "method.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "server.h"
#include "server_conf.h"
#include "shard.h"

/* What the scan of the file counted. */
struct expected {
    json_int_t keys;    /* -1: unknown */
    json_int_t expires; /* keys that expire */
    json_int_t fields;  /* hashes with fields that expire */
    json_int_t empty;   /* keys without elements: servers since 6.2.6 skip them */
};

struct load {
    struct agent_call *call;
    const json_t *params;
    struct shard shard;
    const char *as; /* of the file in incoming/; NULL: the server starts empty */
    struct expected expected;
};

/*
 * How the server's keys can be compared with the file's. Only a server since 7.0 that has just
 * loaded the file knows how many keys it dropped. A server that started from an append-only file
 * does not, and a replica has lost keys by commands of its primary. Once clients may write, no
 * comparison is possible.
 */
enum check { CHECK_EXACT, CHECK_RANGE, CHECK_NONE };
static const char *const check_names[] = {"exact", "range", "none"};

static enum check possible_check(
    const struct shard *shard, const struct expected *expected, const char *info, bool already)
{
    if (expected->keys < 0 || shard_has(shard, SHARD_OPENED))
        return CHECK_NONE;
    bool counted = info_int(info, "rdb_last_load_keys_loaded", -1) >= 0;
    bool alone =
        !shard_is_replica(shard) || (!already && info_is(info, "master_link_status", "down") &&
                                        info_is(info, "master_sync_in_progress", "0"));
    return counted && alone && !shard_has(shard, SHARD_CONFIGURED) ? CHECK_EXACT : CHECK_RANGE;
}

/* Hashes whose fields had all expired. Some servers drop them without counting. */
static int64_t dropped_hashes(const struct expected *expected, const char *info)
{
    return expected->keys - expected->empty - info_int(info, "rdb_last_load_keys_loaded", 0) -
           info_int(info, "rdb_last_load_keys_expired", 0);
}

static int refuse_loaded(
    const struct shard *shard, const struct expected *expected, const char *info, struct err *err)
{
    AUTO_FREE char *empty =
        expected->empty
            ? xasprintf(", of which %" JSON_INTEGER_FORMAT " have no elements", expected->empty)
            : xstrdup("");
    AUTO_FREE char *fading = expected->fields
                                 ? xasprintf(", of which %" JSON_INTEGER_FORMAT
                                             " are hashes that may be gone with their last field",
                                       expected->fields)
                                 : xstrdup("");

    return err_set(err, ERR_CHECK,
        "the server in '%s' loaded %lld keys and found %lld expired, the file holds %lld%s%s",
        shard->path, (long long)info_int(info, "rdb_last_load_keys_loaded", -1),
        (long long)info_int(info, "rdb_last_load_keys_expired", 0), (long long)expected->keys,
        empty, fading);
}

static int check_keys(const struct shard *shard, const struct expected *expected, enum check check,
    const char *info, struct err *err)
{
    int64_t loaded = info_int(info, "rdb_last_load_keys_loaded", -1);
    int64_t present = info_keys(info);
    int64_t since = info_int(info, "expired_keys", 0);
    int64_t fading = expected->expires + expected->fields + expected->empty;

    if (check == CHECK_NONE)
        return 0;
    if (check == CHECK_RANGE) {
        if (present <= expected->keys && present >= expected->keys - fading)
            return 0;
        return err_set(err, ERR_CHECK,
            "the server in '%s' has %lld keys, the file %lld, of which %lld expire", shard->path,
            (long long)present, (long long)expected->keys, (long long)fading);
    }
    int64_t dropped = dropped_hashes(expected, info);
    if (dropped < 0 || dropped > expected->fields)
        return refuse_loaded(shard, expected, info, err);
    /* A hash whose last field expires later is dropped uncounted too. */
    if (present + since > loaded || present + since < loaded - expected->fields)
        return err_set(err, ERR_CHECK,
            "the server in '%s' has %lld keys, but loaded %lld of which %lld expired since",
            shard->path, (long long)present, (long long)loaded, (long long)since);
    return 0;
}

static json_t *result(
    const char *info, int64_t load_ms, const struct expected *expected, enum check check)
{
    int64_t loaded = info_keys(info);
    int64_t expired = expected->keys - expected->empty - loaded;
    int64_t uptime_s = info_int(info, "uptime_in_seconds", 0);
    AUTO_FREE char *valkey = info_string(info, "valkey_version");
    AUTO_FREE char *redis = info_string(info, "redis_version");

    if (check == CHECK_EXACT) {
        loaded = info_int(info, "rdb_last_load_keys_loaded", 0);
        expired = info_int(info, "rdb_last_load_keys_expired", 0) + dropped_hashes(expected, info);
    }
    if (expired < 0) /* an old server keeps keys without elements */
        expired = expected->keys > loaded ? expected->keys - loaded : 0;
    return json_pack("{s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:s?, s:b}", "check",
        check_names[check], "keys_loaded", (json_int_t)loaded, "keys_expired", (json_int_t)expired,
        "keys_by_db", info_keys_by_db(info), "used_memory",
        (json_int_t)info_int(info, "used_memory", 0), "pid",
        (json_int_t)info_int(info, "process_id", 0), "started_ms",
        (json_int_t)(clock_wall_ms() - uptime_s * 1000), "load_ms", (json_int_t)load_ms,
        "server_version", valkey ? valkey : redis, "already", load_ms < 0);
}

/* Until `configure`, each start writes all files anew, so replicas stay locked out. */
static int start(
    struct shard *shard, const char *as, const char *password, struct redis **ret, struct err *err)
{
    if (!shard_has(shard, SHARD_CONFIGURED) &&
        (dump_file_place(shard, as, err) < 0 || landing_close(shard, err) < 0 ||
            nodes_forget_heard(err) < 0 || server_conf_write(shard->record, shard->path, err) < 0))
        return -1;
    return server_start(shard, password, ret, err);
}

static int stop(const struct shard *shard, struct err *err)
{
    struct err stuck = ERR_INIT;
    bool was_running;

    if (server_stop(shard, &was_running, &stuck) < 0)
        err_wrap(err, "%s", stuck.message);
    return server_explain(shard, err);
}

/* A replica may already follow its primary; then an exact check is impossible. */
static bool landed_whole(
    const struct shard *shard, const struct expected *expected, const char *info, struct err *why)
{
    enum check check = possible_check(shard, expected, info, false);

    return (check == CHECK_EXACT || (check == CHECK_RANGE && shard_is_replica(shard))) &&
           check_keys(shard, expected, check, info, why) == 0;
}

/*
 * Keeps a server that was started while its file landed, if it has loaded all of this file; its
 * INFO is *ret_info. Otherwise ends it and sets *r to NULL.
 */
static int take_landed(struct load *load, struct redis **r, char **ret_info, struct err *err)
{
    struct shard *shard = &load->shard;
    AUTO_FREE char *info = NULL;
    struct err why = ERR_INIT;
    bool was_running;

    if (*r && landing_is_of(shard, load->as) &&
        server_await_loaded(load->call, shard, *r, &info, &why) == 0 &&
        landed_whole(shard, &load->expected, info, &why)) {
        if (dump_file_place(shard, load->as, err) < 0 || landing_close(shard, err) < 0)
            return -1;
        *ret_info = info;
        info = NULL;
        return 0;
    }
    redis_close(*r);
    *r = NULL;
    return server_stop(shard, &was_running, err);
}

/* The data is verified, so a primary may join its cluster and serve its replicas. */
static int admit_replicas(
    const struct shard *shard, struct redis *r, const json_t *cluster, struct err *err)
{
    if (shard_is_replica(shard) || shard_has(shard, SHARD_CONFIGURED))
        return 0;
    if (cluster && join_as_primary(r, cluster, err) < 0)
        return err_wrap(err, "cannot make '%s' a node of its cluster", shard->path);
    return access_allow_replicas(r, err);
}

static int run_load(struct load *load, json_t **ret, struct err *err)
{
    const char *password = json_text(load->params, "password", NULL);
    struct shard *shard = &load->shard;
    int64_t start_ms = clock_mono_ms();
    CLEANUP(redis_close_ptr) struct redis *r = NULL;
    AUTO_FREE char *info = NULL;
    struct err absent = ERR_INIT;
    bool landed = false;

    bool already = server_connect(shard, password, &r, &absent) == 0;
    if (shard_is_landing(shard)) {
        if (take_landed(load, &r, &info, err) < 0)
            return -1;
        landed = already = r != NULL;
    } else if (!already && absent.code != ERR_NOT_FOUND) {
        *err = absent;
        return -1;
    }
    if (!already) {
        agent_progress(load->call, json_pack("{s:s}", "phase", "starting"));
        if (start(shard, load->as, password, &r, err) < 0)
            return -1;
    }
    if (!landed && server_await_loaded(load->call, shard, r, &info, err) < 0)
        return -1;
    int64_t load_ms = already ? -1 : clock_mono_ms() - start_ms;
    enum check check = possible_check(shard, &load->expected, info, already && !landed);
    if (check_keys(shard, &load->expected, check, info, err) < 0)
        return stop(shard, err);
    if (admit_replicas(shard, r, json_object_get(load->params, "cluster"), err) < 0)
        return -1;
    *ret = result(info, load_ms, &load->expected, check);
    if (landed)
        json_object_set_new(*ret, "landed", json_true());
    return 0;
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    json_int_t backlog_bytes = 0;
    struct load load = {.call = call, .params = params};

    if (param_int(params, "keys", &load.expected.keys, err) < 0 ||
        param_int(params, "expires", &load.expected.expires, err) < 0)
        return -1;
    load.expected.empty = json_int(params, "empty", 0);
    load.expected.fields = json_int(params, "field_expires", 0);
    if (!json_is_null(json_object_get(params, "as")) && shard_file_name(params, &load.as, err) < 0)
        return -1;
    if (json_object_get(params, "backlog_bytes") &&
        param_int(params, "backlog_bytes", &backlog_bytes, err) < 0)
        return -1;
    if (shard_enter(params, &load.shard, err) < 0)
        return -1;
    json_object_set_new(load.shard.record, "load_backlog_bytes", json_integer(backlog_bytes));
    shard_take_databases(&load.shard, params);
    int rc = run_load(&load, ret, err);
    shard_release(&load.shard);
    return rc;
}

const struct agent_method agent_load_shard = {.name = "load_shard", .run = run};
