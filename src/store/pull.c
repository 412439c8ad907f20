#include "recluster/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/rdb_split.h"
#include "transfer.h"
#include "unpack.h"

enum { WRITE_BYTES = 1 << 20, PROGRESS_MS = 200 };

/* The way from the store to plain bytes. */
struct reading {
    const struct pull_params *params;
    struct store_object object;
    struct unpack *unpack;
    int64_t stored_bytes; /* that have come */
    int64_t before_bytes; /* of files before this one */
    int64_t told_ms;      /* of the last call of progress */
    char *keep_path;      /* of the stored bytes; NULL: they are not kept */
    bool resumed;         /* kept bytes were used */
};

struct puller {
    const struct pull_params *params;
    struct pull_params input; /* the same, of the present one of several files */
    struct reading reading;
    struct rdb_scan *scan;
    struct rdb_split *split; /* NULL: the file is written as it is */
    json_t *files;           /* of the facts' "source" */
    uint64_t keys_before;    /* of files before this one */
    char *part_path;         /* NULL: nothing is written */
    bool kept_is_out;        /* the kept bytes take the place of the part */
    int fd;
    char *out; /* WRITE_BYTES, filled up to out_len */
    size_t out_len;
};

static int check_size(const struct reading *r, int64_t bytes, struct err *err)
{
    int64_t expected = r->params->expected_bytes;
    if (bytes < 0 || expected < 0 || bytes == expected)
        return 0;
    err_set(err, ERR_CORRUPT, "it has %lld bytes instead of %lld", (long long)bytes,
        (long long)expected);
    return err_hint(err, "The file was changed since the plan was made: plan again.");
}

/* For what is wrong with the bytes: errors of the store and of the disk name their files. */
static int name_file(const struct reading *r, struct err *err)
{
    return err_wrap(err, "'%s' in '%s'", r->params->name, store_label(r->params->store));
}

/* Bytes as they are stored. */
static int on_stored(void *arg, const void *data, size_t len, struct err *err)
{
    struct reading *r = arg;

    if (r->stored_bytes == 0 && check_size(r, r->object.bytes, err) < 0)
        return name_file(r, err);
    r->stored_bytes += (int64_t)len;
    int64_t now_ms = clock_mono_ms();
    if (r->params->progress && now_ms - r->told_ms >= PROGRESS_MS) {
        r->told_ms = now_ms;
        r->params->progress(r->params->arg, r->before_bytes + r->stored_bytes,
            r->params->more_count ? -1 : r->object.bytes);
    }
    return unpack_feed(r->unpack, data, len, err) < 0 ? name_file(r, err) : 0;
}

/* Reads the whole file; its plain bytes go to the sink. Release with unpack_free(). */
static int read_plain(struct reading *r, store_sink sink, void *arg, struct err *err)
{
    const struct pull_params *params = r->params;

    r->object.bytes = -1;
    r->unpack = unpack_new(sink, arg);
    const struct transfer transfer = {.store = params->store,
        .name = params->name,
        .keep_path = r->keep_path,
        .sha256 = params->sha256,
        .sink = on_stored,
        .arg = r};
    bool resumed;
    int rc = transfer_run(&transfer, &r->object, &resumed, err);
    r->resumed |= resumed;
    if (rc < 0)
        return -1;
    if (unpack_end(r->unpack, err) < 0 || check_size(r, r->stored_bytes, err) < 0)
        return name_file(r, err);
    return 0;
}

static void tell_end(const struct reading *r)
{
    int64_t bytes = r->before_bytes + r->stored_bytes;

    if (r->params->progress)
        r->params->progress(r->params->arg, bytes, bytes);
}

int pull_plain(const struct pull_params *params, store_sink sink, void *arg, struct err *err)
{
    struct reading r = {.params = params};
    int rc = read_plain(&r, sink, arg, err);

    if (rc == 0)
        tell_end(&r);
    unpack_free(r.unpack);
    return rc;
}

/* Where the stored bytes of one of the files are kept. */
static char *keep_path(const struct pull_params *params, size_t file)
{
    return params->resume ? xasprintf("%s.fetch%zu", params->out_path, file) : NULL;
}

static void forget_kept(const struct pull_params *params)
{
    for (size_t i = 0; params->resume && i <= params->more_count; i++) {
        CLEANUP(free_ptr) char *path = keep_path(params, i);
        transfer_forget(path);
    }
}

static int flush_out(struct puller *p, struct err *err)
{
    size_t len = p->out_len;
    p->out_len = 0;
    return file_write_all(p->fd, p->out, len, p->part_path, err);
}

static int add_out(struct puller *p, const void *data, size_t len, struct err *err)
{
    const char *from = data;

    while (p->part_path && len) {
        size_t room = WRITE_BYTES - p->out_len;
        size_t n = len < room ? len : room;
        memcpy(p->out + p->out_len, from, n);
        p->out_len += n;
        from += n;
        len -= n;
        if (p->out_len == WRITE_BYTES && flush_out(p, err) < 0)
            return -1;
    }
    return 0;
}

