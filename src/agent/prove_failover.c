/*
 * prove_failover: the Sentinels of a database make a replica its primary, and then the old primary
 * again.
 *
 * The state of all servers and Sentinels decides what is next, so the method can be killed at any
 * moment and called again. Only two things are kept in the primary's record:
 *
 *     "failover": {"to": {"addr", "port"}, "away_ms", "back_ms"?, "priorities"?: [text]}
 *
 * It appears when another server is primary; with "back_ms" the proof is complete. "priorities" are
 * those of the servers before they are changed for the way back.
 */

#include <stdlib.h>
#include <string.h>

#include "method.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "redis.h"
#include "shard.h"
#include "shard_tls.h"
#include "watch.h"

/* A Sentinel gives up a failover after its failover-timeout, by default 180 s. */
enum {
    STUCK_MS = 240 * 1000,
    SEEN_MS = 60 * 1000,
    CHOICE_MS = 30 * 1000,
    COMMAND_MS = 10 * 1000,
    POLL_MS = 200
};

static const char record_name[] = "failover";

struct proof {
    struct agent_call *call;
    struct shard *shard;
    const char *name; /* by which the Sentinels know the database */
    const char *password;
    const char *sentinels_password; /* NULL: they demand none */
    const json_t *servers, *sentinels;
    size_t planned; /* the primary, index into servers */
};

static const char *addr_of(const json_t *place)
{
    return json_text(place, "addr", "");
}

static int port_of(const json_t *place)
{
    return (int)json_int(place, "port", 0);
}

static bool is_at(const json_t *place, const char *addr, int port)
{
    return addr && strcmp(addr_of(place), addr) == 0 && port_of(place) == port;
}

static const json_t *server(const struct proof *p, size_t i)
{
    return json_array_get(p->servers, i);
}

static int connect_to(
    const struct proof *p, const json_t *place, bool sentinel, struct redis **ret, struct err *err)
{
    if (shard_connect_tcp(p->shard, addr_of(place), port_of(place), COMMAND_MS, ret, err) < 0)
        return -1;
    if (sentinel ? !p->sentinels_password || redis_auth(*ret, NULL, p->sentinels_password, err) == 0
                 : redis_auth(*ret, RECOVERY_USER, p->password, err) == 0)
        return 0;
    redis_close(*ret);
    *ret = NULL;
    return -1;
}

/* --- how things stand --- */

/* 1: a primary; 0: a replica that is in step with `ret_primary`; -1: neither, err says why */
static int ask_role(
    const struct proof *p, size_t at, size_t *ret_primary, size_t *ret_replicas, struct err *err)
{
    const json_t *place = server(p, at);
    CLEANUP(redis_close_ptr) struct redis *r = NULL;
    redisReply *reply;
    int rc = -1;

    if (connect_to(p, place, false, &r, err) < 0 || redis_command(r, &reply, err, "ROLE") < 0)
        return -1;
    redisReply **e = reply->element;
    if (reply->elements >= 3 && e[0]->str && strcmp(e[0]->str, "master") == 0) {
        *ret_replicas = e[2]->elements;
        rc = 1;
    } else if (reply->elements >= 4 && e[3]->str && strcmp(e[3]->str, "connected") == 0) {
        for (size_t i = 0; i < json_array_size(p->servers); i++)
            if (is_at(server(p, i), e[1]->str, (int)e[2]->integer)) {
                *ret_primary = i;
                rc = 0;
            }
    }
    freeReplyObject(reply);
    return rc >= 0 ? rc
                   : err_set(err, ERR_CHECK, "the server at %s:%d is not yet a replica in step",
                         addr_of(place), port_of(place));
}

/* The only primary, if all others are its replicas and in step. */
static int find_primary(const struct proof *p, size_t *ret, struct err *err)
{
    size_t count = json_array_size(p->servers), replicas = 0, primary = count, of = count;

    for (size_t i = 0; i < count; i++) {
        size_t seen = 0, follows = count;
        int role = ask_role(p, i, &follows, &seen, err);
        if (role < 0)
            return -1;
        if (role == 1 && primary < count)
            return err_set(err, ERR_CHECK, "%s:%d and %s:%d are both primaries",
                addr_of(server(p, primary)), port_of(server(p, primary)), addr_of(server(p, i)),
                port_of(server(p, i)));
        if (role == 0 && of < count && of != follows)
            return err_set(err, ERR_CHECK, "the replicas do not follow the same primary yet");
        if (role == 0)
            of = follows;
        else {
            primary = i;
            replicas = seen;
        }
    }
    if (primary == count || (of < count && of != primary) || replicas != count - 1)
        return err_set(err, ERR_CHECK, "not all replicas follow the new primary yet");
    *ret = primary;
    return 0;
}

