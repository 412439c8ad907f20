#include "replan.h"

#include <stdlib.h>
#include <string.h>

#include "given_folders.h"
#include "planned_files.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/shell_quote.h"
#include "recluster/survey.h"
#include "save_plan.h"

enum { SHARDS_SHOWN = 3 };

struct replan {
    struct executor *x;
    struct survey *survey;
    struct survey_request request;
    json_t *document;              /* of the current plan */
    enum database_change *changes; /* of each database of the executor */
    bool *lost;                    /* for each shard */
};

static bool is_lost_sentinel(const struct executor *x, const struct task_run *t)
{
    return t->kind == &task_start_sentinel && x->hosts[t->host].lost;
}

bool replan_is_called_for(const struct executor *x)
{
    for (size_t i = 0; i < x->shard_count; i++)
        if (x->hosts[x->shards[i].host].lost)
            return true;
    for (size_t i = 0; i < x->task_count; i++)
        if (is_lost_sentinel(x, &x->tasks[i]))
            return true;
    return false;
}

static int database_by_uid(const struct executor *x, const char *uid)
{
    for (size_t i = 0; i < x->database_count; i++)
        if (uid && strcmp(x->databases[i].uid, uid) == 0)
            return (int)i;
    return -1;
}

/* "shard 4 (host 'h3'), …": the lost shards of a database; with `primaries` only primaries. */
static char *lost_shards(const struct replan *r, size_t database, bool primaries)
{
    const struct executor *x = r->x;
    struct buf out = BUF_INIT;
    size_t count = 0;

    for (size_t i = 0; i < x->shard_count; i++) {
        const struct shard_run *s = &x->shards[i];
        if (s->database != (int)database || !x->hosts[s->host].lost ||
            (primaries && !s->is_primary))
            continue;
        if (++count <= SHARDS_SHOWN)
            buf_addf(&out, "%sshard %s (host '%s')", count > 1 ? ", " : "", s->uid,
                x->hosts[s->host].name);
    }
    if (count > SHARDS_SHOWN)
        buf_addf(&out, " and %zu more", count - SHARDS_SHOWN);
    return buf_take(&out);
}

/* Records why the database gets no new plan, and what the operator can do. */
static int tell_refused(
    const struct replan *r, size_t database, const char *message, const char *hint, struct err *err)
{
    json_t *detail = json_pack("{s:s}", "hint", hint);
    const struct event event = {
        .severity = "error",
        .code = "replan-refused",
        .database = r->x->databases[database].uid,
        .message = message,
        .detail = detail,
    };
    int rc = state_event(r->x->st, &event, err);

    json_decref(detail);
    return rc;
}

static int keep_lost_primary(const struct replan *r, size_t database, struct err *err)
{
    AUTO_FREE char *shards = lost_shards(r, database, true);
    AUTO_FREE char *message =
        xasprintf("%s is in use, and the data that clients wrote is on a lost host: %s; it is not "
                  "replaced by the older backup",
            r->x->databases[database].label, shards);

    return tell_refused(r, database, message,
        "Bring the host back. If it is gone for good, recover this database again, with a state file "
        "of its own.",
        err);
}

/* Without the lost file, only an older file or none is left. The operator must decide that. */
static int keep_without_source(
    const struct replan *r, size_t database, const json_t *source, struct err *err)
{
    const char *where = json_text(source, "where", NULL);
    const char *next = json_text(source, "next", NULL);
    AUTO_FREE char *state = shell_word(state_path(r->x->st));
    AUTO_FREE char *message =
        xasprintf("%s comes from '%s', which is on a lost host: it gets no new plan",
            r->x->databases[database].label, where);
    AUTO_FREE char *instead = next ? xasprintf("the next newest of these slots is %s", next)
                                   : xstrdup("no other file of these slots is usable");
    AUTO_FREE char *hint = xasprintf(
        "Bring the host back. Without it %s%s. To start again: recluster abort "
        "--state %s; %sthen recover with a new state file.",
        instead,
        next ? ""
             : ": name more folders in the hosts file (recovery_path), or a location with "
               "--source",
        state,
        r->x->database_count > 1 ? "name a new \"base_dir\" for hosts on which other databases of "
                                   "this recovery stay; "
                                 : "");

    return tell_refused(r, database, message, hint, err);
}

