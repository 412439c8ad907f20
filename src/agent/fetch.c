/*
 * fetch: a backup file, from its location into incoming/. The file appears there only when it is
 * complete and fits the shard. If files are cut for several shards of the host, one call serves all
 * of them and reads each file once.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fetch_check.h"
#include "fetch_input.h"
#include "landing.h"
#include "method.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/pull.h"
#include "recluster/rpc.h"
#include "recluster/store.h"
#include "shard.h"

/* The files to read. The records of several files are joined. */
struct source {
    struct agent_call *call;
    const json_t **files; /* as in the parameters; a single file is the parameters themselves */
    size_t count;
    bool from_aof;
    int64_t shift_expiry_ms; /* keys expire so much later */
    json_t *without;         /* leave out the data of these modules outside of keys */
    json_t *aof;             /* what the append-only files held; NULL: there are none */
    json_int_t limit_rate;   /* 0: none */
    struct aof_wishes wishes;
    const char **also; /* of the wishes */
};

/*
 * The fetch of one shard. Some facts cannot be read from a file that was made here (cut, joined,
 * stamped, or a snapshot of an append-only file). The shard's record keeps them as "fetched":
 * {"as", "repl_id", "source", "aof"}, written before the file gets its final name.
 */
struct fetch {
    const struct source *source;
    json_t *params;
    struct shard shard;
    const char *as;
    char *path;
    struct fetch_needs needs;
    bool cut, stamp, land;
    json_int_t samples, seed;
    const struct fetch *twin; /* a fetch that gets the same file, or NULL */
    json_t *facts;
    json_t *unused; /* modules that the server lacks and that the file has no keys of */
    struct err failure;
};

static int take_flag(const json_t *params, const char *name, bool *ret, struct err *err)
{
    *ret = false;
    return json_object_get(params, name) ? param_bool(params, name, ret, err) : 0;
}

/* What append-only files may hold besides data. */
static void take_wishes(const json_t *params, struct source *source)
{
    const json_t *names = json_object_get(params, "aof_commands"), *name;
    size_t i, count = 0;

    source->also = xcalloc(json_array_size(names) + 1, sizeof(*source->also));
    json_array_foreach (names, i, name) {
        if (json_is_string(name))
            source->also[count++] = json_string_value(name);
    }
    source->wishes =
        (struct aof_wishes){.also = source->also, .errors = json_flag(params, "aof_errors")};
}

static void take_source(const json_t *params, struct source *source)
{
    const json_t *more = json_object_get(params, "more"), *file;
    size_t i;

    source->limit_rate = json_int(params, "limit_rate", 0);
    source->shift_expiry_ms = json_int(params, "shift_expiry_ms", 0);
    take_wishes(params, source);
    source->count = json_array_size(more) + 1;
    source->files = xcalloc(source->count, sizeof(*source->files));
    source->files[0] = params;
    json_array_foreach (more, i, file) {
        source->files[i + 1] = file;
    }
    for (i = 0; i < source->count; i++)
        source->from_aof |= fetch_input_is_aof(source->files[i]);
    source->without = json_object_get(params, "without")
                          ? json_deep_copy(json_object_get(params, "without"))
                          : json_array();
}

static int take_params(const json_t *params, struct fetch *f, struct err *err)
{
    const json_t *slots = json_object_get(params, "slots");

    if (shard_file_name(params, &f->as, err) < 0 ||
        param_int(params, "rdb_version_max", &f->needs.rdb_version_max, err) < 0 ||
        param_bool(params, "valkey_ok", &f->needs.valkey_ok, err) < 0 ||
        param_int(params, "samples", &f->samples, err) < 0 ||
        param_int(params, "seed", &f->seed, err) < 0 ||
        take_flag(params, "cut", &f->cut, err) < 0 ||
        take_flag(params, "stamp", &f->stamp, err) < 0 ||
        take_flag(params, "land", &f->land, err) < 0)
        return -1;
    f->needs.databases = DATABASES_MAX;
    if (json_object_get(params, "databases") &&
        param_int(params, "databases", &f->needs.databases, err) < 0)
        return -1;
    slots_clear(&f->needs.slots);
    f->needs.has_slots = slots && !json_is_null(slots);
    if (f->cut && !f->needs.has_slots)
        return err_set(err, ERR_PROTOCOL, "'cut' needs 'slots'");
    return f->needs.has_slots ? slots_from_json(slots, &f->needs.slots, err) : 0;
}

