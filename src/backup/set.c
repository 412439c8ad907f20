/* One set: a recording of each shard, all of which end at the same cut. */

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "agents.h"
#include "lock.h"
#include "manifest.h"
#include "read_back.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/rpc.h"
#include "server_files.h"

enum {
    RECORD_MS = 24 * 3600 * 1000, /* a data set of any size */
    AFTER_CUT_MS = 10 * 60 * 1000,
    STOP_MS = 15 * 1000,
    SLICE_MS = 5 * 1000, /* of the search for a cut */
    BETWEEN_MS = 100,
    DISTANT_MS = 60 * 60 * 1000,
    RETRY_MS = 2000,
    OPENING_MS = 500,
    TRIES_MAX = 5,
};

enum recording_state {
    RECORDING_WAITS, /* for its turn */
    RECORDING_RUNS,  /* the data set is on its way */
    RECORDING_BASED, /* it has arrived; the stream goes on */
    RECORDING_WRITTEN,
    RECORDING_DONE,
    RECORDING_FAILED,
};

struct recording {
    struct set_run *run;
    const struct backup_shard *shard;
    enum recording_state state;
    uint64_t call;            /* 0: none is open */
    size_t source;            /* where it begins to look */
    struct agent_place place; /* of the call */
    unsigned tries;
    int64_t retry_at_ms;
    char *name;
    json_t *based, *written; /* what it told */
    int64_t bytes, stream_bytes;
    struct err error; /* of the last try */
};

struct set_run {
    const struct backup_params *params;
    const struct backup_shards *shards;
    struct loop *loop;
    struct job *pump;
    struct agents *agents;
    const char *witness;           /* the CCS file of this run */
    struct server_files *files;    /* NULL: data sets and streams are read from the servers */
    struct backup_shard *of_files; /* with files: the shards, each with the server that has them */
    struct recording *recordings;
    bool cut_known, committing, stopping;
    int64_t cut_at_ms, cut_until_ms; /* of the next look for a cut; 0: at once, not set */
    struct cut cut;
    int64_t deadline_ms; /* after the cut, or of stopping; 0: none */
    struct err failure;  /* ERR_NONE: none */
};

static size_t count_of(const struct set_run *run, enum recording_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < run->shards->count; i++)
        count += run->recordings[i].state == state;
    return count;
}

static void wake(void *arg)
{
    struct set_run *run = arg;

    if (run->pump)
        loop_wake(run->loop, run->pump);
}

static void fail(struct set_run *run, const struct err *err)
{
    if (run->failure.code == ERR_NONE)
        run->failure = *err;
    wake(run);
}

/* --- the call --- */

/* The program near the servers, or that of this machine. */
static json_t *rdb_server(const struct backup_params *params, const struct host *host)
{
    if (!host)
        return json_deep_copy(params->server);
    return json_pack("{s:s, s:O*, s:O*}", "server", host->server, "run_as",
        json_object_get(host->spec, "run_as"), "modules", json_object_get(host->spec, "modules"));
}

static json_t *record_params(const struct recording *r, struct err *err)
{
    const struct set_run *run = r->run;
    const struct backup_params *p = run->params;
    json_t *params = agents_params(p, r->shard, &r->place, run->witness, err);
    size_t at_once = p->forks < run->shards->count ? p->forks : run->shards->count;

    if (!params)
        return NULL;
    json_object_set_new(params, "alone", json_boolean(run->shards->count == 1));
    if (run->files)
        json_object_set_new(params, "files",
            json_deep_copy(server_files_of(run->files, (size_t)(r - run->recordings))));
    json_object_set_new(params, "name", json_string(r->name));
    json_object_set_new(params, "compress", json_string(pack_name(p->pack)));
    if (p->spool)
        json_object_set_new(params, "spool", json_string(p->spool));
    if (p->form == BACKUP_FORM_RDB)
        json_object_set_new(params, "rdb", rdb_server(p, r->place.host));
    if (p->limit_rate)
        json_object_set_new(
            params, "limit_rate", json_integer(p->limit_rate / (json_int_t)at_once + 1));
    if (p->spool_max)
        json_object_set_new(params, "spool_max", json_integer(p->spool_max));
    return params;
}