static int choose_change(struct replan *r, size_t database, struct err *err)
{
    struct executor *x = r->x;
    bool any = false, primary = false;

    if (x->databases[database].state == DATABASE_SKIPPED)
        return 0;
    for (size_t i = 0; i < x->shard_count; i++)
        if (x->shards[i].database == (int)database && x->hosts[x->shards[i].host].lost) {
            any = true;
            primary |= x->shards[i].is_primary;
        }
    for (size_t i = 0; i < x->task_count && x->databases[database].in_use; i++)
        any |= x->tasks[i].database == (int)database && is_lost_sentinel(x, &x->tasks[i]);
    if (!any)
        return 0;
    const json_t *source = planned_files_lost(x, database);
    if (!x->databases[database].in_use && source)
        return keep_without_source(r, database, source, err);
    if (!x->databases[database].in_use)
        r->changes[database] = CHANGE_RESTART;
    else if (!primary)
        r->changes[database] = CHANGE_REPLICAS;
    else
        return keep_lost_primary(r, database, err);
    return 0;
}

static int read_document(struct replan *r, struct err *err)
{
    struct rows rows;

    if (state_query(r->x->st, &rows, err, "SELECT document FROM plan ORDER BY plan_id DESC LIMIT 1",
            "") < 0)
        return -1;
    r->document = rows_next(&rows) ? rows_json(&rows, 0) : NULL;
    if (rows_end(&rows, err) < 0)
        return -1;
    return r->document ? 0 : err_set(err, ERR_STATE_FILE, "the state file holds no plan");
}

/* --- hosts --- */

/* Adds new hosts of the hosts file, and its old nodes. An unreadable hosts file is ignored. */
static void add_from_file(const struct replan *r, json_t *specs, json_t *old_nodes)
{
    AUTO_FREE char *path = state_meta(r->x->st, "hosts_path");
    struct err ignored = ERR_INIT;
    struct hosts *file = path ? hosts_load(path, &ignored) : NULL;

    for (size_t i = 0; file && i < file->count; i++) {
        const struct host *h = &file->hosts[i];
        bool known = false;
        for (size_t k = 0; k < r->x->host_count && !known; k++)
            known = strcmp(h->name, r->x->hosts[k].name) == 0 ||
                    strcmp(h->addr, r->x->hosts[k].addr) == 0;
        if (!known)
            json_array_append(specs, h->spec);
    }
    for (size_t i = 0; file && i < file->old_node_count; i++)
        json_array_append(old_nodes, file->old_nodes[i].spec);
    if (file)
        hosts_free(file);
}

static bool has_shards(const struct executor *x, size_t host)
{
    for (size_t i = 0; i < x->shard_count; i++)
        if (x->shards[i].host == (int)host)
            return true;
    return false;
}

/*
 * Hosts with shards of this recovery keep the facts from before these came, because the plan counts
 * the shards itself. The other hosts are probed now.
 */
static int collect_hosts(struct replan *r, struct err *err)
{
    struct executor *x = r->x;
    struct survey *survey = r->survey;
    json_t *specs = json_array(), *old_nodes = json_array();

    for (size_t i = 0; i < x->host_count; i++)
        json_array_append(specs, x->hosts[i].spec);
    add_from_file(r, specs, old_nodes);
    json_t *root = json_pack("{s:o, s:o}", "hosts", specs, "old_nodes", old_nodes);
    survey->hosts = hosts_parse(root, err);
    json_decref(root);
    if (!survey->hosts)
        return -1;
    survey->host_inputs = xcalloc(survey->hosts->count, sizeof(*survey->host_inputs));
    survey->host_errors = xcalloc(survey->hosts->count, sizeof(*survey->host_errors));
    for (size_t i = 0; i < survey->hosts->count; i++) {
        struct plan_host_input *in = &survey->host_inputs[i];
        in->host = &survey->hosts->hosts[i];
        in->without = survey_without(survey->options, in->host);
        if (i < x->host_count && x->hosts[i].lost) {
            survey->host_errors[i] = x->hosts[i].error;
            in->error = &survey->host_errors[i];
        } else if (i < x->host_count && has_shards(x, i)) {
            in->facts = json_incref(x->hosts[i].facts);
        }
    }
    return 0;
}