/* The file holds some records of a file, or the records of several. */
static bool is_composed(const struct fetch *f)
{
    return f->cut || f->source->from_aof || f->source->count > 1 || f->source->shift_expiry_ms ||
           json_array_size(f->source->without) > 0;
}

/* The bytes differ from those at the location. */
static bool is_made(const struct fetch *f)
{
    return f->stamp || is_composed(f);
}

static int on_present_facts(void *arg, const json_t *facts, struct err *err)
{
    struct fetch *f = arg;
    const json_t *fetched = json_object_get(f->shard.record, "fetched");
    const json_t *stamp = json_object_get(fetched, "repl_id");

    if (fetch_check(&f->shard, &f->needs, facts, f->unused, err) < 0)
        return -1;
    if (!is_made(f))
        return 0;
    const char *as = json_text(fetched, "as", NULL);
    if (!as || strcmp(as, f->as) != 0 ||
        (f->stamp && !json_equal(stamp, json_object_get(json_object_get(facts, "aux"), "repl-id"))))
        return err_set(err, ERR_CHECK, "it is not the file that was made for this shard");
    return 0;
}

static int on_new_facts(void *arg, const json_t *facts, struct err *err)
{
    struct fetch *f = arg;

    if (fetch_check(&f->shard, &f->needs, facts, f->unused, err) < 0)
        return -1;
    if (!is_made(f))
        return 0;
    json_object_set_new(f->shard.record, "fetched",
        json_pack("{s:s, s:O*, s:O*, s:O*}", "as", f->as, "repl_id",
            json_object_get(facts, "repl_id"), "source", json_object_get(facts, "source"), "aof",
            f->source->aof));
    return shard_save(&f->shard, err);
}

static void on_progress(void *arg, int64_t done_bytes, int64_t total_bytes)
{
    const struct source *source = arg;
    agent_progress(source->call,
        json_pack("{s:I, s:I}", "bytes", (json_int_t)done_bytes, "total", (json_int_t)total_bytes));
}

static struct rdb_scan_options scan_options(const struct fetch *f)
{
    return (struct rdb_scan_options){.now_ms = clock_wall_ms(),
        .allowed = f->needs.has_slots ? &f->needs.slots : NULL,
        .samples = f->samples > 0 ? (size_t)f->samples : 0,
        .seed = (uint64_t)f->seed};
}

static int scan_present(struct fetch *f, struct err *err)
{
    AUTO_FREE char *folder = path_dir(f->path);
    json_t *location = json_string(folder);
    struct store *store = store_open(location, err);

    json_decref(location);
    if (!store)
        return -1;
    const struct pull_params params = {
        .store = store,
        .name = f->as,
        .scan = scan_options(f),
        .expected_bytes = -1,
        .check = on_present_facts,
        .arg = f,
    };
    int rc = pull(&params, &f->facts, err);
    store_close(store);
    return rc;
}

