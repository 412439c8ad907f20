/* The archive of a database: a line for each shard, and a cut over all of them each second. */

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "agents.h"
#include "cut.h"
#include "cut_index.h"
#include "lines.h"
#include "manifest.h"
#include "recluster/archive.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/rpc.h"

enum {
    CUT_MS = 400,         /* to look for a cut */
    INDEX_MS = 10 * 1000, /* between two writings of the index */
    STOP_MS = 15 * 1000,  /* for what is still to be archived at the end */
    LOOK_MS = 2000,       /* between two looks at a cluster that has changed */
    RESTART_MS = 2000,
    OPENING_MS = 500,
    REPLAY_BYTES_PER_MS = 40 * 1000, /* a server of 2020 takes 50 MB of commands a second */
    KNOWN_BASE_MS = 10 * 60 * 1000,  /* after a start, until the next data set at the latest */
};

/* An archive runs for as long as its machine. */
static const int64_t CALL_MS = 100LL * 365 * 24 * 3600 * 1000;

/* The stream of one shard. */
struct line {
    struct follow *f;
    const struct backup_shard *shard; /* as it is now */
    char uid[MANIFEST_WORD_MAX];      /* as it was at the beginning of the archive */
    uint64_t call;                    /* 0: it does not run */
    struct agent_place place;         /* of the call */
    int64_t restart_at_ms, base_at_ms;
    int64_t base_offset; /* where the last data set begins the stream; -1: not known */
    bool streaming;
    struct slots slots;             /* in the last cut */
    struct repl_place at, archived; /* received; at the location */
    int64_t archived_db;            /* of what comes next; -1: not known */
    int64_t waiting;
    char *trouble; /* the last one that was told; NULL: none */
};

struct pending_cut {
    int64_t time_ms;
    struct repl_place *places; /* of the lines */
};

struct follow {
    const struct archive_params *params;
    struct backup_shards *shards; /* of the last look */
    struct loop *loop;
    struct job *pump;
    struct agents *agents;
    struct offsets *offsets; /* NULL: the primaries are not known now */
    struct line *lines;
    size_t count;
    struct err failure;

    int64_t cut_at_ms, look_at_ms, index_at_ms, told_ms; /* monotonic: when it is time */
    struct cut_index *index;
    struct pending_cut pending; /* the newest cut that is not archived as a whole */
    struct archive_status status;
    bool cut_trouble;
    int64_t stop_at_ms; /* 0: it runs */
};