static bool may_be_better_elsewhere(enum err_code code)
{
    return code == ERR_NETWORK || code == ERR_TIMEOUT || code == ERR_BUSY || code == ERR_CHANGED ||
           code == ERR_SERVER || code == ERR_LINK;
}

/* Before the cut a shard may begin again, at its next source; after it, the set has failed. */
static void recording_failed(struct recording *r, const struct err *err)
{
    struct set_run *run = r->run;
    struct err error = *err;

    r->state = RECORDING_FAILED;
    if (r->place.host && err->code != ERR_LINK) /* which names it */
        err_wrap(&error, "host '%s'", r->place.host->name);
    err_wrap(&error, "%s of '%s'", r->shard->label, run->shards->db->name);
    r->error = error;
    if (run->cut_known || run->failure.code != ERR_NONE || ++r->tries >= TRIES_MAX ||
        !may_be_better_elsewhere(err->code)) {
        fail(run, &error);
        return;
    }
    r->state = RECORDING_WAITS;
    r->source = (r->place.source + 1) % r->shard->source_count;
    r->retry_at_ms = clock_mono_ms() + RETRY_MS;
    r->bytes = r->stream_bytes = 0;
    json_decref(r->based);
    r->based = NULL;
    wake(run);
}

static void on_answer(void *ctx, const json_t *result, const struct err *err)
{
    struct recording *r = ctx;

    (void)result;
    r->call = 0;
    if (err)
        recording_failed(r, err);
    else
        r->state = RECORDING_DONE;
    wake(r->run);
}

static void tell_progress(struct set_run *run)
{
    struct backup_progress now = {.shards = run->shards->count};

    for (size_t i = 0; i < run->shards->count; i++) {
        const struct recording *r = &run->recordings[i];
        now.based += r->state >= RECORDING_BASED && r->state <= RECORDING_DONE;
        now.written += r->state == RECORDING_WRITTEN || r->state == RECORDING_DONE;
        now.bytes += r->bytes;
        now.stream_bytes += r->stream_bytes;
    }
    if (run->params->progress)
        run->params->progress(run->params->arg, &now);
}

static void on_progress(void *ctx, const json_t *params)
{
    struct recording *r = ctx;

    if (json_text(params, "phase", NULL)) /* of the server that makes the plain RDB file */
        return;
    r->bytes = json_int(params, "bytes", 0);
    r->stream_bytes = json_int(params, "stream_bytes", 0);
    tell_progress(r->run);
}

static void on_notice(void *ctx, const struct rpc_message *m)
{
    struct recording *r = ctx;

    if (strcmp(m->method, "based") == 0 && r->state == RECORDING_RUNS) {
        r->based = json_deep_copy(m->payload);
        r->bytes = json_int(r->based, "bytes", 0);
        r->state = RECORDING_BASED;
    }
    if (strcmp(m->method, "written") == 0 && r->state == RECORDING_BASED) {
        r->written = json_deep_copy(m->payload);
        r->stream_bytes = json_int(r->written, "stream_bytes", 0);
        r->state = RECORDING_WRITTEN;
    }
    tell_progress(r->run);
    wake(r->run);
}

/* 1: it runs; 0: not yet. */
static int start(struct recording *r, struct err *err)
{
    const struct link_listener listener = {on_notice, NULL, r};

    int rc = agents_find(r->run->agents, r->shard, r->source, &r->place, err);
    if (rc <= 0)
        return rc;
    json_t *params = record_params(r, err);
    if (!params)
        return -1;
    r->state = RECORDING_RUNS;
    r->call = link_call(r->place.link, "record", params, RECORD_MS, on_answer, on_progress, r);
    link_listen(r->place.link, r->call, &listener);
    return 1;
}

