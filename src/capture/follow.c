/* capture_follow(): period by period. */

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "document.h"
#include "recluster/capture.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/sealed.h"
#include "spool.h"

enum { SIGN_MS = 60 * 1000, TIDY_MS = 3600 * 1000, FILE_BYTES_MAX = 64 << 20 };

/* One location. */
struct target {
    bool current;      /* it has the newest file */
    bool failing;      /* which was told */
    bool unspooled;    /* its dated copy of the newest file is not in the spool */
    int64_t signed_ms; /* when the sign was last written; monotonic; 0: not yet */
    int64_t tidied_ms; /* the same, for copies that are no longer kept */
};

struct follow {
    const struct capture_follow_params *params;
    struct spool spool;
    struct target *targets;
    struct buf file;             /* the newest; empty: none yet */
    struct buf sealed;           /* the same as it is written: encrypted if that is wanted */
    char digest[DIGEST_HEX_MAX]; /* of the servers when it was made; "": not known */
    int64_t file_ms;             /* when it was made */
    int64_t true_ms;             /* when it was last found to be true */
    size_t servers, answered;
    char *unsettled; /* NULL: it is settled */
    bool failing;    /* no server could be asked, which was told */
    uint64_t captures, failures;
};

static void tell(const struct follow *f, bool warning, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void tell(const struct follow *f, bool warning, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *text = xvasprintf(fmt, args);
    va_end(args);
    if (f->params->tell)
        f->params->tell(f->params->arg, warning, text);
}

/* --- what a location had before --- */

/* The newest of the locations' files and the spool's own copy. */
static int find_before(struct follow *f, struct err *err)
{
    AUTO_FREE char *own = path_join(f->params->spool, CAPTURE_FILE_NAME);
    CLEANUP(buf_release) struct buf spooled = BUF_INIT;
    struct err failure = ERR_INIT, damaged = ERR_INIT;
    int64_t saved_ms;
    int rc = capture_get_newest(
        f->params->stores, f->params->store_count, f->params->key, &f->file, &f->file_ms, &failure);

    if (file_exists(own) && file_read(own, FILE_BYTES_MAX, &spooled, err) < 0)
        return -1;
    if (spooled.len && capture_check_file(&spooled, &saved_ms, &damaged) == 0 &&
        saved_ms > f->file_ms) {
        buf_release(&f->file);
        f->file = spooled;
        buf_init(&spooled);
        f->file_ms = saved_ms;
    }
    if (rc < 0 && !f->file.len)
        *err = failure;
    return rc < 0 && !f->file.len ? -1 : 0;
}

static int take_before(struct follow *f, struct err *err)
{
    struct document before;

    if (find_before(f, err) < 0)
        return -1;
    if (!f->file.len)
        return 0;
    document_init(&before);
    int rc = document_read(&before, (struct rdb_bytes){f->file.data, f->file.len}, err);
    if (rc == 0) {
        const struct hash *cluster = document_get(&before, "cluster", NULL);
        const char *digest = hash_get(cluster, "capture_digest");
        const char *at = hash_get(cluster, "captured_at");
        struct err ignored = ERR_INIT;
        snprintf(f->digest, sizeof(f->digest), "%s", digest ? digest : "");
        if (at)
            (void)!clock_parse(at, &f->file_ms, &ignored);
    }
    document_release(&before);
    return rc < 0 ? err_wrap(err, "the CCS file that is at the location") : 0;
}

/* --- asking --- */

static int seal(const struct follow *f, const struct buf *file, struct buf *ret, struct err *err)
{
    if (f->params->recipients)
        return sealed_seal(f->params->recipients, file, ret, err);
    buf_add(ret, file->data, file->len);
    return 0;
}

/* A new file: first into the spool. Empties `file`. */
static int keep_file(struct follow *f, struct buf *file, int64_t made_ms, struct err *err)
{
    AUTO_FREE char *own = path_join(f->params->spool, CAPTURE_FILE_NAME);
    CLEANUP(buf_release) struct buf sealed = BUF_INIT;
    struct err failure = ERR_INIT;
    char name[CAPTURE_NAME_MAX];

    capture_dated_name(made_ms, name);
    if (seal(f, file, &sealed, err) < 0)
        return -1;
    /* The locations get the file even if the spool's disk is full or broken. */
    bool spooled = spool_add(&f->spool, name, &sealed, &failure) == 0 &&
                   file_write_atomic(own, file->data, file->len, 0600, &failure) == 0;
    if (!spooled)
        tell(f, true, "%s; the file is written to the locations directly, but cannot wait for them",
            failure.message);
    buf_release(&f->file);
    f->file = *file;
    buf_init(file);
    buf_release(&f->sealed);
    f->sealed = sealed;
    buf_init(&sealed);
    f->file_ms = made_ms;
    f->captures++;
    for (size_t i = 0; i < f->params->store_count; i++)
        f->targets[i] = (struct target){.failing = f->targets[i].failing,
            .signed_ms = f->targets[i].signed_ms,
            .tidied_ms = f->targets[i].tidied_ms,
            .unspooled = !spooled};
    return 0;
}

static int make_file(struct follow *f, struct live *live, const char *unsettled, struct err *err)
{
    struct capture_params make = *f->params->capture;
    CLEANUP(buf_release) struct buf file = BUF_INIT;

    make.before = (struct rdb_bytes){f->file.len ? f->file.data : NULL, f->file.len};
    make.unsettled = unsettled;
    if (capture_make(live, &make, &file, err) < 0 || keep_file(f, &file, live->asked_ms, err) < 0)
        return -1;
    live_digest(live, f->digest);
    return 0;
}

static void note(struct follow *f, const struct live *live, const char *unsettled)
{
    f->servers = live->count;
    f->answered = 0;
    for (size_t i = 0; i < live->count; i++)
        f->answered += live->servers[i]->answered;
    free(f->unsettled);
    f->unsettled = unsettled ? xstrdup(unsettled) : NULL;
}

/* The newest of the files that the cluster writes itself. */
static int look_at_files(struct follow *f, struct err *err)
{
    CLEANUP(buf_release) struct buf file = BUF_INIT;
    int64_t saved_ms;
    bool taken;

    if (capture_take(
            f->params->files, f->params->file_count, f->file_ms, &file, &saved_ms, &taken, err) < 0)
        return -1;
    f->servers = f->params->file_count;
    f->answered = 0;
    for (size_t i = 0; i < f->params->file_count; i++)
        f->answered += f->params->files[i].error.code == ERR_NONE;
    f->true_ms = clock_wall_ms();
    if (!taken || (file.len == f->file.len && memcmp(file.data, f->file.data, file.len) == 0))
        return 0;
    digest_of(file.data, file.len, f->digest);
    return keep_file(f, &file, saved_ms, err);
}

/* Nothing is written as long as the answers are those of the newest file. */
static int look(struct follow *f, struct err *err)
{
    char digest[DIGEST_HEX_MAX];
    const char *unsettled;
    struct live *live;
    int rc = 0;

    if (f->params->files)
        return look_at_files(f, err);
    if (live_ask(f->params->live, &live, err) < 0)
        return -1;
    live_digest(live, digest);
    if (strcmp(digest, f->digest) != 0) {
        live_free(live);
        if (capture_settled(f->params->live, f->params->wait_ms, &live, &unsettled, err) < 0)
            return -1;
        live_digest(live, digest);
        note(f, live, unsettled);
        if (strcmp(digest, f->digest) != 0)
            rc = make_file(f, live, unsettled, err);
    } else {
        note(f, live, live_unsettled(live));
    }
    if (rc == 0)
        f->true_ms = live->asked_ms;
    live_free(live);
    return rc;
}

/* --- writing --- */

static void sign_text(const struct follow *f, struct buf *out)
{
    char at[CLOCK_TEXT_MAX], made[CLOCK_TEXT_MAX], sha256[DIGEST_HEX_MAX];

    digest_of(f->sealed.data, f->sealed.len, sha256);
    json_t *sign = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:o?}", "at",
        clock_format(f->true_ms, at), "captured_at", clock_format(f->file_ms, made), "sha256",
        sha256, "digest", f->digest, "servers", (json_int_t)f->servers, "answered",
        (json_int_t)f->answered, "unsettled", f->unsettled ? json_text_of(f->unsettled) : NULL);
    char *text = json_dumps(sign, JSON_INDENT(1));
    buf_addf(out, "%s\n", text ? text : "{}");
    free(text);
    json_decref(sign);
}

