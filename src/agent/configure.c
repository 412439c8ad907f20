/*
 * configure: sets the database's own configuration, once the data is verified. Before that, a
 * memory limit could evict keys, saving could overwrite the file, and a failover could swap roles.
 */

#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "machine.h"
#include "method.h"
#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "run_as.h"
#include "server.h"
#include "shard.h"
#include "watch.h"

enum { ROOM_MIN_BYTES = 2 * 1024 * 1024 };
enum { REWRITE_STUCK_MS = 120 * 1000, POLL_MS = 100, CONF_MAX = 1024 * 1024 };

/* The server's own default. */
enum { BACKLOG_TTL_S = 3600 };

struct settings {
    json_int_t maxmemory, maxclients, node_timeout_ms;
    const char *policy, *save, *appendfsync;
    bool appendonly;
    const json_t *more;            /* {name: value}, as the database had them */
    const char *sentinel_password; /* of the Sentinels' user; NULL: open_shard makes it */
};

static int take_params(const json_t *params, struct settings *s, struct err *err)
{
    if (param_int(params, "maxmemory", &s->maxmemory, err) < 0 ||
        param_string(params, "maxmemory_policy", &s->policy, err) < 0 ||
        param_int(params, "maxclients", &s->maxclients, err) < 0 ||
        param_string(params, "save", &s->save, err) < 0 ||
        param_bool(params, "appendonly", &s->appendonly, err) < 0 ||
        param_string(params, "appendfsync", &s->appendfsync, err) < 0)
        return -1;
    s->node_timeout_ms = 0;
    s->more = json_object_get(params, "settings");
    s->sentinel_password = json_text(params, "sentinel_password", NULL);
    return json_object_get(params, "cluster_node_timeout_ms")
               ? param_int(params, "cluster_node_timeout_ms", &s->node_timeout_ms, err)
               : 0;
}

static int set(struct redis *r, const char *name, const char *value, struct err *err)
{
    return redis_command(r, NULL, err, "CONFIG", "SET", name, value);
}

static int set_int(struct redis *r, const char *name, json_int_t value, struct err *err)
{
    AUTO_FREE char *text = xasprintf("%" JSON_INTEGER_FORMAT, value);
    return set(r, name, text, err);
}

/*
 * A server above its limit evicts keys, or refuses writes, with its next command. The data and the
 * first clients must fit, so a limit that is too low is raised as far as needed.
 */
static int set_memory(struct redis *r, const struct settings *s, json_int_t *ret_limit,
    json_t *warnings, struct err *err)
{
    AUTO_FREE char *info = NULL;

    if (redis_info(r, &info, err) < 0)
        return -1;
    int64_t used =
        info_int(info, "used_memory", 0) - info_int(info, "mem_not_counted_for_evict", 0);
    int64_t room = s->maxmemory / 20 > ROOM_MIN_BYTES ? s->maxmemory / 20 : ROOM_MIN_BYTES;
    *ret_limit = s->maxmemory;
    if (s->maxmemory && used + room > s->maxmemory) {
        char takes[HUMAN_TEXT_MAX], limit[HUMAN_TEXT_MAX], raised[HUMAN_TEXT_MAX];
        *ret_limit = used + room;
        AUTO_FREE char *text = xasprintf(
            "the memory limit is %s instead of %s: the data takes %s, so keys would be lost. Lower "
            "it later with: CONFIG SET maxmemory %" JSON_INTEGER_FORMAT ", then CONFIG REWRITE",
            human_bytes((uint64_t)*ret_limit, raised), human_bytes((uint64_t)s->maxmemory, limit),
            human_bytes((uint64_t)used, takes), s->maxmemory);
        json_array_append_new(warnings, json_string(text));
    }
    if (set_int(r, "maxmemory", *ret_limit, err) < 0)
        return -1;
    return *s->policy ? set(r, "maxmemory-policy", s->policy, err) : 0;
}

