/* The facts for a plan: the CCS file, the answers of the hosts, the locations, the old cluster. */

#include "recluster/survey.h"
#include "recluster/json.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "disks.h"
#include "questions.h"
#include "recluster/clock.h"
#include "recluster/fence.h"
#include "recluster/host_link.h"
#include "recluster/old_cluster.h"
#include "recluster/protocol.h"
#include "recluster/secret.h"
#include "wishes.h"

enum {
    PROBE_MS = 60 * 1000,
    LIST_MS = 60 * 1000,
    MEASURE_MS = 90 * 1000,
    KNOCK_CALL_MS = 60 * 1000,
    KNOCKING_HOSTS = 5
};

/* One host: hello, probe, its files, and measure if requested. Then the link is closed. */
struct host_probe {
    const struct host *host;
    struct survey *survey;
    bool measure, only_files;
    bool knocks; /* it asks the old cluster too */
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

/* A failed measurement counts like none. */
static void on_measure(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;

    measure_take(p->facts, result, error);
    probe_over(p, NULL);
}

static void measure_or_end(struct host_probe *p);

/* Hosts that cannot reach any node of the old cluster prove nothing by its silence. */
static void on_knock(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;

    (void)error;
    if (result && p->facts)
        json_object_set(p->facts, "knocks", json_object_get(result, "answers"));
    p->knocks = false;
    measure_or_end(p);
}

static void measure_or_end(struct host_probe *p)
{
    if (p->knocks && p->facts) {
        link_call(p->link, "knock", old_cluster_questions(p->survey->old), KNOCK_CALL_MS, on_knock,
            NULL, p);
        return;
    }
    if (p->measure)
        link_call(p->link, "measure",
            measure_params(p->survey, (size_t)(p->host - p->survey->hosts->hosts)), MEASURE_MS,
            on_measure, NULL, p);
    else
        probe_over(p, NULL);
}

static void on_files(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;

    disks_take(p->survey, p->host, result, error);
    measure_or_end(p);
}

static void ask_for_files(struct host_probe *p, json_t *paths)
{
    link_call(
        p->link, "list_files", json_pack("{s:o}", "paths", paths), LIST_MS, on_files, NULL, p);
}

static void on_probe(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;
    json_t *paths = result ? disks_paths_of_host(p->survey, p->host) : NULL;

    if (result)
        p->facts = json_deep_copy(result);
    if (paths)
        ask_for_files(p, paths);
    else if (result)
        measure_or_end(p);
    else
        probe_over(p, error);
}

static void on_ready(void *arg)
{
    struct host_probe *p = arg;

    if (p->only_files)
        ask_for_files(p, disks_paths_of_host(p->survey, p->host));
    else
        link_call(
            p->link, "probe", host_questions(p->survey, p->host), PROBE_MS, on_probe, NULL, p);
}

static void on_failed(void *arg, const struct err *err)
{
    probe_over(arg, err);
}

/* Whether the facts of the host and, if they are needed, of its files are already there. */
static bool wants_only_files(const struct survey *survey, size_t host)
{
    json_t *paths = survey->host_inputs[host].facts
                        ? disks_paths_of_host(survey, survey->host_inputs[host].host)
                        : NULL;

    json_decref(paths);
    return paths != NULL;
}

int survey_probe_hosts(
    struct survey *survey, const struct survey_request *request, struct state *st, struct err *err)
{
    size_t count = survey->hosts->count;
    struct host_probe *probes = xcalloc(count, sizeof(*probes));
    struct loop *loop = loop_new();
    struct host_links links = {st, request->accept_new_host_keys};
    bool offline = json_flag(survey->options, "offline");
    int knocking = 0;

