#include "users.h"

#include <string.h>

#include "data_rules.h"
#include "recluster/protocol.h"
#include "user_line.h"

static const char trial_name[] = "recluster-trial";

/*
 * Before 6.2 the lines have no channels: users had all of them. To give all of them to such a server
 * is therefore to say nothing.
 */
static void add_channels(const struct server_version *version, struct user_line *u)
{
    bool knows_channels = server_version_at_least(version, 6, 2);

    for (size_t i = 3; i < u->count && !knows_channels; i++)
        if (strcmp(u->argv[i], "&*") == 0 || strcmp(u->argv[i], "allchannels") == 0) {
            memmove(&u->argv[i], &u->argv[i + 1], (u->count - i) * sizeof(*u->argv));
            u->count--;
            return;
        }
    for (size_t i = 3; i < u->count; i++)
        if (u->argv[i][0] == '&' || strcmp(u->argv[i], "allchannels") == 0 ||
            strcmp(u->argv[i], "resetchannels") == 0)
            return;
    if (knows_channels) {
        u->argv[u->count++] = "&*";
        u->argv[u->count] = NULL;
    }
}

/* The rules of a new user. "reset" would also set the flag sanitize-payload. */
static int clear_default(struct users_making *m, struct err *err)
{
    const char *argv[] = {
        "ACL", "SETUSER", "default", "off", "resetpass", "resetkeys", "-@all", NULL, NULL, NULL};
    size_t argc = 7;

    if (server_version_at_least(&m->version, 6, 2))
        argv[argc++] = "resetchannels";
    if (server_version_at_least(&m->version, 7, 0))
        argv[argc++] = "clearselectors";
    return redis_command_argv(m->redis, NULL, argv, NULL, err);
}

static int remove_user(struct users_making *m, const char *name, struct err *err)
{
    return strcmp(name, "default") == 0
               ? clear_default(m, err)
               : redis_command(m->redis, NULL, err, "ACL", "DELUSER", name);
}

static void add_password(struct user_line *u, const char *added)
{
    u->argv[u->count++] = "resetpass";
    u->argv[u->count++] = added;
    u->argv[u->count] = NULL;
}

/* To replace one of these would end our own connection, or replication, or shut out the operator. */
static bool is_ours(const struct users_making *m, const char *name)
{
    return strcmp(name, RECOVERY_USER) == 0 || strcmp(name, REPLICATION_USER) == 0 ||
           (m->has_admin && strcmp(name, ADMIN_USER) == 0);
}

static void warn(struct users_making *m, const char *name, const char *why)
{
    AUTO_FREE char *text = xasprintf("user '%s' is not restored: %s", name, why);
    json_array_append_new(m->warnings, json_string(text));
}

static int make_user(
    struct users_making *m, const char *line, const char *password, struct err *err)
{
    struct err refused = ERR_INIT;
    struct user_line u;

    AUTO_FREE char *limited = m->data_only ? data_rules_limit(line) : NULL;
    bool is_admin = strncmp(line, "user " ADMIN_USER " ", strlen("user " ADMIN_USER " ")) == 0;
    AUTO_FREE char *denied =
        is_admin || !m->denied ? NULL : user_line_with(limited ? limited : line, m->denied);
    if (!user_line_parse(denied ? denied : limited ? limited : line, &u)) {
        json_array_append_new(m->warnings, json_string("a line of the users cannot be read"));
        return 0;
    }
    if (is_ours(m, u.name)) {
        warn(m, u.name, "recluster has a user of this name");
        user_line_release(&u);
        return 0;
    }
    AUTO_FREE char *added = password ? xasprintf(">%s", password) : NULL;
    add_channels(&m->version, &u);
    if (added)
        add_password(&u, added);
    int rc = remove_user(m, u.name, err);
    if (rc == 0 && redis_command_argv(m->redis, NULL, u.argv, NULL, &refused) < 0) {
        warn(m, u.name, "the server refuses one of its rules");
        /* The rules before the refused one may count. */
        rc = refused.code == ERR_SERVER ? remove_user(m, u.name, err) : -1;
        if (refused.code != ERR_SERVER)
            *err = refused;
    }
    user_line_release(&u);
    return rc;
}

int users_make(struct users_making *m, const json_t *lines, struct err *err)
{
    const char *own = NULL;
    const json_t *line;
    size_t i;

    json_array_foreach (lines, i, line) {
        const char *text = json_is_string(line) ? json_string_value(line) : "";
        if (strncmp(text, "user default ", strlen("user default ")) == 0)
            own = text;
        else if (make_user(m, text, NULL, err) < 0)
            return -1;
    }
    if (own)
        return make_user(m, own, m->password, err);
    json_array_append_new(m->warnings,
        json_string("the captured users have no user 'default', which therefore stays off"));
    return clear_default(m, err);
}

int user_try(
    struct redis *r, const struct server_version *version, const char *line, struct err *err)
{
    struct err refused = ERR_INIT;
    struct user_line u;

    if (!user_line_parse(line, &u))
        return 0;
    add_channels(version, &u);
    u.argv[2] = trial_name;
    int rc = redis_command_argv(r, NULL, u.argv, NULL, &refused);
    user_line_release(&u);
    if (rc < 0 && refused.code != ERR_SERVER) {
        *err = refused;
        return -1;
    }
    if (redis_command(r, NULL, err, "ACL", "DELUSER", trial_name) < 0)
        return -1;
    return rc == 0;
}
