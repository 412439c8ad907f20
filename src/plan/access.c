/*
 * How clients log in afterwards. Access never becomes wider silently: if the old password is not
 * known, or user default was off, the database gets a new password. Any other weaker access stops
 * the plan until the operator accepts it.
 */

#include <string.h>

#include "recluster/protocol.h"
#include "steps.h"

static const char *password_hint(struct draft *d, const struct ccs_database *db)
{
    return draft_text(d,
        "To read it, once there is a state file: sqlite3 FILE \"SELECT value FROM secret WHERE "
        "place = 'target.password' AND id = '%s'\". To choose it, write in the hosts file: "
        "\"databases\": {\"%s\": {\"password\": {\"file\": PATH}}}.",
        db->uid, db->label);
}

static enum plan_login choose_login(const struct plan_database_input *in)
{
    if (in->password)
        return PLAN_LOGIN_GIVEN;
    if (in->open_access)
        return PLAN_LOGIN_OPEN;
    if ((in->database->users && !in->database->users_mapped) || in->database->default_stays_off ||
        in->database->login == CCS_LOGIN_OPEN || in->database->login == CCS_LOGIN_PASSWORD)
        return PLAN_LOGIN_AS_BEFORE;
    return PLAN_LOGIN_NEW;
}

static void warn_of_new_password(struct draft *d, const struct ccs_database *db)
{
    const struct plan_issue issue = {
        .code = "login-lost", .database = db->label, .hint = password_hint(d, db)};

    if (db->login == CCS_LOGIN_OFF)
        draft_warn(d, &issue,
            "only named users could log in, and none of them can now: its user 'default' gets a "
            "new random password");
    else if (db->login == CCS_LOGIN_UNREADABLE)
        draft_warn(d, &issue,
            "cannot read the password of its clients from the CCS file: its user 'default' gets a "
            "new random password");
    else
        draft_warn(d, &issue,
            "the CCS file does not say whether its clients needed a password: its user 'default' "
            "gets a new random password");
}

/* A new password does not help: a blocker until the operator accepts it. */
static void check_weaker_access(
    struct draft *d, const struct plan_database_input *in, const char *what, const char *code)
{
    const struct ccs_database *db = in->database;
    struct plan_issue issue = {.code = code, .database = db->label};

    if (in->weaker_access) {
        draft_warn(d, &issue, "%s", what);
        return;
    }
    issue.hint = draft_text(d,
        "Give each host a certificate, \"tls\" in the hosts file. If weaker access is acceptable, "
        "add --accept-weaker-access %s.",
        db->label);
    draft_block(d, &issue, "%s", what);
}

/* Certificates are of a host, so a database is restored with TLS only if each host has some. */
static bool all_have_tls(const struct draft *d)
{
    bool all = true, any = false;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        all &= !d->hosts[h].usable || d->plan->hosts[h].host->has_tls;
        any |= d->hosts[h].usable;
    }
    return all && any;
}

static bool has_user(const struct ccs_database *db, const char *name)
{
    size_t len = strlen(name);

    for (const char *const *line = db->users; line && *line; line++)
        if (strncmp(*line, "user ", 5) == 0 && strncmp(*line + 5, name, len) == 0 &&
            (*line)[5 + len] == ' ')
            return true;
    return false;
}

/*
 * A server learns other names of commands only when it starts, and then recluster could not use
 * CONFIG or CLUSTER. Rules of users keep clients from these commands at once, and for good.
 */
