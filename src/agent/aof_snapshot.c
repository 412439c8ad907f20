#include "aof_snapshot.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

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
#include "server.h"
#include "server_conf.h"
#include "server_log.h"
#include "server_version.h"
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

/* --- the copy --- */

struct copy {
    struct agent_call *call;
    const json_t *input;
    const char *const *also; /* of aof_reader_new() */
    const char *path;        /* of the copy */
    int fd;
    struct aof_reader *reader; /* of the present part */
    uint64_t bytes;            /* of the parts before it */
    uint64_t part_bytes, out_bytes;
    struct segment { /* the part, if it is one of an archive */
        bool is;
        struct command_reader select; /* of its first command */
        uint64_t select_bytes;        /* 0: it has not ended yet */
        uint64_t take, all;           /* bytes of the stream behind it */
    } segment;
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

/* How many of the next bytes are wanted: the SELECT, and then those up to the cut. */
static int wanted_bytes(struct copy *c, const char *data, size_t len, size_t *ret, struct err *err)
{
    struct segment *s = &c->segment;
    enum command_event event;
    size_t at = 0;

    while (!s->select_bytes && at < len) {
        ssize_t n = command_reader_take(&s->select, data + at, len - at, &event, err);
        if (n < 0)
            return -1;
        at += (size_t)n;
        if (event == COMMAND_WORD && command_reader_is_between(&s->select))
            s->select_bytes = s->select.offset;
    }
    uint64_t end = s->select_bytes ? s->select_bytes + s->take : UINT64_MAX;
    uint64_t left = end > c->part_bytes ? end - c->part_bytes : 0;
    *ret = left < len ? (size_t)left : len;
    return 0;
}

static int take_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    struct copy *c = arg;
    size_t wanted = len;
    int64_t now_ms = clock_mono_ms();

    if (c->segment.is && wanted_bytes(c, data, len, &wanted, err) < 0)
        return -1;
    c->part_bytes += len;
    if (now_ms - c->told_ms >= PROGRESS_MS) {
        c->told_ms = now_ms;
        agent_progress(
            c->call, json_pack("{s:I, s:O}", "bytes", (json_int_t)(c->bytes + c->part_bytes),
                         "total", json_object_get(c->input, "bytes")));
    }
    return wanted ? aof_reader_feed(c->reader, data, wanted, err) : 0;
}

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

static bool is_packed(const char *name)
{
    size_t len = strlen(name);
    return (len > 3 && strcmp(name + len - 3, ".gz") == 0) ||
           (len > 4 && strcmp(name + len - 4, ".zst") == 0);
}

static int check_part(
    const struct copy *c, const json_t *part, bool last, uint64_t whole_bytes, struct err *err)
{
    json_int_t expected = json_int(part, "bytes", 0);
    const struct segment *s = &c->segment;
    bool whole = s->is || json_object_get(part, "sha256") != NULL;
    uint64_t bytes = s->is ? s->select_bytes + s->take : c->part_bytes;

    if (s->is && c->part_bytes != s->select_bytes + s->all)
        return err_set(err, ERR_CORRUPT, "it has %llu bytes of the stream instead of %llu",
            (unsigned long long)(c->part_bytes - s->select_bytes), (unsigned long long)s->all);

    if (!whole && !is_packed(json_text(part, "name", "")) && expected >= 0 &&
        (uint64_t)expected != c->part_bytes) {
        err_set(err, ERR_CORRUPT, "it has %llu bytes instead of %lld",
            (unsigned long long)c->part_bytes, (long long)expected);
        return err_hint(err, "The file was changed since the plan was made: plan again.");
    }
    if ((last && !whole) || whole_bytes == bytes)
        return 0;
    if (last) {
        err_set(err, ERR_CORRUPT, "it does not end where a command ends");
        return err_hint(err, "Take another backup set.");
    }
    err_set(err, ERR_CORRUPT,
        "it is cut off: its last whole command ends at byte %llu of %llu, but other files follow it",
        (unsigned long long)whole_bytes, (unsigned long long)c->part_bytes);
    return err_hint(err, "Take an older file of the same slots.");
}