/* A folder of this recovery on a host that was lost and is back counts as empty. */
static void own_folders(const struct replan *r)
{
    for (size_t i = 0; i < r->survey->hosts->count; i++) {
        json_t *base_dir = json_object_get(r->survey->host_inputs[i].facts, "base_dir");
        const char *recovery = json_text(base_dir, "recovery", NULL);
        if (recovery && strcmp(recovery, r->x->recovery) == 0)
            json_object_set_new(base_dir, "state", json_string("empty"));
    }
}

/* --- the plan --- */

/* The current plan, in which the shards that move have no host. */
static void pin(struct replan *r)
{
    const json_t *database;
    json_t *shard;
    size_t i, k;

    json_decref(r->survey->pinned);
    r->survey->pinned = json_deep_copy(r->document);
    json_array_foreach (json_object_get(r->survey->pinned, "databases"), i, database) {
        int at = database_by_uid(r->x, json_text(database, "uid", NULL));
        if (at < 0 || r->changes[at] == CHANGE_NONE)
            continue;
        json_array_foreach (json_object_get(database, "shards"), k, shard) {
            int s = shard_by_uid(r->x, json_text(shard, "uid", NULL));
            if (s >= 0 && r->lost[s])
                json_object_set_new(shard, "host", json_null());
        }
    }
}

