#include "aof_snapshot.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "aof_copy.h"
#include "recluster/aof.h"
#include "recluster/clock.h"
#include "recluster/commands.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/pull.h"
#include "recluster/store.h"
#include "redis.h"
#include "scratch.h"
#include "server_conf.h"
#include "server_log.h"
#include "watch.h"

enum {
    FACTS_BYTES_MAX = 64 * 1024,
    PROGRESS_MS = 200,
    SOCKET_MS = 60 * 1000,
    COMMAND_MS = 10 * 1000,
    STUCK_MS = 120 * 1000,
    SAVE_MS = 12 * 3600 * 1000, /* it answers only when all data is written */
};

/* Written last: the snapshot beside it is whole. */
static const char facts_name[] = "snapshot.json";

/* --- the server --- */

/*
 * A replica of nobody: no key expires in it. As many databases as possible: if a SELECT failed, the commands after it would change another
 * database. The checks of the snapshot find keys in databases that must be empty.
 */
static const char conf_of_aof[] = "port 0\n"
                                  "appendonly yes\n"
                                  "appendfilename appendonly.aof\n"
                                  "appendfsync no\n"
                                  "auto-aof-rewrite-percentage 0\n"
                                  "replicaof 127.0.0.1 1\n"
                                  "databases 16384\n";

static bool is_ours(const char *name)
{
    return strcasecmp(name, "info") == 0 || strcasecmp(name, "save") == 0;
}

/* SAVE is renamed to a random word, so only we can call it. */
struct loader {
    struct scratch_program program;
    struct scratch s;
    const char *const *also;
    char save[40];
};

/*
 * Disables all commands that neither the file nor we need: "rename-command NAME ''". The list comes
 * from the server itself, so it includes commands of later releases. INFO stays: it tells the
 * progress.
 */
static int rename_commands(struct loader *l, struct buf *conf, struct err *err)
{
    CLEANUP(buf_release) struct buf bare = BUF_INIT;
    struct scratch s = SCRATCH_INIT;
    redisReply *reply = NULL;

    scratch_conf(&bare);
    buf_adds(&bare, "port 0\n");
    int rc = scratch_start(&s, &l->program, &bare, SOCKET_MS, COMMAND_MS, err);
    if (rc == 0)
        rc = redis_command(s.redis, &reply, err, "COMMAND");
    for (size_t i = 0; rc == 0 && i < reply->elements; i++) {
        const redisReply *command = reply->element[i];
        const char *name = command->elements ? command->element[0]->str : NULL;
        /* A built-in module registers its commands after the configuration is read. */
        bool late = name && isupper((unsigned char)name[0]);
        if (name && !late && !aof_command_is_data(name, l->also) && !is_ours(name))
            buf_addf(conf, "rename-command %s \"\"\n", name);
    }
    if (reply)
        freeReplyObject(reply);
    scratch_stop(&s);
    buf_addf(conf, "rename-command save %s\n", l->save);
    return rc;
}

/* The server ended, or did not answer. */
static int explain_end(struct err *err)
{
    scratch_explain(err);
    err_wrap(err, "the server that was to load it");
    return err_hint(err, "A command that the server does not know needs the server, or the module, "
                         "that wrote the file. Or take an older file of the same slots.");
}

/* "WRONGTYPE, ERR": of the lines "errorstat_WRONGTYPE:count=1". */
static void add_error_names(const char *info, json_t *facts)
{
    static const char field[] = "errorstat_";
    CLEANUP(buf_release) struct buf names = BUF_INIT;

    for (const char *at = strstr(info, field); at; at = strstr(at, field)) {
        at += sizeof(field) - 1;
        buf_addf(&names, "%s%.*s", names.len ? ", " : "", (int)strcspn(at, ":\r\n"), at);
    }
    json_object_set_new(facts, "error_names", json_string(names.len ? names.data : ""));
}

static int await_loaded(struct agent_call *call, struct loader *l, json_t *facts, struct err *err)
{
    struct watch watch = {.patience_ms = STUCK_MS};

    for (;;) {
        AUTO_FREE char *info = NULL;
        if (redis_info(l->s.redis, &info, err) < 0)
            return explain_end(err);
        if (info_is(info, "loading", "0")) {
            /* Servers before 6.2 don't count them. */
            json_object_set_new(
                facts, "errors", json_integer(info_int(info, "total_error_replies", -1)));
            add_error_names(info, facts);
            return 0;
        }
        int64_t bytes = info_int(info, "loading_loaded_bytes", 0);
        if (watch_is_stuck(&watch, (uint64_t)bytes))
            return err_set(err, ERR_TIMEOUT, "the server that was to load it stopped at byte %lld",
                (long long)bytes);
        agent_progress(
            call, json_pack("{s:s, s:I, s:I}", "phase", "aof", "bytes", (json_int_t)bytes, "total",
                      (json_int_t)info_int(info, "loading_total_bytes", -1)));
        pause_ms(PROGRESS_MS);
    }
}

static int check_errors(const json_t *facts, const struct aof_wishes *wishes, struct err *err)
{
    json_int_t errors = json_int(facts, "errors", 0);

    if (errors <= 0 || wishes->errors)
        return 0;
    err_set(err, ERR_CHECK,
        "the server that loaded it refused %" JSON_INTEGER_FORMAT " of its commands (%s)", errors,
        json_text(facts, "error_names", NULL));
    return err_hint(err,
        "What they wrote is lost: take an older file of the same slots, or a server "
        "of the release that wrote this one. To do without them, start again with "
        "--aof-errors.");
}

