/*
 * bench_rdb scan FILE | split N FILE | stamp FILE | crc: how fast the engine is, without a process
 * around it. Prints the bytes and the best processor time of several rounds, in seconds.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "recluster/crc64.h"
#include "recluster/rdb_split.h"

enum { READ_BYTES = 64 * 1024, ROUNDS = 5, PARTS_MAX = 100, CRC_BYTES = 64 * 1024 };

struct job {
    struct rdb_scan *scan;
    struct rdb_split *split;
    uint64_t written;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int on_write(void *arg, size_t output, const void *data, size_t len, struct err *err)
{
    struct job *job = arg;
    (void)output;
    (void)data;
    (void)err;
    job->written += len;
    return 0;
}

static int on_patch(
    void *arg, size_t output, uint64_t offset, const void *data, size_t len, struct err *err)
{
    (void)arg;
    (void)output;
    (void)offset;
    (void)data;
    (void)len;
    (void)err;
    return 0;
}

static int start(struct job *job, unsigned parts, bool stamp, struct err *err)
{
    struct slots slots[PARTS_MAX] = {{{0}}};
    struct rdb_split_output outputs[PARTS_MAX] = {{NULL, NULL}};

    if (!parts) {
        job->scan = rdb_scan_new(NULL);
        return 0;
    }
    for (unsigned i = 0; i < parts && parts > 1; i++) {
        slots_add_range(&slots[i], i * SLOT_COUNT / parts, (i + 1) * SLOT_COUNT / parts - 1);
        outputs[i].slots = &slots[i];
    }
    const struct rdb_split_params params = {.outputs = outputs,
        .count = parts,
        .stamp = stamp,
        .stamp_only = stamp,
        .write = on_write,
        .patch = on_patch,
        .arg = job};
    job->split = rdb_split_new(&params, err);
    return job->split ? 0 : -1;
}

/* One pass over the file; `parts` 0: a scan. */
static int pass(const char *path, char *buffer, unsigned parts, bool stamp, struct err *err)
{
    struct job job = {NULL, NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = start(&job, parts, stamp, err);
    ssize_t n = 0;

    if (fd < 0)
        rc = err_sys(err, ERR_IO, "cannot open '%s'", path);
    while (rc == 0 && (n = read(fd, buffer, READ_BYTES)) > 0)
        rc = job.scan ? rdb_scan_feed(job.scan, buffer, (size_t)n, err)
                      : rdb_split_feed(job.split, buffer, (size_t)n, err);
    if (n < 0)
        rc = err_sys(err, ERR_IO, "cannot read '%s'", path);
    if (rc == 0)
        rc = job.scan ? rdb_scan_end(job.scan, err) : rdb_split_end(job.split, err);
    if (fd >= 0)
        close(fd);
    rdb_scan_free(job.scan);
    rdb_split_free(job.split);
    return rc;
}

static int bench_file(const char *path, unsigned parts, bool stamp)
{
    struct err err = ERR_INIT;
    char *buffer = xmalloc(READ_BYTES);
    double best = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t bytes = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

    if (fd >= 0)
        close(fd);
    for (int i = 0; i < ROUNDS; i++) {
        double began = now_s();
        if (pass(path, buffer, parts, stamp, &err) < 0) {
            fprintf(stderr, "bench_rdb: %s\n", err.message);
            free(buffer);
            return 1;
        }
        double took = now_s() - began;
        if (i == 0 || took < best)
            best = took;
    }
    printf("%lld %.6f\n", (long long)bytes, best);
    free(buffer);
    return 0;
}

/* Over bytes that are in the processor's cache, as the reader has them. */
static int bench_crc(void)
{
    enum { PASSES = 16 * 1024 };
    uint8_t *data = xcalloc(1, CRC_BYTES);
    uint64_t crc = 0;
    double best = 0;

    for (int i = 0; i < ROUNDS; i++) {
        double began = now_s();
        for (int k = 0; k < PASSES; k++)
            crc = crc64(crc + 1, data, CRC_BYTES);
        double took = now_s() - began;
        if (i == 0 || took < best)
            best = took;
    }
    printf("%lld %.6f\n", (long long)PASSES * CRC_BYTES, best);
    free(data);
    return crc == 1; /* it must not be left out */
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "scan") == 0)
        return bench_file(argv[2], 0, false);
    if (argc == 3 && strcmp(argv[1], "stamp") == 0)
        return bench_file(argv[2], 1, true);
    if (argc == 4 && strcmp(argv[1], "split") == 0 && atoi(argv[2]) > 0 &&
        atoi(argv[2]) <= PARTS_MAX)
        return bench_file(argv[3], (unsigned)atoi(argv[2]), false);
    if (argc == 2 && strcmp(argv[1], "crc") == 0)
        return bench_crc();
    fprintf(stderr, "usage: bench_rdb scan FILE | split N FILE | stamp FILE | crc\n");
    return 2;
}
