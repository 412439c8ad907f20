/*
 * record: the data set of a shard and its replication stream up to a cut, as one file at a location,
 * or as the RDB file that a server makes of both (record_rdb.h).
 *
 * Two connections: a server drops a replica that must take both over one. The stream waits in a file
 * without a name until the data set has arrived and the cut is known.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "made_files.h"
#include "method.h"
#include "notices.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/rdb_scan.h"
#include "recluster/repl.h"
#include "record_rdb.h"
#include "record_writer.h"
#include "replica_source.h"

enum {
    COPY_BYTES = 256 * 1024,
    PROGRESS_MS = 500,
    DISTANT_MS = 60 * 60 * 1000,
};

enum phase {
    PHASE_DATA_SET,
    PHASE_FILES,    /* instead of the above and what follows: files that a server has made here */
    PHASE_STREAM,   /* until the stream has reached the cut, which is perhaps not known yet */
    PHASE_COPY,     /* the stream behind the data set */
    PHASE_SNAPSHOT, /* until both are on the disk here, and a server has made an RDB file of them */
    PHASE_RDB,      /* that RDB file */
    PHASE_ENDING,   /* until all bytes are at the location */
    PHASE_READY,    /* until the other shards are ready too */
    PHASE_COMMITTING,
};

struct record {
    struct agent_call *call;
    const json_t *params;
    struct replica_source source;
    bool alone;         /* without a stream: the data set itself is the cut */
    int64_t limit_rate; /* bytes a second of the data set; 0: none */
    json_int_t spool_max;

    struct loop *loop;
    struct job *pump;
    struct notices notices;
    enum phase phase;
    struct err failure;

    struct psync *data_set;
    struct rdb_scan *scan;
    struct repl_place base; /* where the stream begins */
    int64_t db, bytes, begun_ms, told_ms;

    struct repl_place at; /* of the stream */
    const char *spool_folder;
    int spool;

    bool cut_known, commit_known;
    struct repl_place cut;
    struct repl_stream copied;

    struct made_files files; /* paths NULL: it reads from servers */
    bool based;              /* their base has been read */

    struct record_rdb *rdb; /* NULL: it is not made */
    bool file_kept;         /* its input is being committed */
    int rdb_fd;
    struct rdb_scan *rdb_scan;

    struct record_writer_params to;
    struct record_writer *writer;
};

/* The first failure ends all. */
static enum job_step fail(struct record *r, struct err *err)
{
    if (r->failure.code == ERR_NONE)
        r->failure = *err;
    loop_stop(r->loop);
    return JOB_FAIL;
}

static void wake(struct record *r)
{
    if (r->pump)
        loop_wake(r->loop, r->pump);
}

/* --- the stream --- */

static int spool(struct record *r, const struct rdb_bytes *piece, struct err *err)
{
    if (r->at.offset - r->base.offset > r->spool_max) {
        err_set(err, ERR_SPACE,
            "the stream of %s has grown to %" JSON_INTEGER_FORMAT
            " bytes before its data set had arrived and the other shards were ready",
            replica_source_peer(&r->source), r->spool_max);
        return err_hint(err, "Take the backup when fewer keys are written.");
    }
    return file_write_all(r->spool, piece->data, piece->len, "the stream", err);
}

static bool has_reached_cut(const struct record *r)
{
    return r->cut_known && strcmp(r->at.id, r->cut.id) == 0 && r->at.offset >= r->cut.offset;
}

/* 1: goes on; 0: waits; -1. */
static int read_stream(struct record *r, struct wait *wait, struct err *err)
{
    struct rdb_bytes piece;

    switch (replica_source_stream(&r->source, &r->at, &piece, wait, err)) {
    case PSYNC_WAIT:
        return 0;
    case PSYNC_BEGUN:
        return 1;
    case PSYNC_DATA:
        return spool(r, &piece, err) < 0 ? -1 : 1;
    case PSYNC_FAILED:
    case PSYNC_END:
        break;
    }
    return -1;
}

