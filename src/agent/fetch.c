/* fetch: a backup file, from its location into incoming/, whole and fit for the shard, or not at
 * all. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "method.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/pull.h"
#include "recluster/store.h"
#include "shard.h"

enum { DEFAULT_DATABASES = 16 };

/*
 * What can't be seen in a file that was cut, joined or stamped is kept in the shard's record as
 * "fetched":
 * {"as", "repl_id", "source"}, written before the file gets its final name.
 */
struct fetch {
    struct agent_call *call;
    const char *name, *as;
    const json_t *location;
    struct pull_input *more; /* files whose records join those of the first */
    size_t more_count;
    struct shard *shard;
    struct slots slots;
    bool has_slots, cut, stamp, only_db0, valkey_ok;
    json_int_t bytes, rdb_version_max, samples, seed;
    const char *sha256;    /* NULL: not known */
    json_int_t limit_rate; /* 0: none */
    json_int_t databases;  /* that the server will have */
};

static int take_flag(const json_t *params, const char *name, bool *ret, struct err *err)
{
    *ret = false;
    return json_object_get(params, name) ? param_bool(params, name, ret, err) : 0;
}

static int take_more(const json_t *params, struct fetch *f, struct err *err)
{
    const json_t *more = json_object_get(params, "more"), *file;
    size_t i;

    f->more = xcalloc(json_array_size(more) + 1, sizeof(*f->more));
    f->more_count = json_array_size(more);
    json_array_foreach (more, i, file) {
        json_int_t bytes;
        if (param_string(file, "name", &f->more[i].name, err) < 0 ||
            param_int(file, "bytes", &bytes, err) < 0)
            return -1;
        f->more[i].expected_bytes = bytes;
        f->more[i].sha256 = json_string_value(json_object_get(file, "sha256"));
    }
    return 0;
}

static int take_params(const json_t *params, struct fetch *f, struct err *err)
{
    const json_t *slots = json_object_get(params, "slots");

    f->location = json_object_get(params, "location");
    if (!f->location)
        return err_set(err, ERR_PROTOCOL, "the parameter 'location' is missing");
    if (param_string(params, "name", &f->name, err) < 0 ||
        shard_file_name(params, &f->as, err) < 0 ||
        param_int(params, "bytes", &f->bytes, err) < 0 ||
        param_bool(params, "only_db0", &f->only_db0, err) < 0 ||
        param_int(params, "rdb_version_max", &f->rdb_version_max, err) < 0 ||
        param_bool(params, "valkey_ok", &f->valkey_ok, err) < 0 ||
        param_int(params, "samples", &f->samples, err) < 0 ||
        param_int(params, "seed", &f->seed, err) < 0 ||
        take_flag(params, "cut", &f->cut, err) < 0 ||
        take_flag(params, "stamp", &f->stamp, err) < 0 || take_more(params, f, err) < 0)
        return -1;
    f->sha256 = json_string_value(json_object_get(params, "sha256"));
    f->limit_rate = json_integer_value(json_object_get(params, "limit_rate"));
    slots_clear(&f->slots);
    f->has_slots = slots && !json_is_null(slots);
    if (f->cut && !f->has_slots)
        return err_set(err, ERR_PROTOCOL, "'cut' needs 'slots'");
    return f->has_slots ? slots_from_json(slots, &f->slots, err) : 0;
}

static json_int_t fact_int(const json_t *facts, const char *name)
{
    return json_integer_value(json_object_get(facts, name));
}

static int check_version(const struct fetch *f, const json_t *facts, struct err *err)
{
    json_int_t version = fact_int(facts, "rdb_version");

    if (json_is_true(json_object_get(facts, "valkey"))) {
        if (f->valkey_ok)
            return 0;
        err_set(err, ERR_CHECK,
            "it was written by Valkey (version %" JSON_INTEGER_FORMAT
            " of its format), which the server of this host can't load",
            version);
        return err_hint(err, "Name a valkey-server of the same or a later version for this host.");
    }
    if (f->rdb_version_max <= 0 || version <= f->rdb_version_max)
        return 0;
    err_set(err, ERR_CHECK,
        "its RDB version is %" JSON_INTEGER_FORMAT
        ", the server of this host loads up to %" JSON_INTEGER_FORMAT,
        version, f->rdb_version_max);
    return err_hint(err, "Install a newer server on this host.");
}