/* Sets the facts of a good file that is already there. Moves a bad one aside. */
static int look_for_present(struct fetch *f, struct err *err)
{
    struct err bad = ERR_INIT;

    if (!file_exists(f->path))
        return 0;
    if (scan_present(f, &bad) == 0) {
        if (is_made(f))
            json_object_update(f->facts, json_object_get(f->shard.record, "fetched"));
        json_object_del(f->facts, "as");
        return 0;
    }
    json_decref(f->facts);
    f->facts = NULL;
    if (err_code_exit_status(bad.code) != err_code_exit_status(ERR_CHECK)) {
        *err = bad; /* it could not be read, which does not make it bad */
        return -1;
    }
    AUTO_FREE char *aside = aside_name(f->path, "bad");
    if (rename(f->path, aside) < 0)
        return err_sys(err, ERR_IO, "cannot move '%s' to '%s'", f->path, aside);
    return 0;
}

static bool is_missing(const struct fetch *f)
{
    return !f->facts && f->failure.code == ERR_NONE;
}

/* One pass over the files, for the shards whose files are missing. */
struct pass {
    struct source *source;
    struct fetch *fetches;
    size_t fetch_count;
    struct pull_output *outputs; /* `arg`: the fetch */
    size_t output_count;
    bool stamp;
    struct fetch_input *inputs; /* the files that are needed */
    struct pull_input *files;
    struct slots *takes, *prefers;
    size_t file_count;
};

/* A file is not read if the missing shards take nothing from it. */
static int is_needed(
    const struct pass *pass, const json_t *file, struct slots *ret_take, struct err *err)
{
    const json_t *take = json_object_get(file, "take");
    bool needed = !take;

    slots_clear(ret_take);
    if (take && slots_from_json(take, ret_take, err) < 0)
        return -1;
    for (size_t i = 0; i < pass->fetch_count && !needed; i++)
        needed =
            is_missing(&pass->fetches[i]) && slots_overlap(ret_take, &pass->fetches[i].needs.slots);
    return needed;
}

/* Snapshots of append-only files are made in the folder of `shard`. */
static int open_files(struct pass *p, const struct shard *shard, struct rate *rate, struct err *err)
{
    struct source *source = p->source;
    const struct fetch_reader reader = {source->call, shard, source->wishes};

    for (size_t i = 0; i < source->count; i++) {
        struct fetch_input *in = &p->inputs[p->file_count];
        int needed = is_needed(p, source->files[i], &p->takes[p->file_count], err);
        if (needed == 0)
            continue;
        if (needed < 0 || fetch_input_open(in, &reader, source->files[i], i, err) < 0)
            return -1;
        if (in->aof && !source->aof)
            source->aof = json_array();
        if (in->aof)
            json_array_append(source->aof, in->aof);
        else
            store_limit_rate(in->store, rate);
        const json_t *prefer = json_object_get(source->files[i], "prefer");
        slots_clear(&p->prefers[p->file_count]);
        if (prefer && slots_from_json(prefer, &p->prefers[p->file_count], err) < 0)
            return -1;
        p->files[p->file_count] = (struct pull_input){.store = in->store,
            .name = in->name,
            .label = in->label,
            .expected_bytes = in->bytes,
            .sha256 = in->sha256,
            .take = json_object_get(source->files[i], "take") ? &p->takes[p->file_count] : NULL,
            .prefer = prefer ? &p->prefers[p->file_count] : NULL};
        p->file_count++;
    }
    return 0;
}

static int pull_files(const struct pass *p, struct err *err)
{
    struct source *source = p->source;
    const struct pull_params params = {.store = p->files[0].store,
        .name = p->files[0].name,
        .label = p->files[0].label,
        .take = p->files[0].take,
        .prefer = p->files[0].prefer,
        .shift_expiry_ms = source->shift_expiry_ms,
        .without = json_array_size(source->without) ? source->without : NULL,
        .expected_bytes = p->files[0].expected_bytes,
        .sha256 = p->files[0].sha256,
        .more = p->files + 1,
        .more_count = p->file_count - 1,
        .stamp = p->stamp,
        .resume = true,
        .progress = on_progress,
        .arg = source};

    return pull_cut(&params, p->outputs, p->output_count, err);
}