/* The value of a field in a list of names and values; "" if it is missing. */
static const char *field(const redisReply *fields, const char *name)
{
    for (size_t i = 0; i + 1 < fields->elements; i += 2)
        if (fields->element[i]->str && strcmp(fields->element[i]->str, name) == 0)
            return fields->element[i + 1]->str ? fields->element[i + 1]->str : "";
    return "";
}

static int check_sentinel(
    const struct proof *p, const json_t *sentinel, const json_t *primary, struct err *err)
{
    CLEANUP(redis_close_ptr) struct redis *r = NULL;
    redisReply *fields;
    int rc = 0;

    if (connect_to(p, sentinel, true, &r, err) < 0 ||
        redis_command(r, &fields, err, "SENTINEL", "MASTER", p->name) < 0)
        return err_wrap(err, "the Sentinel at %s:%d", addr_of(sentinel), port_of(sentinel));
    const char *addr = field(fields, "ip"), *flags = field(fields, "flags");
    if (strcmp(flags, "master") != 0)
        rc = err_set(err, ERR_CHECK, "the Sentinel at %s:%d calls its primary '%s'",
            addr_of(sentinel), port_of(sentinel), flags);
    else if (!is_at(primary, addr, atoi(field(fields, "port"))))
        rc = err_set(err, ERR_CHECK, "the Sentinel at %s:%d takes %s:%s for the primary",
            addr_of(sentinel), port_of(sentinel), addr, field(fields, "port"));
    freeReplyObject(fields);
    return rc;
}

/* All servers and Sentinels agree, and no failover is under way. */
static int look(const struct proof *p, size_t *ret, struct err *err)
{
    const json_t *sentinel;
    size_t i;

    if (find_primary(p, ret, err) < 0)
        return -1;
    json_array_foreach (p->sentinels, i, sentinel) {
        if (check_sentinel(p, sentinel, server(p, *ret), err) < 0)
            return -1;
    }
    return 0;
}

/* Whether a replica is getting a full copy from its new primary, which may take long. */
static bool is_copying(const struct proof *p)
{
    static const char *const signs[] = {
        "master_sync_in_progress", "loading", "rdb_bgsave_in_progress"};
    bool found = false;

    for (size_t i = 0; i < json_array_size(p->servers) && !found; i++) {
        CLEANUP(redis_close_ptr) struct redis *r = NULL;
        AUTO_FREE char *info = NULL;
        struct err ignored = ERR_INIT; /* ignored: look() reports a server that does not answer */
        if (connect_to(p, server(p, i), false, &r, &ignored) < 0 ||
            redis_info(r, &info, &ignored) < 0)
            continue;
        for (size_t k = 0; k < ARRAY_SIZE(signs); k++)
            found |= info_is(info, signs[k], "1");
    }
    return found;
}

/* Servers and Sentinels end connections during a failover, so any failure may pass. */
static int await_agreement(const struct proof *p, size_t *ret, struct err *err)
{
    int64_t deadline = clock_mono_ms() + STUCK_MS;

    for (;;) {
        struct err why = ERR_INIT;
        if (look(p, ret, &why) == 0)
            return 0;
        if (is_copying(p)) {
            deadline = clock_mono_ms() + STUCK_MS;
        } else if (clock_mono_ms() > deadline) {
            err_set(err, ERR_TIMEOUT, "servers and Sentinels do not agree: %s", why.message);
            return err_hint(err,
                "Servers and Sentinels must reach each other at their ports. Look at server.log in "
                "their folders, then resume the recovery.");
        }
        agent_progress(p->call, json_pack("{s:s}", "phase", "failover"));
        pause_ms(POLL_MS);
    }
}

/* --- one failover --- */

static int ask_to_force(const struct proof *p, const json_t *sentinel, struct err *err)
{
    CLEANUP(redis_close_ptr) struct redis *r = NULL;

    return connect_to(p, sentinel, true, &r, err) < 0
               ? -1
               : redis_command(r, NULL, err, "SENTINEL", "FAILOVER", p->name);
}

