/*
 * archive: the stream of a shard, kept for good at a location in segments, and data sets where the
 * stream begins.
 *
 * The stream goes into a folder of this host first (segments.h), so neither a location that fails
 * nor our own end loses a byte of it, and a slow location never holds up a server.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "method.h"
#include "notices.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/rdb_scan.h"
#include "record_writer.h"
#include "replica_source.h"
#include "segments.h"

enum {
    COPY_BYTES = 256 * 1024,
    FRONT_BYTES = 64 * 1024, /* of a data set: aux fields stand there */
    DISTANT_MS = 60 * 60 * 1000,
    RETRY_MS = 5 * 1000, /* of a location that fails */
    TOLD_MS = 1000,
};

/* One object on its way to the location. */
struct upload {
    struct record_writer *writer; /* NULL: none */
    char *name;
    int fd; /* of a segment */
    enum { UPLOAD_COPIES, UPLOAD_ENDED, UPLOAD_COMMITS } state;
    int64_t retry_ms;
};

struct archive {
    struct agent_call *call;
    const json_t *params, *location;
    const char *prefix; /* "1-4": database and shard, in names */
    enum pack_kind pack;
    int64_t segment_ms, segment_bytes, spool_max;

    struct loop *loop;
    struct job *pump, *reader;
    struct notices notices;
    struct replica_source source;
    struct segments *segments;
    struct err failure;
    struct err stream_failure; /* what has been received is still archived */

    bool streaming; /* `at` is known, and the stream is being read */
    struct repl_place at;
    int64_t db, told_ms;

    struct upload segment;

    bool base_wanted;
    struct psync *data_set;
    struct rdb_scan *scan;
    struct upload base;
    struct repl_place base_at;
    int64_t base_bytes;
    json_t *base_facts;
};

static enum job_step fail(struct archive *a, struct err *err)
{
    if (a->failure.code == ERR_NONE)
        a->failure = *err;
    loop_stop(a->loop);
    return JOB_FAIL;
}

static void wake(struct job *job, struct archive *a)
{
    if (job)
        loop_wake(a->loop, job);
}

/* --- uploads --- */

static int upload_begin(struct archive *a, struct upload *u, char *name, struct err *err)
{
    const struct record_writer_params params = {
        a->location, name, a->pack, json_object_get(a->params, "recipients")};

    free(u->name);
    u->name = name;
    u->state = UPLOAD_COPIES;
    return record_writer_start(&params, &u->writer, err);
}

static void upload_end(struct upload *u)
{
    record_writer_free(u->writer);
    u->writer = NULL;
    if (u->fd >= 0)
        close(u->fd);
    u->fd = -1;
}

/* A location that fails is tried again: the segment is still there. */
static void segment_failed(struct archive *a, const struct err *err)
{
    agent_notify(a->call, "trouble", json_pack("{s:o}", "error", err_to_json(err)));
    upload_end(&a->segment);
    a->segment.retry_ms = clock_mono_ms() + RETRY_MS;
}

/* "stream-1-4-<id>-<first>-<last>.zst" */
static int begin_segment(struct archive *a, const struct segment *s, struct err *err)
{
    char *name = xasprintf("stream-%s-%s-%" PRId64 "-%" PRId64 "%s", a->prefix, s->id, s->first,
        s->last, pack_suffix(a->pack));

    a->segment.fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (a->segment.fd < 0) {
        free(name);
        return err_sys(err, ERR_IO, "cannot open '%s'", s->path);
    }
    return upload_begin(a, &a->segment, name, err);
}

static int end_segment(struct archive *a, struct err *err)
{
    const struct segment *s = segments_first(a->segments);
    json_t *params = json_deep_copy(record_writer_facts(a->segment.writer));

    json_object_set_new(params, "name", json_string(a->segment.name));
    json_object_set_new(params, "repl_id", json_string(s->id));
    json_object_set_new(params, "first", json_integer(s->first));
    json_object_set_new(params, "last", json_integer(s->last));
    if (s->db >= 0)
        json_object_set_new(params, "db", json_integer(s->db));
    agent_notify(a->call, "segment", params);
    upload_end(&a->segment);
    return segments_drop(a->segments, err);
}

/* 1: goes on; 0: waits. */
static int copy_segment(struct upload *u, struct err *err)
{
    char bytes[COPY_BYTES];

    if (u->state != UPLOAD_COPIES || !record_writer_has_room(u->writer))
        return 0;
    ssize_t n = read(u->fd, bytes, sizeof(bytes));
    if (n < 0)
        return err_sys(err, ERR_IO, "cannot read a segment back");
    if (n > 0) {
        record_writer_add(u->writer, bytes, (size_t)n);
        return 1;
    }
    record_writer_end(u->writer);
    u->state = UPLOAD_ENDED;
    return 1;
}

