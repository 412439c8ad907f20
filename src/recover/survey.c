/* Facts for a plan: the CCS, the hosts as their agents see them, the locations, the old cluster. */

#include "survey.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "recluster/clock.h"
#include "recluster/protocol.h"
#include "recluster/secret.h"

enum { PROBE_MS = 60 * 1000 };

/* One host: hello, then probe; the link is closed when both are answered. */
struct host_probe {
    const struct host *host;
    struct link *link;
    json_t *facts;
    struct err *error;
};

static void probe_over(struct host_probe *p, const struct err *error)
{
    struct link *link = p->link;

    if (error && p->error->code == ERR_NONE && !p->facts)
        *p->error = *error;
    p->link = NULL;
    link_close(link);
}

static void on_probe(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;

    if (result)
        p->facts = json_deep_copy(result);
    probe_over(p, error);
}

static void on_hello(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;

    (void)result;
    if (error) {
        probe_over(p, error);
        return;
    }
    link_call(p->link, "probe",
        json_pack("{s:s, s:s, s:s}", "base_dir", p->host->base_dir, "addr", p->host->addr, "server",
            p->host->server),
        PROBE_MS, on_probe, NULL, p);
}

static void on_lost(void *arg, const struct err *err)
{
    probe_over(arg, err);
}

static int probe_hosts(struct survey *survey, struct err *err)
{
    size_t count = survey->hosts->count;
    struct host_probe *probes = xcalloc(count, sizeof(*probes));
    struct loop *loop = loop_new();
    static const struct link_events events = {on_lost};

    for (size_t i = 0; i < count; i++) {
        const struct host *h = &survey->hosts->hosts[i];
        const struct link_target target = {.host = h->name, .kind = h->link, .spec = h->spec};
        probes[i] = (struct host_probe){.host = h, .error = &survey->host_errors[i]};
        if (link_open(loop, &target, &events, &probes[i], &probes[i].link, probes[i].error) < 0)
            continue;
        link_call(probes[i].link, "hello", json_pack("{s:i}", "protocol", PROTOCOL_VERSION),
            PROBE_MS, on_hello, NULL, &probes[i]);
    }
    int rc = loop_run(loop, err);
    for (size_t i = 0; i < count; i++) {
        survey->host_inputs[i] = (struct plan_host_input){
            .host = probes[i].host,
            .facts = probes[i].facts,
            .error = probes[i].facts ? NULL : probes[i].error,
        };
    }
    loop_free(loop);
    free(probes);
    return rc;
}

static bool same_database(const struct ccs *ccs, const char *word, const struct ccs_database *db)
{
    struct err ignored = ERR_INIT;
    return ccs_find_database(ccs, word, &ignored) == db;
}

/* Command line over hosts.json over CCS. */
static const json_t *location_of(
    struct survey *survey, const struct recover_request *request, const struct ccs_database *db)
{
    const char *label;
    json_t *location;

    for (size_t i = 0; i < request->source_count; i++) {
        if (!same_database(survey->ccs, request->sources[i].database, db))
            continue;
        location = json_string(request->sources[i].location);
        json_array_append_new(survey->owned, location);
        return location;
    }
    json_object_foreach (survey->hosts->sources, label, location) {
        if (same_database(survey->ccs, label, db))
            return location;
    }
    return db->backup_location;
}

static int check_words(
    const struct survey *survey, const struct recover_request *request, struct err *err)
{
    const char *label;
    json_t *location;

    for (size_t i = 0; i < request->source_count; i++)
        if (!ccs_find_database(survey->ccs, request->sources[i].database, err))
            return err_wrap(err, "--source");
    json_object_foreach (survey->hosts->sources, label, location) {
        if (!ccs_find_database(survey->ccs, label, err))
            return err_wrap(err, "\"sources\" of '%s'", request->hosts_path);
    }
    for (const char *const *word = request->databases; word && *word; word++)
        if (!ccs_find_database(survey->ccs, *word, err))
            return err_wrap(err, "--database");
    return 0;
}

static bool is_wanted(const struct survey *survey, const struct recover_request *request,
    const struct ccs_database *db)
{
    if (!request->databases || !request->databases[0])
        return true;
    for (const char *const *word = request->databases; *word; word++)
        if (same_database(survey->ccs, *word, db))
            return true;
    return false;
}

static int read_catalogue(const struct ccs *ccs, struct store *store, const struct ccs_database *db,
    int64_t at_ms, struct catalogue *ret, struct err *err)
{
    CLEANUP(free_ptr) const struct slots **shards = xcalloc(db->shard_count, sizeof(*shards));
    struct slots all;
    size_t count = 0;

    slots_fill(&all);
    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        if (ccs->shards[i].primary)
            shards[count++] = ccs->shards[i].slots;
    const struct catalogue_query query = {
        .database_uid = db->uid,
        .database_name = db->name,
        .sharded = db->sharded,
        .legacy = db->slots_policy == CCS_SLOTS_LEGACY,
        .slots = &all,
        .shards = shards,
        .shard_count = count,
        .at_ms = at_ms,
    };
    return catalogue_read(store, &query, ret, err);
}

