/* prove_endpoint: checks a shard the way a client sees it. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "method.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "redis.h"
#include "samples.h"
#include "server.h"
#include "shard_tls.h"
#include "watch.h"

enum { COMMAND_MS = 10 * 1000, CLUSTER_MS = 30 * 1000, POLL_MS = 100, PINGS = 9 };

struct endpoint {
    const struct shard *shard;
    const char *addr, *password, *role;
    const char *recovery_password; /* to look with, if default may not; or NULL */
    int port;
    bool other; /* `port` is the other_port of the shard */
    bool cluster;
    struct redis *redis;
};

static int64_t mono_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The median of a few pings, so that one hiccup does not count. */
static int measure(struct endpoint *e, int64_t *ret_us, struct err *err)
{
    int64_t taken[PINGS];

    for (int i = 0; i < PINGS; i++) {
        int64_t start_us = mono_us();
        if (redis_command(e->redis, NULL, err, "PING") < 0)
            return -1;
        taken[i] = mono_us() - start_us;
    }
    qsort(taken, PINGS, sizeof(taken[0]), by_value);
    *ret_us = taken[PINGS / 2];
    return 0;
}

static int check_role(struct endpoint *e, struct err *err)
{
    const char *wanted = strcmp(e->role, "replica") == 0 ? "slave" : "master";
    redisReply *reply;
    int rc = 0;

    if (redis_command(e->redis, &reply, err, "ROLE") < 0)
        return -1;
    const char *role = reply->elements ? reply->element[0]->str : NULL;
    if (!role || strcmp(role, wanted) != 0)
        rc = err_set(err, ERR_CHECK, "%s:%d is a '%s', not a '%s'", e->addr, e->port,
            role ? role : "?", wanted);
    freeReplyObject(reply);
    return rc;
}

/* Primaries answer "ok" only 2 s after their start. */
static int await_cluster(struct endpoint *e, struct err *err)
{
    int64_t deadline = clock_mono_ms() + CLUSTER_MS;

    for (;;) {
        AUTO_FREE char *info = NULL;
        if (redis_text(e->redis, &info, (const char *const[]){"CLUSTER", "INFO", NULL}, err) < 0)
            return -1;
        if (info_is(info, "cluster_state", "ok"))
            return 0;
        if (clock_mono_ms() > deadline)
            return err_set(err, ERR_CHECK,
                "the cluster at %s:%d is not ok: %lld of %lld slots answer, %lld nodes are known",
                e->addr, e->port, (long long)info_int(info, "cluster_slots_ok", 0),
                (long long)info_int(info, "cluster_slots_assigned", 0),
                (long long)info_int(info, "cluster_known_nodes", 0));
        pause_ms(POLL_MS);
    }
}

static int connect_as(struct endpoint *e, const char *user, const char *password, struct err *err)
{
    redis_close(e->redis);
    e->redis = NULL;
    if ((e->other ? shard_connect_other : shard_connect_tcp)(
            e->shard, e->addr, e->port, COMMAND_MS, &e->redis, err) < 0)
        return -1;
    return password && *password ? redis_auth(e->redis, user, password, err) : 0;
}

static int connect_to(struct endpoint *e, struct err *err)
{
    struct err refused = ERR_INIT;

    if (!e->recovery_password)
        return connect_as(e, NULL, e->password, err);
    if (connect_as(e, NULL, e->password, &refused) == 0 &&
        redis_command(e->redis, NULL, &refused, "ROLE") == 0)
        return 0;
    if (refused.code != ERR_DENIED) {
        *err = refused;
        return -1;
    }
    return connect_as(e, RECOVERY_USER, e->recovery_password, err);
}

static int prove(struct endpoint *e, const json_t *samples, json_t **ret, struct err *err)
{
    struct samples_seen seen;
    int64_t latency_us;

    if (connect_to(e, err) < 0 || measure(e, &latency_us, err) < 0 || check_role(e, err) < 0 ||
        (e->cluster && await_cluster(e, err) < 0) ||
        samples_look(e->redis, e->cluster, samples, &seen, err) < 0)
        return -1;
    /* Clients may have changed keys by now; the strict check ran before they were admitted. */
    *ret = json_pack(
        "{s:I, s:I}", "samples_ok", (json_int_t)seen.same, "latency_us", (json_int_t)latency_us);
    return 0;
}

/* The first port counts; the other one must work too. */
static int prove_both(
    struct endpoint *e, int other_port, const json_t *samples, json_t **ret, struct err *err)
{
    json_t *first;

    if (prove(e, samples, &first, err) < 0)
        return -1;
    if (other_port) {
        json_t *second = NULL;
        e->other = true;
        e->port = other_port;
        if (prove(e, samples, &second, err) < 0) {
            json_decref(first);
            return -1;
        }
        json_decref(second);
    }
    *ret = first;
    return 0;
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct endpoint e = {.password = json_text(params, "password", NULL)};
    const json_t *samples = json_object_get(params, "samples");
    struct shard shard;
    json_int_t port;

    (void)call;
    if (param_string(params, "addr", &e.addr, err) < 0 ||
        param_int(params, "port", &port, err) < 0 ||
        param_string(params, "role", &e.role, err) < 0 ||
        param_bool(params, "cluster", &e.cluster, err) < 0)
        return -1;
    if (!json_is_array(samples))
        return err_set(err, ERR_PROTOCOL, "the parameter 'samples' is not a list");
    e.port = (int)port;
    if (json_count(params, "users"))
        e.recovery_password = json_text(params, "recovery_password", NULL);
    if (shard_enter(params, &shard, err) < 0)
        return -1;
    e.shard = &shard;
    int rc = prove_both(&e, (int)json_int(params, "other_port", 0), samples, ret, err);
    redis_close(e.redis);
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_prove_endpoint = {.name = "prove_endpoint", .run = run};
