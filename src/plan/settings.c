/* Settings and users of a captured database that the new servers do not get. */

#include <stdint.h>
#include <string.h>

#include "recluster/announced.h"
#include "recluster/protocol.h"
#include "steps.h"

/*
 * What the servers of the hosts refuse of a database or shard, but nothing of {name: true}: {name:
 * why} is added to `all`.
 */
static void add_refused(
    const struct draft *d, const char *label, const char *what, const json_t *but, json_t *all)
{
    const char *name;
    json_t *why;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        const json_t *server = json_object_get(d->plan->hosts[h].facts, "server");
        const json_t *taken = json_object_get(json_object_get(server, "wanted"), label);
        json_object_foreach (json_object_get(taken, what), name, why) {
            if (d->hosts[h].usable && !json_object_get(but, name))
                json_object_set(all, name, why);
        }
    }
}

static json_t *refused_on_hosts(
    const struct draft *d, const struct ccs_database *db, const char *what)
{
    json_t *all = json_object();

    add_refused(d, db->label, what, db->settings_usual, all);
    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++) {
        const struct ccs_shard *shard = &d->input->ccs->shards[i];
        AUTO_FREE char *label = xasprintf("shard:%s", shard->uid);
        add_refused(d, label, what, shard->settings_usual, all);
    }
    return all;
}

static const char *names_of(struct draft *d, const json_t *refused)
{
    struct draft_names names = {.text = BUF_INIT, .all = true};
    const char *name;
    json_t *why;

    json_object_foreach ((json_t *)(uintptr_t)refused, name, why) {
        draft_names_add(&names, "%s", name);
    }
    return draft_names(d, &names);
}

/* Of the database, else of the first of its servers that had it for itself. "": none known. */
static const char *value_of(
    const struct draft *d, const struct ccs_database *db, const char *setting)
{
    const char *value = json_text(db->settings, setting, NULL);

    for (size_t i = db->first_shard; !value && i < db->first_shard + db->shard_count; i++)
        value = json_text(d->input->ccs->shards[i].settings, setting, NULL);
    return value ? value : "";
}

/* "hz 17, crash-log-enabled no": with its value, if that is short. */
static const char *settings_of(
    struct draft *d, const struct ccs_database *db, const json_t *refused)
{
    enum { SHOWN_MAX = 60 };
    struct draft_names names = {.text = BUF_INIT, .all = true};
    const char *name;
    json_t *why;

    json_object_foreach ((json_t *)(uintptr_t)refused, name, why) {
        const char *value = value_of(d, db, name);
        if (strlen(value) > SHOWN_MAX)
            draft_names_add(&names, "%s", name);
        else
            draft_names_add(&names, *value ? "%s %s" : "%s \"\"", name, value);
    }
    return draft_names(d, &names);
}

static void warn_of_refused(struct draft *d, const struct ccs_database *db)
{
    json_t *settings = refused_on_hosts(d, db, "refused");
    json_t *users = refused_on_hosts(d, db, "refused_users");

    if (json_object_size(settings))
        draft_warn(d,
            &(struct plan_issue){.code = "settings-refused",
                .database = db->label,
                .hint = "The servers of the hosts have another version than the old ones. Name a "
                        "server of the old version in the hosts file (\"server\"), or look up what "
                        "replaces these settings, and set that after the recovery: CONFIG SET, "
                        "CONFIG REWRITE."},
            "settings that are not restored, because a host's server does not take them: %s",
            settings_of(d, db, settings));
    if (json_object_size(users))
        draft_warn(d,
            &(struct plan_issue){.code = "users-refused",
                .database = db->label,
                .hint = "Use a server of the old version, or make these users by hand."},
            "users that are not restored, because a host's server refuses one of their rules: %s",
            names_of(d, users));
    json_decref(settings);
    json_decref(users);
}

/* A user of an earlier recovery, who may only replicate or serve Sentinels, is no loss. */
static void warn_of_our_names(struct draft *d, const struct plan_database *planned)
{
    const struct ccs_database *db = planned->database;
    const char *const ours[] = {RECOVERY_USER, REPLICATION_USER, SENTINEL_USER, ADMIN_USER};
    const size_t count = ARRAY_SIZE(ours) - !planned->adds_admin; /* then without admin */
    const struct plan_issue issue = {.code = "users-named-as-ours",
        .database = db->label,
        .hint = "Make the user by hand, under another name: ACL SETUSER, ACL SAVE."};

    for (const char *const *line = db->users; line && *line; line++)
        for (size_t i = 0; i < count; i++) {
            size_t len = strlen(ours[i]);
            const char *name = *line + strlen("user ");
            if (strncmp(name, ours[i], len) == 0 && name[len] == ' ' && !strstr(name, " +psync") &&
                !strstr(name, " +slaveof"))
                draft_warn(d, &issue,
                    "its user '%s' is not restored: recluster has a user of this name", ours[i]);
        }
}

