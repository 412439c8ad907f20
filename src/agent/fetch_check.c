#include "fetch_check.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/json.h"
#include "recluster/key_text.h"
#include "recluster/mem.h"
#include "recluster/rdb_scan.h"
#include "server_version.h"
#include "trial.h"

static json_int_t fact_int(const json_t *facts, const char *name)
{
    return json_int(facts, name, 0);
}

static int check_version(const struct fetch_needs *needs, const json_t *facts, struct err *err)
{
    json_int_t version = fact_int(facts, "rdb_version");

    if (json_flag(facts, "valkey")) {
        if (needs->valkey_ok)
            return 0;
        err_set(err, ERR_CHECK,
            "it was written by Valkey (version %" JSON_INTEGER_FORMAT
            " of its format), which the server of this host can't load",
            version);
        return err_hint(err, "Name a valkey-server of the same or a later version for this host.");
    }
    if (needs->rdb_version_max <= 0 || version <= needs->rdb_version_max)
        return 0;
    err_set(err, ERR_CHECK,
        "its RDB version is %" JSON_INTEGER_FORMAT
        ", the server of this host loads up to %" JSON_INTEGER_FORMAT,
        version, needs->rdb_version_max);
    return err_hint(err, "Install a newer server on this host.");
}

static int refuse_type(const struct shard *shard, const char *type, struct err *err)
{
    err_set(err, ERR_CHECK, "it holds data of the module type '%s', which the server '%s' lacks",
        type, shard_string(shard, "server"));
    return err_hint(err, "Name the module with \"modules\" of this host in the hosts file, or a "
                         "server program that has it with \"server\".");
}

/* Asks the server of this host whether it knows the types of these modules. */
static int check_modules(
    const struct shard *shard, const json_t *facts, json_t *unused, struct err *err)
{
    const char *server = shard_string(shard, "server"), *type;
    struct server_version version;
    json_t *types, *has;

    if (json_array_size(json_object_get(facts, "modules")) == 0)
        return 0;
    server_version_of_record(shard->record, &version);
    const struct trial_params params = {.server = server,
        .version = &version,
        .modules = json_object_get(shard->record, "modules"),
        .run_as = shard_string(shard, "run_as"),
        .types = json_object_get(facts, "modules")};
    if (trial_types(&params, &types, err) < 0)
        return err_wrap(err, "cannot ask the server '%s' for its modules", server);
    int rc = 0;
    bool used = false;
    json_object_foreach (types, type, has) {
        if (json_is_true(has) || used)
            continue;
        rc = refuse_type(shard, type, err);
        used = json_has_text(json_object_get(facts, "module_values"), type);
        if (!used)
            json_array_append_new(unused, json_string(type));
    }
    if (used)
        json_array_clear(unused);
    json_decref(types);
    return rc;
}

/* Keys whose slots belong to another shard, or were still being migrated to this one. */
static int check_slots(const struct fetch_needs *needs, const json_t *facts, struct err *err)
{
    const json_t *foreign = json_object_get(facts, "foreign");
    json_int_t keys = fact_int(foreign, "keys");
    json_int_t importing = fact_int(json_object_get(facts, "importing"), "keys");
    const json_t *first = json_object_get(foreign, "first");
    const char *hex = json_text(first, "key", NULL);
    AUTO_FREE char *key = key_text_of_hex(hex ? hex : "");

    if (!needs->has_slots || (keys == 0 && importing == 0))
        return 0;
    if (keys == 0)
        err_set(err, ERR_CHECK,
            "%" JSON_INTEGER_FORMAT " keys belong to slots that the server was only importing",
            importing);
    else
        err_set(err, ERR_CHECK,
            "%" JSON_INTEGER_FORMAT
            " keys belong to slots of other shards; the first is %s in slot "
            "%" JSON_INTEGER_FORMAT,
            keys, key, fact_int(first, "slot"));
    return err_hint(
        err, "Start again with --resort: each key then goes to the shard that owns its slot.");
}

static int refuse_database(
    const struct fetch_needs *needs, const char *number, json_int_t keys, struct err *err)
{
    if (needs->databases == DATABASES_MAX)
        return err_set(err, ERR_LIMIT,
            "%" JSON_INTEGER_FORMAT " keys are in database %s: a server can have %d at most", keys,
            number, DATABASES_MAX);
    err_set(err, ERR_CHECK,
        "%" JSON_INTEGER_FORMAT " keys are in database %s: a cluster of this server has only %s",
        keys, number, needs->databases == 1 ? "database 0" : "the first 16");
    return err_hint(err, "Clusters of Valkey 9.0 and later have 16 databases "
                         "(\"cluster-databases\"), others have one: name such a server with "
                         "\"server\" in the hosts file, or take these keys out of the file.");
}

static int check_databases(const struct fetch_needs *needs, const json_t *facts, struct err *err)
{
    json_t *count, *dbs = json_object_get(facts, "keys_by_db");
    const char *name;

    json_object_foreach (dbs, name, count) {
        json_int_t keys = json_integer_value(count);
        long db = strtol(name, NULL, 10);
        if (keys == 0)
            continue;
        if (db >= needs->databases)
            return refuse_database(needs, name, keys, err);
    }
    return 0;
}

int fetch_check(const struct shard *shard, const struct fetch_needs *needs, const json_t *facts,
    json_t *unused, struct err *err)
{
    if (check_version(needs, facts, err) < 0 || check_modules(shard, facts, unused, err) < 0 ||
        check_slots(needs, facts, err) < 0)
        return -1;
    return check_databases(needs, facts, err);
}
