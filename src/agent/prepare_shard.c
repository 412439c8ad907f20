/* prepare_shard: makes a shard's folder and its server's configuration. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fast_load.h"
#include "method.h"
#include "port.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "server.h"
#include "server_conf.h"
#include "server_version.h"
#include "shard.h"
#include "shard_tls.h"
#include "systemd_unit.h"

/* The fields of the record that come from the parameters. */
static int take_params(const json_t *params, json_t **ret, struct err *err)
{
    static const char *const strings[] = {"recovery", "server", "addr", "database", "shard", "role",
        "recovery_password", "replication_password"};
    static const char *const ints[] = {"port", "bus_port", "repl_backlog_bytes"};
    static const char *const others[] = {"primary", "modules", "run_as", "databases", "settings",
        "other_port", "announce", "announce_hostname", "fast_load", "generation"};
    json_t *record = json_object();
    const char *s;
    json_int_t n;

    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        if (param_string(params, strings[i], &s, err) < 0)
            goto fail;
        json_object_set_new(record, strings[i], json_string(s));
    }
    for (size_t i = 0; i < ARRAY_SIZE(ints); i++) {
        if (param_int(params, ints[i], &n, err) < 0)
            goto fail;
        json_object_set_new(record, ints[i], json_integer(n));
    }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (json_object_get(params, others[i]))
            json_object_set(record, others[i], json_object_get(params, others[i]));
    *ret = record;
    return 0;
fail:
    json_decref(record);
    return -1;
}

/* The parameters that may not change once a server may have run here. */
static int check_same(const struct shard *shard, const json_t *record, struct err *err)
{
    static const char *const texts[] = {"shard", "role", "addr"};
    static const char *const numbers[] = {"port", "bus_port", "other_port"};
    const char *other = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(texts) && !other; i++)
        if (strcmp(json_text(shard->record, texts[i], ""), json_text(record, texts[i], "")) != 0)
            other = texts[i];
    for (size_t i = 0; i < ARRAY_SIZE(numbers) && !other; i++)
        if (json_int(shard->record, numbers[i], 0) != json_int(record, numbers[i], 0))
            other = numbers[i];
    if (!other)
        return 0;
    err_set(err, ERR_CHECK, "'%s' was prepared with another %s", shard->path, other);
    return err_hint(err, "Abort the recovery that prepared it, then plan again.");
}

static int enter(const struct shard *shard, struct err *err)
{
    return chdir(shard->path) < 0
               ? err_sys(err, ERR_IO, "cannot enter the folder '%s'", shard->path)
               : 0;
}

/*
 * Removes what an earlier generation of the database left here, except the verified file in
 * incoming/. The old record stays until the new one is written, so a rerun repeats everything.
 */
static int remove_old_generation(const struct shard *shard, struct err *err)
{
    static const char *const left[] = {
        "dump.rdb", "nodes.conf", "redis.conf", "users.acl", "appendonlydir"};
    bool was_running;

    if (shard_has(shard, SHARD_OPENED)) {
        err_set(err, ERR_CHECK, "the shard in '%s' is open to clients: it cannot start again",
            shard->path);
        return err_hint(err, "Its data may be newer than any backup: look at it first.");
    }
    if (server_stop(shard, &was_running, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
        AUTO_FREE char *path = path_join(shard->path, left[i]);
        if (dir_remove(path, err) < 0)
            return -1;
    }
    return 0;
}

static int check_version(const struct shard *shard, struct err *err)
{
    json_t *record = shard->record;
    const char *server = json_text(record, "server", NULL);
    json_int_t port = json_int(record, "port", 0);
    json_int_t bus_port = json_int(record, "bus_port", 0);
    struct server_version version;

    /* Not in the shard's folder, where a process of that name would count as its server. */
    if (chdir("/") < 0)
        return err_sys(err, ERR_IO, "cannot enter the folder '/'");
    if (server_version_ask(server, &version, err) < 0 || enter(shard, err) < 0)
        return -1;
    json_object_set_new(record, "server_kind", json_string(version.valkey ? "valkey" : "redis"));
    json_object_set_new(record, "server_version", json_string(version.text));
    if (!server_version_at_least(&version, 6, 0)) {
        err_set(
            err, ERR_UNSUPPORTED, "'%s' is version %s, which has no users", server, version.text);
        return err_hint(err, "Install Redis 6.0 or later, or Valkey, on that host.");
    }
    if (bus_port && bus_port != port + 10000 && !server_version_at_least(&version, 7, 0))
        return err_set(err, ERR_UNSUPPORTED,
            "'%s' is version %s: its cluster bus port can only be %" JSON_INTEGER_FORMAT, server,
            version.text, port + 10000);
    return 0;
}

static int check_ports(const json_t *record, struct err *err)
{
    static const char *const names[] = {"port", "other_port", "bus_port"};
    const char *addr = json_text(record, "addr", NULL);

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int port = (int)json_int(record, names[i], 0);
        if ((port || i == 0) && port_check(addr, port, err) < 0)
            return -1;
    }
    return 0;
}