static enum job_step stream_step(void *arg, struct wait *wait, struct err *err)
{
    struct record *r = arg;

    if (has_reached_cut(r)) {
        replica_source_end_stream(&r->source);
        wake(r);
        return JOB_DONE;
    }
    int rc = read_stream(r, wait, err);
    if (rc < 0)
        return fail(r, err);
    return rc ? JOB_AGAIN : JOB_WAIT;
}

static const struct job_ops stream_ops = {"the stream", stream_step, NULL};

/* --- the data set --- */

static void begin_stream(struct record *r)
{
    r->base = r->at = *psync_place(r->data_set);
    if (!r->alone)
        loop_add(r->loop, &stream_ops, r);
}

static int end_data_set(struct record *r, struct err *err)
{
    if (rdb_scan_end(r->scan, err) < 0)
        return err_wrap(err, "the data set of %s", psync_peer(r->data_set));
    json_t *facts = rdb_scan_json(r->scan);
    const char *db = json_text(json_object_get(facts, "aux"), "repl-stream-db", "0");
    r->db = strtoll(db, NULL, 10);
    agent_notify(r->call, "based",
        json_pack("{s:s, s:I, s:I, s:I, s:o}", "repl_id", r->base.id, "offset",
            (json_int_t)r->base.offset, "db", (json_int_t)r->db, "bytes", (json_int_t)r->bytes,
            "facts", facts));
    psync_close(r->data_set);
    r->data_set = NULL;
    if (r->alone) {
        r->cut = r->base;
        r->cut_known = true;
    }
    r->phase = PHASE_STREAM;
    return 0;
}

static void tell_progress(struct record *r)
{
    int64_t now_ms = clock_mono_ms();

    if (now_ms - r->told_ms < PROGRESS_MS)
        return;
    r->told_ms = now_ms;
    agent_progress(r->call, json_pack("{s:I, s:I}", "bytes", (json_int_t)r->bytes, "stream_bytes",
                                (json_int_t)(r->at.offset - r->base.offset)));
}

/* When so many bytes may have come, by the limit; in the past: now. */
static int64_t due_ms(const struct record *r)
{
    return r->limit_rate ? r->begun_ms + r->bytes * 1000 / r->limit_rate : 0;
}

static int read_data_set(struct record *r, struct wait *wait, struct err *err)
{
    struct rdb_bytes piece;

    if (!record_writer_has_room(r->writer)) /* whose job wakes us */
        return 0;
    if (due_ms(r) > clock_mono_ms()) {
        wait_until(wait, due_ms(r));
        return 0;
    }
    switch (psync_next(r->data_set, &piece, wait, err)) {
    case PSYNC_WAIT:
        return 0;
    case PSYNC_FAILED:
        return -1;
    case PSYNC_BEGUN:
        r->begun_ms = clock_mono_ms();
        begin_stream(r);
        return 1;
    case PSYNC_DATA:
        r->bytes += (int64_t)piece.len;
        record_writer_add(r->writer, piece.data, piece.len);
        tell_progress(r);
        return rdb_scan_feed(r->scan, piece.data, piece.len, err) < 0
                   ? err_wrap(err, "the data set of %s", psync_peer(r->data_set))
                   : 1;
    case PSYNC_END:
        return end_data_set(r, err) < 0 ? -1 : 1;
    }
    return -1;
}

/* --- files that a server has made --- */

static int tell_base(struct record *r, struct err *err)
{
    if (rdb_scan_end(r->scan, err) < 0)
        return -1;
    json_t *facts = rdb_scan_json(r->scan);
    agent_notify(
        r->call, "based", json_pack("{s:I, s:o}", "bytes", (json_int_t)r->bytes, "facts", facts));
    r->based = true;
    return 0;
}

