#include "aof_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/aof.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/store.h"
#include "redis.h"
#include "server.h"
#include "server_log.h"

enum {
    FACTS_BYTES_MAX = 64 * 1024,
    POLL_MS = 20,
    PROGRESS_MS = 200,
    SOCKET_MS = 60 * 1000,
    STUCK_MS = 120 * 1000,
    SAVE_MS = 12 * 3600 * 1000, /* it writes all of the data, and answers when that is done */
};

/* Written last: the snapshot beside it is whole. */
static const char facts_name[] = "snapshot.json";

/* --- the copy --- */

struct copy {
    struct agent_call *call;
    const json_t *input;
    const char *path; /* of the copy */
    int fd;
    struct aof_reader *reader; /* of the present part */
    uint64_t bytes;            /* of the parts before it */
    uint64_t part_bytes, out_bytes;
    uint64_t commands;
    bool preamble;
    int64_t told_ms;
};

static int write_copy(void *arg, const void *data, size_t len, struct err *err)
{
    struct copy *c = arg;

    c->out_bytes += len;
    return file_write_all(c->fd, data, len, c->path, err);
}

static int take_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    struct copy *c = arg;
    int64_t now_ms = clock_mono_ms();

    c->part_bytes += len;
    if (now_ms - c->told_ms >= PROGRESS_MS) {
        c->told_ms = now_ms;
        agent_progress(
            c->call, json_pack("{s:I, s:O}", "bytes", (json_int_t)(c->bytes + c->part_bytes),
                         "total", json_object_get(c->input, "bytes")));
    }
    return aof_reader_feed(c->reader, data, len, err);
}

/* The tail is no part of the copy. */
static int cut_tail(struct copy *c, uint64_t begin, const struct aof_facts *facts, const char *name,
    json_t **ret_dropped, struct err *err)
{
    off_t end = (off_t)(begin + facts->kept_bytes);

    if (ftruncate(c->fd, end) < 0 || lseek(c->fd, end, SEEK_SET) < 0)
        return err_sys(err, ERR_IO, "cannot cut '%s'", c->path);
    c->out_bytes = (uint64_t)end;
    *ret_dropped = json_pack("{s:s, s:I, s:I}", "file", name, "offset",
        (json_int_t)facts->whole_bytes, "bytes", (json_int_t)(facts->bytes - facts->whole_bytes));
    return 0;
}

static int check_part(
    const struct copy *c, const json_t *part, bool last, uint64_t whole_bytes, struct err *err)
{
    json_int_t expected = json_integer_value(json_object_get(part, "bytes"));

    if (expected >= 0 && (uint64_t)expected != c->part_bytes) {
        err_set(err, ERR_CORRUPT, "it has %llu bytes instead of %lld",
            (unsigned long long)c->part_bytes, (long long)expected);
        return err_hint(err, "The file was changed since the plan was made: plan again.");
    }
    if (last || whole_bytes == c->part_bytes)
        return 0;
    err_set(err, ERR_CORRUPT,
        "it is cut: its last whole command ends at byte %llu of %llu, but other files follow it",
        (unsigned long long)whole_bytes, (unsigned long long)c->part_bytes);
    return err_hint(err, "Take an older file of the same slots.");
}

static int copy_part(struct copy *c, struct store *store, const json_t *part, bool last,
    json_t **ret_dropped, struct err *err)
{
    const char *name = json_string_value(json_object_get(part, "name"));
    uint64_t begin = c->out_bytes;
    struct aof_facts facts = {.bytes = 0};

    if (!name)
        return err_set(err, ERR_PROTOCOL, "a part of an append-only file has no name");
    c->part_bytes = 0;
    c->reader = aof_reader_new(write_copy, c);
    int rc = store_read(store, name, 0, -1, take_bytes, c, NULL, err);
    if (rc == 0)
        rc = aof_reader_end(c->reader, &facts, err);
    if (rc == 0)
        rc = check_part(c, part, last, facts.whole_bytes, err);
    aof_reader_free(c->reader);
    c->reader = NULL;
    if (rc < 0)
        return err_wrap(err, "'%s' in '%s'", name, store_label(store));
    c->bytes += c->part_bytes;
    c->commands += facts.commands;
    if (begin == 0)
        c->preamble = facts.preamble;
    return facts.whole_bytes < facts.bytes ? cut_tail(c, begin, &facts, name, ret_dropped, err) : 0;
}