static void say(const struct follow *f, bool warning, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void say(const struct follow *f, bool warning, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *text = xvasprintf(fmt, args);
    va_end(args);
    f->params->tell(f->params->arg, warning, text);
}

static void wake(const struct follow *f)
{
    if (f->pump)
        loop_wake(f->loop, f->pump);
}

/* --- lines --- */

static char *spool_of(const struct line *l)
{
    const struct archive_params *p = l->f->params;
    bool far = l->place.host && strcmp(l->place.host->link, "local") != 0;

    return far && p->host_folder ? xasprintf("%s-%s", p->host_folder, l->uid)
                                 : xasprintf("%s/%s", p->folder, l->uid);
}

static json_t *archive_call(const struct line *l, struct err *err)
{
    const struct archive_params *p = l->f->params;
    json_t *params = agents_params(p->backup, l->shard, &l->place, p->witness, err);
    char database[MANIFEST_WORD_MAX];

    if (!params)
        return NULL;
    manifest_word(l->f->shards->db->uid, database);
    AUTO_FREE char *prefix = xasprintf("%s-%s", database, l->uid);
    AUTO_FREE char *folder = spool_of(l);
    json_object_set_new(params, "compress", json_string(pack_name(p->backup->pack)));
    json_object_set_new(params, "prefix", json_string(prefix));
    json_object_set_new(params, "spool", json_string(folder));
    json_object_set_new(params, "segment_ms", json_integer(p->segment_ms));
    json_object_set_new(params, "segment_bytes", json_integer(p->segment_bytes));
    if (l->archived.id[0] && l->archived_db >= 0)
        json_object_set_new(params, "from",
            json_pack("{s:s, s:I, s:I}", "repl_id", l->archived.id, "offset",
                (json_int_t)l->archived.offset, "db", (json_int_t)l->archived_db));
    return params;
}

static void line_trouble(struct line *l, const struct err *err)
{
    if (l->trouble && strcmp(l->trouble, err->message) == 0)
        return;
    free(l->trouble);
    l->trouble = xstrdup(err->message);
    bool far = l->place.host && err->code != ERR_LINK; /* which names it */
    AUTO_FREE char *where = far ? xasprintf("host '%s': ", l->place.host->name) : xstrdup("");
    say(l->f, true, "shard:%s: %s%s%s%s", l->uid, where, err->message, *err->hint ? ". " : "",
        err->hint);
}

/* A history that is gone leaves a gap, which a new base closes. */
static void on_answer(void *ctx, const json_t *result, const struct err *err)
{
    struct line *l = ctx;

    (void)result;
    l->call = 0;
    l->streaming = false;
    l->restart_at_ms = clock_mono_ms() + RESTART_MS;
    wake(l->f);
    if (!err || err->code == ERR_CANCELLED)
        return;
    if (err->code == ERR_CHANGED && l->archived.id[0])
        l->archived.id[0] = '\0'; /* no server has it from there on */
    line_trouble(l, err);
    if (err->code == ERR_CHANGED || err->code == ERR_SPACE || err->code == ERR_CORRUPT) {
        say(l->f, true,
            "shard:%s: the archive has a gap: instants from now until its next data set cannot be "
            "recovered",
            l->uid);
    }
    if (err->code == ERR_DENIED && l->f->failure.code == ERR_NONE)
        l->f->failure = *err;
}

static void on_progress(void *ctx, const json_t *params)
{
    struct line *l = ctx;
    const char *id = json_text(params, "repl_id", "");

    if (strlen(id) == REPL_ID_HEX)
        strcpy(l->at.id, id);
    l->at.offset = json_int(params, "offset", 0);
    if (l->base_offset < 0)
        l->base_offset = l->at.offset;
    l->waiting = json_int(params, "waiting", 0);
    l->streaming = true;
}

static void take_segment(struct line *l, const json_t *params)
{
    const char *id = json_text(params, "repl_id", "");

    if (strlen(id) != REPL_ID_HEX)
        return;
    strcpy(l->archived.id, id);
    l->archived.offset = json_int(params, "last", 0);
    l->archived_db = json_int(params, "db", -1);
    free(l->trouble);
    l->trouble = NULL;
}

static void on_notice(void *ctx, const struct rpc_message *m)
{
    struct line *l = ctx;
    struct err error;

    if (strcmp(m->method, "segment") == 0)
        take_segment(l, m->payload);
    if (strcmp(m->method, "trouble") == 0 || strcmp(m->method, "no_base") == 0) {
        err_from_json(json_object_get(m->payload, "error"), &error);
        line_trouble(l, &error);
    }
    if (strcmp(m->method, "no_base") == 0)
        l->base_at_ms = clock_mono_ms() + LOOK_MS;
    if (strcmp(m->method, "base") == 0) {
        say(l->f, false,
            "shard:%s: data set at offset %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT " bytes",
            l->uid, json_int(m->payload, "offset", 0), json_int(m->payload, "bytes", 0));
        l->base_offset = json_int(m->payload, "offset", 0);
        l->base_at_ms = l->f->params->base_ms ? clock_mono_ms() + l->f->params->base_ms : INT64_MAX;
    }
    wake(l->f);
}

static int start_line(struct line *l, struct err *err)
{
    const struct link_listener listener = {on_notice, NULL, l};

    int rc = agents_find(l->f->agents, l->shard, 0, &l->place, err);
    if (rc <= 0) {
        l->restart_at_ms = clock_mono_ms() + OPENING_MS;
        return rc;
    }
    json_t *params = archive_call(l, err);
    if (!params)
        return -1;
    l->call = link_call(l->place.link, "archive", params, CALL_MS, on_answer, on_progress, l);
    link_listen(l->place.link, l->call, &listener);
    return 1;
}

static void tell_line(const struct line *l, const char *method)
{
    link_tell(l->place.link, method, json_pack("{s:I}", "id", (json_int_t)l->call), NULL, 0);
}

/* The commands behind the last data set would be loaded for too long. */
static bool replay_is_long(const struct line *l)
{
    int64_t bytes = l->f->params->replay_ms * REPLAY_BYTES_PER_MS;

    return bytes && l->base_offset >= 0 && l->at.offset - l->base_offset >= bytes;
}

static int run_lines(struct follow *f, struct wait *wait, struct err *err)
{
    int64_t now_ms = clock_mono_ms();

    for (size_t i = 0; i < f->count; i++) {
        struct line *l = &f->lines[i];
        if (!l->call && l->restart_at_ms <= now_ms && start_line(l, err) < 0)
            return -1;
        if (!l->call)
            wait_until(wait, l->restart_at_ms);
        if (l->call && (l->base_at_ms <= now_ms || replay_is_long(l))) {
            l->base_at_ms = INT64_MAX;
            l->base_offset = l->at.offset;
            tell_line(l, "base");
        }
    }
    return 0;
}

/* --- the cluster --- */

static void find_primaries(struct follow *f)
{
    const struct live_server **primaries = xcalloc(f->count, sizeof(*primaries));

    for (size_t i = 0; i < f->count; i++)
        primaries[i] = f->lines[i].shard->primary;
    offsets_close(f->offsets);
    f->offsets = offsets_open(f->params->backup->ask, primaries, f->count);
    free(primaries);
}

/* The shard that has the most of the line's slots now. */
static const struct backup_shard *shard_of_line(
    const struct backup_shards *shards, const struct line *l)
{
    const struct backup_shard *found = NULL;
    unsigned most = 0;

    for (size_t i = 0; i < shards->count; i++) {
        unsigned common = slots_common(shards->shards[i].slots, l->shard->slots);
        found = common > most ? &shards->shards[i] : found;
        most = common > most ? common : most;
    }
    return found;
}

static bool is_of_a_line_before(
    const struct follow *f, size_t count, const struct backup_shard *now)
{
    for (size_t i = 0; i < count; i++)
        if (f->lines[i].shard == now)
            return true;
    return false;
}

/* Shards that were added or removed need other lines than there are. */
static int take_look(struct follow *f, struct backup_shards *shards, struct err *err)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct backup_shard *now = shard_of_line(shards, &f->lines[i]);
        if (shards->count != f->count || !now || is_of_a_line_before(f, i, now))
            return err_set(err, ERR_CHANGED, "the cluster has other shards now: %zu instead of %zu",
                shards->count, f->count);
        if (now->primary->port != f->lines[i].shard->primary->port ||
            strcmp(now->primary->addr, f->lines[i].shard->primary->addr) != 0)
            say(f, true, "shard:%s: its primary is %s:%d now", f->lines[i].uid, now->primary->addr,
                now->primary->port);
        f->lines[i].shard = now;
    }
    f->shards = shards;
    find_primaries(f);
    return 0;
}

