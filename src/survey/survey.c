/* The facts for a plan: the CCS file, the answers of the hosts, the locations, the old cluster. */

#include "recluster/survey.h"

#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "recluster/clock.h"
#include "recluster/fence.h"
#include "recluster/json.h"
#include "recluster/old_cluster.h"
#include "recluster/secret.h"
#include "wishes.h"

/*
 * A database that was one server becomes a Redis Cluster if several primaries are wanted of it. The
 * state file says so too, for the runs that resume.
 */
static int make_clusters(struct survey *survey, struct state *st, struct err *err)
{
    for (size_t i = 0; i < survey->database_count; i++) {
        const struct plan_database_input *in = &survey->databases[i];
        struct ccs_database *db = &survey->ccs->databases[in->database - survey->ccs->databases];
        if (in->primaries < 2 || db->sharded)
            continue;
        db->sharded = true;
        if (state_run(st, err, "UPDATE database SET sharded = 1 WHERE uid = ?", "s", db->uid) < 0)
            return -1;
    }
    return 0;
}

/* The wish of the hosts file, with its password as text. */
static json_t *plain_wish(const json_t *wish, struct err *err)
{
    const json_t *value = json_object_get(wish, "password");
    struct secret *password =
        value ? secret_from_json(value, "the password of \"sentinel\"", err) : NULL;
    json_t *plain = json_deep_copy(wish);

    if (value && !password) {
        json_decref(plain);
        return NULL;
    }
    if (value)
        json_object_set_new(plain, "password", json_string(secret_reveal(password)));
    secret_free(password);
    return plain;
}

