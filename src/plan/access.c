/*
 * How clients log in afterwards. Access never becomes wider silently: if the old password is not
 * known, or user default was off, the database gets a new password. Any other weaker access stops
 * the plan until the operator accepts it.
 */

#include <string.h>

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

static void decide_database(
    struct draft *d, struct plan_database *db, const struct plan_database_input *in)
{
    db->login = choose_login(in);
    db->data_commands_only =
        db->login != PLAN_LOGIN_OPEN &&
        (in->database->users ? in->database->users_mapped : d->input->ccs->has_proxies);
    if (db->skipped)
        return;
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
        else if (strcmp(ccs->findings[i].code, "capture") == 0 ||
                 strcmp(ccs->findings[i].code, "node-without-slots") == 0)
            draft_warn(d, &(struct plan_issue){.code = "captured"}, "%s",
                arena_strdup(&d->plan->arena, ccs->findings[i].message));
}

void access_decide(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++)
        decide_database(d, &d->plan->databases[i], &d->input->databases[i]);
    warn_of_findings(d);
}