/* The lock tells a writer that waits from one that is gone. */
static int lock_part(const struct puller *p, struct err *err)
{
    return flock(p->fd, LOCK_EX | LOCK_NB) < 0
               ? err_sys(err, ERR_IO, "cannot lock '%s'", p->part_path)
               : 0;
}

/* What is kept is the file already: the part becomes another name of it. */
static int share_kept(struct puller *p, struct err *err)
{
    p->kept_is_out = true;
    close(p->fd);
    p->fd = -1;
    unlink(p->part_path);
    if (link(p->reading.keep_path, p->part_path) < 0)
        return err_sys(err, ERR_IO, "cannot link '%s' to '%s'", p->reading.keep_path, p->part_path);
    p->fd = open(p->part_path, O_RDWR | O_CLOEXEC);
    if (p->fd < 0)
        return err_sys(err, ERR_IO, "cannot open '%s'", p->part_path);
    return lock_part(p, err);
}

/* Plain bytes: to the scan, and into the file. */
static int on_plain(void *arg, const void *data, size_t len, struct err *err)
{
    struct puller *p = arg;

    if (p->split)
        return rdb_split_feed(p->split, data, len, err);
    if (rdb_scan_feed(p->scan, data, len, err) < 0)
        return -1;
    if (!p->kept_is_out && p->reading.keep_path &&
        strcmp(unpack_compression(p->reading.unpack), "none") == 0 && share_kept(p, err) < 0)
        return -1;
    return p->kept_is_out ? 0 : add_out(p, data, len, err);
}

/* Bytes of the changed file. */
static int on_split(void *arg, size_t output, const void *data, size_t len, struct err *err)
{
    (void)output;
    return add_out(arg, data, len, err);
}