static void warn_of_renamed(struct draft *d, const struct plan_database *db)
{
    const struct ccs_database *database = db->database;
    struct draft_names names = {.text = BUF_INIT, .all = true};
    const char *name;
    json_t *to;

    json_object_foreach ((json_t *)(uintptr_t)database->renamed, name, to) {
        const char *other = json_string_value(to);
        draft_names_add(&names, other && *other ? "%s was %s" : "%s was off", name, other);
    }
    const struct plan_issue issue = {.code = "commands-renamed",
        .database = database->label,
        .hint = draft_text(d,
            "To give one back to a user: ACL SETUSER USER +COMMAND, ACL SAVE. To rename it again, "
            "add its line (rename-command) to redis.conf of each shard after the recovery, and "
            "restart the servers one by one.%s%s%s",
            db->adds_admin
                ? " Password of the user admin, once there is a state file: sqlite3 FILE "
                  "\"SELECT value FROM secret WHERE place = 'target.admin_password' AND "
                  "id = '"
                : "",
            db->adds_admin ? database->uid : "", db->adds_admin ? "'\"." : "")};

    draft_warn(d, &issue,
        "commands that its servers had under other names, or not at all, have their usual names, "
        "and of its users only admin may call them: %s",
        draft_names(d, &names));
}

static void decide_database(
    struct draft *d, struct plan_database *db, const struct plan_database_input *in)
{
    db->login = choose_login(in);
    db->data_commands_only =
        db->login != PLAN_LOGIN_OPEN &&
        (in->database->users ? in->database->users_mapped : d->input->ccs->has_proxies);
    db->adds_admin =
        db->data_commands_only || (in->database->renamed && !has_user(in->database, ADMIN_USER));
    if (db->skipped)
        return;
    if (in->database->renamed)
        warn_of_renamed(d, db);
    if (db->login == PLAN_LOGIN_NEW)
        warn_of_new_password(d, in->database);
    if (db->login == PLAN_LOGIN_OPEN && in->database->login != CCS_LOGIN_OPEN)
        draft_warn(d, &(struct plan_issue){.code = "open-access", .database = in->database->label},
            "anyone who reaches its port can read and change all of it, as \"open_access\" of the "
            "hosts file asks");
    const bool tls = in->database->tls && all_have_tls(d);
    db->tls = tls;
    db->tls_mixed = tls && in->database->tls_mixed;
    if (in->database->tls && !tls)
        check_weaker_access(
            d, in, "its clients used TLS; it is restored without TLS, in plain text", "tls-off");
    if (in->database->client_certificates && tls)
        draft_warn(d,
            &(struct plan_issue){.code = "client-certificates", .database = in->database->label},
            "its clients have to show certificates: those that the \"ca\" of the hosts signed");
    if (in->database->client_certificates && !tls)
        check_weaker_access(d, in,
            "its clients had to show certificates; it is restored without this check",
            "client-certificates-off");
}

/*
 * Users of the CCS file that are not restored as they were, what was odd when it was captured, and nodes that
 * are left out.
 */
static void warn_of_findings(struct draft *d)
{
    const struct ccs *ccs = d->input->ccs;

    for (size_t i = 0; i < ccs->finding_count; i++)
        if (strcmp(ccs->findings[i].code, "users") == 0)
            draft_warn(d, &(struct plan_issue){.code = "users-not-restored"}, "%s",
                arena_strdup(&d->plan->arena, ccs->findings[i].message));
        else if (strcmp(ccs->findings[i].code, "user-passwords") == 0)
            draft_warn(d, &(struct plan_issue){.code = "user-passwords"}, "%s",
                arena_strdup(&d->plan->arena, ccs->findings[i].message));
        else if (strcmp(ccs->findings[i].code, "node-without-slots") == 0)
            draft_warn(d,
                &(struct plan_issue){.code = "node-without-slots",
                    .hint =
                        "It held no data and is left out. To have such a node again, start an "
                        "empty server in cluster mode after the recovery, and add it: redis-cli "
                        "--cluster add-node ITS-ADDRESS:PORT ADDRESS:PORT (of any recovered "
                        "node; --cluster-slave makes it a replica)."},
                "%s", arena_strdup(&d->plan->arena, ccs->findings[i].message));
        else if (strcmp(ccs->findings[i].code, "capture") == 0)
            draft_warn(d, &(struct plan_issue){.code = "captured"}, "%s",
                arena_strdup(&d->plan->arena, ccs->findings[i].message));
}

void access_decide(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++)
        decide_database(d, &d->plan->databases[i], &d->input->databases[i]);
    warn_of_findings(d);
}