/* What the server proposes in its refusal: "…, try with 19968". */
static json_int_t proposed_clients(const struct err *refused)
{
    static const char before[] = "try with ";
    const char *at = strstr(refused->message, before);

    return at ? atoll(at + strlen(before)) : 0;
}

/*
 * A database must start even if the operating system's limit on open files is too low. The server
 * seeks what it can have in small steps, which takes long from a number that none can have.
 */
static int set_clients(struct redis *r, const struct settings *s, json_t *warnings, struct err *err)
{
    struct err refused = ERR_INIT;
    json_int_t most = machine_files_max(""), value = s->maxclients < most ? s->maxclients : most;

    if (s->maxclients <= 0)
        return 0;
    int rc = set_int(r, "maxclients", value, &refused);
    if (rc < 0 && refused.code == ERR_SERVER && proposed_clients(&refused) > 0) {
        value = proposed_clients(&refused);
        refused = (struct err)ERR_INIT;
        rc = set_int(r, "maxclients", value, &refused);
    }
    if (rc < 0 && refused.code != ERR_SERVER) {
        *err = refused;
        return -1;
    }
    if (rc == 0 && value == s->maxclients)
        return 0;
    AUTO_FREE char *text =
        rc < 0 ? xasprintf("maxclients is not set to %" JSON_INTEGER_FORMAT ": %s", s->maxclients,
                     refused.message)
               : xasprintf("maxclients is %" JSON_INTEGER_FORMAT " instead of %" JSON_INTEGER_FORMAT
                           ": a process may not open more files on this host",
                     value, s->maxclients);
    json_array_append_new(warnings, json_string(text));
    return 0;
}

/* Until the append-only file holds all of the data. */
static int await_aof(
    struct agent_call *call, const struct shard *shard, struct redis *r, struct err *err)
{
    struct watch watch = WATCH_INIT(REWRITE_STUCK_MS);

    for (;;) {
        AUTO_FREE char *info = NULL;
        if (redis_info(r, &info, err) < 0)
            return -1;
        bool busy = info_is(info, "aof_rewrite_in_progress", "1") ||
                    info_is(info, "aof_rewrite_scheduled", "1") ||
                    info_is(info, "rdb_bgsave_in_progress", "1");
        if (!busy && !info_is(info, "aof_last_bgrewrite_status", "ok")) {
            err_set(err, ERR_SERVER, "the server in '%s' could not write its append-only file",
                shard->path);
            return server_explain(shard, err);
        }
        if (!busy && info_is(info, "aof_enabled", "1"))
            return 0;
        int64_t keys = info_int(info, "current_save_keys_processed", 0);
        int64_t size = info_int(info, "current_cow_size", 0);
        int64_t spent = info_int(info, "aof_current_rewrite_time_sec", 0);
        /* Servers before 6.2 tell that they rewrite, but not how far they are. */
        bool counts = info_int(info, "current_save_keys_total", -1) >= 0;
        if (watch_is_stuck(&watch, (uint64_t)(counts ? keys + size : spent))) {
            err_set(err, ERR_TIMEOUT,
                "the server in '%s' makes no progress with its append-only file", shard->path);
            return server_explain(shard, err);
        }
        agent_progress(
            call, json_pack("{s:s, s:I, s:I}", "phase", "aof-rewrite", "keys", (json_int_t)keys,
                      "total", (json_int_t)info_int(info, "current_save_keys_total", -1)));
        pause_ms(POLL_MS);
    }
}

static int set_persistence(struct agent_call *call, const struct shard *shard, struct redis *r,
    const struct settings *s, struct err *err)
{
    if (*s->appendfsync && set(r, "appendfsync", s->appendfsync, err) < 0)
        return -1;
    if (set(r, "appendonly", s->appendonly ? "yes" : "no", err) < 0)
        return server_explain(shard, err);
    if (s->appendonly && await_aof(call, shard, r, err) < 0)
        return -1;
    return set(r, "save", s->save, err);
}