static void tell(const struct recording *r, const char *method, json_t *params)
{
    if (!r->call) {
        json_decref(params);
        return;
    }
    json_object_set_new(params, "id", json_integer((json_int_t)r->call));
    link_tell(r->place.link, method, params, NULL, 0);
}

/* --- the steps of the set --- */

/* Two forks on one machine would share its memory. */
static bool machine_is_busy(const struct set_run *run, const struct recording *wanted)
{
    const char *addr = wanted->shard->sources[wanted->source].server->addr;

    for (size_t i = 0; i < run->shards->count; i++) {
        const struct recording *r = &run->recordings[i];
        if (r->state == RECORDING_RUNS &&
            strcmp(r->shard->sources[r->place.source].server->addr, addr) == 0)
            return true;
    }
    return false;
}

/* At most so many servers make a data set at the same time. */
static int start_some(struct set_run *run, struct wait *wait, struct err *err)
{
    size_t running = count_of(run, RECORDING_RUNS);
    int64_t now_ms = clock_mono_ms();

    for (size_t i = 0; i < run->shards->count && running < run->params->forks; i++) {
        struct recording *r = &run->recordings[i];
        if (r->state != RECORDING_WAITS || machine_is_busy(run, r))
            continue;
        if (r->retry_at_ms > now_ms) {
            wait_until(wait, r->retry_at_ms);
            continue;
        }
        int rc = start(r, err);
        if (rc < 0)
            return err_wrap(err, "%s of '%s'", r->shard->label, run->shards->db->name);
        if (rc == 0) {
            r->retry_at_ms = now_ms + OPENING_MS;
            wait_until(wait, r->retry_at_ms);
        }
        running += rc > 0;
    }
    return 0;
}

/* The data set of a single shard is the cut. */
static int take_lone_cut(struct set_run *run, struct err *err)
{
    const json_t *based = run->recordings[0].based;
    const char *id = json_text(based, "repl_id", "");
    struct cut_shard *shard = &run->cut.shards[0];

    if (strlen(id) != REPL_ID_HEX)
        return err_set(err, ERR_PROTOCOL, "the data set has no replication id");
    memcpy(shard->place.id, id, REPL_ID_HEX + 1);
    shard->place.offset = json_int(based, "offset", 0);
    shard->slots = *run->shards->shards[0].slots;
    run->cut.time_ms = clock_wall_ms();
    return 0;
}

/* A moment may come later, so what is in the way now is no failure yet. */
static bool may_pass(enum err_code code)
{
    return code == ERR_BUSY || code == ERR_TIMEOUT || code == ERR_NETWORK;
}

/*
 * The loop stands still meanwhile, and links that are silent for too long are given up: so it is
 * looked for in slices. 1: found; 0: not yet.
 */
static int find_cut(struct set_run *run, struct err *err)
{
    int64_t now_ms = clock_mono_ms();

    if (!run->cut_until_ms)
        run->cut_until_ms = now_ms + run->params->patience_ms;
    int64_t left_ms = run->cut_until_ms - now_ms;

    const struct live_server **primaries = xcalloc(run->shards->count, sizeof(*primaries));

    for (size_t i = 0; i < run->shards->count; i++)
        primaries[i] = run->shards->shards[i].primary;
    struct offsets *o = offsets_open(run->params->ask, primaries, run->shards->count);
    int rc =
        cut_find(o, run->shards->count, left_ms < SLICE_MS ? left_ms : SLICE_MS, &run->cut, err);
    offsets_close(o);
    free(primaries);
    if (rc == 0)
        return 1;
    run->cut_at_ms = clock_mono_ms() + BETWEEN_MS;
    return may_pass(err->code) && run->cut_at_ms < run->cut_until_ms ? 0 : -1;
}