static int copy_files(struct record *r, struct wait *wait, struct err *err)
{
    char bytes[COPY_BYTES];

    if (!record_writer_has_room(r->writer))
        return 0;
    if (due_ms(r) > clock_mono_ms()) {
        wait_until(wait, due_ms(r));
        return 0;
    }
    ssize_t n = made_files_read(&r->files, bytes, sizeof(bytes), err);
    if (n < 0 || ((n == 0 || r->files.file > 0) && !r->based && tell_base(r, err) < 0))
        return -1;
    if (n == 0) {
        record_writer_end(r->writer);
        r->phase = r->rdb ? PHASE_SNAPSHOT : PHASE_ENDING;
        return 1;
    }
    record_writer_add(r->writer, bytes, (size_t)n);
    if (r->based) {
        r->cut.offset += n;
        return 1;
    }
    r->bytes += n;
    tell_progress(r);
    return rdb_scan_feed(r->scan, bytes, (size_t)n, err) < 0 ? -1 : 1;
}

/* --- the stream behind the data set --- */

/* A stream from a replica does not begin with SELECT. */
static int begin_copy(struct record *r, struct err *err)
{
    CLEANUP(buf_release) struct buf select = BUF_INIT;
    AUTO_FREE char *db = xasprintf("%" PRId64, r->db);

    repl_stream_init(&r->copied, r->base.offset, r->db);
    if (r->cut.offset < r->base.offset)
        return err_set(
            err, ERR_CHANGED, "the cut lies before the data set: a new backup is needed");
    if (r->cut.offset > r->base.offset) {
        command_add(&select, (const char *const[]){"SELECT", db, NULL});
        record_writer_add(r->writer, select.data, select.len);
    }
    r->phase = PHASE_COPY;
    return 0;
}

static int copy(struct record *r, struct err *err)
{
    char bytes[COPY_BYTES];
    int64_t left = r->cut.offset - r->copied.offset;

    if (!record_writer_has_room(r->writer))
        return 0;
    if (left == 0) {
        if (!repl_stream_is_whole(&r->copied))
            return err_set(err, ERR_CHANGED, "the cut lies within a transaction");
        record_writer_end(r->writer);
        r->phase = r->rdb ? PHASE_SNAPSHOT : PHASE_ENDING;
        return 1;
    }
    ssize_t n = pread(r->spool, bytes, left < COPY_BYTES ? (size_t)left : COPY_BYTES,
        (off_t)(r->copied.offset - r->base.offset));
    if (n <= 0)
        return err_sys(err, ERR_IO, "cannot read the stream back");
    record_writer_add(r->writer, bytes, (size_t)n);
    return repl_stream_feed(&r->copied, bytes, (size_t)n, err) < 0 ? -1 : 1;
}

/* --- the RDB file of both --- */

static int make_rdb(struct record *r, struct err *err)
{
    const struct rdb_scan_options options = {.ignore_repeated = true};

    record_writer_free(r->writer);
    r->writer = NULL;
    if (record_rdb_make(r->rdb, r->call, err) < 0)
        return -1;
    r->rdb_fd = open(record_rdb_path(r->rdb), O_RDONLY | O_CLOEXEC);
    if (r->rdb_fd < 0)
        return err_sys(err, ERR_IO, "cannot open '%s'", record_rdb_path(r->rdb));
    r->rdb_scan = rdb_scan_new(&options);
    r->phase = PHASE_RDB;
    return record_writer_start(&r->to, &r->writer, err);
}

static int copy_rdb(struct record *r, struct err *err)
{
    char bytes[COPY_BYTES];

    if (!record_writer_has_room(r->writer))
        return 0;
    ssize_t n = read(r->rdb_fd, bytes, sizeof(bytes));
    if (n < 0)
        return err_sys(err, ERR_IO, "cannot read '%s'", record_rdb_path(r->rdb));
    if (n > 0) {
        record_writer_add(r->writer, bytes, (size_t)n);
        return rdb_scan_feed(r->rdb_scan, bytes, (size_t)n, err) < 0 ? -1 : 1;
    }
    if (rdb_scan_end(r->rdb_scan, err) < 0)
        return -1;
    record_writer_end(r->writer);
    r->phase = PHASE_ENDING;
    return 1;
}

