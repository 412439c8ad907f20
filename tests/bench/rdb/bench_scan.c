/*
 * bench_scan FILE [ROUNDS]: how fast the scan reads an RDB file that is in the page cache. Prints
 * the best of the rounds.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "recluster/rdb_scan.h"

enum { READ_BYTES = 1024 * 1024 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int scan(const char *path, char *buffer, bool show, struct err *err)
{
    struct rdb_scan_options options = {.samples = show ? 3 : 0};
    struct rdb_scan *s = rdb_scan_new(&options);
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = -1;
    ssize_t n = 0;

    if (fd < 0) {
        err_sys(err, ERR_IO, "cannot open '%s'", path);
        goto out;
    }
    while ((n = read(fd, buffer, READ_BYTES)) > 0)
        if (rdb_scan_feed(s, buffer, (size_t)n, err) < 0)
            goto out;
    if (n < 0)
        err_sys(err, ERR_IO, "cannot read '%s'", path);
    else
        rc = rdb_scan_end(s, err);
out:
    if (show) {
        json_t *facts = rdb_scan_json(s);
        json_object_del(facts, "slots");
        json_dumpf(facts, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(facts);
    } else if (rc == 0) {
        printf("%" PRIu64 " bytes, ", rdb_scan_offset(s));
    }
    if (fd >= 0)
        close(fd);
    rdb_scan_free(s);
    return rc;
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    char *buffer = xmalloc(READ_BYTES);
    double best = 0;
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    off_t bytes = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_scan FILE [ROUNDS]\n");
        return 2;
    }
    if (scan(argv[1], buffer, true, &err) < 0)
        goto failed;
    for (int i = 0; i < rounds; i++) {
        double start = now_s();
        if (scan(argv[1], buffer, false, &err) < 0)
            goto failed;
        double took = now_s() - start;
        printf("%.4f s\n", took);
        if (!best || took < best)
            best = took;
    }
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        bytes = lseek(fd, 0, SEEK_END);
        close(fd);
    }
    printf("%.0f MB/s\n", (double)bytes / 1e6 / best);
    free(buffer);
    return 0;

failed:
    fprintf(stderr, "bench_scan: %s\n", err.message);
    free(buffer);
    return 1;
}
