/* attach_replica: starts a replica's server and waits until it is in sync with its primary. */

#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "join_cluster.h"
#include "method.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "server.h"
#include "server_conf.h"
#include "shard.h"
#include "shard_tls.h"
#include "watch.h"

enum {
    PRIMARY_MS = 60 * 1000, /* for an answer of the primary: it may be forking */
    ROLE_MS = 15 * 1000,    /* a cluster node takes its role a moment after its start */
    STUCK_MS = 120 * 1000,
    POLL_MS = 100,
    COMPARISONS = 5,
};

struct attachment {
    struct agent_call *call;
    const struct shard *shard;
    const char *primary_addr;
    int primary_port;
    struct redis *primary, *replica;
    json_int_t keys, expires; /* of the backup; keys -1: unknown */
    const json_t *meet;       /* set: join by CLUSTER MEET; NULL: nodes.conf is complete */
    const char *repl_id;      /* stamped into the file that it loaded, or NULL */
};

static int connect_primary(struct attachment *a, const char *password, struct err *err)
{
    const char *recovery_password = shard_string(a->shard, "recovery_password");
    struct err refused = {.code = ERR_DENIED};

    if (shard_connect_tcp(
            a->shard, a->primary_addr, a->primary_port, PRIMARY_MS, &a->primary, err) < 0)
        return -1;
    if (recovery_password &&
        redis_auth(a->primary, RECOVERY_USER, recovery_password, &refused) == 0)
        return 0;
    if (refused.code != ERR_DENIED) {
        *err = refused;
        return -1;
    }
    return password ? redis_auth(a->primary, NULL, password, err)
                    : redis_command(a->primary, NULL, err, "ACL", "WHOAMI");
}

/* Changes whenever the sync makes progress. */
static uint64_t sync_progress(const char *primary, const char *replica)
{
    int64_t left = info_int(replica, "master_sync_left_bytes", 0);
    int64_t signs[] = {
        info_int(replica, "master_sync_read_bytes", 0), left,
        info_int(replica, "loading_loaded_bytes", 0), info_int(replica, "slave_repl_offset", 0),
        info_int(primary, "rdb_current_bgsave_time_sec", 0), /* syncs another replica first */
    };
    uint64_t sum = 0;

    for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
        sum = sum * 1000003 + (uint64_t)signs[i];
    return sum;
}

static void tell(struct agent_call *call, const char *info)
{
    bool loading = info_is(info, "loading", "1");
    bool sync = info_is(info, "master_sync_in_progress", "1");
    int64_t bytes = loading ? info_int(info, "loading_loaded_bytes", 0)
                    : sync  ? info_int(info, "master_sync_read_bytes", 0)
                            : info_int(info, "slave_repl_offset", 0);
    int64_t total = loading ? info_int(info, "loading_total_bytes", -1)
                    : sync  ? info_int(info, "master_sync_total_bytes", -1)
                            : -1;

    agent_progress(
        call, json_pack("{s:s, s:I, s:I}", "phase", loading || sync ? "sync" : "catching-up",
                  "bytes", (json_int_t)bytes, "total", (json_int_t)(total > 0 ? total : -1)));
}

/* 1: a replica of the right primary; 0: not yet; -1 */
static int check_role(
    const struct attachment *a, const char *info, int64_t since_ms, struct err *err)
{
    AUTO_FREE char *host = info_string(info, "master_host");

    if (!host) {
        if (clock_mono_ms() - since_ms < ROLE_MS)
            return 0;
        return err_set(err, ERR_CHECK, "the server in '%s' is not a replica", a->shard->path);
    }
    int64_t port = info_int(info, "master_port", 0);
    if (strcmp(host, a->primary_addr) != 0 || port != a->primary_port)
        return err_set(err, ERR_CHECK, "the server in '%s' is a replica of %s:%lld, not of %s:%d",
            a->shard->path, host, (long long)port, a->primary_addr, a->primary_port);
    return 1;
}