    for (size_t i = 0; i < count; i++) {
        const struct host *h = &survey->hosts->hosts[i];
        const struct host_opening opening = {
            .target = {.host = h->name, .kind = h->link, .spec = h->spec},
            .ready = on_ready,
            .failed = on_failed,
            .arg = &probes[i],
        };
        probes[i] = (struct host_probe){.host = h,
            .survey = survey,
            .measure = request->measure,
            .only_files = wants_only_files(survey, i),
            .error = &survey->host_errors[i]};
        if (offline || survey->host_inputs[i].without || survey->host_inputs[i].error ||
            (survey->host_inputs[i].facts && !probes[i].only_files))
            continue;
        probes[i].knocks = survey->old && knocking < KNOCKING_HOSTS;
        if (host_link_open(&links, loop, &opening, &probes[i].link, probes[i].error) == 0)
            knocking++;
    }
    if (!offline)
        disks_ask_old_nodes(survey, loop);
    int rc = loop_run(loop, err);
    for (size_t i = 0; i < count; i++) {
        if (survey->host_inputs[i].facts || survey->host_inputs[i].error)
            continue;
        survey->host_inputs[i].facts = probes[i].facts;
        survey->host_inputs[i].error = probes[i].facts ? NULL : probes[i].error;
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

/* A location of --source, marked as the operator's. A borrowed reference. */
static const json_t *command_line_location(struct survey *survey, const char *text, bool insecure)
{
    json_t *location = json_string(text);

    if (insecure && strstr(text, "://")) {
        json_t *marked = json_pack("{s:o, s:b}", "url", location, "insecure", true);
        location = marked;
    }
    json_array_append_new(survey->owned, location);
    return location;
}

/*
 * The command line overrides hosts.json, which overrides the CCS file. NULL: there is none, or
 * `error` says what is wrong with it.
 */
static const json_t *location_of(struct survey *survey, const struct survey_request *request,
    const struct ccs_database *db, const char **ret_named_by, struct err *error)
{
    const char *label;
    json_t *location;

    *ret_named_by = "the recovery";
    if (survey->locations)
        return json_object_get(survey->locations, db->uid);
    *ret_named_by = "the command line";
    for (size_t i = 0; i < request->source_count; i++)
        if (same_database(survey->ccs, request->sources[i].database, db))
            return command_line_location(survey, request->sources[i].location, request->insecure);
    *ret_named_by = "the hosts file";
    json_object_foreach (survey->hosts->sources, label, location) {
        if (same_database(survey->ccs, label, db))
            return location;
    }
    *ret_named_by = "the CCS file";
    if (!db->backup_location)
        return NULL;
    location = store_location_of_ccs(db->backup_location, survey->hosts->trusted_endpoints, error);
    if (location)
        json_array_append_new(survey->owned, location);
    return location;
}

static int check_words(
    const struct survey *survey, const struct survey_request *request, struct err *err)
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
    json_object_foreach (survey->hosts->databases, label, location) {
        if (!ccs_find_database(survey->ccs, label, err))
            return err_wrap(err, "\"databases\" of '%s'", request->hosts_path);
    }
    return wishes_check(survey, survey->options, err);
}

/* The settings for a database's clients in the hosts file. */
static int take_access(struct survey *survey, struct plan_database_input *in, struct err *err)
{
    const char *label;
    json_t *entry;

    json_object_foreach (survey->hosts->databases, label, entry) {
        const json_t *value = json_object_get(entry, "password");
        if (!same_database(survey->ccs, label, in->database))
            continue;
        in->open_access = json_flag(entry, "open_access");
        struct secret *password = value ? secret_from_json(value, "password", err) : NULL;
        if (value && !password)
            return err_wrap(err, "\"databases\", '%s'", label);
        in->password = arena_strdup(&survey->ccs->arena, secret_reveal(password));
        secret_free(password);
        if (in->password && !*in->password)
            return err_set(
                err, ERR_USAGE, "the password of '%s' in the hosts file is empty", label);
    }
    return 0;
}

struct survey_query {
    int64_t at_ms;
    struct slots slots; /* that a set must have */
    bool some;          /* not all slots */
    bool resort;        /* a file may have keys of any shard */
};

static int read_catalogue(const struct ccs *ccs, struct store *store, const struct ccs_database *db,
    const struct survey_query *wanted, struct catalogue *ret, struct err *err)
{
    AUTO_FREE const struct slots **shards = xcalloc(db->shard_count, sizeof(*shards));
    size_t count = 0;

    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        if (ccs->shards[i].primary)
            shards[count++] = ccs->shards[i].slots;
    const struct catalogue_query query = {
        .database_uid = db->uid,
        .database_name = db->name,
        .sharded = db->sharded,
        .legacy = db->slots_policy == CCS_SLOTS_LEGACY,
        .slots = &wanted->slots,
        .some_files = wanted->some,
        .shards = shards,
        .shard_count = count,
        .at_ms = wanted->at_ms,
        .now_ms = clock_wall_ms(),
        .resort = wanted->resort,
    };
    return catalogue_read(store, &query, ret, err);
}

static void announce(const struct survey_request *request, bool lasting, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static void announce(const struct survey_request *request, bool lasting, const char *fmt, ...)
{
    void (*to)(void *arg, const char *line) = lasting ? request->tell : request->progress;
    va_list args;

    if (!to)
        return;
    va_start(args, fmt);
    AUTO_FREE char *line = xvasprintf(fmt, args);
    va_end(args);
    to(request->arg, line);
}

/*
 * The location of a database. An event tells who gets a login with it, before the first request.
 * Returns a new reference to the resolved location; NULL: no request is to be made.
 */
static json_t *find_location(struct survey *survey, const struct survey_request *request,
    struct plan_database_input *in, struct err *error)
{
    const char *named_by;

    in->location = location_of(survey, request, in->database, &named_by, error);
    if (error->code) {
        in->error = error;
        AUTO_FREE char *label = store_location_shown(in->database->backup_location);
        in->location_label = arena_strdup(&survey->ccs->arena, label);
    }
    /* "--source db:1=disks": only the files on disks. */
    const char *word = json_string_value(in->location);
    in->only_disks = word && strcmp(word, "disks") == 0;
    if (in->only_disks)
        in->location = NULL;
    if (!in->location || !wishes_backups(survey, in))
        return NULL;
    AUTO_FREE char *label = store_location_shown(in->location);
    in->location_label = arena_strdup(&survey->ccs->arena, label);
    if (json_flag(survey->options, "offline"))
        return NULL;
    json_t *resolved = store_resolve_location(in->location, error), *login;
    json_t *logins = resolved ? store_logins(resolved) : NULL;
    size_t i;
    if (!resolved)
        in->error = error;
    json_array_foreach (logins, i, login) {
        bool clear = json_flag(login, "clear");
        announce(request, true, "%s: a login goes to %s%s, which %s names", in->database->label,
            json_text(login, "endpoint", NULL), clear ? " in clear text" : "", named_by);
        json_object_set_new(login, "database", json_string(in->database->label));
        json_object_set_new(login, "named_by", json_string(named_by));
        json_array_append(survey->logins, login);
    }
    json_decref(logins);
    return resolved;
}

static void catalogue_database(struct survey *survey, struct plan_database_input *in,
    const json_t *resolved, struct err *error)
{
    const struct ccs_database *db = in->database;
    struct survey_query wanted = {
        .at_ms = wishes_time(survey, db), .resort = json_flag(survey->options, "resort")};
    struct slots missing;

    slots_fill(&wanted.slots);
    wanted.some = wishes_missing_slots(survey->options, &missing);
    slots_subtract(&wanted.slots, &missing);
    struct store *store = store_open(resolved, error);
    if (!store) {
        in->error = error;
        return;
    }
    in->location_label = arena_strdup(&survey->ccs->arena, store_label(store));
    struct catalogue *catalogue = xcalloc(1, sizeof(*catalogue));
    if (read_catalogue(survey->ccs, store, db, &wanted, catalogue, error) < 0) {
        free(catalogue);
        in->error = error;
    } else {
        in->catalogue = catalogue;
    }
    store_close(store);
}

/* --rto chose it when the plan was made. */
static void take_pinned_count(const struct survey *survey, struct plan_database_input *in)
{
    const json_t *database = plan_json_database(survey->pinned, in->database->uid);

    in->primaries = (int)json_int(database, "primaries", in->primaries);
}

int survey_databases(struct survey *survey, const struct survey_request *request, struct err *err)
{
    const struct ccs *ccs = survey->ccs;

    if (check_words(survey, request, err) < 0)
        return -1;
    int rc = 0;
    json_t **resolved = xcalloc(ccs->database_count + 1, sizeof(*resolved));
    survey->databases = xcalloc(ccs->database_count, sizeof(*survey->databases));
    survey->database_errors = xcalloc(ccs->database_count, sizeof(*survey->database_errors));
    for (size_t i = 0; i < ccs->database_count; i++) {
        if (!wishes_database(survey, survey->options, &ccs->databases[i]))
            continue;
        size_t at = survey->database_count++;
        survey->databases[at] = (struct plan_database_input){.database = &ccs->databases[i]};
        resolved[at] =
            find_location(survey, request, &survey->databases[at], &survey->database_errors[at]);
        wishes_fill_database(survey, survey->options, &survey->databases[at]);
        take_pinned_count(survey, &survey->databases[at]);
        if (rc == 0)
            rc = take_access(survey, &survey->databases[at], err);
    }
    for (size_t at = 0; at < survey->database_count; at++) {
        if (!resolved[at])
            continue;
        if (rc < 0) {
            json_decref(resolved[at]);
            continue;
        }
        announce(request, false, "looking for the backups of %s: database %zu of %zu",
            survey->databases[at].database->label, at + 1, survey->database_count);
        catalogue_database(
            survey, &survey->databases[at], resolved[at], &survey->database_errors[at]);
        json_decref(resolved[at]);
    }
    free(resolved);
    return rc;
}

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

static int take_sentinels(struct survey *survey, struct state *st, struct err *err)
{
    const char *label;
    json_t *entry;

    json_object_foreach (survey->hosts->databases, label, entry) {
        const json_t *wish = json_object_get(entry, "sentinel");
        const struct ccs_database *db = wish ? ccs_find_database(survey->ccs, label, err) : NULL;
        if (wish && !db)
            return err_wrap(err, "\"databases\" of the hosts file");
        if (db && ccs_ask_for_sentinels(survey->ccs, db, wish, st, err) < 0)
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
        announce(request, true,
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
    announce(request, false, "checking %zu addresses of the old cluster", survey->old->asked);
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

int survey_run(
    const struct survey_request *request, struct state *st, struct survey **ret, struct err *err)
{
    struct survey *survey = xcalloc(1, sizeof(*survey));

    survey->owned = json_array();
    survey->logins = json_array();
    survey->disks = json_array();
    survey->options = request->options ? json_deep_copy(request->options) : json_object();
    survey->pinned = json_deep_copy(request->plan);
    if (ccs_import(request->ccs_path, request->ccs_key, st, err) < 0 ||
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