/*
 * The first Sentinel does it. It says at once if it has no replica to choose from, which may be so
 * for a moment after another failover: it has not asked all replicas since.
 */
static int force(const struct proof *p, struct err *err)
{
    const json_t *sentinel = json_array_get(p->sentinels, 0);
    int64_t deadline = clock_mono_ms() + CHOICE_MS;
    int rc;

    while ((rc = ask_to_force(p, sentinel, err)) < 0 && strstr(err->message, "NOGOODSLAVE") &&
           clock_mono_ms() < deadline)
        pause_ms(POLL_MS);
    if (rc == 0)
        return 0;
    err_wrap(err, "the Sentinel at %s:%d starts no failover", addr_of(sentinel), port_of(sentinel));
    return err_hint(err,
        "It needs a replica that it reaches, with a replica-priority above 0. Look at server.log in "
        "its folder, then resume the recovery.");
}

static int fail_over(const struct proof *p, size_t from, size_t *ret_to, struct err *err)
{
    if (force(p, err) < 0 || await_agreement(p, ret_to, err) < 0)
        return -1;
    if (*ret_to != from)
        return 0;
    err_set(err, ERR_CHECK, "the Sentinels gave up a failover: %s:%d is still the primary",
        addr_of(server(p, from)), port_of(server(p, from)));
    return err_hint(err,
        "Look at server.log in the folders of the Sentinels and of the replicas, then resume the "
        "recovery.");
}

/* --- which replica the Sentinels choose --- */

static int config_text(struct redis *r, const char *name, char **ret, struct err *err)
{
    redisReply *reply;

    if (redis_command(r, &reply, err, "CONFIG", "GET", name) < 0)
        return -1;
    *ret = xstrdup(field(reply, name));
    freeReplyObject(reply);
    return 0;
}

/* Into the record, before any of them is changed. */
static int keep_priorities(const struct proof *p, json_t *record, struct err *err)
{
    json_t *kept = json_array();

    if (json_object_get(record, "priorities")) {
        json_decref(kept);
        return 0;
    }
    for (size_t i = 0; i < json_array_size(p->servers); i++) {
        CLEANUP(redis_close_ptr) struct redis *r = NULL;
        AUTO_FREE char *priority = NULL;
        if (connect_to(p, server(p, i), false, &r, err) < 0 ||
            config_text(r, "replica-priority", &priority, err) < 0) {
            json_decref(kept);
            return -1;
        }
        json_array_append_new(kept, json_string(priority));
    }
    json_object_set_new(record, "priorities", kept);
    return shard_save(p->shard, err);
}

static int set_priority(
    const struct proof *p, size_t at, const char *priority, bool keep, struct err *err)
{
    CLEANUP(redis_close_ptr) struct redis *r = NULL;

    if (connect_to(p, server(p, at), false, &r, err) < 0 ||
        redis_command(r, NULL, err, "CONFIG", "SET", "replica-priority", priority) < 0)
        return -1;
    return keep ? redis_command(r, NULL, err, "CONFIG", "REWRITE") : 0;
}

/* 1: the Sentinel that starts the failover has seen that only the planned primary may be chosen. */
static int has_seen(const struct proof *p, struct err *err)
{
    CLEANUP(redis_close_ptr) struct redis *r = NULL;
    const json_t *planned = server(p, p->planned);
    redisReply *replicas;
    bool seen = false, others = false;

    if (connect_to(p, json_array_get(p->sentinels, 0), true, &r, err) < 0 ||
        redis_command(r, &replicas, err, "SENTINEL", "REPLICAS", p->name) < 0)
        return -1;
    for (size_t i = 0; i < replicas->elements; i++) {
        const redisReply *one = replicas->element[i];
        bool may = atoi(field(one, "slave-priority")) > 0;
        if (is_at(planned, field(one, "ip"), atoi(field(one, "port"))))
            seen = may && strcmp(field(one, "flags"), "slave") == 0;
        else
            others |= may;
    }
    freeReplyObject(replicas);
    return seen && !others;
}