/* At the same offset both must have the same data. */
static int compare_keys(
    const struct attachment *a, const char *primary, const char *replica, struct err *err)
{
    json_t *theirs = info_keys_by_db(primary), *ours = info_keys_by_db(replica);
    int64_t keys = info_keys(replica);
    int rc = 0;

    if (!json_equal(theirs, ours))
        rc = err_set(err, ERR_CHECK,
            "the replica in '%s' has %lld keys, its primary %s:%d %lld, or in other databases",
            a->shard->path, (long long)keys, a->primary_addr, a->primary_port,
            (long long)info_keys(primary));
    else if (a->keys >= 0 && !shard_has(a->shard, SHARD_OPENED) &&
             (keys > a->keys || keys < a->keys - a->expires))
        rc = err_set(err, ERR_CHECK,
            "the replica in '%s' has %lld keys, the backup %lld, of which %lld expire",
            a->shard->path, (long long)keys, (long long)a->keys, (long long)a->expires);
    json_decref(theirs);
    json_decref(ours);
    return rc;
}

/*
 * Whether the replica kept the data that it loaded. The primary counts full syncs of all its
 * replicas. A replica remembers the id of the history that it continued, until a full sync.
 */
static bool continued(const struct attachment *a, const char *primary, const char *replica)
{
    if (info_int(primary, "sync_full", 0) == 0)
        return true;
    return a->repl_id && info_is(replica, "master_replid2", a->repl_id);
}

static json_t *result(
    const struct attachment *a, const char *primary, const char *replica, bool already)
{
    bool partial = continued(a, primary, replica);

    return json_pack("{s:I, s:o, s:I, s:i, s:i, s:I, s:b}", "keys", (json_int_t)info_keys(replica),
        "keys_by_db", info_keys_by_db(replica), "offset",
        (json_int_t)info_int(replica, "slave_repl_offset", 0), "sync_full", !partial,
        "sync_partial", partial, "pid", (json_int_t)info_int(replica, "process_id", 0), "already",
        already);
}

/* Reads INFO of both, the primary's first. */
static int look(const struct attachment *a, char **ret_primary, char **ret_replica, struct err *err)
{
    if (redis_info(a->primary, ret_primary, err) < 0)
        return err_wrap(err, "the primary of '%s'", a->shard->path);
    if (redis_info(a->replica, ret_replica, err) == 0)
        return 0;
    free(*ret_primary);
    if (!server_pid(a->shard))
        err_set(err, ERR_SERVER, "the server in '%s' ended", a->shard->path);
    return server_explain(a->shard, err);
}

struct sync {
    struct watch watch;
    int64_t best_lag;
    int differences; /* how often the keys differed at the same offset */
};

/* 1: in sync; 0: not yet; -1 */
static int check_sync(const struct attachment *a, const char *primary, const char *replica,
    struct sync *sync, struct err *err)
{
    bool up = info_is(replica, "master_link_status", "up") && info_is(replica, "loading", "0");
    int64_t lag =
        info_int(primary, "master_repl_offset", 0) - info_int(replica, "slave_repl_offset", -1);

    if (up && lag == 0) {
        if (compare_keys(a, primary, replica, err) == 0)
            return 1;
        return ++sync->differences < COMPARISONS ? 0 : -1;
    }
    if (up && lag < sync->best_lag)
        sync->best_lag = lag < 0 ? 0 : lag;
    uint64_t progress = up ? (uint64_t)sync->best_lag : sync_progress(primary, replica);
    if (!watch_is_stuck(&sync->watch, progress))
        return 0;
    if (up)
        return err_set(err, ERR_TIMEOUT, "the replica in '%s' stays %lld bytes behind its primary",
            a->shard->path, (long long)lag);
    err_set(err, ERR_TIMEOUT, "the replica in '%s' gets nothing from its primary %s:%d",
        a->shard->path, a->primary_addr, a->primary_port);
    return server_explain(a->shard, err);
}