static int cut_all(struct set_run *run, struct wait *wait, struct err *err)
{
    bool lone = run->shards->count == 1;

    if (run->cut_at_ms > clock_mono_ms()) {
        wait_until(wait, run->cut_at_ms);
        return 0;
    }
    int rc = lone ? take_lone_cut(run, err) : find_cut(run, err);
    if (rc < 0)
        return -1;
    if (rc == 0 && !lone) {
        *err = (struct err)ERR_INIT;
        wait_until(wait, run->cut_at_ms);
        return 0;
    }
    run->cut_known = true;
    /* A server that loads the files, and saves, takes as long as it takes. */
    run->deadline_ms =
        clock_mono_ms() + (run->params->form == BACKUP_FORM_RDB ? RECORD_MS : AFTER_CUT_MS);
    for (size_t i = 0; i < run->shards->count; i++)
        tell(&run->recordings[i], "cut",
            json_pack("{s:s, s:I}", "repl_id", run->cut.shards[i].place.id, "offset",
                (json_int_t)run->cut.shards[i].place.offset));
    return 0;
}

static void commit_all(struct set_run *run)
{
    run->committing = true;
    for (size_t i = 0; i < run->shards->count; i++)
        tell(&run->recordings[i], "commit", json_object());
}

/* Recordings that are told to stop remove what they have written so far. */
static void stop_all(struct set_run *run)
{
    run->stopping = true;
    run->deadline_ms = clock_mono_ms() + STOP_MS;
    for (size_t i = 0; i < run->shards->count; i++)
        if (run->recordings[i].call)
            tell(&run->recordings[i], "stop", json_object());
}

static bool any_call_is_open(const struct set_run *run)
{
    for (size_t i = 0; i < run->shards->count; i++)
        if (run->recordings[i].call)
            return true;
    return false;
}

static int go_on(struct set_run *run, struct wait *wait, struct err *err)
{
    size_t count = run->shards->count;

    if (run->deadline_ms && clock_mono_ms() >= run->deadline_ms)
        return err_set(err, ERR_TIMEOUT,
            "the streams of %zu shards did not reach the cut, or were not written, in time",
            count_of(run, RECORDING_BASED));
    if ((!run->cut_known || run->files) && start_some(run, wait, err) < 0)
        return -1;
    if (!run->cut_known && count_of(run, RECORDING_BASED) == count && cut_all(run, wait, err) < 0)
        return -1;
    if (!run->committing && count_of(run, RECORDING_WRITTEN) == count)
        commit_all(run);
    return 0;
}

static enum job_step pump_step(void *arg, struct wait *wait, struct err *err)
{
    struct set_run *run = arg;

    if (run->failure.code == ERR_NONE && go_on(run, wait, err) < 0)
        run->failure = *err;
    if (run->params->lock) {
        backup_lock_renew(run->params->lock);
        wait_until(wait, backup_lock_due_ms(run->params->lock));
    }
    if (count_of(run, RECORDING_DONE) == run->shards->count)
        return JOB_DONE;
    if (run->failure.code != ERR_NONE && !run->stopping)
        stop_all(run);
    if (run->stopping && (!any_call_is_open(run) || clock_mono_ms() >= run->deadline_ms)) {
        *err = run->failure;
        return JOB_FAIL;
    }
    wait_until(wait, run->deadline_ms ? run->deadline_ms : clock_mono_ms() + DISTANT_MS);
    return JOB_WAIT;
}

static void pump_done(void *arg, const struct err *err)
{
    struct set_run *run = arg;

    if (err->code != ERR_NONE && run->failure.code == ERR_NONE)
        run->failure = *err;
    run->pump = NULL;
    loop_stop(run->loop);
}

static const struct job_ops pump_ops = {"taking a set", pump_step, pump_done};

static int run_loop(struct set_run *run, struct err *err)
{
    run->agents = agents_new(run->params, run->loop, wake, run);
    if (run->params->stop_fd >= 0)
        loop_interrupt_fd(run->loop, run->params->stop_fd);
    run->pump = loop_add(run->loop, &pump_ops, run);
    int rc = loop_run(run->loop, err);
    if (rc == 0 && loop_interrupted(run->loop) &&
        count_of(run, RECORDING_DONE) < run->shards->count) {
        err_set(&run->failure, ERR_CANCELLED, "interrupted");
        wake(run);
        rc = loop_run(run->loop, err);
    }
    agents_free(run->agents);
    if (rc == 0 && run->failure.code != ERR_NONE) {
        *err = run->failure;
        rc = -1;
    }
    return rc;
}

