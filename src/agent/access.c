/* open_shard, seal_shard: who may log in. */

#include "access.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "data_rules.h"
#include "method.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "run_as.h"
#include "server.h"
#include "server_conf.h"
#include "server_version.h"
#include "shard.h"
#include "systemd_unit.h"
#include "users.h"

enum { USERS_FILE_BYTES_MAX = 16 << 20, ANSWER_MS = 10 * 1000 };

/* "password": a string, or null where the database has none. */
static int take_password(const json_t *params, const char **ret, struct err *err)
{
    *ret = NULL;
    if (json_is_null(json_object_get(params, "password")))
        return 0;
    if (param_string(params, "password", ret, err) < 0)
        return -1;
    if (!**ret)
        *ret = NULL;
    return 0;
}

/* Not every server syncs its ACL file. After a power cut it could be empty and let everybody in. */
static int save_users(struct redis *r, struct err *err)
{
    if (redis_command(r, NULL, err, "ACL", "SAVE") < 0)
        return -1;
    int fd = open("users.acl", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot open 'users.acl'");
    int rc = fsync(fd) < 0 ? err_sys(err, ERR_IO, "cannot sync 'users.acl'") : 0;
    close(fd);
    return rc < 0 ? -1 : dir_sync(".", err);
}

int access_allow_replicas(struct redis *r, struct err *err)
{
    if (redis_command(r, NULL, err, "ACL", "SETUSER", REPLICATION_USER, "on") < 0)
        return -1;
    return save_users(r, err);
}

static int set_user(const struct shard *shard, struct redis *r, const char *name,
    const char *password, bool data_only, struct err *err)
{
    AUTO_FREE char *added = password ? xasprintf(">%s", password) : xstrdup("nopass");
    const char *argv[16 + DATA_RULES_MAX] = {"ACL", "SETUSER", name, "on", "resetpass", added};
    size_t argc = 6;

    for (const char *const *rule = server_acl_all(shard->record); *rule; rule++)
        argv[argc++] = *rule;
    if (data_only)
        argc += data_rules_all(argv + argc);
    argv[argc] = NULL;
    return redis_command_argv(r, NULL, argv, NULL, err);
}

/* What a Sentinel needs, as the documentation of both servers says. Channels exist since 6.2. */
static int make_sentinel_user(
    struct redis *r, const struct server_version *version, const char *password, struct err *err)
{
    static const char *const rules[] = {"on", "resetpass", "-@all", "+multi", "+slaveof",
        "+replicaof", "+ping", "+exec", "+subscribe", "+config|rewrite", "+role", "+publish",
        "+info", "+client|setname", "+client|kill", "+script|kill"};
    AUTO_FREE char *added = xasprintf(">%s", password);
    const char *argv[24] = {"ACL", "SETUSER", SENTINEL_USER};
    size_t argc = 3;

    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        argv[argc++] = rules[i];
    argv[argc++] = added;
    if (server_version_at_least(version, 6, 2))
        argv[argc++] = "allchannels";
    return redis_command_argv(r, NULL, argv, NULL, err);
}

int access_allow_sentinels(
    const struct shard *shard, struct redis *r, const char *password, struct err *err)
{
    struct server_version version;

    server_version_of_record(shard->record, &version);
    return make_sentinel_user(r, &version, password, err) < 0 ? -1 : save_users(r, err);
}

/* As rules: " -config -flushall". A rule for a command that the server does not know is an error. */
static int deny_commands(struct redis *r, const json_t *names, struct buf *rules, struct err *err)
{
    const json_t *name;
    size_t i;

    json_array_foreach (names, i, name) {
        const char *text = json_is_string(name) ? json_string_value(name) : "";
        redisReply *reply;
        if (!*text || text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-")])
            continue;
        if (redis_command(r, &reply, err, "COMMAND", "INFO", text) < 0)
            return -1;
        if (reply->elements == 1 && reply->element[0]->type == REDIS_REPLY_ARRAY)
            buf_addf(rules, " -%s", text);
        freeReplyObject(reply);
    }
    return 0;
}

/* The administrator first: nobody else could undo what follows. */
static int open_to_users(
    const struct shard *shard, struct users_making *making, const json_t *params, struct err *err)
{
    const json_t *users = json_object_get(params, "users");
    const char *sentinel = json_text(params, "sentinel_password", NULL);
    CLEANUP(buf_release) struct buf denied = BUF_INIT;
    struct redis *r = making->redis;

    if (deny_commands(r, json_object_get(params, "denied"), &denied, err) < 0)
        return -1;
    making->denied = denied.data;
    if (shard->admin_password &&
        set_user(shard, r, ADMIN_USER, shard->admin_password, false, err) < 0)
        return -1;
    if ((json_array_size(users)
                ? users_make(making, users, err)
                : set_user(shard, r, "default", making->password, making->data_only, err)) < 0)
        return -1;
    if (sentinel && make_sentinel_user(r, &making->version, sentinel, err) < 0)
        return -1;
    return save_users(r, err);
}

static int run_open(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const char *rules = json_text(params, "rules", NULL), *password;
    json_t *warnings = json_array();
    struct shard shard;

    (void)call;
    if (take_password(params, &password, err) < 0 || shard_enter(params, &shard, err) < 0) {
        json_decref(warnings);
        return -1;
    }
    struct users_making making = {.password = password,
        .has_admin = shard.admin_password != NULL,
        .data_only = rules && strcmp(rules, "data") == 0,
        .warnings = warnings};
    server_version_of_record(shard.record, &making.version);
    int rc = -1;
    if (server_connect(&shard, password, &making.redis, err) == 0 &&
        shard_set(&shard, SHARD_OPENED, err) == 0 &&
        open_to_users(&shard, &making, params, err) == 0) {
        *ret = json_pack("{s:O}", "warnings", warnings);
        rc = 0;
    }
    redis_close(making.redis);
    json_decref(warnings);
    shard_release(&shard);
    return rc;
}

/*
 * Where none of the users that stay has a password that we know: our user removes itself, first from
 * the file, and the server must refuse it from then on. ACL LOAD would do too, but Valkey 8.0 and
 * 8.1 crash if it removes the user that sent it.
 */
static int remove_own_user(const struct shard *shard, struct err *err)
{
    static const char own[] = "user " RECOVERY_USER " ";
    CLEANUP(redis_close_ptr) struct redis *r = NULL;
    CLEANUP(redis_close_ptr) struct redis *again = NULL;
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    CLEANUP(buf_release) struct buf kept = BUF_INIT;
    struct err ignored = ERR_INIT;

    if (server_connect(shard, NULL, &r, err) < 0)
        return err->code == ERR_DENIED ? 0 : -1; /* it is gone already */
    if (save_users(r, err) < 0 || file_read("users.acl", USERS_FILE_BYTES_MAX, &text, err) < 0)
        return -1;
    for (const char *line = text.data; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (strncmp(line, own, strlen(own)) != 0)
            buf_addf(&kept, "%.*s\n", (int)strcspn(line, "\n"), line);
    if (file_write_atomic("users.acl", kept.data, kept.len, 0600, err) < 0 ||
        run_as_give(shard, err) < 0)
        return -1;
    /* It ends our connection, perhaps before the answer. */
    (void)!redis_command(r, NULL, &ignored, "ACL", "DELUSER", RECOVERY_USER);
    const char *password = shard_string(shard, "recovery_password");
    if (redis_connect_unix("redis.sock", ANSWER_MS, &again, err) < 0)
        return -1;
    if (redis_auth(again, RECOVERY_USER, password ? password : "", err) == 0)
        return err_set(err, ERR_SERVER,
            "the server in '%s' still accepts the user '" RECOVERY_USER "'", shard->path);
    return err->code == ERR_DENIED ? 0 : -1;
}

/* As a user that stays, because removing a user ends its connections. */
static int remove_by_user_that_stays(
    const struct shard *shard, const char *password, struct err *err)
{
    CLEANUP(redis_close_ptr) struct redis *r = NULL;

    if (server_connect_default(shard, password, &r, err) < 0)
        return err_hint(err, "Open the shard first; then it can be sealed.");
    if (shard->admin_password && redis_auth(r, ADMIN_USER, shard->admin_password, err) < 0)
        return err_wrap(err, "the user '" ADMIN_USER "'");
    if (redis_command(r, NULL, err, "ACL", "DELUSER", RECOVERY_USER) < 0)
        return -1;
    return save_users(r, err);
}

/* `users`: those of the CCS file were made, so default may be off. The record is written last, so a
 * rerun repeats everything. */
static int seal(struct shard *shard, const char *password, bool users, struct err *err)
{
    if ((users ? remove_own_user(shard, err) : remove_by_user_that_stays(shard, password, err)) < 0)
        return -1;
    if (unit_enable(shard, err) < 0)
        return -1;
    json_object_del(shard->record, "recovery_password");
    json_object_del(shard->record, "replication_password");
    return shard_set(shard, SHARD_SEALED, err);
}

static int run_seal(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct shard shard;
    const char *password;

    (void)call;
    if (take_password(params, &password, err) < 0 || shard_enter(params, &shard, err) < 0)
        return -1;
    bool users = json_count(params, "users") > 0;
    int rc = shard_has(&shard, SHARD_SEALED) ? 0 : seal(&shard, password, users, err);
    if (rc == 0)
        *ret = json_object();
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_open_shard = {.name = "open_shard", .run = run_open};
const struct agent_method agent_seal_shard = {.name = "seal_shard", .run = run_seal};
