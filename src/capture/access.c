/* Who may log in, TLS, modules, functions. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "database.h"

/* "user NAME on #…": whether the line is of that user. */
static bool is_user(const char *line, const char *name)
{
    size_t len = strlen(name);
    return strncmp(line, "user ", 5) == 0 && strncmp(line + 5, name, len) == 0 &&
           line[5 + len] == ' ';
}

static bool has_rule(const char *line, const char *rule)
{
    size_t len = strlen(rule);

    for (const char *p = line; *p; p += strcspn(p, " "), p += *p == ' ')
        if (strcspn(p, " ") == len && strncmp(p, rule, len) == 0)
            return true;
    return false;
}

/* The line without the hashes of passwords. */
static char *without_hashes(const char *line)
{
    struct buf out = BUF_INIT;

    for (const char *p = line; *p; p += strcspn(p, " "), p += *p == ' ')
        if (*p != '#' && *p != '>')
            buf_addf(&out, "%s%.*s", out.len ? " " : "", (int)strcspn(p, " "), p);
    return buf_take(&out);
}

static bool same_users(
    struct arena *arena, const struct live_server *a, const struct live_server *b)
{
    size_t i = 0;

    if (!a->users || !b->users)
        return a->users == b->users;
    while (a->users[i] && b->users[i] &&
           strcmp(live_user_rules(arena, a->users[i]), live_user_rules(arena, b->users[i])) == 0)
        i++;
    return !a->users[i] && !b->users[i];
}

static void add_users(struct making *m, const struct live_database *db, struct hash *bdb)
{
    json_t *lines = json_array();

    for (size_t i = 1; i < db->count; i++)
        if (!same_users(&m->now.arena, db->first, db->servers[i]))
            making_finding(m, "users-differ", "the users of %s:%d differ from those of %s:%d",
                db->servers[i]->addr, db->servers[i]->port, db->first->addr, db->first->port);
    for (const char *const *line = db->first->users; line && *line; line++) {
        AUTO_FREE char *plain = m->params->without_secrets ? without_hashes(*line) : NULL;
        json_t *text = json_string(plain ? plain : *line);
        if (text)
            json_array_append_new(lines, text);
        else
            making_finding(m, "user-not-text", "a user's line is not text and is left out");
        if (is_user(*line, "default") && has_rule(*line, "off"))
            hash_set(&m->now, bdb, "default_user", "disabled");
    }
    AUTO_FREE char *text = json_array_size(lines) ? json_dumps(lines, JSON_COMPACT) : NULL;
    hash_set(&m->now, bdb, "acl_users", text);
    json_decref(lines);
}

static void add_passwords(struct making *m, const struct live_server *s, struct hash *bdb)
{
    const char *replication = live_setting(s, "masterauth");

    if (m->params->without_secrets)
        return;
    hash_set(&m->now, bdb, "authentication_redis_pass", live_setting(s, "requirepass"));
    hash_set(&m->now, bdb, "authentication_admin_pass",
        replication ? replication : live_setting(s, "primaryauth"));
}

static void add_tls(struct making *m, const struct live_server *s, struct hash *bdb)
{
    const char *port = live_setting(s, "tls-port"), *plain = live_setting(s, "port");
    const char *clients = live_setting(s, "tls-auth-clients");

    if (!port || atoi(port) == 0) {
        hash_set(&m->now, bdb, "tls_mode", "disabled");
        return;
    }
    hash_set(&m->now, bdb, "tls_mode", "enabled");
    hash_set(&m->now, bdb, "tls_ports", plain && atoi(plain) > 0 ? "mixed" : "only");
    hash_set(&m->now, bdb, "enforce_client_authentication",
        clients && strcmp(clients, "yes") == 0 ? "enabled" : "disabled");
}

static void add_modules(struct making *m, const struct live_server *s, struct hash *bdb)
{
    struct buf names = BUF_INIT, args = BUF_INIT, paths = BUF_INIT;

    for (size_t i = 0; i < s->module_count; i++) {
        const struct live_module *module = &s->modules[i];
        const char *comma = i ? "," : "";
        buf_addf(&names, "%s%s", comma, module->name);
        buf_addf(&paths, "%s%s", comma, module->path ? module->path : "");
        buf_adds(&args, comma);
        for (size_t k = 0; module->args[k]; k++)
            buf_addf(&args, "%s%s", k ? " " : "", module->args[k]);
    }
    hash_set(&m->now, bdb, "module_list", names.data);
    if (s->module_count) {
        hash_set(&m->now, bdb, "module_arg_list", args.data);
        hash_set(&m->now, bdb, "module_paths", paths.data);
    }
    buf_release(&names);
    buf_release(&args);
    buf_release(&paths);
}

static void add_functions(struct making *m, const struct live_server *s, struct hash *bdb)
{
    struct buf names = BUF_INIT;

    for (const char *const *name = s->functions; name && *name; name++)
        buf_addf(&names, "%s%s", names.len ? "," : "", *name);
    hash_set(&m->now, bdb, "functions", names.data);
    buf_release(&names);
}

/* Of all servers: what one of them did not let clients call, none should. */
static void add_renamed(struct making *m, const struct live_database *db, struct hash *bdb)
{
    json_t *renamed = json_object();

    for (size_t i = 0; i < db->count; i++)
        for (size_t k = 0; k < db->servers[i]->renamed_count; k++) {
            const struct live_rename *r = &db->servers[i]->renamed[k];
            json_object_set_new(renamed, r->name, json_string(r->to));
        }
    AUTO_FREE char *text = json_object_size(renamed) ? json_dumps(renamed, JSON_COMPACT) : NULL;
    hash_set(&m->now, bdb, "renamed_commands", text);
    json_decref(renamed);
}

void access_add(struct making *m, const struct live_database *db, struct hash *bdb)
{
    if (db->first->login_unknown)
        hash_set(&m->now, bdb, "login", "unknown");
    add_users(m, db, bdb);
    add_passwords(m, db->first, bdb);
    add_tls(m, db->first, bdb);
    add_modules(m, db->first, bdb);
    add_functions(m, db->first, bdb);
    add_renamed(m, db, bdb);
}
