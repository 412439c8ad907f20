#include "recluster/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/file.h"
#include "unpack.h"

enum { WRITE_BYTES = 1 << 20, PROGRESS_MS = 200 };

struct puller {
    const struct pull_params *params;
    struct store_object object;
    struct unpack *unpack;
    struct rdb_scan *scan;
    int64_t stored_bytes; /* that have come */
    int64_t told_ms;      /* of the last call of progress */
    char *part_path;      /* NULL: nothing is written */
    int fd;
    char *out; /* WRITE_BYTES, filled up to out_len */
    size_t out_len;
};

static int flush_out(struct puller *p, struct err *err)
{
    size_t len = p->out_len;
    p->out_len = 0;
    return file_write_all(p->fd, p->out, len, p->part_path, err);
}

/* Plain bytes: to the scan, and into the file. */
static int on_plain(void *arg, const void *data, size_t len, struct err *err)
{
    struct puller *p = arg;
    const char *from = data;

    if (rdb_scan_feed(p->scan, data, len, err) < 0)
        return -1;
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

static int check_size(const struct puller *p, int64_t bytes, struct err *err)
{
    int64_t expected = p->params->expected_bytes;
    if (bytes < 0 || expected < 0 || bytes == expected)
        return 0;
    err_set(err, ERR_CORRUPT, "it has %lld bytes instead of %lld", (long long)bytes,
        (long long)expected);
    return err_hint(err, "The file was changed since the plan was made: plan again.");
}

/* For what is wrong with the bytes: errors of the store and of the disk name their files. */
static int name_file(const struct puller *p, struct err *err)
{
    return err_wrap(err, "'%s' in '%s'", p->params->name, store_label(p->params->store));
}

/* Bytes as they are stored. */
static int on_stored(void *arg, const void *data, size_t len, struct err *err)
{
    struct puller *p = arg;

    if (p->stored_bytes == 0 && check_size(p, p->object.bytes, err) < 0)
        return name_file(p, err);
    p->stored_bytes += (int64_t)len;
    int64_t now_ms = clock_mono_ms();
    if (p->params->progress && now_ms - p->told_ms >= PROGRESS_MS) {
        p->told_ms = now_ms;
        p->params->progress(p->params->arg, p->stored_bytes, p->object.bytes);
    }
    return unpack_feed(p->unpack, data, len, err) < 0 ? name_file(p, err) : 0;
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
    return 0;
}

/* Gives the file its final name, once it is on the disk. */
static int finish_part(struct puller *p, struct err *err)
{
    const char *path = p->params->out_path;
    CLEANUP(free_ptr) char *dir = path_dir(path);
    int fd = p->fd;

    if (flush_out(p, err) < 0)
        return -1;
    if (fsync(fd) < 0)
        return err_sys(err, ERR_IO, "cannot sync '%s'", p->part_path);
    p->fd = -1;
    if (close(fd) < 0)
        return err_sys(err, ERR_IO, "cannot close '%s'", p->part_path);
    if (rename(p->part_path, path) < 0)
        return err_sys(err, ERR_IO, "cannot rename '%s' to '%s'", p->part_path, path);
    if (dir_sync(dir, err) < 0) {
        unlink(path); /* it may be gone after a crash: then it must not be counted on */
        return -1;
    }
    return 0;
}

static json_t *facts_of(const struct puller *p)
{
    int64_t bytes = p->object.bytes >= 0 ? p->object.bytes : p->stored_bytes;
    json_t *facts = rdb_scan_json(p->scan);

    json_object_set_new(facts, "compressed", json_string(unpack_compression(p->unpack)));
    json_object_set_new(facts, "stored_bytes", json_integer(bytes));
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

static int pull_all(struct puller *p, struct err *err)
{
    const struct pull_params *params = p->params;

    if (store_read(params->store, params->name, 0, -1, on_stored, p, &p->object, err) < 0)
        return -1;
    if (unpack_end(p->unpack, err) < 0 || check_size(p, p->stored_bytes, err) < 0 ||
        rdb_scan_end(p->scan, err) < 0 || check_facts(p, err) < 0)
        return name_file(p, err);
    if (params->progress)
        params->progress(params->arg, p->stored_bytes, p->stored_bytes);
    return p->part_path ? finish_part(p, err) : 0;
}

int pull(const struct pull_params *params, json_t **ret_facts, struct err *err)
{
    struct puller p = {.params = params, .object = {.bytes = -1}, .fd = -1};

    *ret_facts = NULL;
    if (open_part(&p, err) < 0)
        return -1;
    p.scan = rdb_scan_new(&params->scan);
    p.unpack = unpack_new(on_plain, &p);
    int rc = pull_all(&p, err);
    if (rc < 0 && p.part_path)
        unlink(p.part_path);
    if (p.stored_bytes)
        *ret_facts = facts_of(&p);
    if (p.fd >= 0)
        close(p.fd);
    unpack_free(p.unpack);
    rdb_scan_free(p.scan);
    free(p.part_path);
    free(p.out);
    return rc;
}