/* Whether a retry may succeed. Then the downloaded bytes are kept for it. */
static bool is_unfinished(const struct pass *p, int rc, const struct err *err)
{
    bool unfinished = rc < 0 && err_code_is_retried(err->code);

    for (size_t i = 0; i < p->output_count; i++)
        unfinished |= err_code_is_retried(p->outputs[i].failure.code);
    return unfinished;
}

static int read_files(struct pass *p, struct err *err)
{
    const struct source *source = p->source;
    struct fetch *first = p->outputs[0].arg;
    struct landing landing = LANDING_INIT;
    struct rate *rate = source->limit_rate > 0 ? rate_new(source->limit_rate) : NULL;

    p->inputs = xcalloc(source->count, sizeof(*p->inputs));
    p->files = xcalloc(source->count, sizeof(*p->files));
    p->takes = xcalloc(source->count, sizeof(*p->takes));
    p->prefers = xcalloc(source->count, sizeof(*p->prefers));
    int rc = open_files(p, &first->shard, rate, err);
    /* Not for a composed file: pull_cut() changes its first bytes at the end. */
    if (rc == 0 && first->land && p->fetch_count == 1 && !is_composed(first))
        landing_begin(&landing, &first->shard, first->as);
    if (rc == 0)
        rc = pull_files(p, err);
    landing_end(&landing, &first->shard, rc == 0 && p->outputs[0].failure.code == ERR_NONE);
    bool keep = is_unfinished(p, rc, err);
    for (size_t i = 0; i < p->file_count; i++)
        fetch_input_close(&p->inputs[i], keep);
    rate_free(rate);
    free(p->inputs);
    free(p->files);
    free(p->takes);
    free(p->prefers);
    return rc;
}

/* A primary and its replica on one host get the same file. */
static void find_twins(struct fetch *fetches, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i && !fetches[i].twin && is_missing(&fetches[i]); j++)
            if (is_missing(&fetches[j]) && !fetches[j].twin &&
                slots_equal(&fetches[i].needs.slots, &fetches[j].needs.slots))
                fetches[i].twin = &fetches[j];
}

static int share_with_twin(struct fetch *f, struct err *err)
{
    AUTO_FREE char *folder = path_dir(f->path);

    if (f->twin->failure.code != ERR_NONE) {
        *err = f->twin->failure;
        return -1;
    }
    if (on_new_facts(f, f->twin->facts, err) < 0)
        return -1;
    if (link(f->twin->path, f->path) < 0)
        return err_sys(err, ERR_IO, "cannot link '%s' to '%s'", f->twin->path, f->path);
    f->facts = json_deep_copy(f->twin->facts);
    return dir_sync(folder, err);
}

static bool failed_for_unused(const struct fetch *f)
{
    return f->failure.code == ERR_CHECK && json_array_size(f->twin ? f->twin->unused : f->unused);
}

/* Files that failed only because of modules without keys are made again without their data. */
static bool learn_unused(struct source *source, struct fetch *fetches, size_t count)
{
    size_t known = json_array_size(source->without), k;
    const json_t *type;

    for (size_t i = 0; i < count; i++)
        json_array_foreach (fetches[i].unused, k, type)
            if (failed_for_unused(&fetches[i]) &&
                !json_has_text(source->without, json_string_value(type)))
                json_array_append_new(source->without, json_string(json_string_value(type)));
    if (json_array_size(source->without) == known)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct fetch *f = &fetches[i];
        if (!failed_for_unused(f))
            continue;
        f->failure = (struct err)ERR_INIT;
        json_decref(f->facts);
        f->facts = NULL;
    }
    return true;
}