/* If SAVE fails, the answer does not say why; the log does. */
static int save_snapshot(const struct loader *l, struct err *err)
{
    if (redis_command(l->s.redis, NULL, err, l->save) == 0)
        return 0;
    AUTO_FREE char *tail = scratch_log_end();
    bool full = strstr(tail, strerror(ENOSPC)) || strstr(tail, strerror(EDQUOT));
    err_set(err, full ? ERR_SPACE : ERR_SERVER,
        "cannot write the snapshot of it; the log of the server that loaded it ends: %s", tail);
    return full ? err_hint(err, "Make room on that file system, for the copy and the snapshot of "
                                "it, and run the same command again.")
                : -1;
}

/* The server gets the file only after the other commands are disabled, so it cannot run them. */
static int make_snapshot(struct agent_call *call, const struct aof_server *server,
    const struct aof_wishes *wishes, json_t *facts, struct err *err)
{
    struct loader l = {
        .program = {server->program, server->run_as, false},
        .s = SCRATCH_INIT,
        .also = wishes->also,
    };
    CLEANUP(buf_release) struct buf conf = BUF_INIT;

    scratch_conf(&conf);
    buf_adds(&conf, conf_of_aof);
    if (server_version_at_least(&server->version, 6, 2))
        buf_adds(&conf, "sanitize-dump-payload yes\n");
    server_conf_add_modules(server->modules, &conf);
    int rc = random_word(l.save, sizeof(l.save), err);
    if (rc == 0)
        rc = rename_commands(&l, &conf, err);
    if (rc == 0 && rename(AOF_COPY_NAME, "appendonly.aof") < 0)
        rc = err_sys(err, ERR_IO, "cannot rename '%s'", AOF_COPY_NAME);
    if (rc == 0 && scratch_start(&l.s, &l.program, &conf, SOCKET_MS, SAVE_MS, err) < 0)
        rc = err->code == ERR_CORRUPT ? explain_end(err) : -1;
    if (rc == 0)
        rc = await_loaded(call, &l, facts, err);
    if (rc == 0)
        rc = check_errors(facts, wishes, err);
    if (rc == 0)
        rc = save_snapshot(&l, err);
    scratch_stop(&l.s);
    return rc;
}

/* --- both --- */

/* Of what tells one input from another: the names and sizes of its files, and where it ends. */
static const char *input_digest(const json_t *input, char digest[DIGEST_HEX_MAX])
{
    static const char *const fields[] = {"name", "bytes", "sha256", "parts"};
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        AUTO_FREE char *value = json_dumps(
            json_object_get(input, fields[i]), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
        buf_addf(&text, "%s\n", value ? value : "");
    }
    return digest_of(text.data, text.len, digest);
}

/* The facts of a finished snapshot of the same input; NULL: there are none. */
static json_t *finished(const char *folder, const json_t *input)
{
    AUTO_FREE char *path = path_join(folder, facts_name);
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    struct err absent = ERR_INIT;

    if (file_read(path, FACTS_BYTES_MAX, &text, &absent) < 0)
        return NULL;
    json_t *facts = json_read_quietly(text.data, text.len, 0);
    char digest[DIGEST_HEX_MAX];
    if (strcmp(json_text(facts, "input", ""), input_digest(input, digest)) == 0)
        return facts;
    json_decref(facts);
    return NULL;
}

static int make_in_folder(struct agent_call *call, const struct aof_server *server,
    const struct aof_input *in, json_t **ret_facts, struct err *err)
{
    json_t *facts = NULL;

    if (aof_copy(call, in, &facts, err) < 0)
        return -1;
    if (make_snapshot(call, server, &in->wishes, facts, err) < 0) {
        json_decref(facts);
        return err_wrap(err, "'%s'", json_text(in->file, "name", NULL));
    }
    if (rename("dump.rdb", AOF_SNAPSHOT_NAME) < 0) {
        json_decref(facts);
        return err_sys(err, ERR_IO, "cannot rename 'dump.rdb' to '%s'", AOF_SNAPSHOT_NAME);
    }
    char digest[DIGEST_HEX_MAX];
    json_object_set_new(facts, "input", json_string(input_digest(in->file, digest)));
    AUTO_FREE char *text = json_dumps(facts, 0);
    if (file_write_atomic(facts_name, text, strlen(text), 0600, err) < 0) {
        json_decref(facts);
        return -1;
    }
    *ret_facts = facts;
    return 0;
}

int aof_snapshot(struct agent_call *call, const struct aof_server *server,
    const struct aof_input *in, const char *folder, json_t **ret_facts, struct err *err)
{
    const char *name = json_text(in->file, "name", NULL);

    if (!name || !*name || name[0] == '.' || strchr(name, '/'))
        return err_set(err, ERR_PROTOCOL, "the append-only file has no plain name");
    json_t *facts = finished(folder, in->file);
    if (facts) {
        *ret_facts = facts;
        return 0;
    }
    if (dir_remove(folder, err) < 0 || dir_make(folder, 0700, err) < 0)
        return -1;
    int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (before < 0)
        return err_sys(err, ERR_IO, "cannot open the working folder");
    int rc = chdir(folder) < 0 ? err_sys(err, ERR_IO, "cannot enter the folder '%s'", folder)
                               : make_in_folder(call, server, in, ret_facts, err);
    if (fchdir(before) < 0 && rc == 0)
        rc = err_sys(err, ERR_IO, "cannot return to the folder before '%s'", folder);
    close(before);
    return rc;
}