static int by_newest(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Removes copies that no rule keeps; other files are left alone. */
static int tidy(const struct follow *f, struct store *s, struct err *err)
{
    struct store_list list = STORE_LIST_INIT;
    int64_t *times, time_ms;
    size_t count = 0;
    int rc = 0;

    if (store_list(s, &list, err) < 0)
        return -1;
    times = xcalloc(list.count + 1, sizeof(*times));
    for (size_t i = 0; i < list.count; i++)
        if (capture_dated_time(list.entries[i].name, &time_ms))
            times[count++] = time_ms;
    if (count)
        qsort(times, count, sizeof(*times), by_newest);
    bool *kept = xcalloc(count + 1, sizeof(*kept));
    capture_keep_choose(&f->params->keep, clock_wall_ms(), times, count, kept);
    for (size_t i = 0; i < count && rc == 0; i++) {
        char name[CAPTURE_NAME_MAX];
        capture_dated_name(times[i], name);
        if (!kept[i])
            rc = store_remove(s, name, err);
    }
    free(times);
    free(kept);
    store_list_release(&list);
    return rc;
}

/* A location may have lost the newest file since, or another program may have replaced it. */
static int check_newest(struct follow *f, struct target *t, struct store *s, struct err *err)
{
    struct err failure = ERR_INIT;

    if (capture_has(s, CAPTURE_FILE_NAME, &f->sealed, &t->current, &failure) < 0 &&
        failure.code != ERR_NOT_FOUND) {
        *err = failure;
        return -1;
    }
    t->current &= failure.code == ERR_NONE;
    if (!t->current)
        tell(f, true, "'%s' no longer has the newest '%s': writing it again", store_label(s),
            CAPTURE_FILE_NAME);
    return 0;
}

/* The newest file first: it is the one that a recovery needs. */
static int write_to(struct follow *f, size_t i, struct err *err)
{
    struct target *t = &f->targets[i];
    struct store *s = f->params->stores[i];
    int64_t now_ms = clock_mono_ms();
    bool changed = !t->current;

    if (t->unspooled) {
        char name[CAPTURE_NAME_MAX];
        capture_dated_name(f->file_ms, name);
        if (capture_put(s, name, &f->sealed, err) < 0)
            return -1;
        t->unspooled = false;
    }
    if (t->current && now_ms - t->signed_ms >= SIGN_MS && check_newest(f, t, s, err) < 0)
        return -1;
    if (!t->current && f->file.len) {
        if (capture_put(s, CAPTURE_FILE_NAME, &f->sealed, err) < 0)
            return -1;
        t->current = true;
    }
    if (spool_send(&f->spool, i, err) < 0)
        return -1;
    if (f->file.len && f->true_ms && (changed || now_ms - t->signed_ms >= SIGN_MS)) {
        CLEANUP(buf_release) struct buf sign = BUF_INIT;
        sign_text(f, &sign);
        if (capture_put(s, CAPTURE_SIGN_NAME, &sign, err) < 0)
            return -1;
        t->signed_ms = now_ms;
    }
    if (f->params->keep.count && (!t->tidied_ms || now_ms - t->tidied_ms >= TIDY_MS)) {
        if (tidy(f, s, err) < 0)
            return err_wrap(err, "cannot remove old copies from '%s'", store_label(s));
        t->tidied_ms = now_ms;
    }
    return 0;
}

static void write_all(struct follow *f)
{
    for (size_t i = 0; i < f->params->store_count; i++) {
        struct target *t = &f->targets[i];
        struct err err = ERR_INIT;
        bool fails = write_to(f, i, &err) < 0;
        if (fails && !t->failing)
            tell(f, true, "%s; copies wait in '%s' until it works", err.message, f->spool.path);
        else if (!fails && t->failing)
            tell(f, false, "'%s' can be written to again", store_label(f->params->stores[i]));
        t->failing = fails;
    }
}

/* --- metrics --- */

static void add_metric(struct buf *out, const char *name, const char *help, int64_t value)
{
    buf_addf(out,
        "# HELP recluster_capture_%s %s\n# TYPE recluster_capture_%s gauge\n"
        "recluster_capture_%s %" PRId64 "\n",
        name, help, name, name, value);
}

static void write_metrics(struct follow *f)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT;
    struct err err = ERR_INIT;

    if (!f->params->metrics)
        return;
    add_metric(&out, "true_timestamp_seconds", "When the newest file was last found to be true.",
        f->true_ms / 1000);
    add_metric(&out, "file_timestamp_seconds", "When the newest file was made.", f->file_ms / 1000);
    add_metric(&out, "servers", "Servers of the cluster.", (int64_t)f->servers);
    add_metric(&out, "servers_silent", "Servers that did not answer.",
        (int64_t)(f->servers - f->answered));
    add_metric(&out, "unsettled", "1 while the cluster is being changed.", f->unsettled != NULL);
    add_metric(&out, "files_total", "Files made since the start.", (int64_t)f->captures);
    add_metric(&out, "failures_total", "Times that no server could be asked since the start.",
        (int64_t)f->failures);
    buf_adds(&out, "# HELP recluster_capture_waiting Copies that wait for the location.\n"
                   "# TYPE recluster_capture_waiting gauge\n");
    for (size_t i = 0; i < f->params->store_count; i++)
        buf_addf(&out, "recluster_capture_waiting{location=\"%zu\"} %zu\n", i + 1,
            spool_waiting(&f->spool, i));
    if (file_write_atomic(f->params->metrics, out.data, out.len, 0644, &err) < 0)
        tell(f, true, "%s", err.message);
}