/* Plain servers are started: no module is ever there. */
static int check_modules(const json_t *facts, struct err *err)
{
    const json_t *modules = json_object_get(facts, "modules");

    if (json_array_size(modules) == 0)
        return 0;
    err_set(err, ERR_CHECK, "it holds values of the module type '%s', which the server lacks",
        json_string_value(json_array_get(modules, 0)));
    return err_hint(
        err, "Such a database can only be recovered by a server that loads the module.");
}

static int check_slots(const struct fetch *f, const json_t *facts, struct err *err)
{
    const json_t *foreign = json_object_get(facts, "foreign");
    json_int_t keys = fact_int(foreign, "keys");

    if (!f->has_slots || keys == 0)
        return 0;
    const json_t *first = json_object_get(foreign, "first");
    const char *key = json_string_value(json_object_get(first, "key"));
    err_set(err, ERR_CHECK,
        "%" JSON_INTEGER_FORMAT
        " keys are of slots of other shards, first that with the hex name %s "
        "in slot %" JSON_INTEGER_FORMAT,
        keys, key ? key : "?", fact_int(first, "slot"));
    return err_hint(err, "Begin anew with --resort: each key then goes where its slot is.");
}

static int check_databases(const struct fetch *f, const json_t *facts, struct err *err)
{
    json_t *count, *dbs = json_object_get(facts, "keys_by_db");
    const char *name;

    json_object_foreach (dbs, name, count) {
        json_int_t keys = json_integer_value(count);
        long db = strtol(name, NULL, 10);
        if (keys == 0)
            continue;
        if (f->only_db0 && db != 0)
            return err_set(err, ERR_CHECK,
                "%" JSON_INTEGER_FORMAT " keys are in database %s: a cluster has only database 0",
                keys, name);
        if (db >= f->databases)
            return err_set(err, ERR_CHECK,
                "%" JSON_INTEGER_FORMAT
                " keys are in database %s: the server has %" JSON_INTEGER_FORMAT " databases",
                keys, name, f->databases);
    }
    return 0;
}

static int check_facts(const struct fetch *f, const json_t *facts, struct err *err)
{
    if (check_version(f, facts, err) < 0 || check_modules(facts, err) < 0 ||
        check_slots(f, facts, err) < 0)
        return -1;
    return check_databases(f, facts, err);
}

/* The file is another than at its location. */
static bool is_made(const struct fetch *f)
{
    return f->stamp || f->cut || f->more_count > 0;
}

static int on_facts_of_present(void *arg, const json_t *facts, struct err *err)
{
    const struct fetch *f = arg;
    const json_t *fetched = json_object_get(f->shard->record, "fetched");
    const json_t *stamp = json_object_get(fetched, "repl_id");

    if (check_facts(f, facts, err) < 0)
        return -1;
    if (!is_made(f))
        return 0;
    const char *as = json_string_value(json_object_get(fetched, "as"));
    if (!as || strcmp(as, f->as) != 0 ||
        (f->stamp && !json_equal(stamp, json_object_get(json_object_get(facts, "aux"), "repl-id"))))
        return err_set(err, ERR_CHECK, "it is not the file that was made for this shard");
    return 0;
}

static int on_facts_of_coming(void *arg, const json_t *facts, struct err *err)
{
    const struct fetch *f = arg;

    if (check_facts(f, facts, err) < 0)
        return -1;
    if (!is_made(f))
        return 0;
    json_object_set_new(f->shard->record, "fetched",
        json_pack("{s:s, s:O*, s:O*}", "as", f->as, "repl_id", json_object_get(facts, "repl_id"),
            "source", json_object_get(facts, "source")));
    return shard_save(f->shard, err);
}

