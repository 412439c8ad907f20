#include "trial_settings.h"

#include <string.h>

#include "recluster/json.h"
#include "users.h"

/* A recovery needs other values for these while it loads (server_conf.c), so they are set later. */
static const char *const changed_by_us[] = {"repl-diskless-sync", "repl-diskless-sync-delay",
    "repl-backlog-ttl", "repl-backlog-size", "cluster-node-timeout", "cluster-replica-no-failover",
    "save", NULL};

static bool is_changed_by_us(const char *name)
{
    for (const char *const *p = changed_by_us; *p; p++)
        if (strcmp(*p, name) == 0)
            return true;
    return false;
}

/* Its current values. */
static int read_settings(struct redis *r, json_t **ret, struct err *err)
{
    redisReply *reply;

    if (redis_command(r, &reply, err, "CONFIG", "GET", "*") < 0)
        return -1;
    *ret = json_object();
    for (size_t i = 0; i + 1 < reply->elements; i += 2)
        if (reply->element[i]->str && reply->element[i + 1]->str)
            json_object_set_new(
                *ret, reply->element[i]->str, json_string(reply->element[i + 1]->str));
    freeReplyObject(reply);
    return 0;
}

/* The server's error, without the names of command and socket. */
static const char *reason(const struct err *err)
{
    const char *said = strstr(err->message, "the server answered '");
    return said ? said + strlen("the server answered ") : err->message;
}

static int try_setting(
    struct redis *r, const char *name, const char *value, json_t *taken, struct err *err)
{
    struct err refused = ERR_INIT;

    if (redis_command(r, NULL, &refused, "CONFIG", "SET", name, value) == 0) {
        json_object_set_new(json_object_get(taken, "later"), name, json_string(value));
        return 0;
    }
    if (refused.code != ERR_SERVER) {
        *err = refused;
        return -1;
    }
    /* "can't set immutable config" */
    bool at_start = strstr(refused.message, "immutable") != NULL ||
                    strstr(refused.message, "Unsupported CONFIG parameter") != NULL;
    json_object_set_new(json_object_get(taken, at_start ? "at_start" : "refused"), name,
        json_string(at_start ? value : reason(&refused)));
    return 0;
}

static int try_settings(
    struct redis *r, const json_t *settings, const json_t *present, json_t *taken, struct err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)settings, name, value) {
        const char *wanted = json_string_value(value), *is = json_text(present, name, NULL);
        if (!wanted)
            continue;
        if (!is)
            json_object_set_new(json_object_get(taken, "refused"), name,
                json_string("this server has no such setting"));
        else if ((strcmp(is, wanted) != 0 || is_changed_by_us(name)) &&
                 try_setting(r, name, wanted, taken, err) < 0)
            return -1;
    }
    return 0;
}

static int try_users(struct redis *r, const struct server_version *version, const json_t *lines,
    json_t *refused_users, struct err *err)
{
    const json_t *line;
    size_t i;

    json_array_foreach (lines, i, line) {
        const char *text = json_is_string(line) ? json_string_value(line) : "";
        int taken = user_try(r, version, text, err);
        if (taken < 0)
            return -1;
        const char *name = strncmp(text, "user ", 5) == 0 ? text + 5 : "?";
        AUTO_FREE char *word = xstrndup(name, strcspn(name, " "));
        if (!taken)
            json_object_set_new(
                refused_users, word, json_string("the server refuses one of its rules"));
    }
    return 0;
}

static int try_database(struct redis *r, const struct server_version *version, const json_t *wanted,
    const json_t *present, json_t *taken, struct err *err)
{
    json_t *refused_users = json_object();

    json_object_set_new(taken, "refused_users", refused_users);
    if (try_users(r, version, json_object_get(wanted, "users"), refused_users, err) < 0)
        return -1;
    return try_settings(r, json_object_get(wanted, "settings"), present, taken, err);
}

int trial_settings(struct redis *r, const struct server_version *version, const json_t *wanted,
    json_t **ret, struct err *err)
{
    json_t *result = json_object(), *present = NULL, *database;
    const char *label;
    int rc = read_settings(r, &present, err);

    json_object_foreach ((json_t *)(uintptr_t)wanted, label, database) {
        if (rc < 0)
            break;
        json_t *taken = json_pack("{s:{}, s:{}, s:{}}", "at_start", "later", "refused");
        json_object_set_new(result, label, taken);
        rc = try_database(r, version, database, present, taken, err);
    }
    json_decref(present);
    if (rc == 0)
        *ret = result;
    else
        json_decref(result);
    return rc;
}