/* Asks the primary again: its first answer may be older than the replica's full sync. */
static int conclude(
    const struct attachment *a, const char *replica, bool already, json_t **ret, struct err *err)
{
    AUTO_FREE char *primary = NULL;

    if (redis_info(a->primary, &primary, err) < 0)
        return err_wrap(err, "the primary of '%s'", a->shard->path);
    *ret = result(a, primary, replica, already);
    return 1;
}

static int follow(const struct attachment *a, bool already, json_t **ret, struct err *err)
{
    struct sync sync = {.watch = WATCH_INIT(STUCK_MS), .best_lag = INT64_MAX};
    int64_t since_ms = clock_mono_ms();
    int rc = 0;

    while (rc == 0) {
        struct err why = ERR_INIT;
        char *primary, *replica;
        if (look(a, &primary, &replica, err) < 0)
            return -1;
        rc = check_role(a, replica, since_ms, err);
        if (rc == 1)
            rc = check_sync(a, primary, replica, &sync, &why);
        if (rc == 1)
            rc = conclude(a, replica, already, ret, &why);
        if (rc == 0)
            tell(a->call, replica);
        else if (why.code != ERR_NONE)
            *err = why;
        free(primary);
        free(replica);
        if (rc == 0)
            pause_ms(POLL_MS);
    }
    return rc < 0 ? -1 : 0;
}

static int start(struct attachment *a, const char *password, struct err *err)
{
    if (!shard_has(a->shard, SHARD_CONFIGURED) &&
        (nodes_forget_heard(err) < 0 ||
            server_conf_write(a->shard->record, a->shard->path, err) < 0))
        return -1;
    return server_start(a->shard, password, &a->replica, err);
}

static int attach(struct attachment *a, const char *password, json_t **ret, struct err *err)
{
    struct err absent = ERR_INIT;
    char *info;

    if (connect_primary(a, password, err) < 0)
        return err_wrap(err, "the primary of '%s'", a->shard->path);
    bool already = server_connect(a->shard, password, &a->replica, &absent) == 0;
    if (!already && absent.code != ERR_NOT_FOUND) {
        *err = absent;
        return -1;
    }
    if (!already && start(a, password, err) < 0)
        return -1;
    if (server_await_loaded(a->call, a->shard, a->replica, &info, err) < 0)
        return -1;
    free(info);
    if (a->meet && join_as_replica(a->replica, a->meet, err) < 0)
        return err_wrap(err, "cannot make '%s' a node of its cluster", a->shard->path);
    if (follow(a, already, ret, err) < 0)
        return -1;
    /* After a failover it may be a primary. */
    if (shard_has(a->shard, SHARD_CONFIGURED) || access_allow_replicas(a->replica, err) == 0)
        return 0;
    json_decref(*ret);
    *ret = NULL;
    return -1;
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const json_t *primary = json_object_get(params, "primary");
    struct attachment a = {
        .call = call,
        .keys = -1,
        .meet = json_object_get(params, "meet"),
        .repl_id = json_text(params, "repl_id", NULL),
    };
    const char *password = json_text(params, "password", NULL);
    struct shard shard;
    json_int_t port;

    if (!json_is_object(primary))
        return err_set(err, ERR_PROTOCOL, "the parameter 'primary' is not an object");
    if (param_string(primary, "addr", &a.primary_addr, err) < 0 ||
        param_int(primary, "port", &port, err) < 0)
        return -1;
    a.primary_port = (int)port;
    if (json_object_get(params, "keys") && (param_int(params, "keys", &a.keys, err) < 0 ||
                                               param_int(params, "expires", &a.expires, err) < 0))
        return -1;
    if (shard_enter(params, &shard, err) < 0)
        return -1;
    shard_take_databases(&shard, params);
    a.shard = &shard;
    int rc = shard_is_replica(&shard)
                 ? attach(&a, password, ret, err)
                 : err_set(err, ERR_PROTOCOL, "'%s' is not a replica", shard.path);
    redis_close(a.primary);
    redis_close(a.replica);
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_attach_replica = {.name = "attach_replica", .run = run};