static void on_progress(void *arg, int64_t done_bytes, int64_t total_bytes)
{
    const struct fetch *f = arg;
    agent_progress(f->call,
        json_pack("{s:I, s:I}", "bytes", (json_int_t)done_bytes, "total", (json_int_t)total_bytes));
}

/* out_path NULL: only looks. */
static int pull_from(struct fetch *f, const json_t *location, const char *name,
    const char *out_path, int64_t bytes, json_t **ret_facts, struct err *err)
{
    struct store *store = store_open(location, err);
    bool coming = out_path != NULL;
    json_t *facts = NULL;

    if (!store)
        return -1;
    struct rate *rate = coming && f->limit_rate > 0 ? rate_new(f->limit_rate) : NULL;
    store_limit_rate(store, rate);
    struct pull_params pull_params = {
        .store = store,
        .name = name,
        .more = coming ? f->more : NULL,
        .more_count = coming ? f->more_count : 0,
        .scan = {.now_ms = clock_wall_ms(),
            .allowed = f->has_slots ? &f->slots : NULL,
            .samples = f->samples > 0 ? (size_t)f->samples : 0,
            .seed = (uint64_t)f->seed},
        .out_path = out_path,
        .keep = coming && f->cut ? &f->slots : NULL,
        .stamp = coming && f->stamp,
        .expected_bytes = bytes,
        .sha256 = coming ? f->sha256 : NULL,
        .resume = coming,
        .progress = on_progress,
        .check = coming ? on_facts_of_coming : on_facts_of_present,
        .arg = f,
    };
    int rc = pull(&pull_params, &facts, err);
    store_close(store);
    rate_free(rate);
    if (rc == 0)
        *ret_facts = facts;
    else
        json_decref(facts);
    return rc;
}

/* 1: the file is there and good; 0: it has to come; -1 */
static int check_present(
    struct fetch *f, const struct shard *shard, const char *path, json_t **ret, struct err *err)
{
    CLEANUP(free_ptr) char *folder = path_join(shard->path, "incoming");
    struct err bad = ERR_INIT;

    if (!file_exists(path))
        return 0;
    json_t *location = json_string(folder);
    int rc = pull_from(f, location, f->as, NULL, -1, ret, &bad);
    json_decref(location);
    if (rc == 0) {
        json_t *fetched = json_object_get(shard->record, "fetched");
        if (is_made(f))
            json_object_update(*ret, fetched);
        json_object_del(*ret, "as");
        return 1;
    }
    if (err_code_exit_status(bad.code) != err_code_exit_status(ERR_CHECK)) {
        *err = bad; /* it could not be read: that says nothing about it */
        return -1;
    }
    CLEANUP(free_ptr) char *aside = aside_name(path, "bad");
    if (rename(path, aside) < 0)
        return err_sys(err, ERR_IO, "cannot move '%s' to '%s'", path, aside);
    return 0;
}

static int fetch(struct fetch *f, json_t **ret, struct err *err)
{
    CLEANUP(free_ptr) char *folder = path_join(f->shard->path, "incoming");
    CLEANUP(free_ptr) char *path = path_join(folder, f->as);

    f->databases = shard_int(f->shard, "databases");
    if (f->databases < DEFAULT_DATABASES)
        f->databases = DEFAULT_DATABASES;
    int rc = check_present(f, f->shard, path, ret, err);
    if (rc == 0)
        rc = pull_from(f, f->location, f->name, path, f->bytes, ret, err);
    return rc < 0 ? -1 : 0;
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct shard shard = SHARD_INIT;
    struct fetch f = {.call = call, .shard = &shard};
    int rc = take_params(params, &f, err);

    if (rc == 0)
        rc = shard_enter(params, &shard, err);
    if (rc == 0)
        rc = fetch(&f, ret, err);
    shard_release(&shard);
    free(f.more);
    return rc;
}

const struct agent_method agent_fetch = {.name = "fetch", .run = run};