/* The servers make the files first, and with them the cut. */
static int seal_files(struct set_run *run, struct err *err)
{
    size_t count = run->shards->count;

    if (!run->params->server_files)
        return 0;
    if (server_files_seal(run->params, run->shards, &run->cut, &run->files, err) < 0)
        return -1;
    run->cut_known = true;
    run->of_files = xmemdup(run->shards->shards, count * sizeof(*run->of_files));
    for (size_t i = 0; i < count; i++) {
        run->of_files[i].source_count = 1;
        run->recordings[i].shard = &run->of_files[i];
    }
    return 0;
}

static json_t *make_manifest(const struct set_run *run)
{
    struct manifest_file *files = xcalloc(run->shards->count, sizeof(*files));

    for (size_t i = 0; i < run->shards->count; i++) {
        const struct recording *r = &run->recordings[i];
        files[i] =
            (struct manifest_file){r->shard, r->name, &run->cut.shards[i], r->based, r->written};
    }
    json_t *manifest = manifest_make(run->params, run->shards, &run->cut, files);
    free(files);
    return manifest;
}

/* Without the manifest nobody looks at them, but they take room. */
static void remove_files(const struct set_run *run)
{
    struct err ignored = ERR_INIT;

    for (size_t i = 0; i < run->shards->count; i++)
        if (run->committing)
            (void)!store_remove(run->params->store, run->recordings[i].name, &ignored);
}

/* It may be there although it could not be read back. */
static void remove_manifest(const struct set_run *run)
{
    AUTO_FREE char *name = manifest_name(run->params, run->shards->db);
    struct err ignored = ERR_INIT;

    (void)!store_remove(run->params->store, name, &ignored);
}

static void release(struct set_run *run)
{
    for (size_t i = 0; i < run->shards->count; i++) {
        free(run->recordings[i].name);
        json_decref(run->recordings[i].based);
        json_decref(run->recordings[i].written);
    }
    free(run->recordings);
    free(run->of_files);
    free(run->cut.shards);
    loop_free(run->loop);
}

int backup_take(const struct backup_params *params, const struct backup_shards *shards,
    json_t **ret_manifest, struct err *err)
{
    struct set_run run = {
        .params = params,
        .shards = shards,
        .loop = loop_new(),
        .witness = json_text(params->ccs, "name", NULL),
        .recordings = xcalloc(shards->count, sizeof(*run.recordings)),
        .cut.shards = xcalloc(shards->count, sizeof(*run.cut.shards)),
    };
    json_t *manifest = NULL;

    for (size_t i = 0; i < shards->count; i++)
        run.recordings[i] = (struct recording){.run = &run,
            .shard = &shards->shards[i],
            .name = manifest_file_name(params, shards, i)};
    int rc = seal_files(&run, err);
    if (rc == 0)
        rc = run_loop(&run, err);
    server_files_clean(run.files);
    if (rc == 0) {
        manifest = make_manifest(&run);
        rc = read_back(params, json_object_get(manifest, "files"), err);
    }
    if (rc == 0) {
        char time[CLOCK_TEXT_MAX];
        json_object_set_new(manifest, "verified", json_string(backup_verify_name(params->verify)));
        json_object_set_new(
            manifest, "verified_time", json_string(clock_format(clock_wall_ms(), time)));
        rc = manifest_put(params, shards->db, manifest, err);
    }
    if (rc == 0) {
        *ret_manifest = manifest;
    } else {
        if (manifest)
            remove_manifest(&run);
        json_decref(manifest);
        remove_files(&run);
    }
    release(&run);
    return rc;
}