/* What both kinds have in common: 1: it is at the location; 0: not yet; -1: the location fails. */
static int upload_step(struct upload *u, struct wait *wait, struct err *err)
{
    switch (record_writer_step(u->writer, wait, err)) {
    case RECORD_WRITER_COMMITTED:
        return 1;
    case RECORD_WRITER_READY:
        if (u->state == UPLOAD_ENDED) {
            record_writer_commit(u->writer);
            wait_until(wait, clock_mono_ms()); /* it has to be sent */
        }
        u->state = UPLOAD_COMMITS;
        break;
    case RECORD_WRITER_FAILED:
        return -1;
    case RECORD_WRITER_BUSY:
        break;
    }
    return 0;
}

static int send_segments(struct archive *a, struct wait *wait, struct err *err)
{
    const struct segment *first = segments_first(a->segments);
    struct err failure = ERR_INIT;

    if (a->segment.retry_ms > clock_mono_ms()) {
        wait_until(wait, a->segment.retry_ms);
        return 0;
    }
    if (!a->segment.writer) {
        if (!first)
            return 0;
        if (begin_segment(a, first, err) < 0)
            return -1;
    }
    int rc = upload_step(&a->segment, wait, &failure);
    if (rc < 0) {
        segment_failed(a, &failure);
        return 1;
    }
    if (rc > 0)
        return end_segment(a, err) < 0 ? -1 : 1;
    return copy_segment(&a->segment, err);
}

/* --- data sets --- */

static void drop_base(struct archive *a)
{
    psync_close(a->data_set);
    a->data_set = NULL;
    rdb_scan_free(a->scan);
    a->scan = NULL;
    upload_end(&a->base);
    json_decref(a->base_facts);
    a->base_facts = NULL;
}

/* Of a data set only the operator decides whether it is tried again. */
static int base_failed(struct archive *a, const struct err *err)
{
    agent_notify(a->call, "no_base", json_pack("{s:o}", "error", err_to_json(err)));
    drop_base(a);
    return 0;
}

static void start_stream(struct archive *a, const struct repl_place *at)
{
    a->at = *at;
    a->streaming = true;
    wake(a->reader, a);
}

/* "base-1-4-<id>-<offset>.rdb.zst": where a stream begins, or a later place of the same. */
static int begin_base_file(struct archive *a, struct err *err)
{
    a->base_at = *psync_place(a->data_set);
    if (!a->streaming)
        start_stream(a, &a->base_at);
    char *name = xasprintf("base-%s-%s-%" PRId64 ".rdb%s", a->prefix, a->base_at.id,
        a->base_at.offset, pack_suffix(a->pack));
    return upload_begin(a, &a->base, name, err);
}

/* It stands at the front. A stream without it begins with a SELECT of its own. */
static void take_database(struct archive *a, bool whole)
{
    json_t *facts = rdb_scan_json(a->scan);
    const char *db = json_text(json_object_get(facts, "aux"), "repl-stream-db", NULL);

    if (db || whole || a->base_bytes > FRONT_BYTES) {
        a->db = db ? strtoll(db, NULL, 10) : 0;
        wake(a->reader, a);
    }
    json_decref(facts);
}

static int end_data_set(struct archive *a, struct err *err)
{
    if (rdb_scan_end(a->scan, err) < 0)
        return -1;
    if (a->db < 0)
        take_database(a, true);
    a->base_facts = rdb_scan_json(a->scan);
    psync_close(a->data_set);
    a->data_set = NULL;
    record_writer_end(a->base.writer);
    a->base.state = UPLOAD_ENDED;
    return 1;
}

static int read_data_set(struct archive *a, struct wait *wait, struct err *err)
{
    struct rdb_bytes piece;

    if (a->base.writer && !record_writer_has_room(a->base.writer))
        return 0;
    switch (psync_next(a->data_set, &piece, wait, err)) {
    case PSYNC_WAIT:
        return 0;
    case PSYNC_BEGUN:
        return begin_base_file(a, err) < 0 ? -1 : 1;
    case PSYNC_DATA:
        a->base_bytes += (int64_t)piece.len;
        record_writer_add(a->base.writer, piece.data, piece.len);
        if (rdb_scan_feed(a->scan, piece.data, piece.len, err) < 0)
            return -1;
        if (a->db < 0)
            take_database(a, false);
        return 1;
    case PSYNC_END:
        return end_data_set(a, err);
    case PSYNC_FAILED:
        break;
    }
    return -1;
}