static int look_again(struct follow *f, struct err *err)
{
    struct err failure = ERR_INIT;
    struct backup_shards *shards;

    f->look_at_ms = clock_mono_ms() + LOOK_MS;
    if (f->params->look(f->params->arg, &shards, &failure) == 0)
        return take_look(f, shards, err);
    if (!f->cut_trouble)
        say(f, true, "%s", failure.message);
    f->cut_trouble = true;
    return 0;
}

/* --- cuts --- */

static void save_index(struct follow *f)
{
    struct err failure = ERR_INIT;

    f->index_at_ms = clock_mono_ms() + INDEX_MS;
    if (cut_index_save(f->index, &failure) < 0)
        say(f, true, "%s", failure.message);
}

static json_t *shards_of(struct follow *f, const struct cut *cut, bool first)
{
    json_t *shards = json_object();

    for (size_t i = 0; i < f->count; i++) {
        json_t *shard = json_pack("{s:s, s:I}", "repl_id", cut->shards[i].place.id, "offset",
            (json_int_t)cut->shards[i].place.offset);
        if (first || !slots_equal(&f->lines[i].slots, &cut->shards[i].slots))
            json_object_set_new(shard, "slots", slots_to_json(&cut->shards[i].slots));
        f->lines[i].slots = cut->shards[i].slots;
        json_object_set_new(shards, f->lines[i].uid, shard);
    }
    return shards;
}

