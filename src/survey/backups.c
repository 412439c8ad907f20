/* The databases that are to be recovered, their locations and backup sets. */

#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/secret.h"
#include "wishes.h"

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
    in->only_disks = word ? strcmp(word, "disks") == 0 : request->folders && !in->location;
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
        survey_announce(request, true, "%s: a login goes to %s%s, which %s names",
            in->database->label, json_text(login, "endpoint", NULL), clear ? " in clear text" : "",
            named_by);
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
        survey_announce(request, false, "looking for the backups of %s: database %zu of %zu",
            survey->databases[at].database->label, at + 1, survey->database_count);
        catalogue_database(
            survey, &survey->databases[at], resolved[at], &survey->database_errors[at]);
        json_decref(resolved[at]);
    }
    free(resolved);
    return rc;
}