static void end_base(struct archive *a)
{
    json_t *params = json_deep_copy(record_writer_facts(a->base.writer));

    json_object_set_new(params, "name", json_string(a->base.name));
    json_object_set_new(params, "repl_id", json_string(a->base_at.id));
    json_object_set_new(params, "offset", json_integer(a->base_at.offset));
    json_object_set(params, "facts", a->base_facts);
    agent_notify(a->call, "base", params);
    a->source.skipped = 0;
    drop_base(a);
}

static int make_base(struct archive *a, struct wait *wait, struct err *err)
{
    const struct rdb_scan_options options = {.ignore_repeated = true};

    if (a->base_wanted && !a->data_set && !a->base.writer) {
        a->base_wanted = false;
        a->base_bytes = 0;
        a->scan = rdb_scan_new(&options);
        if (replica_source_data_set(&a->source, &a->data_set, err) < 0)
            return base_failed(a, err);
    }
    if (a->data_set) {
        int rc = read_data_set(a, wait, err);
        if (rc < 0) {
            replica_source_skip(&a->source);
            return base_failed(a, err);
        }
        if (rc > 0)
            return 1;
    }
    int rc = a->base.writer ? upload_step(&a->base, wait, err) : 0;
    if (rc > 0)
        end_base(a);
    return rc < 0 ? base_failed(a, err) : 0;
}

/* --- the stream --- */

static int take_stream(struct archive *a, const struct rdb_bytes *piece, struct err *err)
{
    if (segments_waiting_bytes(a->segments) > a->spool_max)
        return err_set(err, ERR_SPACE,
            "%" PRId64 " bytes of the stream wait for the location: no more is kept",
            segments_waiting_bytes(a->segments));
    return segments_add(a->segments, piece->data, piece->len, err);
}

static void tell_place(struct archive *a)
{
    int64_t now_ms = clock_mono_ms();

    if (now_ms - a->told_ms < TOLD_MS)
        return;
    a->told_ms = now_ms;
    agent_progress(a->call,
        json_pack("{s:s, s:I, s:I}", "repl_id", a->at.id, "offset", (json_int_t)a->at.offset,
            "waiting", (json_int_t)segments_waiting_bytes(a->segments)));
}

/* What has been received is archived before the call ends. */
static enum job_step stream_failed(struct archive *a, const struct err *err)
{
    a->stream_failure = *err;
    wake(a->pump, a);
    return JOB_FAIL;
}

static enum job_step reader_step(void *arg, struct wait *wait, struct err *err)
{
    struct archive *a = arg;
    struct rdb_bytes piece;

    /* Segments begin with their database, so the first one waits until that is known. */
    if (!a->streaming || a->db < 0) {
        wait_until(wait, clock_mono_ms() + DISTANT_MS);
        return JOB_WAIT;
    }
    switch (replica_source_stream(&a->source, &a->at, &piece, wait, err)) {
    case PSYNC_WAIT:
        return JOB_WAIT;
    case PSYNC_BEGUN:
        if (segments_begin(a->segments, &a->at, a->db, err) < 0)
            return stream_failed(a, err);
        tell_place(a);
        return JOB_AGAIN;
    case PSYNC_DATA:
        if (take_stream(a, &piece, err) < 0)
            return stream_failed(a, err);
        tell_place(a);
        wake(a->pump, a);
        return JOB_AGAIN;
    case PSYNC_FAILED:
    case PSYNC_END:
        break;
    }
    return stream_failed(a, err);
}

static void reader_done(void *arg, const struct err *err)
{
    struct archive *a = arg;

    (void)err;
    a->reader = NULL;
}

static const struct job_ops reader_ops = {"reading a stream", reader_step, reader_done};

/* When the open segment has to be closed; INT64_MAX: it is empty. */
static int64_t segment_due_ms(const struct archive *a)
{
    int64_t since_ms = segments_open_since_ms(a->segments);

    if (segments_open_bytes(a->segments) >= a->segment_bytes)
        return 0;
    return since_ms ? since_ms + a->segment_ms : INT64_MAX;
}

static int close_segment(struct archive *a, struct wait *wait, struct err *err)
{
    int64_t due_ms = a->stream_failure.code ? 0 : segment_due_ms(a);

    if (due_ms > clock_mono_ms()) {
        if (due_ms != INT64_MAX)
            wait_until(wait, due_ms);
        return 0;
    }
    return segments_cut(a->segments, err);
}

/* --- all together --- */

static int on_notice(void *arg, const struct rpc_message *m, struct err *err)
{
    struct archive *a = arg;

    (void)err;
    if (strcmp(m->method, "base") == 0 && !a->data_set && !a->base.writer)
        a->base_wanted = true;
    if (strcmp(m->method, "stop") == 0 && !a->stream_failure.code) {
        err_set(&a->stream_failure, ERR_CANCELLED, "the operator's side stopped it");
        if (a->reader)
            loop_cancel(a->loop, a->reader);
    }
    wake(a->pump, a);
    return 0;
}