static int on_split_patch(
    void *arg, size_t output, uint64_t offset, const void *data, size_t len, struct err *err)
{
    struct puller *p = arg;
    const char *from = data;

    (void)output;
    if (!p->part_path)
        return 0;
    if (flush_out(p, err) < 0)
        return -1;
    while (len) {
        ssize_t n = pwrite(p->fd, from, len, (off_t)offset);
        if (n < 0 && errno != EINTR)
            return err_sys(err, ERR_IO, "cannot write '%s'", p->part_path);
        if (n > 0) {
            from += n;
            offset += (uint64_t)n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int start_reading(struct puller *p, struct err *err)
{
    const struct pull_params *params = p->params;

    if (!params->keep && !params->stamp && !params->more_count) {
        p->scan = rdb_scan_new(&params->scan);
        return 0;
    }
    struct rdb_scan_options options = params->scan;
    options.sha256 = false;
    p->scan = rdb_scan_new(&options);
    const struct rdb_split_output output = {.slots = params->keep, .scan = p->scan};
    const struct rdb_split_params split = {
        .outputs = &output,
        .count = 1,
        .whole = !params->keep && !params->more_count,
        .stamp = params->stamp,
        .limits = params->scan.limits,
        .write = on_split,
        .patch = on_split_patch,
        .arg = p,
    };
    p->split = rdb_split_new(&split, err);
    return p->split ? 0 : -1;
}

static int end_reading(struct puller *p, struct err *err)
{
    return p->split ? rdb_split_end(p->split, err) : rdb_scan_end(p->scan, err);
}

static int open_part(struct puller *p, struct err *err)
{
    if (!p->params->out_path)
        return 0;
    char *path = xasprintf("%s.part", p->params->out_path);
    /* A leftover of a crash: start anew. */
    unlink(path);
    p->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (p->fd < 0) {
        err_sys(err, ERR_IO, "cannot create '%s'", path);
        free(path);
        return -1;
    }
    p->part_path = path;
    p->out = xmalloc(WRITE_BYTES);
    return lock_part(p, err);
}

/* Gives the file its final name, once it is on the disk. The lock stays until nothing can fail. */
static int finish_part(struct puller *p, struct err *err)
{
    const char *path = p->params->out_path;
    CLEANUP(free_ptr) char *dir = path_dir(path);

    if (flush_out(p, err) < 0)
        return -1;
    if (fsync(p->fd) < 0)
        return err_sys(err, ERR_IO, "cannot sync '%s'", p->part_path);
    forget_kept(p->params);
    if (rename(p->part_path, path) < 0)
        return err_sys(err, ERR_IO, "cannot rename '%s' to '%s'", p->part_path, path);
    if (dir_sync(dir, err) < 0) {
        unlink(path); /* it may be gone after a crash: then it must not be counted on */
        return -1;
    }
    return 0;
}

static json_t *source_json(const struct puller *p)
{
    struct rdb_split_source source;

    rdb_split_source(p->split, &source);
    return json_pack("{s:O, s:I, s:I, s:I, s:I, s:s, s:{s:i, s:o}}", "files", p->files, "bytes",
        (json_int_t)source.bytes, "keys", (json_int_t)source.keys, "expires",
        (json_int_t)source.expires, "left_out", (json_int_t)source.left_out, "checksum",
        rdb_checksum_name(source.checksum), "slots", "covered", (int)slots_count(&source.slots),
        "ranges", slots_to_json(&source.slots));
}

static json_t *facts_of(const struct puller *p)
{
    const struct reading *r = &p->reading;
    int64_t last_bytes = r->object.bytes >= 0 ? r->object.bytes : r->stored_bytes;
    int64_t bytes = r->before_bytes + last_bytes;
    json_t *facts = rdb_scan_json(p->scan);

    json_object_set_new(facts, "compressed", json_string(unpack_compression(r->unpack)));
    json_object_set_new(facts, "stored_bytes", json_integer(bytes));
    if (p->split) {
        const char *id = rdb_split_facts(p->split, 0)->repl_id;
        json_object_set_new(facts, "source", source_json(p));
        if (*id)
            json_object_set_new(facts, "repl_id", json_string(id));
    }
    return facts;
}

/* The caller's own checks. */
static int check_facts(const struct puller *p, struct err *err)
{
    if (!p->params->check)
        return 0;
    json_t *facts = facts_of(p);
    int rc = p->params->check(p->params->arg, facts, err);
    json_decref(facts);
    return rc;
}

static void count_file(struct puller *p)
{
    struct rdb_split_source source;

    if (!p->split)
        return;
    rdb_split_source(p->split, &source);
    json_array_append_new(p->files, json_pack("{s:s, s:I}", "name", p->reading.params->name, "keys",
                                        (json_int_t)(source.keys - p->keys_before)));
    p->keys_before = source.keys;
}

/* The files behind the first one. */
static int read_more(struct puller *p, struct err *err)
{
    for (size_t i = 0; i < p->params->more_count; i++) {
        if (rdb_split_next(p->split, err) < 0)
            return name_file(&p->reading, err);
        count_file(p);
        p->reading.before_bytes += p->reading.stored_bytes;
        p->reading.stored_bytes = 0;
        unpack_free(p->reading.unpack);
        p->reading.unpack = NULL;
        p->input = *p->params;
        if (p->params->more[i].store)
            p->input.store = p->params->more[i].store;
        p->input.name = p->params->more[i].name;
        p->input.expected_bytes = p->params->more[i].expected_bytes;
        p->input.sha256 = p->params->more[i].sha256;
        free(p->reading.keep_path);
        p->reading.keep_path = keep_path(p->params, i + 1);
        p->reading.params = &p->input;
        if (read_plain(&p->reading, on_plain, p, err) < 0)
            return -1;
    }
    return 0;
}

static int pull_all(struct puller *p, struct err *err)
{
    if (read_plain(&p->reading, on_plain, p, err) < 0 || read_more(p, err) < 0)
        return -1;
    if (end_reading(p, err) < 0)
        return name_file(&p->reading, err);
    count_file(p);
    if (check_facts(p, err) < 0)
        return name_file(&p->reading, err);
    tell_end(&p->reading);
    return p->part_path ? finish_part(p, err) : 0;
}

/* Whether what has come is worth keeping. */
static bool may_pass(enum err_code code)
{
    return err_code_is_retried(code) || code == ERR_CANCELLED || code == ERR_SERVER;
}

/*
 * Whether a second try that begins at the first byte makes sense: it may be the kept bytes that are
 * bad; the object was changed; the line was cut, and the store gives nothing to go on by.
 */
static bool is_worth_another(const struct reading *r, enum err_code code)
{
    return code == ERR_CHANGED || (code == ERR_CORRUPT && r->resumed) ||
           (err_code_is_retried(code) && r->stored_bytes && !r->object.validator[0]);
}

/* ret_again: it failed, and is worth another try. */
static int pull_once(
    const struct pull_params *params, json_t **ret_facts, bool *ret_again, struct err *err)
{
    struct puller p = {.params = params, .reading.params = params, .fd = -1};

    *ret_facts = NULL;
    *ret_again = false;
    if (open_part(&p, err) < 0)
        return -1;
    p.reading.keep_path = keep_path(params, 0);
    p.files = json_array();
    int rc = start_reading(&p, err);
    if (rc == 0)
        rc = pull_all(&p, err);
    if (rc < 0 && p.part_path)
        unlink(p.part_path);
    if (rc == 0 || !may_pass(err->code))
        forget_kept(params);
    if (p.reading.before_bytes + p.reading.stored_bytes)
        *ret_facts = facts_of(&p);
    *ret_again = rc < 0 && is_worth_another(&p.reading, err->code);
    if (p.fd >= 0)
        close(p.fd);
    unpack_free(p.reading.unpack);
    rdb_split_free(p.split);
    rdb_scan_free(p.scan);
    json_decref(p.files);
    free(p.reading.keep_path);
    free(p.part_path);
    free(p.out);
    return rc;
}

int pull(const struct pull_params *params, json_t **ret_facts, struct err *err)
{
    bool again;
    struct err failure = ERR_INIT;

    if (pull_once(params, ret_facts, &again, &failure) == 0)
        return 0;
    if (again) {
        forget_kept(params);
        json_decref(*ret_facts);
        return pull_once(params, ret_facts, &again, err);
    }
    *err = failure;
    return -1;
}
