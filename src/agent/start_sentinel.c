/* start_sentinel: a Sentinel that watches a recovered database, and what it says of it. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "method.h"
#include "port.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "server.h"
#include "server_conf.h"
#include "shard.h"
#include "shard_tls.h"
#include "systemd_unit.h"

static int take_params(const json_t *params, json_t **ret, struct err *err)
{
    static const char *const strings[] = {"recovery", "server", "addr", "database"};
    json_t *record = json_pack("{s:b, s:b}", "sentinel", 1, "opened", 1);
    const char *s;
    json_int_t port;

    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        if (param_string(params, strings[i], &s, err) < 0)
            goto fail;
        json_object_set_new(record, strings[i], json_string(s));
    }
    if (param_int(params, "port", &port, err) < 0)
        goto fail;
    json_object_set_new(record, "port", json_integer(port));
    json_object_set_new(record, "generation", json_integer(json_int(params, "generation", 0)));
    if (json_object_get(params, "own_password"))
        json_object_set(record, "own_password", json_object_get(params, "own_password"));
    if (json_object_get(params, "announce"))
        json_object_set(record, "announce", json_object_get(params, "announce"));
    if (json_object_get(params, "run_as"))
        json_object_set(record, "run_as", json_object_get(params, "run_as"));
    *ret = record;
    return 0;
fail:
    json_decref(record);
    return -1;
}

/*
 * Since its database was started again, its servers have other addresses and another password. The
 * old record stays until the new one is written.
 */
static int end_old_generation(struct shard *shard, struct err *err)
{
    bool was_running;

    if (chdir(shard->path) < 0)
        return err_sys(err, ERR_IO, "cannot enter the folder '%s'", shard->path);
    if (server_stop(shard, &was_running, err) < 0 || dir_remove("redis.conf", err) < 0)
        return -1;
    json_decref(shard->record);
    shard->record = NULL;
    return 0;
}

/* The record is written last: with it the configuration belongs to the Sentinel. */
static int prepare(struct shard *shard, const json_t *params, struct err *err)
{
    const json_t *watch = json_object_get(params, "watch"), *tls = json_object_get(params, "tls");

    if (shard->record && !shard_is_sentinel(shard))
        return err_set(err, ERR_CHECK, "'%s' is the folder of a shard", shard->path);
    if (shard->record && shard_int(shard, "generation") < json_int(params, "generation", 0) &&
        end_old_generation(shard, err) < 0)
        return -1;
    if (shard->record)
        return 0;
    if (!json_is_object(watch))
        return err_set(err, ERR_PROTOCOL, "the parameter 'watch' is not an object");
    if (take_params(params, &shard->record, err) < 0 ||
        port_check(shard_string(shard, "addr"), shard_int(shard, "port"), err) < 0 ||
        dir_make(shard->path, 0700, err) < 0)
        return -1;
    if (chdir(shard->path) < 0)
        return err_sys(err, ERR_IO, "cannot enter the folder '%s'", shard->path);
    unit_choose(shard->record, shard->path);
    return (tls && shard_tls_write(shard, tls, err) < 0) ||
                   server_conf_write_sentinel(shard->record, watch, shard->path, err) < 0 ||
                   shard_save(shard, err) < 0
               ? -1
               : 0;
}

/* The value of a field; "" if the Sentinel does not say it. */
static const char *field(const redisReply *fields, const char *name)
{
    for (size_t i = 0; i + 1 < fields->elements; i += 2)
        if (fields->element[i]->str && strcmp(fields->element[i]->str, name) == 0)
            return fields->element[i + 1]->str ? fields->element[i + 1]->str : "";
    return "";
}

static int ask(struct redis *r, const char *name, bool already, json_t **ret, struct err *err)
{
    const char *const question[] = {"SENTINEL", "CKQUORUM", name, NULL};
    struct err refused = ERR_INIT;
    AUTO_FREE char *said = NULL;
    redisReply *fields;

    if (redis_command(r, &fields, err, "SENTINEL", "MASTER", name) < 0)
        return -1;
    bool quorum = redis_text(r, &said, question, &refused) == 0;
    if (!quorum && refused.code != ERR_SERVER && refused.code != ERR_BUSY) {
        freeReplyObject(fields);
        *err = refused;
        return -1;
    }
    *ret = json_pack("{s:b, s:{s:s, s:i}, s:i, s:i, s:i, s:b, s:s}", "already", already, "primary",
        "addr", field(fields, "ip"), "port", atoi(field(fields, "port")), "replicas",
        atoi(field(fields, "num-slaves")), "sentinels", atoi(field(fields, "num-other-sentinels")),
        "quorum", atoi(field(fields, "quorum")), "quorum_ok", quorum, "said",
        quorum ? said : refused.message);
    freeReplyObject(fields);
    return *ret ? 0 : err_set(err, ERR_SERVER, "the answer of the Sentinel is not UTF-8");
}

static int start(struct shard *shard, const json_t *params, json_t **ret, struct err *err)
{
    const char *name = json_text(json_object_get(params, "watch"), "name", "");
    CLEANUP(redis_close_ptr) struct redis *r = NULL;

    if (prepare(shard, params, err) < 0)
        return -1;
    bool already = server_pid(shard) != 0;
    if ((already ? server_connect(shard, NULL, &r, err) : server_start(shard, NULL, &r, err)) < 0)
        return -1;
    if (!shard_has(shard, SHARD_CONFIGURED) &&
        (unit_enable(shard, err) < 0 || shard_set(shard, SHARD_CONFIGURED, err) < 0))
        return -1;
    return ask(r, name, already, ret, err);
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct shard shard;

    (void)call;
    if (shard_find(params, &shard, err) < 0)
        return -1;
    int rc = start(&shard, params, ret, err);
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_start_sentinel = {.name = "start_sentinel", .run = run};