/* The backlog was larger and never expired while replicas were still missing. */
static int set_replication(const struct shard *shard, struct redis *r, struct err *err)
{
    int backlog_bytes = shard_int(shard, "repl_backlog_bytes");

    if (backlog_bytes > 0 && set_int(r, "repl-backlog-size", backlog_bytes, err) < 0)
        return -1;
    return set_int(r, "repl-backlog-ttl", BACKLOG_TTL_S, err);
}

static int set_cluster(struct redis *r, const struct settings *s, struct err *err)
{
    if (s->node_timeout_ms > 0 && set_int(r, "cluster-node-timeout", s->node_timeout_ms, err) < 0)
        return -1;
    return set(r, "cluster-replica-no-failover", "no", err);
}

/* A refused setting is a warning: the database works without it. */
static int set_more(struct redis *r, const json_t *more, json_t *warnings, struct err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)more, name, value) {
        struct err refused = ERR_INIT;
        if (!json_is_string(value) || set(r, name, json_string_value(value), &refused) == 0)
            continue;
        if (refused.code != ERR_SERVER) {
            *err = refused;
            return -1;
        }
        AUTO_FREE char *text = xasprintf(
            "%s is not set to '%s' as before: %s", name, json_string_value(value), refused.message);
        json_array_append_new(warnings, json_string(text));
    }
    return 0;
}

/* Huge pages were for the load. The server does without them after its next start. */
static int end_fast_load(const char *text, struct err *err)
{
    static const char line[] = "disable-thp no\n";
    CLEANUP(buf_release) struct buf kept = BUF_INIT;
    const char *found = strstr(text, line);

    if (!found)
        return 0;
    buf_add(&kept, text, (size_t)(found - text));
    buf_adds(&kept, found + strlen(line));
    return file_write_atomic("redis.conf", kept.data, kept.len, 0600, err);
}

/* Reads the file: if its line is wrong, the server's next start is empty. */
static int check_file(const struct shard *shard, bool appendonly, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    bool on = false;

    if (file_read("redis.conf", CONF_MAX, &text, err) < 0)
        return -1;
    for (const char *line = text.data; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, "appendonly ", 11) == 0)
            on = strncmp(line + 11, "yes", 3) == 0;
    }
    if (on != appendonly)
        return err_set(err, ERR_CHECK, "'%s/redis.conf' has appendonly %s after it was rewritten",
            shard->path, on ? "on" : "off");
    return end_fast_load(text.data, err);
}

static int configure(struct agent_call *call, struct shard *shard, const struct settings *s,
    const char *password, json_t **ret, struct err *err)
{
    CLEANUP(redis_close_ptr) struct redis *r = NULL;
    json_t *warnings = json_array();
    json_int_t limit;

    if (server_connect(shard, password, &r, err) < 0 ||
        shard_set(shard, SHARD_CONFIGURED, err) < 0 ||
        set_memory(r, s, &limit, warnings, err) < 0 || set_clients(r, s, warnings, err) < 0 ||
        set_persistence(call, shard, r, s, err) < 0 || set_replication(shard, r, err) < 0 ||
        (shard_int(shard, "bus_port") && set_cluster(r, s, err) < 0) ||
        set_more(r, s->more, warnings, err) < 0 ||
        (s->sentinel_password && access_allow_sentinels(shard, r, s->sentinel_password, err) < 0) ||
        redis_command(r, NULL, err, "CONFIG", "REWRITE") < 0 ||
        check_file(shard, s->appendonly, err) < 0 || run_as_give(shard, err) < 0) {
        json_decref(warnings);
        return -1;
    }
    *ret = json_pack("{s:I, s:o}", "maxmemory", limit, "warnings", warnings);
    return 0;
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const char *password = json_text(params, "password", NULL);
    struct settings settings;
    struct shard shard;

    if (take_params(params, &settings, err) < 0 || shard_enter(params, &shard, err) < 0)
        return -1;
    int rc = configure(call, &shard, &settings, password, ret, err);
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_configure = {.name = "configure", .run = run};