static int take_sentinels(struct survey *survey, struct state *st, struct err *err)
{
    const char *label;
    json_t *entry;

    json_object_foreach (survey->hosts->databases, label, entry) {
        const json_t *wish = json_object_get(entry, "sentinel");
        const struct ccs_database *db = wish ? ccs_find_database(survey->ccs, label, err) : NULL;
        if (wish && !db)
            return err_wrap(err, "\"databases\" of the hosts file");
        json_t *plain = db ? plain_wish(wish, err) : NULL;
        if (db && !plain)
            return -1;
        int rc = db ? ccs_ask_for_sentinels(survey->ccs, db, plain, st, err) : 0;
        json_decref(plain);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Before the hosts are probed, because they ask the old cluster too. */
static int find_old_cluster(
    struct survey *survey, const struct survey_request *request, struct err *err)
{
    const char *name = survey->ccs->cluster_name ? survey->ccs->cluster_name : "";

    if (json_flag(survey->options, "offline"))
        return 0;
    if (request->old_cluster_is_dead && strcmp(request->old_cluster_is_dead, name) != 0)
        return old_cluster_wrong_name(request->old_cluster_is_dead, name, err);
    if (request->old_cluster_is_dead)
        return 0;
    survey->old = old_cluster_new(survey->ccs, err);
    if (!survey->old)
        return -1;
    if (survey->old->foreign)
        survey_announce(request, true,
            "%zu addresses are checked for signs of the old cluster; the CCS file lists %zu of them "
            "for no node",
            survey->old->asked, survey->old->foreign);
    return 0;
}

static int check_old_cluster(
    struct survey *survey, const struct survey_request *request, struct state *st, struct err *err)
{
    if (!survey->old)
        return 0;
    survey_announce(
        request, false, "checking %zu addresses of the old cluster", survey->old->asked);
    if (old_cluster_ask(survey->old, err) < 0)
        return -1;
    for (size_t i = 0; i < survey->hosts->count; i++) {
        json_t *facts = survey->host_inputs[i].facts;
        const json_t *answers = json_object_get(facts, "knocks");
        if (answers)
            old_cluster_take(survey->old, survey->hosts->hosts[i].name, answers);
        json_object_del(facts, "knocks"); /* not a fact of the host */
    }
    old_cluster_judge(survey->old);
    return request->fence && !plan_old_cluster_lives(survey->ccs, survey->old->alive)
               ? fence_look(survey, request, st, err)
               : 0;
}

void survey_make_plan(struct survey *survey, const struct survey_request *request, struct state *st)
{
    AUTO_FREE char *sha256 = state_meta(st, "ccs_sha256");
    const json_t *options = survey->options;
    struct slots missing;
    const struct plan_input input = {
        .ccs = survey->ccs,
        .ccs_sha256 = sha256,
        .hosts = survey->host_inputs,
        .host_count = survey->hosts->count,
        .databases = survey->databases,
        .database_count = survey->database_count,
        .alive = survey->old ? survey->old->alive : NULL,
        .sentinels = survey->old ? survey->old->sentinels : NULL,
        .silent = survey->old ? survey->old->silent : NULL,
        .silent_nodes = survey->old ? survey->old->silent_nodes : NULL,
        .unasked = survey->old ? survey->old->unasked : NULL,
        .old_cluster_silent = survey->old && old_cluster_is_silent(survey->old),
        .alive_not_asked = request->old_cluster_is_dead != NULL,
        .now_ms = clock_wall_ms(),
        .offline = json_flag(options, "offline"),
        .full_sync = request->full_sync,
        .only_configuration = json_flag(options, "only_configuration"),
        .by_priority = !survey->replan && json_object_get(options, "priority") != NULL,
        .allow_missing = wishes_missing_slots(options, &missing) ? &missing : NULL,
        .rto_s = json_int(options, "rto_s", 0),
        .options = options,
        .mode = survey->replan   ? PLAN_REPLAN
                : survey->pinned ? PLAN_PINNED
                                 : PLAN_FRESH,
        .pinned = survey->pinned,
        .disks = survey->disks,
        .logins = survey->logins,
        .rates = &survey->rates,
    };

    rates_read(&survey->rates);
    survey->plan = plan_make(&input);
}

/*
 * Reads the certificates and keys, so that the plan fails if one is missing, and a resumed recovery
 * does not need the files. What is on the host itself stays a path.
 */
static int read_tls(struct host *host, struct err *err)
{
    json_t *tls = json_object_get(host->spec, "tls"), *value, *read = json_object();
    const char *name;
    int rc = 0;

    json_object_foreach (tls, name, value) {
        bool there = json_has(value, "path");
        struct secret *text = there || rc < 0 ? NULL : secret_from_json(value, name, err);
        if (there)
            json_object_set(read, name, value);
        else if (text)
            json_object_set_new(read, name, json_string(secret_reveal(text)));
        else
            rc = -1;
        secret_free(text);
    }
    if (tls && rc == 0)
        json_object_set(host->spec, "tls", read);
    json_decref(read);
    return rc < 0 ? err_wrap(err, "\"tls\" of host '%s'", host->name) : 0;
}

static int load_hosts(struct survey *survey, const struct survey_request *request, struct err *err)
{
    const json_t *path;
    size_t i;

    survey->hosts = hosts_load(request->hosts_path, err);
    if (!survey->hosts)
        return -1;
    json_array_foreach (json_object_get(survey->options, "extra"), i, path) {
        if (!json_is_string(path))
            return err_set(err, ERR_USAGE, "the plan's \"extra\" is not a list of paths");
        if (hosts_add(survey->hosts, json_string_value(path), err) < 0)
            return -1;
    }
    survey->host_inputs = xcalloc(survey->hosts->count, sizeof(*survey->host_inputs));
    survey->host_errors = xcalloc(survey->hosts->count, sizeof(*survey->host_errors));
    for (i = 0; i < survey->hosts->count; i++) {
        const struct host *host = &survey->hosts->hosts[i];
        if (read_tls(&survey->hosts->hosts[i], err) < 0)
            return -1;
        survey->host_inputs[i] = (struct plan_host_input){
            .host = host, .without = survey_without(survey->options, host)};
    }
    return 0;
}

static int add_settings(const struct survey_request *request, struct state *st, struct err *err)
{
    const char *named = request->settings_path;
    bool added;

    if (ccs_add_settings(named ? named : "redis.conf", request->settings, st, &added, err) < 0)
        return -1;
    if (added || !named)
        return 0;
    err_set(
        err, ERR_USAGE, "'%s' is not a nodes.json: it has settings of its own", request->ccs_path);
    return err_hint(err, "Leave out --settings.");
}

static int import_ccs(const struct survey_request *request, struct state *st, struct err *err)
{
    if (request->ccs_bytes.data)
        return ccs_import_bytes(request->ccs_path, request->ccs_bytes, st, err);
    if (ccs_import(request->ccs_path, request->ccs_key, st, err) < 0)
        return -1;
    return request->settings.data ? add_settings(request, st, err) : 0;
}

int survey_run(
    const struct survey_request *request, struct state *st, struct survey **ret, struct err *err)
{
    struct survey *survey = xcalloc(1, sizeof(*survey));

    survey->owned = json_array();
    survey->logins = json_array();
    survey->disks = request->folders ? json_deep_copy(request->folders) : json_array();
    survey->options = request->options ? json_deep_copy(request->options) : json_object();
    survey->pinned = json_deep_copy(request->plan);
    if (import_ccs(request, st, err) < 0 ||
        state_set_meta(st, "hosts_path", request->hosts_path, err) < 0 ||
        !(survey->ccs = ccs_load(st, err)) || load_hosts(survey, request, err) < 0 ||
        survey_databases(survey, request, err) < 0 || make_clusters(survey, st, err) < 0 ||
        take_sentinels(survey, st, err) < 0 || find_old_cluster(survey, request, err) < 0 ||
        survey_probe_hosts(survey, request, st, err) < 0 || survey_choose_disks(survey, err) < 0 ||
        check_old_cluster(survey, request, st, err) < 0)
        goto fail;
    survey_make_plan(survey, request, st);
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
        struct catalogue *catalogue = survey->databases[i].catalogue;
        if (catalogue)
            catalogue_release(catalogue);
        free(catalogue);
    }
    for (size_t i = 0; survey->host_inputs && i < survey->hosts->count; i++)
        json_decref(survey->host_inputs[i].facts);
    free(survey->databases);
    free(survey->database_errors);
    free(survey->host_inputs);
    free(survey->host_errors);
    json_decref(survey->owned);
    json_decref(survey->logins);
    json_decref(survey->locations);
    old_cluster_free(survey->old);
    json_decref(survey->fence);
    json_decref(survey->disks);
    json_decref(survey->options);
    json_decref(survey->pinned);
    hosts_free(survey->hosts);
    ccs_free(survey->ccs);
    free(survey);
}

const struct plan *survey_plan(const struct survey *survey)
{
    return survey->plan;
}

json_t *survey_plan_json(const struct survey *survey)
{
    return plan_json(survey->plan);
}