/* A Sentinel asks a replica every 10 s. */
static int prefer_planned(const struct proof *p, struct err *err)
{
    int64_t deadline = clock_mono_ms() + SEEN_MS;
    int seen;

    for (size_t i = 0; i < json_array_size(p->servers); i++)
        if (set_priority(p, i, i == p->planned ? "1" : "0", false, err) < 0)
            return -1;
    while ((seen = has_seen(p, err)) == 0 && clock_mono_ms() < deadline) {
        agent_progress(p->call, json_pack("{s:s}", "phase", "failover"));
        pause_ms(POLL_MS);
    }
    if (seen == 0)
        err_set(err, ERR_TIMEOUT, "the Sentinel at %s:%d does not see %s:%d as a good replica",
            addr_of(json_array_get(p->sentinels, 0)), port_of(json_array_get(p->sentinels, 0)),
            addr_of(server(p, p->planned)), port_of(server(p, p->planned)));
    return seen == 1 ? 0 : -1;
}

static int restore_priorities(const struct proof *p, json_t *record, struct err *err)
{
    const json_t *kept = json_object_get(record, "priorities"), *priority;
    size_t i;

    json_array_foreach (kept, i, priority) {
        if (set_priority(p, i, json_string_value(priority), true, err) < 0)
            return -1;
    }
    return 0;
}

/* --- both --- */

static json_t *new_record(const struct proof *p, size_t to, int64_t taken_ms)
{
    return json_pack("{s:{s:s, s:i}, s:I}", "to", "addr", addr_of(server(p, to)), "port",
        port_of(server(p, to)), "away_ms", (json_int_t)taken_ms);
}

static int go_away(const struct proof *p, size_t *primary, struct err *err)
{
    int64_t start_ms = clock_mono_ms();

    /* After a kill another server may be primary already. */
    if (*primary == p->planned && fail_over(p, *primary, primary, err) < 0)
        return -1;
    json_object_set_new(
        p->shard->record, record_name, new_record(p, *primary, clock_mono_ms() - start_ms));
    return shard_save(p->shard, err);
}

static int come_back(const struct proof *p, size_t *primary, struct err *err)
{
    json_t *record = json_object_get(p->shard->record, record_name);
    int64_t start_ms = clock_mono_ms();

    if (*primary != p->planned &&
        (keep_priorities(p, record, err) < 0 || prefer_planned(p, err) < 0 ||
            fail_over(p, *primary, primary, err) < 0))
        return -1;
    if (*primary != p->planned)
        return err_set(err, ERR_CHECK, "after two failovers the primary is %s:%d, not %s:%d",
            addr_of(server(p, *primary)), port_of(server(p, *primary)),
            addr_of(server(p, p->planned)), port_of(server(p, p->planned)));
    if (restore_priorities(p, record, err) < 0)
        return -1;
    json_object_del(record, "priorities");
    json_object_set_new(record, "back_ms", json_integer(clock_mono_ms() - start_ms));
    return shard_save(p->shard, err);
}

static int prove(const struct proof *p, json_t **ret, struct err *err)
{
    size_t primary;

    if (await_agreement(p, &primary, err) < 0)
        return -1;
    if (!json_object_get(p->shard->record, record_name) && go_away(p, &primary, err) < 0)
        return err_wrap(err, "to a replica");
    if (come_back(p, &primary, err) < 0)
        return err_wrap(err, "back to the primary of the plan");
    *ret = json_deep_copy(json_object_get(p->shard->record, record_name));
    return 0;
}

static int take_params(const json_t *params, struct proof *p, struct err *err)
{
    const json_t *primary = json_object_get(params, "primary");
    size_t count;

    p->servers = json_object_get(params, "servers");
    p->sentinels = json_object_get(params, "sentinels");
    p->sentinels_password = json_text(params, "sentinels_password", NULL);
    count = json_array_size(p->servers);
    if (param_string(params, "name", &p->name, err) < 0 ||
        param_string(params, "recovery_password", &p->password, err) < 0)
        return -1;
    for (p->planned = 0; p->planned < count; p->planned++)
        if (is_at(server(p, p->planned), addr_of(primary), port_of(primary)))
            break;
    if (p->planned == count || count < 2 || !json_array_size(p->sentinels))
        return err_set(err, ERR_PROTOCOL,
            "the parameters 'servers', 'sentinels' and 'primary' do not fit together");
    return 0;
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct proof proof = {.call = call};
    struct shard shard;

    if (take_params(params, &proof, err) < 0 || shard_enter(params, &shard, err) < 0)
        return -1;
    proof.shard = &shard;
    int rc = prove(&proof, ret, err);
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_prove_failover = {.name = "prove_failover", .run = run};