static void on_end(void *arg, struct err *err)
{
    fail(arg, err);
}

/* The stream cannot go on where it was: the next call begins with a data set. */
static bool leaves_gap(enum err_code code)
{
    return code == ERR_CHANGED || code == ERR_SPACE || code == ERR_CORRUPT;
}

static enum job_step pump_step(void *arg, struct wait *wait, struct err *err)
{
    struct archive *a = arg;

    int base = make_base(a, wait, err);
    if (base < 0 || close_segment(a, wait, err) < 0)
        return fail(a, err);
    int segment = send_segments(a, wait, err);
    if (segment < 0)
        return fail(a, err);
    if (a->stream_failure.code && !segments_first(a->segments)) {
        if (leaves_gap(a->stream_failure.code))
            segments_forget(a->segments);
        *err = a->stream_failure;
        return fail(a, err);
    }
    wait_until(wait, clock_mono_ms() + DISTANT_MS);
    return base || segment ? JOB_AGAIN : JOB_WAIT;
}

static const struct job_ops pump_ops = {"archiving a stream", pump_step, NULL};

/* Where another host has ended. What our own folder has of the same history may go further. */
static int take_from(struct archive *a, struct err *err)
{
    const json_t *from = json_object_get(a->params, "from");
    const char *id;
    json_int_t offset, db;

    if (!from)
        return 0;
    if (param_string(from, "repl_id", &id, err) < 0 ||
        param_int(from, "offset", &offset, err) < 0 || param_int(from, "db", &db, err) < 0)
        return -1;
    if (strlen(id) != REPL_ID_HEX || offset < 0 || db < 0)
        return err_set(err, ERR_PROTOCOL, "'from' is not a place of a stream");
    if (a->streaming && strcmp(a->at.id, id) == 0 && a->at.offset >= offset)
        return 0;
    strcpy(a->at.id, id);
    a->at.offset = offset;
    a->db = db;
    a->streaming = true;
    return 0;
}

static int open_all(struct archive *a, struct err *err)
{
    const char *folder, *kind;
    json_int_t segment_ms, segment_bytes;

    if (param_string(a->params, "spool", &folder, err) < 0 ||
        param_string(a->params, "compress", &kind, err) < 0 ||
        param_string(a->params, "prefix", &a->prefix, err) < 0 ||
        param_int(a->params, "segment_ms", &segment_ms, err) < 0 ||
        param_int(a->params, "segment_bytes", &segment_bytes, err) < 0)
        return -1;
    a->location = json_object_get(a->params, "location");
    a->segment_ms = segment_ms;
    a->segment_bytes = segment_bytes;
    a->spool_max = json_int(a->params, "spool_max", (json_int_t)4 << 30);
    if (!a->location || !pack_kind_of(kind, &a->pack))
        return err_set(err, ERR_PROTOCOL, "a parameter of 'archive' is missing or wrong");
    if (replica_source_open(&a->source, a->params, err) < 0 ||
        segments_open(folder, &a->segments, err) < 0)
        return -1;
    a->db = -1;
    a->streaming = segments_continue(a->segments, &a->at, &a->db);
    return take_from(a, err);
}

static int archive(struct archive *a, struct err *err)
{
    if (open_all(a, err) < 0)
        return -1;
    agent_notify(a->call, "began",
        a->streaming
            ? json_pack("{s:s, s:I}", "repl_id", a->at.id, "offset", (json_int_t)a->at.offset)
            : json_object());
    a->base_wanted = !a->streaming;
    a->loop = loop_new();
    a->pump = loop_add(a->loop, &pump_ops, a);
    a->reader = loop_add(a->loop, &reader_ops, a);
    notices_listen(&a->notices, a->loop, a->call, on_notice, on_end, a);
    int rc = loop_run(a->loop, err);
    if (rc == 0 && a->failure.code != ERR_NONE) {
        *err = a->failure;
        rc = -1;
    }
    a->pump = a->reader = NULL;
    return rc;
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct archive a = {.call = call, .params = params, .segment.fd = -1, .base.fd = -1};

    int rc = archive(&a, err);
    drop_base(&a);
    upload_end(&a.segment);
    free(a.segment.name);
    free(a.base.name);
    replica_source_close(&a.source);
    segments_close(a.segments);
    if (a.loop)
        loop_free(a.loop);
    if (rc == 0)
        *ret = json_object();
    return rc;
}

const struct agent_method agent_archive = {"archive", false, run};