static int write_files(const struct shard *shard, const char *nodes_conf, struct err *err)
{
    unit_choose(shard->record, shard->path);
    if (server_conf_write(shard->record, shard->path, err) < 0)
        return -1;
    /* The server writes to its nodes.conf as soon as it starts. */
    if (nodes_conf && !file_exists("nodes.conf") &&
        file_write_atomic("nodes.conf", nodes_conf, strlen(nodes_conf), 0600, err) < 0)
        return -1;
    return shard_save(shard, err);
}

/* Huge pages are used only if they help. The record keeps the measurement. */
static int decide_fast_load(const struct shard *shard, struct err *err)
{
    json_t *measured;

    if (!json_flag(shard->record, "fast_load"))
        return 0;
    if (fast_load_measure(shard, &measured, err) < 0)
        return -1;
    json_object_set(shard->record, "fast_load", json_object_get(measured, "helps"));
    json_object_set_new(shard->record, "fast_load_measured", measured);
    return 0;
}

/* Takes over the record. */
static int prepare(struct shard *shard, json_t *record, const json_t *params, struct err *err)
{
    const json_t *tls = json_object_get(params, "tls");
    AUTO_FREE char *incoming = path_join(shard->path, "incoming");
    pid_t pid;

    if (dir_make(shard->path, 0700, err) < 0 || dir_make(incoming, 0700, err) < 0)
        goto fail;
    if (enter(shard, err) < 0)
        goto fail;
    if (shard->record) {
        int before = shard_int(shard, "generation");
        json_int_t now = json_int(record, "generation", 0);
        if (now < before) {
            err_set(err, ERR_CHECK, "'%s' belongs to a later plan of this recovery", shard->path);
            goto fail;
        }
        if (now > before && remove_old_generation(shard, err) < 0)
            goto fail;
        bool done = now == before && (shard_has(shard, SHARD_CONFIGURED) || server_pid(shard) != 0);
        if (done) {
            int rc = check_same(shard, record, err);
            json_decref(record);
            return rc;
        }
        /* Of the file in incoming/, which is kept. */
        if (json_object_get(shard->record, "fetched"))
            json_object_set(record, "fetched", json_object_get(shard->record, "fetched"));
        json_decref(shard->record);
    }
    shard->record = record;
    if ((pid = server_pid(shard)) != 0)
        return err_set(err, ERR_CHECK,
            "a server runs in '%s' (process %d), but it was not prepared", shard->path, (int)pid);
    if (check_version(shard, err) < 0 || check_ports(record, err) < 0 ||
        decide_fast_load(shard, err) < 0 || (tls && shard_tls_write(shard, tls, err) < 0))
        return -1;
    return write_files(shard, json_text(params, "nodes_conf", NULL), err);
fail:
    json_decref(record);
    return -1;
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct shard shard = SHARD_INIT;
    json_t *record;

    (void)call;
    if (shard_find(params, &shard, err) < 0)
        return -1;
    int rc = take_params(params, &record, err);
    if (rc == 0)
        rc = prepare(&shard, record, params, err);
    if (rc == 0)
        *ret =
            json_pack("{s:O?}", "fast_load", json_object_get(shard.record, "fast_load_measured"));
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_prepare_shard = {.name = "prepare_shard", .run = run};