/* --- the periods --- */

static void one_period(struct follow *f)
{
    struct err err = ERR_INIT;
    bool fails = look(f, &err) < 0;

    f->failures += fails;
    if (fails && !f->failing)
        tell(f, true, "%s; asking again every %" PRId64 " s", err.message,
            f->params->every_ms / 1000);
    else if (!fails && f->failing)
        tell(f, false, "the cluster answers again");
    f->failing = fails;
    write_all(f);
    write_metrics(f);
}

/* true: to be stopped. */
static bool wait_for_period(const struct follow *f, int64_t until_ms)
{
    struct pollfd stop = {.fd = f->params->stop_fd, .events = POLLIN};
    int64_t left_ms = until_ms - clock_mono_ms();

    return poll(&stop, 1, left_ms > 0 ? (int)left_ms : 0) > 0;
}

int capture_follow(const struct capture_follow_params *params, struct err *err)
{
    struct follow f = {
        .params = params, .file = BUF_INIT, .sealed = BUF_INIT, .spool = {.lock = -1}};

    f.targets = xcalloc(params->store_count, sizeof(*f.targets));
    int rc = spool_open(&f.spool, params->spool, params->stores, params->store_count, err);
    if (rc == 0)
        rc = take_before(&f, err);
    if (rc == 0 && f.file.len)
        rc = seal(&f, &f.file, &f.sealed, err);
    /* The first look must work: a wrong address or login would else be told in a log alone. */
    if (rc == 0)
        rc = look(&f, err);
    if (rc == 0) {
        tell(&f, false, "%zu of %zu %s; the CCS file is of %s", f.answered, f.servers,
            params->files ? "files can be read" : "servers answer",
            f.captures ? "now" : "an earlier capture, and still true");
        write_all(&f);
        write_metrics(&f);
        for (int64_t next_ms = clock_mono_ms() + params->every_ms; !wait_for_period(&f, next_ms);) {
            int64_t now_ms = clock_mono_ms();
            one_period(&f);
            next_ms += params->every_ms;
            if (next_ms < now_ms)
                next_ms = now_ms + params->every_ms;
        }
    }
    spool_close(&f.spool);
    buf_release(&f.file);
    buf_release(&f.sealed);
    free(f.unsettled);
    free(f.targets);
    return rc;
}