static void add_cut(struct follow *f, const struct cut *cut)
{
    struct err failure = ERR_INIT;
    char time[CLOCK_TEXT_MAX];
    bool first;

    int rc = cut_index_begin(f->index, cut->time_ms, &first, &failure);
    if (failure.code != ERR_NONE)
        say(f, true, "%s", failure.message);
    if (rc < 0)
        return;
    cut_index_append(
        f->index, json_pack("{s:s, s:I, s:o}", "time", clock_format(cut->time_ms, time), "time_ms",
                      (json_int_t)cut->time_ms, "shards", shards_of(f, cut, first)));
    f->status.last_cut_ms = cut->time_ms;
    if (f->pending.time_ms)
        return;
    f->pending.time_ms = cut->time_ms;
    for (size_t i = 0; i < f->count; i++)
        f->pending.places[i] = cut->shards[i].place;
}

/* Whether the oldest cut that was waited for is archived as a whole. */
static void look_at_pending(struct follow *f)
{
    for (size_t i = 0; i < f->count && f->pending.time_ms; i++) {
        const struct repl_place *wanted = &f->pending.places[i], *there = &f->lines[i].archived;
        bool reached = strcmp(wanted->id, there->id) == 0 && there->offset >= wanted->offset;
        if (!reached && strcmp(wanted->id, there->id) == 0)
            return;
        if (!reached) {
            f->pending.time_ms = there->id[0] ? 0 : f->pending.time_ms; /* another history now */
            return;
        }
    }
    if (f->pending.time_ms)
        f->status.archived_ms = f->pending.time_ms;
    f->pending.time_ms = 0;
}

static int find_cut(struct follow *f, struct err *err)
{
    struct cut cut = {.shards = xcalloc(f->count, sizeof(*cut.shards))};
    struct err failure = ERR_INIT;

    f->cut_at_ms = clock_mono_ms() + f->params->cuts_ms;
    if (cut_find(f->offsets, f->count, CUT_MS, &cut, &failure) == 0) {
        if (f->cut_trouble)
            say(f, false, "moments are found again");
        f->cut_trouble = false;
        add_cut(f, &cut);
        free(cut.shards);
        return 0;
    }
    free(cut.shards);
    if (!f->cut_trouble)
        say(f, true, "%s", failure.message);
    f->cut_trouble = true;
    return clock_mono_ms() >= f->look_at_ms ? look_again(f, err) : 0;
}

/* --- all together --- */

static void tell_status(struct follow *f)
{
    int64_t now_ms = clock_mono_ms();

    if (!f->params->status || now_ms - f->told_ms < 1000)
        return;
    f->told_ms = now_ms;
    f->status.shards = f->count;
    f->status.streaming = 0;
    f->status.waiting_bytes = 0;
    for (size_t i = 0; i < f->count; i++) {
        f->status.streaming += f->lines[i].streaming;
        f->status.waiting_bytes += f->lines[i].waiting;
    }
    f->params->status(f->params->arg, &f->status);
}

static bool all_stream(const struct follow *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (!f->lines[i].streaming)
            return false;
    return true;
}

static bool runs(const struct follow *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->lines[i].call)
            return true;
    return false;
}

static enum job_step pump_step(void *arg, struct wait *wait, struct err *err)
{
    struct follow *f = arg;

    if (f->stop_at_ms) {
        wait_until(wait, f->stop_at_ms);
        return runs(f) && clock_mono_ms() < f->stop_at_ms ? JOB_WAIT : JOB_DONE;
    }
    if (f->failure.code != ERR_NONE) {
        *err = f->failure;
        return JOB_FAIL;
    }
    if (run_lines(f, wait, err) < 0)
        return JOB_FAIL;
    /* A moment before the streams have begun could never be recovered. */
    if (all_stream(f) && clock_mono_ms() >= f->cut_at_ms && find_cut(f, err) < 0)
        return JOB_FAIL;
    look_at_pending(f);
    if (clock_mono_ms() >= f->index_at_ms)
        save_index(f);
    tell_status(f);
    wait_until(wait, f->cut_at_ms > clock_mono_ms() ? f->cut_at_ms : clock_mono_ms() + 100);
    return JOB_WAIT;
}