/* --- the operator's side --- */

static int on_notice(void *arg, const struct rpc_message *m, struct err *err)
{
    struct record *r = arg;
    const char *id;
    json_int_t offset;

    if (strcmp(m->method, "commit") == 0)
        r->commit_known = true;
    if (strcmp(m->method, "stop") == 0)
        return err_set(err, ERR_CANCELLED, "the operator's side stopped it");
    wake(r);
    if (strcmp(m->method, "cut") != 0)
        return 0;
    if (param_string(m->payload, "repl_id", &id, err) < 0 ||
        param_int(m->payload, "offset", &offset, err) < 0)
        return -1;
    if (strlen(id) != REPL_ID_HEX)
        return err_set(err, ERR_PROTOCOL, "'repl_id' is not the id of a history");
    memcpy(r->cut.id, id, REPL_ID_HEX + 1);
    r->cut.offset = offset;
    r->cut_known = true;
    return 0;
}

static void on_end(void *arg, struct err *err)
{
    fail(arg, err);
}

/* --- all together --- */

static int tell_written(struct record *r)
{
    json_t *params = json_deep_copy(record_writer_facts(r->writer));

    if (r->rdb_scan) {
        json_t *facts = rdb_scan_json(r->rdb_scan);
        json_object_set(params, "keys", json_object_get(facts, "keys"));
        json_decref(facts);
    }
    json_object_set_new(params, "stream_bytes", json_integer(r->cut.offset - r->base.offset));
    if (!r->files.paths)
        json_object_set_new(
            params, "commands", json_integer((json_int_t)r->copied.reader.commands));
    agent_notify(r->call, "written", params);
    r->phase = PHASE_READY;
    return 1;
}

/* 1: there is more to do now; 0: waits; -1. */
static int work(
    struct record *r, enum record_writer_state state, struct wait *wait, struct err *err)
{
    switch (r->phase) {
    case PHASE_DATA_SET:
        return read_data_set(r, wait, err);
    case PHASE_FILES:
        return copy_files(r, wait, err);
    case PHASE_STREAM:
        if (!has_reached_cut(r))
            return 0;
        return begin_copy(r, err) < 0 ? -1 : 1;
    case PHASE_COPY:
        return copy(r, err);
    case PHASE_SNAPSHOT:
        if (state == RECORD_WRITER_READY && !r->file_kept) {
            record_writer_commit(r->writer);
            r->file_kept = true;
            return 1;
        }
        return 0;
    case PHASE_RDB:
        return copy_rdb(r, err);
    case PHASE_ENDING:
        return state == RECORD_WRITER_READY ? tell_written(r) : 0;
    case PHASE_READY:
        if (!r->commit_known)
            return 0;
        record_writer_commit(r->writer);
        r->phase = PHASE_COMMITTING;
        return 1;
    case PHASE_COMMITTING:
        break;
    }
    return 0;
}

static enum job_step pump_step(void *arg, struct wait *wait, struct err *err)
{
    struct record *r = arg;

    enum record_writer_state state = record_writer_step(r->writer, wait, err);
    if (state == RECORD_WRITER_FAILED)
        return fail(r, err);
    if (state == RECORD_WRITER_COMMITTED && r->phase == PHASE_SNAPSHOT)
        return make_rdb(r, err) < 0 ? fail(r, err) : JOB_AGAIN;
    if (state == RECORD_WRITER_COMMITTED) {
        loop_stop(r->loop);
        return JOB_DONE;
    }
    int rc = work(r, state, wait, err);
    if (rc < 0)
        return fail(r, err);
    wait_until(wait, clock_mono_ms() + DISTANT_MS);
    return rc ? JOB_AGAIN : JOB_WAIT;
}