/* The locations of the databases that start again; "disks": files on disks (survey.c). */
static int collect_databases(struct replan *r, struct err *err)
{
    struct rows rows;

    r->survey->locations = json_object();
    if (state_query(r->x->st, &rows, err,
            "SELECT database_uid, " STATE_SECRETS_OF(
                "target.location", "database_uid", "location") " FROM target",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        int at = database_by_uid(r->x, rows_text(&rows, 0));
        json_t *location = rows_json(&rows, 1);
        if (at >= 0 && r->changes[at] == CHANGE_RESTART && planned_files_any(r->x, (size_t)at))
            json_object_set_new(
                r->survey->locations, r->x->databases[at].uid, json_string("disks"));
        else if (at >= 0 && r->changes[at] == CHANGE_RESTART && location)
            json_object_set(r->survey->locations, r->x->databases[at].uid, location);
        json_decref(location);
    }
    return rows_end(&rows, err) < 0 ? -1 : survey_databases(r->survey, &r->request, err);
}

static int collect(struct replan *r, struct err *err)
{
    struct survey *survey = r->survey;
    json_t *options = json_object_get(r->document, "options");

    survey->owned = json_array();
    survey->options = json_is_object(options) ? json_deep_copy(options) : json_object();
    survey->replan = true;
    survey->ccs = ccs_load(r->x->st, err);
    if (!survey->ccs || given_folders_load(r->x->st, &survey->disks, err) < 0)
        return -1;
    pin(r);
    if (collect_hosts(r, err) < 0 || collect_databases(r, err) < 0 ||
        survey_probe_hosts(survey, &r->request, r->x->st, err) < 0 ||
        survey_choose_disks(survey, err) < 0)
        return -1;
    own_folders(r);
    return 0;
}

/* The first blocker, except those of databases that do not change. */
static const struct plan_issue *first_blocker(const struct replan *r, int *ret_database)
{
    const struct plan *plan = r->survey->plan;

    for (size_t i = 0; i < plan->blocker_count; i++) {
        const struct plan_issue *issue = &plan->blockers[i];
        *ret_database = -1;
        for (size_t d = 0; issue->database && d < r->x->database_count; d++)
            if (strcmp(r->x->databases[d].label, issue->database) == 0)
                *ret_database = (int)d;
        if (!issue->database || (*ret_database >= 0 && r->changes[*ret_database] != CHANGE_NONE))
            return issue;
    }
    return NULL;
}

static int refuse(
    struct replan *r, size_t database, const struct plan_issue *blocker, struct err *err)
{
    struct executor *x = r->x;
    const char *label = x->databases[database].label, *why = blocker->message;
    size_t len = strlen(label);
    AUTO_FREE char *hosts = state_meta(x->st, "hosts_path");
    AUTO_FREE char *state = shell_word(state_path(x->st));
    AUTO_FREE char *shards = lost_shards(r, database, false);
    AUTO_FREE char *message = xasprintf("%s: no new place for %s: %s", label, shards,
        strncmp(why, label, len) == 0 && why[len] == ':' ? why + len + 2 : why);
    AUTO_FREE char *hint =
        xasprintf("%s%sHosts that are added to '%s' are used by: recluster recover --state %s "
                  "--replan-lost",
            blocker->hint ? blocker->hint : "", blocker->hint ? " " : "", hosts ? hosts : "HOSTS",
            state);

    r->changes[database] = CHANGE_NONE;
    return tell_refused(r, database, message, hint, err);
}

static bool is_placed(const struct replan *r, size_t database)
{
    const struct plan *plan = r->survey->plan;

    for (size_t s = 0; s < plan->shard_count; s++)
        if (plan->shards[s].host < 0 &&
            strcmp(plan->databases[plan->shards[s].database].database->uid,
                r->x->databases[database].uid) == 0)
            return false;
    return true;
}

/* The shards of the blocker's database; if it names none, all shards without a place. */
static int refuse_all(
    struct replan *r, int database, const struct plan_issue *blocker, struct err *err)
{
    size_t refused = 0;

    for (int all = 0; all <= 1 && !refused; all++)
        for (size_t d = 0; d < r->x->database_count; d++) {
            if (r->changes[d] == CHANGE_NONE || (database >= 0 && database != (int)d) ||
                (database < 0 && !all && is_placed(r, d)))
                continue;
            refused++;
            if (refuse(r, d, blocker, err) < 0)
                return -1;
        }
    return 0;
}

static bool anything_moves(const struct replan *r)
{
    for (size_t d = 0; d < r->x->database_count; d++)
        if (r->changes[d] != CHANGE_NONE)
            return true;
    return false;
}

/* The files of the current plan were newer, or are gone. */
static int refuse_other_files(struct replan *r, struct err *err)
{
    for (size_t d = 0; d < r->x->database_count; d++) {
        const struct backup_file *file =
            r->changes[d] == CHANGE_RESTART && planned_files_any(r->x, d)
                ? planned_files_other(r->x, d, r->survey->plan)
                : NULL;
        if (!file)
            continue;
        AUTO_FREE char *message =
            xasprintf("%s gets no new plan: it would now come from '%s', and it came "
                      "from another file before",
                r->x->databases[d].label, file->where ? file->where : file->name);
        r->changes[d] = CHANGE_NONE;
        if (tell_refused(r, d, message,
                "Bring the lost host back, or put the files back where they were.", err) < 0)
            return -1;
        return 1;
    }
    return 0;
}

/* Leaves databases without a place unchanged, one after the other, until the rest has places. */
static int make_plan(struct replan *r, struct err *err)
{
    const struct plan_issue *blocker;
    int database;

    for (;;) {
        survey_make_plan(r->survey, &r->request, r->x->st);
        blocker = first_blocker(r, &database);
        int refused = blocker ? refuse_all(r, database, blocker, err) : refuse_other_files(r, err);
        if (refused < 0 || (refused == 0 && !blocker))
            return refused;
        if (!anything_moves(r))
            return 0;
        plan_free(r->survey->plan);
        r->survey->plan = NULL;
        pin(r);
    }
}

/* --- the result --- */

/* Merges the new plan: of a database in use only its new shards and Sentinels, of unchanged ones nothing. */
static json_t *merged_document(const struct replan *r)
{
    json_t *document = plan_json(r->survey->plan), *database;
    json_t *databases = json_object_get(document, "databases");
    static const char *const renewed[] = {"shards", "sentinels"};
    size_t i;

    json_array_foreach (databases, i, database) {
        int at = database_by_uid(r->x, json_text(database, "uid", NULL));
        json_t *before = json_array_get(json_object_get(r->document, "databases"), i);
        if (!before || (at >= 0 && r->changes[at] == CHANGE_RESTART))
            continue;
        before = json_copy(before);
        if (at >= 0 && r->changes[at] == CHANGE_REPLICAS)
            for (size_t k = 0; k < ARRAY_SIZE(renewed); k++)
                json_object_set(before, renewed[k], json_object_get(database, renewed[k]));
        json_array_set_new(databases, i, before);
    }
    json_object_set(document, "options", json_object_get(r->document, "options"));
    return document;
}

static int report_change(const struct replan *r, size_t database, struct err *err)
{
    const char *label = r->x->databases[database].label;
    AUTO_FREE char *shards = lost_shards(r, database, false);
    AUTO_FREE char *message =
        r->changes[database] == CHANGE_RESTART
            ? xasprintf("%s starts again, with new places for the lost shards: %s", label, shards)
        : !*shards ? xasprintf("%s gets new Sentinels for those on lost hosts", label)
                   : xasprintf("%s gets new replicas for the lost ones: %s", label, shards);

    const struct event event = {.severity = "warning",
        .code = "replanned",
        .database = r->x->databases[database].uid,
        .message = message};

    return state_event(r->x->st, &event, err);
}

static int save(struct replan *r, struct err *err)
{
    const struct executor *x = r->x;
    const struct plan *plan = r->survey->plan;
    struct replanned what = {
        .changes = xcalloc(plan->database_count, sizeof(*what.changes)),
        .generations = xcalloc(plan->database_count, sizeof(*what.generations)),
        .moves = xcalloc(plan->shard_count, sizeof(*what.moves)),
        .document = merged_document(r),
    };
    int rc = state_begin(x->st, err);
    bool begun = rc == 0;

    for (size_t i = 0; i < plan->database_count && rc == 0; i++) {
        int at = database_by_uid(x, plan->databases[i].database->uid);
        what.changes[i] = at >= 0 ? r->changes[at] : CHANGE_NONE;
        what.generations[i] = at >= 0 ? x->databases[at].generation + 1 : 0;
        if (what.changes[i] != CHANGE_NONE)
            rc = report_change(r, (size_t)at, err);
    }
    for (size_t i = 0; i < plan->shard_count; i++) {
        int s = shard_by_uid(x, plan->shards[i].shard->uid);
        what.moves[i] =
            what.changes[plan->shards[i].database] != CHANGE_NONE && s >= 0 && r->lost[s];
    }
    if (rc == 0)
        rc = save_replanned(plan, x->st, &what, err);
    if (rc == 0)
        rc = state_commit(x->st, err);
    if (rc < 0 && begun)
        state_rollback(x->st);
    free(what.changes);
    free(what.generations);
    free(what.moves);
    json_decref(what.document);
    return rc;
}

int replan_lost(struct executor *x, bool *ret_changed, struct err *err)
{
    struct replan r = {
        .x = x,
        .survey = xcalloc(1, sizeof(*r.survey)),
        .request = {.accept_new_host_keys = x->hooks->accept_new_host_keys},
        .changes = xcalloc(x->database_count, sizeof(*r.changes)),
        .lost = xcalloc(x->shard_count, sizeof(*r.lost)),
    };
    AUTO_FREE char *full_sync = state_meta(x->st, "full_sync");
    int rc = read_document(&r, err);

    *ret_changed = false;
    r.request.full_sync = full_sync != NULL;
    r.request.old_cluster_is_dead = ""; /* this run has already checked it at its start */
    for (size_t i = 0; i < x->shard_count; i++)
        r.lost[i] = x->hosts[x->shards[i].host].lost;
    for (size_t d = 0; d < x->database_count && rc == 0; d++)
        rc = choose_change(&r, d, err);
    if (rc == 0 && anything_moves(&r))
        rc = collect(&r, err);
    if (rc == 0 && anything_moves(&r))
        rc = make_plan(&r, err);
    if (rc == 0 && anything_moves(&r))
        rc = save(&r, err);
    *ret_changed = rc == 0 && anything_moves(&r);
    survey_free(r.survey);
    json_decref(r.document);
    free(r.changes);
    free(r.lost);
    return rc;
}
