/*
 * measure: the rate of this host's disk and of its network to the backups, measured in a few
 * seconds.
 *
 * The disk is measured with an unnamed file on base_dir's file system, which disappears with its
 * process. It takes only a part of the free space. The network is measured with the first bytes of
 * a real backup file, which are dropped.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base_dir.h"
#include "method.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/rpc.h"
#include "recluster/store.h"

enum {
    MIB = 1 << 20,
    PIECE = 16 * MIB, /* written, then synced, which bounds the time of each step */
    DISK_MAX = 256 * MIB,
    DISK_MIN = 2 * PIECE,
    DISK_WRITE_MS = 1500,
    DISK_READ_MS = 1000,
    FREE_PART = 20, /* the file takes 1/20 of the free space at most */
    NETWORK_MAX = 128 * MIB,
    NETWORK_MIN = 1 * MIB, /* fewer bytes do not show a rate */
    NETWORK_MS = 2000,
};

static double rate(int64_t bytes, int64_t ms)
{
    return (double)bytes * 1000 / (double)(ms > 0 ? ms : 1);
}

/* --- disk --- */

/* An unnamed open file. If the file system has no O_TMPFILE, the file gets a name for a moment. */
static int open_nameless(const char *folder, struct err *err)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    if (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT) {
        AUTO_FREE char *path = path_join(folder, ".recluster-measure-XXXXXX");
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            unlink(path);
    }
    return fd >= 0 ? fd : err_sys(err, ERR_IO, "cannot write in '%s'", folder);
}

/* Changes each page, so that no disk can compress or deduplicate it. */
static void change(char *block, int64_t number)
{
    enum { PAGE = 4096 };

    for (size_t at = 0; at < MIB; at += PAGE)
        memcpy(block + at, &number, sizeof(number));
}

static int write_piece(int fd, char *block, int64_t offset, struct err *err)
{
    for (int64_t end = offset + PIECE; offset < end; offset += MIB) {
        change(block, offset);
        ssize_t n = pwrite(fd, block, MIB, offset);
        if (n == MIB)
            continue;
        errno = n < 0 ? errno : ENOSPC;
        return err_sys(err, ERR_IO, "cannot write to the disk");
    }
    return fdatasync(fd) < 0 ? err_sys(err, ERR_IO, "cannot write to the disk") : 0;
}

static int write_file(int fd, int64_t most, int64_t *ret_bytes, double *ret_rate, struct err *err)
{
    AUTO_FREE char *block = xmalloc(MIB);
    int64_t start_ms = clock_mono_ms(), took_ms = 0, bytes = 0;

    for (size_t at = 0; at < MIB;) {
        ssize_t n = getrandom(block + at, MIB - at, 0);
        if (n < 0 && errno != EINTR)
            return err_sys(err, ERR_IO, "cannot get random bytes");
        at += n > 0 ? (size_t)n : 0;
    }
    for (; bytes < most && took_ms < DISK_WRITE_MS; bytes += PIECE) {
        if (write_piece(fd, block, bytes, err) < 0)
            return -1;
        took_ms = clock_mono_ms() - start_ms;
    }
    *ret_bytes = bytes;
    *ret_rate = rate(bytes, took_ms);
    return 0;
}

static int read_file(int fd, int64_t bytes, double *ret_rate, struct err *err)
{
    AUTO_FREE char *block = xmalloc(MIB);
    int64_t start_ms, took_ms = 0, at = 0;

    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* read from the disk, not from the page cache */
    start_ms = clock_mono_ms();
    for (; at < bytes && took_ms < DISK_READ_MS; at += MIB) {
        if (pread(fd, block, MIB, at) != MIB)
            return err_sys(err, ERR_IO, "cannot read from the disk");
        took_ms = clock_mono_ms() - start_ms;
    }
    *ret_rate = rate(at, took_ms);
    return 0;
}

static int measure_disk(const char *base_dir, json_t **ret, struct err *err)
{
    AUTO_FREE char *folder = NULL;
    struct statvfs fs;
    double writes = 0, reads = 0;
    int64_t bytes = 0;

    if (base_dir_disk(base_dir, &folder, &fs, err) < 0)
        return -1;
    uint64_t most = (uint64_t)fs.f_bavail * fs.f_frsize / FREE_PART;
    if (most > DISK_MAX)
        most = DISK_MAX;
    if (most < DISK_MIN)
        return err_set(err, ERR_LIMIT, "too little space is free below '%s' to measure", folder);
    int fd = open_nameless(folder, err);
    if (fd < 0)
        return -1;
    int rc = write_file(fd, (int64_t)most / PIECE * PIECE, &bytes, &writes, err);
    if (rc == 0)
        rc = read_file(fd, bytes, &reads, err);
    close(fd);
    if (rc < 0)
        return err_wrap(err, "in '%s'", folder);
    *ret = json_pack("{s:f, s:f, s:I}", "write", writes, "read", reads, "bytes", (json_int_t)bytes);
    return 0;
}

/* --- network --- */

struct stream {
    int64_t start_ms, last_ms, first_bytes, bytes;
};

/* The clock starts with the first bytes: connecting takes time of its own. */
static int take(void *arg, const void *data, size_t len, struct err *err)
{
    struct stream *s = arg;

    (void)data;
    s->last_ms = clock_mono_ms();
    s->bytes += (int64_t)len;
    if (s->start_ms == 0) {
        s->start_ms = s->last_ms;
        s->first_bytes = (int64_t)len;
    }
    if (s->last_ms - s->start_ms >= NETWORK_MS)
        return err_set(err, ERR_CANCELLED, "enough was read");
    return 0;
}

static int measure_network(const json_t *location, const char *name, json_t **ret, struct err *err)
{
    struct stream s = {0};
    struct store *store = store_open(location, err);

    if (!store)
        return -1;
    int rc = store_read(store, &(struct store_range){name, 0, NETWORK_MAX}, take, &s, NULL, err);
    store_close(store);
    if (rc < 0)
        return -1;
    if (s.bytes - s.first_bytes < NETWORK_MIN)
        return err_set(err, ERR_LIMIT, "the backup file '%s' is too small to measure", name);
    *ret = json_pack("{s:f, s:I}", "read", rate(s.bytes - s.first_bytes, s.last_ms - s.start_ms),
        "bytes", (json_int_t)s.bytes);
    return 0;
}

/* A failed measurement is not an error: the planner has default rates. */
static json_t *result_or_error(int rc, json_t *result, const struct err *error)
{
    return rc == 0 ? result : json_pack("{s:o}", "error", err_to_json(error));
}

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const json_t *location = json_object_get(params, "location");
    const char *base_dir, *name;
    struct err error = ERR_INIT;
    json_t *found = NULL;

    (void)call;
    if (param_string(params, "base_dir", &base_dir, err) < 0 ||
        (location && param_string(params, "name", &name, err) < 0))
        return -1;
    *ret = json_object();
    int rc = measure_disk(base_dir, &found, &error);
    json_object_set_new(*ret, "disk", result_or_error(rc, found, &error));
    if (!location)
        return 0;
    rc = measure_network(location, name, &found, &error);
    json_object_set_new(*ret, "network", result_or_error(rc, found, &error));
    return 0;
}

const struct agent_method agent_measure = {.name = "measure", .run = run};
