/* fetch: a backup file, from its location into incoming/, whole and fit for the shard, or not at
 * all. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch_input.h"
#include "method.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/pull.h"
#include "recluster/store.h"
#include "shard.h"

enum { DEFAULT_DATABASES = 16 };

/*
 * What can't be seen in a file that was made here (cut, joined, stamped, a snapshot of an
 * append-only file) is kept in the shard's record as "fetched": {"as", "repl_id", "source", "aof"},
 * written before the file gets its final name.
 */
struct fetch {
    struct agent_call *call;
    const json_t *params;
    const char *as;
    const json_t **files; /* the first one is `params` itself; the records of the others join its */
    size_t file_count;
    struct fetch_input *inputs; /* of the files, while they come */
    bool from_aof;
    json_t *aof; /* what the append-only files among them held */
    struct shard *shard;
    struct slots slots;
    bool has_slots, cut, stamp, only_db0, valkey_ok;
    json_int_t rdb_version_max, samples, seed;
    json_int_t limit_rate; /* 0: none */
    json_int_t databases;  /* that the server will have */
};

static int take_flag(const json_t *params, const char *name, bool *ret, struct err *err)
{
    *ret = false;
    return json_object_get(params, name) ? param_bool(params, name, ret, err) : 0;
}

static void take_files(const json_t *params, struct fetch *f)
{
    const json_t *more = json_object_get(params, "more"), *file;
    size_t i;

    f->file_count = json_array_size(more) + 1;
    f->files = xcalloc(f->file_count, sizeof(*f->files));
    f->inputs = xcalloc(f->file_count, sizeof(*f->inputs));
    f->files[0] = params;
    json_array_foreach (more, i, file)
        f->files[i + 1] = file;
    for (i = 0; i < f->file_count; i++)
        f->from_aof |= fetch_input_is_aof(f->files[i]);
}

static int take_params(const json_t *params, struct fetch *f, struct err *err)
{
    const json_t *slots = json_object_get(params, "slots");

    f->params = params;
    take_files(params, f);
    if (shard_file_name(params, &f->as, err) < 0 ||
        param_bool(params, "only_db0", &f->only_db0, err) < 0 ||
        param_int(params, "rdb_version_max", &f->rdb_version_max, err) < 0 ||
        param_bool(params, "valkey_ok", &f->valkey_ok, err) < 0 ||
        param_int(params, "samples", &f->samples, err) < 0 ||
        param_int(params, "seed", &f->seed, err) < 0 ||
        take_flag(params, "cut", &f->cut, err) < 0 ||
        take_flag(params, "stamp", &f->stamp, err) < 0)
        return -1;
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
    return f->stamp || f->cut || f->from_aof || f->file_count > 1;
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
        json_pack("{s:s, s:O*, s:O*, s:O*}", "as", f->as, "repl_id",
            json_object_get(facts, "repl_id"), "source", json_object_get(facts, "source"), "aof",
            f->aof));
    return shard_save(f->shard, err);
}

static void on_progress(void *arg, int64_t done_bytes, int64_t total_bytes)
{
    const struct fetch *f = arg;
    agent_progress(f->call,
        json_pack("{s:I, s:I}", "bytes", (json_int_t)done_bytes, "total", (json_int_t)total_bytes));
}

static void set_scan(const struct fetch *f, struct pull_params *params)
{
    params->scan = (struct rdb_scan_options){.now_ms = clock_wall_ms(),
        .allowed = f->has_slots ? &f->slots : NULL,
        .samples = f->samples > 0 ? (size_t)f->samples : 0,
        .seed = (uint64_t)f->seed};
}

static int pull_facts(const struct pull_params *params, json_t **ret_facts, struct err *err)
{
    json_t *facts = NULL;
    int rc = pull(params, &facts, err);

    if (rc == 0)
        *ret_facts = facts;
    else
        json_decref(facts);
    return rc;
}

/* The file in incoming/, of which only the facts are wanted. */
static int look_at(struct fetch *f, const char *folder, json_t **ret_facts, struct err *err)
{
    json_t *location = json_string(folder);
    struct store *store = store_open(location, err);
    struct pull_params params = {.store = store,
        .name = f->as,
        .expected_bytes = -1,
        .progress = on_progress,
        .check = on_facts_of_present,
        .arg = f};

    json_decref(location);
    if (!store)
        return -1;
    set_scan(f, &params);
    int rc = pull_facts(&params, ret_facts, err);
    store_close(store);
    return rc;
}

static int open_inputs(struct fetch *f, struct err *err)
{
    for (size_t i = 0; i < f->file_count; i++) {
        struct fetch_input *in = &f->inputs[i];
        if (fetch_input_open(in, f->call, f->shard, f->files[i], i, err) < 0)
            return -1;
        if (!in->aof)
            continue;
        if (!f->aof)
            f->aof = json_array();
        json_array_append(f->aof, in->aof);
    }
    return 0;
}

static int pull_inputs(struct fetch *f, const char *out_path, json_t **ret_facts, struct err *err)
{
    struct pull_input *more = xcalloc(f->file_count, sizeof(*more));
    struct rate *rate = f->limit_rate > 0 ? rate_new(f->limit_rate) : NULL;
    struct pull_params params = {.store = f->inputs[0].store,
        .name = f->inputs[0].name,
        .more = more,
        .more_count = f->file_count - 1,
        .out_path = out_path,
        .keep = f->cut ? &f->slots : NULL,
        .stamp = f->stamp,
        .expected_bytes = f->inputs[0].bytes,
        .sha256 = f->inputs[0].sha256,
        .resume = true,
        .progress = on_progress,
        .check = on_facts_of_coming,
        .arg = f};

    for (size_t i = 0; i < f->file_count; i++) {
        const struct fetch_input *in = &f->inputs[i];
        if (!in->aof)
            store_limit_rate(in->store, rate);
        if (i > 0)
            more[i - 1] = (struct pull_input){in->store, in->name, in->bytes, in->sha256};
    }
    set_scan(f, &params);
    int rc = pull_facts(&params, ret_facts, err);
    rate_free(rate);
    free(more);
    return rc;
}

static int fetch_inputs(struct fetch *f, const char *out_path, json_t **ret, struct err *err)
{
    int rc = open_inputs(f, err);

    if (rc == 0)
        rc = pull_inputs(f, out_path, ret, err);
    if (rc == 0 && f->aof)
        json_object_set(*ret, "aof", f->aof);
    for (size_t i = 0; i < f->file_count; i++)
        fetch_input_close(&f->inputs[i], rc < 0 && err_code_is_retried(err->code));
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
    if (look_at(f, folder, ret, &bad) == 0) {
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
        rc = fetch_inputs(f, path, ret, err);
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
    json_decref(f.aof);
    free(f.files);
    free(f.inputs);
    return rc;
}

const struct agent_method agent_fetch = {.name = "fetch", .run = run};