/* -1: the pass failed, and none of the missing files is there. */
static int fetch_pass(struct source *source, struct fetch *fetches, size_t count, struct err *err)
{
    AUTO_FREE struct pull_output *outputs = xcalloc(count, sizeof(*outputs));
    struct pass pass = {
        .source = source, .fetches = fetches, .fetch_count = count, .outputs = outputs};

    find_twins(fetches, count);
    for (size_t i = 0; i < count; i++) {
        struct fetch *f = &fetches[i];
        if (!is_missing(f) || f->twin)
            continue;
        pass.stamp |= f->stamp;
        outputs[pass.output_count++] = (struct pull_output){.out_path = f->path,
            .keep = f->cut ? &f->needs.slots : NULL,
            .scan = scan_options(f),
            .check = on_new_facts,
            .arg = f};
    }
    if (pass.output_count == 0)
        return 0;
    int rc = read_files(&pass, err);
    for (size_t i = 0; i < pass.output_count; i++) {
        struct fetch *f = outputs[i].arg;
        f->facts = outputs[i].facts;
        f->failure = rc < 0 ? *err : outputs[i].failure;
        if (f->facts && source->aof)
            json_object_set(f->facts, "aof", source->aof);
    }
    for (size_t i = 0; i < count && rc == 0; i++)
        if (fetches[i].twin)
            (void)!share_with_twin(&fetches[i], &fetches[i].failure);
    return rc;
}

static int fetch_missing(
    struct source *source, struct fetch *fetches, size_t count, struct err *err)
{
    int rc = fetch_pass(source, fetches, count, err);

    while (rc == 0 && learn_unused(source, fetches, count))
        rc = fetch_pass(source, fetches, count, err);
    return rc;
}

static int enter(struct fetch *f, struct err *err)
{
    if (take_params(f->params, f, err) < 0 || shard_enter(f->params, &f->shard, err) < 0)
        return -1;
    AUTO_FREE char *folder = path_join(f->shard.path, "incoming");
    f->path = path_join(folder, f->as);
    return look_for_present(f, err);
}

/* What each shard gets: one's failure is not the others'. */
static json_t *answers(const struct fetch *fetches, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            list, fetches[i].failure.code == ERR_NONE
                      ? json_pack("{s:O}", "facts", fetches[i].facts)
                      : json_pack("{s:o}", "error", err_to_json(&fetches[i].failure)));
    return json_pack("{s:o}", "shards", list);
}

static struct fetch *make_fetches(
    const struct source *source, const json_t *params, size_t *ret_count)
{
    json_t *with = json_object_get(params, "with"), *one;
    struct fetch *fetches = xcalloc(json_array_size(with) + 1, sizeof(*fetches));
    size_t i;

    *ret_count = json_array_size(with) + 1;
    for (i = 0; i < *ret_count; i++) {
        fetches[i].source = source;
        fetches[i].unused = json_array();
        fetches[i].params = json_deep_copy(params);
        json_object_del(fetches[i].params, "with");
    }
    json_array_foreach (with, i, one) {
        json_object_update(fetches[i + 1].params, one);
    }
    return fetches;
}

static void free_fetches(struct fetch *fetches, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_decref(fetches[i].params);
        json_decref(fetches[i].facts);
        json_decref(fetches[i].unused);
        shard_release(&fetches[i].shard);
        free(fetches[i].path);
    }
    free(fetches);
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct source source = {.call = call};
    size_t count;
    struct fetch *fetches = make_fetches(&source, params, &count);

    take_source(params, &source);
    for (size_t i = 0; i < count; i++)
        (void)!enter(&fetches[i], &fetches[i].failure);
    int rc = fetch_missing(&source, fetches, count, err);
    if (rc == 0 && json_object_get(params, "with")) {
        *ret = answers(fetches, count);
    } else if (rc == 0 && fetches[0].failure.code != ERR_NONE) {
        *err = fetches[0].failure;
        rc = -1;
    } else if (rc == 0) {
        *ret = json_incref(fetches[0].facts);
    }
    free_fetches(fetches, count);
    json_decref(source.aof);
    json_decref(source.without);
    free(source.also);
    free(source.files);
    return rc;
}

const struct agent_method agent_fetch = {.name = "fetch", .run = run};