/* Each file of a folder begins in database 0. Before 7.0 servers know one file only. */
static int begin_part(struct copy *c, struct err *err)
{
    static const char select_0[] = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";

    return c->out_bytes ? write_copy(c, select_0, sizeof(select_0) - 1, err) : 0;
}

static int copy_parts(
    struct copy *c, struct store *store, json_t *parts, json_t **ret_dropped, struct err *err)
{
    size_t count = json_array_size(parts);

    for (size_t i = 0; i < count; i++)
        if (begin_part(c, err) < 0 ||
            copy_part(c, store, json_array_get(parts, i), i + 1 == count, ret_dropped, err) < 0)
            return -1;
    return 0;
}

static json_t *copy_facts(const struct copy *c, json_t *dropped)
{
    return json_pack("{s:O, s:I, s:I, s:b, s:o}", "name", json_object_get(c->input, "name"),
        "bytes", (json_int_t)c->bytes, "commands", (json_int_t)c->commands, "preamble", c->preamble,
        "dropped", dropped ? dropped : json_null());
}

/* appendonly.aof in the working folder: one file, of whole commands. */
static int copy_aof(struct agent_call *call, const json_t *input, struct store *store,
    json_t **ret_facts, struct err *err)
{
    struct copy c = {.call = call, .input = input, .path = "appendonly.aof", .fd = -1};
    json_t *parts = json_object_get(input, "parts"), *dropped = NULL;
    int rc = 0;

    parts = parts ? json_incref(parts) : json_pack("[O]", input);
    if ((c.fd = open(c.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        rc = err_sys(err, ERR_IO, "cannot create '%s'", c.path);
    if (rc == 0)
        rc = copy_parts(&c, store, parts, &dropped, err);
    if (c.fd >= 0 && close(c.fd) < 0 && rc == 0)
        rc = err_sys(err, ERR_IO, "cannot close '%s'", c.path);
    if (rc == 0)
        *ret_facts = copy_facts(&c, dropped);
    else
        json_decref(dropped);
    json_decref(parts);
    return rc;
}

/* --- the server --- */

/*
 * As many databases as can be: a SELECT that failed would send what follows to another one. The
 * checks of the snapshot find keys where none may be.
 */
static const char conf[] = "port 0\n"
                           "unixsocket redis.sock\n"
                           "unixsocketperm 700\n"
                           "daemonize no\n"
                           "logfile server.log\n"
                           "save \"\"\n"
                           "appendonly yes\n"
                           "appendfilename appendonly.aof\n"
                           "appendfsync no\n"
                           "auto-aof-rewrite-percentage 0\n"
                           "dbfilename dump.rdb\n"
                           "databases 16384\n"
                           "maxmemory 0\n";

struct loader {
    pid_t pid;
    int to, from;
    struct redis *redis;
};

/* How the server's log ends, in one line. */
static char *log_end(void)
{
    char *tail = server_log_tail(400);

    for (char *p = tail; *p; p++)
        if (*p == '\n')
            *p = '|';
    return tail;
}

/* Why the server is gone: its log says it. */
static int explain_end(struct err *err)
{
    CLEANUP(free_ptr) char *tail = log_end();

    err_set(err, ERR_CORRUPT, "the server that was to load it ended; its log ends: %s", tail);
    return err_hint(err, "A command that the server does not know needs the server, or the module, "
                         "that wrote the file. Or take an older file of the same slots.");
}

static bool has_ended(const struct loader *l)
{
    bool ended = false;
    struct err how = ERR_INIT;

    return child_poll(l->pid, &ended, &how) < 0 || ended;
}

static int start_loader(struct loader *l, const char *server, struct err *err)
{
    int64_t deadline = clock_mono_ms() + SOCKET_MS;
    struct err why = ERR_INIT;

    umask(077);
    if (child_spawn((const char *const[]){server, "aof.conf", NULL}, &l->pid, &l->to, &l->from,
            NULL, err) < 0)
        return -1;
    while (redis_connect_unix("redis.sock", SAVE_MS, &l->redis, &why) < 0) {
        if (has_ended(l)) {
            l->pid = 0;
            return explain_end(err);
        }
        if (clock_mono_ms() > deadline) {
            *err = why;
            return err_wrap(err, "the server that was to load it does not answer");
        }
        pause_ms(POLL_MS);
    }
    return 0;
}

static int await_loaded(
    struct agent_call *call, struct loader *l, int64_t *ret_errors, struct err *err)
{
    struct watch watch = {.patience_ms = STUCK_MS};

    for (;;) {
        CLEANUP(free_ptr) char *info = NULL;
        if (redis_info(l->redis, &info, err) < 0)
            return explain_end(err);
        if (info_is(info, "loading", "0")) {
            *ret_errors = info_int(info, "total_error_replies", 0);
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

/* The server's answer to SAVE is no more than that it failed. */
static int save_snapshot(const struct loader *l, struct err *err)
{
    if (redis_command(l->redis, NULL, err, "SAVE") == 0)
        return 0;
    CLEANUP(free_ptr) char *tail = log_end();
    bool full = strstr(tail, strerror(ENOSPC)) || strstr(tail, strerror(EDQUOT));
    err_set(err, full ? ERR_SPACE : ERR_SERVER,
        "cannot write the snapshot of it; the log of the server that loaded it ends: %s", tail);
    return full ? err_hint(err, "Make room on that file system, for the copy and the snapshot of "
                                "it, and run the same command again.")
                : -1;
}

static int make_snapshot(
    struct agent_call *call, const char *server, json_t *facts, struct err *err)
{
    struct loader l = {.pid = 0, .to = -1, .from = -1};
    int64_t errors = 0;

    if (file_write_atomic("aof.conf", conf, sizeof(conf) - 1, 0600, err) < 0)
        return -1;
    int rc = start_loader(&l, server, err);
    if (rc == 0)
        rc = await_loaded(call, &l, &errors, err);
    if (rc == 0)
        rc = save_snapshot(&l, err);
    redis_close(l.redis);
    if (l.pid)
        child_kill(l.pid);
    if (l.to >= 0)
        close(l.to);
    if (l.from >= 0)
        close(l.from);
    json_object_set_new(facts, "errors", json_integer((json_int_t)errors));
    return rc;
}

/* --- both --- */

/* What a finished snapshot of the same input left; NULL: there is none. */
static json_t *finished(const char *folder, const json_t *input)
{
    CLEANUP(free_ptr) char *path = path_join(folder, facts_name);
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    struct err absent = ERR_INIT;

    if (file_read(path, FACTS_BYTES_MAX, &text, &absent) < 0)
        return NULL;
    json_t *facts = json_loadb(text.data, text.len, 0, NULL);
    bool same = json_equal(json_object_get(facts, "name"), json_object_get(input, "name")) &&
                json_equal(json_object_get(facts, "bytes"), json_object_get(input, "bytes"));
    if (same)
        return facts;
    json_decref(facts);
    return NULL;
}

static int make_in_folder(struct agent_call *call, const struct shard *shard, const json_t *input,
    struct store *store, json_t **ret_facts, struct err *err)
{
    json_t *facts = NULL;

    if (copy_aof(call, input, store, &facts, err) < 0)
        return -1;
    const char *name = json_string_value(json_object_get(input, "name"));
    if (make_snapshot(call, shard_string(shard, "server"), facts, err) < 0) {
        json_decref(facts);
        return err_wrap(err, "'%s'", name);
    }
    if (rename("dump.rdb", AOF_SNAPSHOT_NAME) < 0) {
        json_decref(facts);
        return err_sys(err, ERR_IO, "cannot rename 'dump.rdb' to '%s'", AOF_SNAPSHOT_NAME);
    }
    CLEANUP(free_ptr) char *text = json_dumps(facts, 0);
    if (file_write_atomic(facts_name, text, strlen(text), 0600, err) < 0) {
        json_decref(facts);
        return -1;
    }
    *ret_facts = facts;
    return 0;
}

int aof_snapshot(struct agent_call *call, const struct shard *shard, const json_t *input,
    struct store *store, const char *folder, json_t **ret_facts, struct err *err)
{
    const char *name = json_string_value(json_object_get(input, "name"));

    if (!name || !*name || name[0] == '.' || strchr(name, '/'))
        return err_set(err, ERR_PROTOCOL, "the append-only file has no plain name");
    json_t *facts = finished(folder, input);
    if (facts) {
        *ret_facts = facts;
        return 0;
    }
    if (dir_remove(folder, err) < 0 || dir_make(folder, 0700, err) < 0)
        return -1;
    if (chdir(folder) < 0)
        return err_sys(err, ERR_IO, "cannot enter the folder '%s'", folder);
    int rc = make_in_folder(call, shard, input, store, ret_facts, err);
    if (chdir(shard->path) < 0 && rc == 0)
        rc = err_sys(err, ERR_IO, "cannot enter the folder '%s'", shard->path);
    return rc;
}