static void pump_done(void *arg, const struct err *err)
{
    struct follow *f = arg;

    if (err->code != ERR_NONE && f->failure.code == ERR_NONE)
        f->failure = *err;
    f->pump = NULL;
    loop_stop(f->loop);
}

static const struct job_ops pump_ops = {"an archive", pump_step, pump_done};

static void wake_pump(void *arg)
{
    wake(arg);
}

/* What is not archived in the time stays in the folder: the next run goes on from there. */
static int stop_lines(struct follow *f, struct err *err)
{
    f->stop_at_ms = clock_mono_ms() + STOP_MS;
    for (size_t i = 0; i < f->count; i++)
        if (f->lines[i].call)
            tell_line(&f->lines[i], "stop");
    if (!f->pump)
        return 0;
    loop_wake(f->loop, f->pump);
    return loop_run(f->loop, err);
}

static int run_loop(struct follow *f, struct err *err)
{
    f->agents = agents_new(f->params->backup, f->loop, wake_pump, f);
    if (f->params->backup->stop_fd >= 0)
        loop_interrupt_fd(f->loop, f->params->backup->stop_fd);
    f->pump = loop_add(f->loop, &pump_ops, f);
    int rc = loop_run(f->loop, err);
    bool stopped = loop_interrupted(f->loop);
    if (rc == 0 &&
        f->failure.code == ERR_CHANGED) /* a stream that is not wanted any more ends whole */
        f->pump = loop_add(f->loop, &pump_ops, f);
    if (rc == 0 && (stopped || f->failure.code == ERR_CHANGED))
        rc = stop_lines(f, err);
    save_index(f);
    agents_free(f->agents);
    if (rc == 0 && f->failure.code != ERR_NONE && !stopped) {
        *err = f->failure;
        rc = -1;
    }
    return rc;
}

static void release(struct follow *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->lines[i].trouble);
    }
    free(f->lines);
    free(f->pending.places);
    cut_index_free(f->index);
    offsets_close(f->offsets);
    loop_free(f->loop);
}

/* The names that an earlier run gave to the streams of these slots. */
static int name_lines(struct follow *f, struct err *err)
{
    const struct slots **slots = xcalloc(f->count, sizeof(*slots));
    char(*names)[MANIFEST_WORD_MAX] = xcalloc(f->count, sizeof(*names));

    for (size_t i = 0; i < f->count; i++) {
        slots[i] = f->lines[i].shard->slots;
        manifest_word(f->lines[i].shard->uid, names[i]);
    }
    int rc = lines_name(f->params->folder, slots, f->count, names, err);
    for (size_t i = 0; i < f->count; i++)
        strcpy(f->lines[i].uid, names[i]);
    free(slots);
    free(names);
    return rc;
}

/* How old the last data set is that an earlier run took is not known here. */
static int64_t first_base_ms(const struct archive_params *params)
{
    int64_t wait_ms = params->base_ms < KNOWN_BASE_MS ? params->base_ms : KNOWN_BASE_MS;

    return params->base_ms ? clock_mono_ms() + wait_ms : INT64_MAX;
}

int archive_follow(
    const struct archive_params *params, struct backup_shards *first, struct err *err)
{
    struct follow f = {
        .params = params,
        .shards = first,
        .loop = loop_new(),
        .lines = xcalloc(first->count, sizeof(*f.lines)),
        .count = first->count,
        .index = cut_index_new(params->backup->store, first->db),
        .pending.places = xcalloc(first->count, sizeof(*f.pending.places)),
    };

    for (size_t i = 0; i < f.count; i++)
        f.lines[i] = (struct line){.f = &f,
            .shard = &first->shards[i],
            .base_at_ms = first_base_ms(params),

            .base_offset = -1,
            .archived_db = -1};
    int rc = name_lines(&f, err);
    if (rc == 0) {
        find_primaries(&f);
        rc = run_loop(&f, err);
    }
    release(&f);
    return rc;
}