static void pump_done(void *arg, const struct err *err)
{
    struct record *r = arg;

    (void)err;
    r->pump = NULL;
}

static const struct job_ops pump_ops = {"recording a shard", pump_step, pump_done};

/* A file without a name: nothing of it stays behind, however this ends. */
static int open_spool(const char *folder, int *ret, struct err *err)
{
    *ret = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*ret >= 0)
        return 0;
    AUTO_FREE char *path = xasprintf("%s/recluster-stream-XXXXXX", folder);
    if ((*ret = mkostemp(path, O_CLOEXEC)) < 0)
        return err_sys(err, ERR_IO, "cannot create a file in the folder '%s'", folder);
    if (unlink(path) < 0)
        return err_sys(err, ERR_IO, "cannot remove '%s'", path);
    return 0;
}

/* A shard without a stream is an RDB file as it comes. */
static int open_writer(struct record *r, struct err *err)
{
    const json_t *wanted = json_object_get(r->params, "rdb");

    if (!wanted || (r->alone && !r->files.paths))
        return record_writer_start(&r->to, &r->writer, err);
    if (record_rdb_open(r->spool_folder, wanted, &r->rdb, err) < 0)
        return -1;
    const struct record_writer_params input = {
        record_rdb_location(r->rdb), RECORD_RDB_INPUT, PACK_NONE, NULL};
    return record_writer_start(&input, &r->writer, err);
}

static int open_all(struct record *r, struct err *err)
{
    const char *kind;

    r->to.location = json_object_get(r->params, "location");
    if (param_string(r->params, "name", &r->to.name, err) < 0 ||
        param_string(r->params, "compress", &kind, err) < 0)
        return -1;
    r->to.recipients = json_object_get(r->params, "recipients");
    if (!r->to.location || !pack_kind_of(kind, &r->to.kind))
        return err_set(err, ERR_PROTOCOL, "a parameter of 'record' is missing or wrong");
    if (open_spool(r->spool_folder, &r->spool, err) < 0 ||
        replica_source_open(&r->source, r->params, err) < 0 || open_writer(r, err) < 0)
        return -1;
    if (r->files.paths) {
        r->phase = PHASE_FILES;
        r->begun_ms = clock_mono_ms();
        return 0;
    }
    return replica_source_data_set(&r->source, &r->data_set, err);
}

static int record(struct record *r, struct err *err)
{
    const struct rdb_scan_options options = {.ignore_repeated = true};

    if (open_all(r, err) < 0)
        return -1;
    r->scan = rdb_scan_new(&options);
    r->loop = loop_new();
    r->pump = loop_add(r->loop, &pump_ops, r);
    notices_listen(&r->notices, r->loop, r->call, on_notice, on_end, r);
    int rc = loop_run(r->loop, err);
    if (rc == 0 && r->failure.code != ERR_NONE) {
        *err = r->failure;
        rc = -1;
    }
    return rc;
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct record r = {
        .call = call,
        .params = params,
        .alone = json_flag(params, "alone"),
        .limit_rate = json_int(params, "limit_rate", 0),
        .spool_max = json_int(params, "spool_max", (json_int_t)16 << 30),
        .spool_folder = json_text(params, "spool", "/var/tmp"),
        .spool = -1,
        .files = {.paths = json_object_get(params, "files"), .fd = -1},
        .rdb_fd = -1,
        .to.kind = PACK_ZSTD,
    };

    int rc = record(&r, err);
    psync_close(r.data_set);
    replica_source_close(&r.source);
    record_writer_free(r.writer);
    made_files_close(&r.files);
    if (r.rdb_fd >= 0)
        close(r.rdb_fd);
    record_rdb_close(r.rdb);
    rdb_scan_free(r.scan);
    rdb_scan_free(r.rdb_scan);
    if (r.loop)
        loop_free(r.loop);
    if (rc == 0)
        *ret = json_object();
    return rc;
}

const struct agent_method agent_record = {"record", false, run};