static void catalogue_database(
    struct survey *survey, struct plan_database_input *in, struct err *error, int64_t at_ms)
{
    const struct ccs_database *db = in->database;

    if (!in->location || db->active_active || strcmp(db->type, "memcached") == 0)
        return;
    json_t *masked = secret_mask_json(in->location);
    CLEANUP(free_ptr) char *text = json_dumps(masked, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(masked);
    in->location_label = arena_strdup(&survey->ccs->arena, text);
    struct store *store = store_open(in->location, error);
    if (!store) {
        in->error = error;
        return;
    }
    in->location_label = arena_strdup(&survey->ccs->arena, store_label(store));
    struct catalogue *catalogue = xcalloc(1, sizeof(*catalogue));
    if (read_catalogue(survey->ccs, store, db, at_ms, catalogue, error) < 0) {
        free(catalogue);
        in->error = error;
    } else {
        in->catalogue = catalogue;
    }
    store_close(store);
}

static int survey_databases(
    struct survey *survey, const struct recover_request *request, struct err *err)
{
    const struct ccs *ccs = survey->ccs;

    if (check_words(survey, request, err) < 0)
        return -1;
    survey->databases = xcalloc(ccs->database_count, sizeof(*survey->databases));
    survey->database_errors = xcalloc(ccs->database_count, sizeof(*survey->database_errors));
    for (size_t i = 0; i < ccs->database_count; i++) {
        const struct ccs_database *db = &ccs->databases[i];
        if (!is_wanted(survey, request, db))
            continue;
        size_t at = survey->database_count++;
        survey->databases[at] = (struct plan_database_input){
            .database = db,
            .location = location_of(survey, request, db),
        };
        catalogue_database(
            survey, &survey->databases[at], &survey->database_errors[at], request->at_ms);
    }
    return 0;
}

static int check_old_cluster(
    struct survey *survey, const struct recover_request *request, struct err *err)
{
    const char *name = survey->ccs->cluster_name ? survey->ccs->cluster_name : "";

    if (!request->old_cluster_is_dead)
        return old_cluster_probe(survey->ccs, &survey->alive, err);
    if (strcmp(request->old_cluster_is_dead, name) == 0)
        return 0;
    return old_cluster_wrong_name(request->old_cluster_is_dead, name, err);
}

static void make_plan(struct survey *survey, struct state *st)
{
    CLEANUP(free_ptr) char *sha256 = state_meta(st, "ccs_sha256");
    const struct plan_input input = {
        .ccs = survey->ccs,
        .ccs_sha256 = sha256,
        .hosts = survey->host_inputs,
        .host_count = survey->hosts->count,
        .databases = survey->databases,
        .database_count = survey->database_count,
        .alive = survey->alive,
        .now_ms = clock_wall_ms(),
    };

    survey->plan = plan_make(&input);
}

int recover_survey(
    const struct recover_request *request, struct state *st, struct survey **ret, struct err *err)
{
    struct survey *survey = xcalloc(1, sizeof(*survey));

    survey->owned = json_array();
    if (ccs_import(request->ccs_path, st, err) < 0 || !(survey->ccs = ccs_load(st, err)) ||
        !(survey->hosts = hosts_load(request->hosts_path, err)))
        goto fail;
    survey->host_inputs = xcalloc(survey->hosts->count, sizeof(*survey->host_inputs));
    survey->host_errors = xcalloc(survey->hosts->count, sizeof(*survey->host_errors));
    if (survey_databases(survey, request, err) < 0 || probe_hosts(survey, err) < 0 ||
        check_old_cluster(survey, request, err) < 0)
        goto fail;
    make_plan(survey, st);
    *ret = survey;
    return 0;
fail:
    survey_free(survey);
    return -1;
}

void survey_free(struct survey *survey)
{
    if (!survey)
        return;
    plan_free(survey->plan);
    for (size_t i = 0; i < survey->database_count; i++) {
        struct catalogue *catalogue;
        memcpy(&catalogue, &survey->databases[i].catalogue, sizeof(catalogue));
        if (catalogue)
            catalogue_release(catalogue);
        free(catalogue);
    }
    for (size_t i = 0; survey->host_inputs && i < survey->hosts->count; i++)
        json_decref((json_t *)(uintptr_t)survey->host_inputs[i].facts);
    free(survey->databases);
    free(survey->database_errors);
    free(survey->host_inputs);
    free(survey->host_errors);
    json_decref(survey->owned);
    json_decref(survey->alive);
    hosts_free(survey->hosts);
    ccs_free(survey->ccs);
    free(survey);
}

const struct ccs *survey_ccs(const struct survey *survey)
{
    return survey->ccs;
}

const struct plan *survey_plan(const struct survey *survey)
{
    return survey->plan;
}

json_t *survey_plan_json(const struct survey *survey)
{
    return plan_json(survey->plan);
}