static void add_names(const json_t *list, json_t *names)
{
    const json_t *name;
    size_t i;

    json_array_foreach (list, i, name) {
        json_object_set_new(names, json_string_value(name), json_null());
    }
}

/* Those of single servers that their database has in another way. */
static void warn_of_differing(
    struct draft *d, const struct ccs_database *db, const json_t *of_database)
{
    json_t *names = json_object();
    const char *name;
    void *next;
    json_t *value;

    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        add_names(d->input->ccs->shards[i].settings_left, names);
    json_object_foreach_safe(names, next, name, value)
    {
        if (json_object_get(of_database, name))
            json_object_del(names, name);
    }
    if (json_object_size(names))
        draft_warn(d,
            &(struct plan_issue){.code = "settings-differ",
                .database = db->label,
                .hint = "Set them on single servers by hand: CONFIG SET, CONFIG REWRITE."},
            "settings that differed between its servers, and are now the same on all or not "
            "restored: %s",
            names_of(d, names));
    json_decref(names);
}

static void warn_of_left(struct draft *d, const struct ccs_database *db)
{
    json_t *names = json_object();

    add_names(db->settings_left, names);
    warn_of_differing(d, db, names);
    if (json_object_size(names))
        draft_warn(d,
            &(struct plan_issue){.code = "settings-left",
                .database = db->label,
                .hint = "Set those that you need by hand: CONFIG SET, CONFIG REWRITE."},
            "settings that are not restored, because they name paths, addresses or processors of the "
            "old machines, widen what clients may do, or are not known to recluster: %s",
            names_of(d, names));
    json_decref(names);
}

static void warn_of_hostnames(struct draft *d, const struct ccs_database *db)
{
    struct draft_names names = DRAFT_NAMES_INIT;
    bool all = true;

    for (size_t i = 0; i < db->shard_count; i++)
        if (d->input->ccs->shards[db->first_shard + i].hostname)
            draft_names_add(&names, "%s", d->input->ccs->shards[db->first_shard + i].hostname);
    for (size_t h = 0; h < d->plan->host_count; h++)
        all &= !d->hosts[h].usable || d->plan->hosts[h].host->hostname;
    if (names.count && !all)
        draft_warn(d,
            &(struct plan_issue){.code = "hostnames",
                .database = db->label,
                .hint = "Give each host the name that clients resolve to it: "
                        "\"announce_hostname\" in the hosts file."},
            "its servers announced host names, which are not restored: %s", draft_names(d, &names));
    buf_release(&names.text);
}

static void warn_of_announced(struct draft *d, const struct ccs_database *db)
{
    struct draft_names names = DRAFT_NAMES_INIT;
    bool told = true;

    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++) {
        const struct ccs_shard *shard = &d->input->ccs->shards[i];
        if (shard->announced)
            draft_names_add(&names, "shard:%s (%s)", shard->uid, shard->announced);
    }
    for (size_t h = 0; h < d->plan->host_count; h++)
        told &= !d->hosts[h].usable || announced_differs(d->plan->hosts[h].host->spec);
    if (names.count && !told)
        draft_warn(d,
            &(struct plan_issue){.code = "announced",
                .database = db->label,
                .hint = "If others reach a host's servers elsewhere than these listen (NAT, "
                        "containers), write it in the hosts file: \"announce_addr\", "
                        "\"announce_ports\"."},
            "its servers announced other addresses or ports than those on which they listened; the "
            "new ones announce their own: %s",
            draft_names(d, &names));
    buf_release(&names.text);
}

void settings_warn(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++) {
        const struct plan_database *db = &d->plan->databases[i];
        if (db->skipped)
            continue;
        warn_of_refused(d, db->database);
        warn_of_our_names(d, db);
        warn_of_left(d, db->database);
        warn_of_hostnames(d, db->database);
        warn_of_announced(d, db->database);
    }
}