/* Of a packed file, or one with a digest, the stored bytes are checked, and else the plain ones. */
static int read_part(struct copy *c, struct store *store, const json_t *part, struct err *err)
{
    const struct pull_params params = {
        .store = store,
        .name = json_text(part, "name", NULL),
        .expected_bytes = json_int(part, "bytes", -1),
        .sha256 = json_text(part, "sha256", NULL),
    };

    if (params.sha256 || is_packed(params.name))
        return pull_plain(&params, take_bytes, c, err);
    return store_read(store, &(struct store_range){params.name, 0, -1}, take_bytes, c, NULL, err);
}

static void begin_segment(struct copy *c, const json_t *part)
{
    json_int_t all = json_int(part, "stream_bytes", -1), take = json_int(part, "take", all);

    c->segment = (struct segment){.is = all >= 0, .all = (uint64_t)all, .take = (uint64_t)take};
    command_reader_init(&c->segment.select);
}

static int copy_part(struct copy *c, struct store *store, const json_t *part, bool last,
    json_t **ret_dropped, struct err *err)
{
    const char *name = json_text(part, "name", NULL);
    uint64_t begin = c->out_bytes;
    struct aof_facts facts = {.bytes = 0};

    if (!name)
        return err_set(err, ERR_PROTOCOL, "a part of an append-only file has no name");
    c->part_bytes = 0;
    begin_segment(c, part);
    c->reader = aof_reader_new(write_copy, c, c->also);
    int rc = read_part(c, store, part, err);
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

/* copy.aof in the working folder: one file, of whole commands. */
static int copy_aof(
    struct agent_call *call, const struct aof_input *in, json_t **ret_facts, struct err *err)
{
    struct copy c = {
        .call = call, .input = in->file, .also = in->wishes.also, .path = "copy.aof", .fd = -1};
    json_t *parts = json_object_get(in->file, "parts"), *dropped = NULL;
    int rc = 0;

    parts = parts ? json_incref(parts) : json_pack("[O]", in->file);
    if ((c.fd = open(c.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        rc = err_sys(err, ERR_IO, "cannot create '%s'", c.path);
    if (rc == 0)
        rc = copy_parts(&c, in->store, parts, &dropped, err);
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
static int make_snapshot(struct agent_call *call, const struct shard *shard,
    const struct aof_wishes *wishes, json_t *facts, struct err *err)
{
    struct loader l = {
        .program = {shard_string(shard, "server"), shard_string(shard, "run_as"), false},
        .s = SCRATCH_INIT,
        .also = wishes->also,
    };
    CLEANUP(buf_release) struct buf conf = BUF_INIT;
    struct server_version version;

    server_version_of_record(shard->record, &version);
    scratch_conf(&conf);
    buf_adds(&conf, conf_of_aof);
    if (server_version_at_least(&version, 6, 2))
        buf_adds(&conf, "sanitize-dump-payload yes\n");
    server_conf_add_modules(json_object_get(shard->record, "modules"), &conf);
    int rc = random_word(l.save, sizeof(l.save), err);
    if (rc == 0)
        rc = rename_commands(&l, &conf, err);
    if (rc == 0 && rename("copy.aof", "appendonly.aof") < 0)
        rc = err_sys(err, ERR_IO, "cannot rename 'copy.aof'");
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

static int make_in_folder(struct agent_call *call, const struct shard *shard,
    const struct aof_input *in, json_t **ret_facts, struct err *err)
{
    json_t *facts = NULL;

    if (copy_aof(call, in, &facts, err) < 0)
        return -1;
    if (make_snapshot(call, shard, &in->wishes, facts, err) < 0) {
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

int aof_snapshot(struct agent_call *call, const struct shard *shard, const struct aof_input *in,
    const char *folder, json_t **ret_facts, struct err *err)
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
    if (chdir(folder) < 0)
        return err_sys(err, ERR_IO, "cannot enter the folder '%s'", folder);
    int rc = make_in_folder(call, shard, in, ret_facts, err);
    if (chdir(shard->path) < 0 && rc == 0)
        rc = err_sys(err, ERR_IO, "cannot enter the folder '%s'", shard->path);
    return rc;
}
