#include "fast_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "scratch.h"
#include "server.h"
#include "server_version.h"
#include "watch.h"

enum {
    ROUNDS = 3, /* the fastest run of each way counts */
    START_MS = 10 * 1000,
    LOAD_MS = 30 * 1000,
    LOOK_MS = 5,
    GAIN_PERCENT = 10, /* a smaller gain does not outweigh slower forks later */
    FACTS_MAX = 4096,
};

static const char keys[] = "500000", bytes_each[] = "100";

/* The variables of jemalloc, with the prefix of the servers' own build and without. */
static void ask_for_huge_pages(bool ask)
{
    static const char *const names[] = {"MALLOC_CONF", "JE_MALLOC_CONF"};

    for (size_t i = 0; i < 2; i++)
        if (ask)
            setenv(names[i], "thp:always", 1);
        else
            unsetenv(names[i]);
}

static int start(const struct shard *shard, bool fast, struct scratch *s, struct err *err)
{
    const struct scratch_program program = {
        shard_string(shard, "server"), shard_string(shard, "run_as"), true};
    CLEANUP(buf_release) struct buf conf = BUF_INIT;
    struct server_version version;

    server_version_of_record(shard->record, &version);
    scratch_conf(&conf);
    buf_adds(&conf, "port 0\n");
    if (server_version_at_least(&version, 7, 0))
        buf_adds(&conf, "enable-debug-command yes\n");
    if (fast)
        buf_adds(&conf, "disable-thp no\n");
    ask_for_huge_pages(fast);
    int rc = scratch_start(s, &program, &conf, START_MS, LOAD_MS, err);
    ask_for_huge_pages(false);
    return rc;
}

/* Writes the file to load. */
static int make_file(const struct shard *shard, struct err *err)
{
    struct scratch s = SCRATCH_INIT;

    int rc = start(shard, false, &s, err);
    if (rc == 0)
        rc = redis_command(s.redis, NULL, err, "DEBUG", "POPULATE", keys, "k", bytes_each);
    if (rc == 0)
        rc = redis_command(s.redis, NULL, err, "SAVE");
    scratch_stop(&s);
    return rc;
}

/* The time from the server's start until the file is loaded. */
static int load(const struct shard *shard, bool fast, int64_t *ret_ms, struct err *err)
{
    struct scratch s = SCRATCH_INIT;
    int64_t start_ms = clock_mono_ms();
    bool loading = true;

    int rc = start(shard, fast, &s, err);
    while (rc == 0 && loading) {
        AUTO_FREE char *info = NULL;
        rc = redis_info(s.redis, &info, err);
        loading = rc == 0 && !info_is(info, "loading", "0");
        if (loading)
            pause_ms(LOOK_MS);
    }
    *ret_ms = clock_mono_ms() - start_ms;
    scratch_stop(&s);
    return rc;
}

static int measure(const struct shard *shard, json_t **ret, struct err *err)
{
    int64_t best[2] = {INT64_MAX, INT64_MAX};

    if (make_file(shard, err) < 0)
        return err_wrap(err, "cannot measure the gain of --fast-load");
    for (int i = 0; i < 2 * ROUNDS; i++) {
        int64_t ms;
        if (load(shard, i % 2, &ms, err) < 0)
            return err_wrap(err, "cannot measure the gain of --fast-load");
        if (ms < best[i % 2])
            best[i % 2] = ms;
    }
    *ret = json_pack("{s:b, s:I, s:I}", "helps", best[1] * 100 < best[0] * (100 - GAIN_PERCENT),
        "usual_ms", (json_int_t)best[0], "fast_ms", (json_int_t)best[1]);
    return 0;
}

static int measure_in_folder(const struct shard *shard, json_t **ret, struct err *err)
{
    AUTO_FREE char *folder = path_join(shard->path, "incoming/fast-load");
    struct err left = ERR_INIT;

    if (dir_remove(folder, err) < 0 || dir_make(folder, 0700, err) < 0)
        return -1;
    int rc = chdir(folder) < 0 ? err_sys(err, ERR_IO, "cannot enter the folder '%s'", folder)
                               : measure(shard, ret, err);
    if (chdir(shard->path) < 0 && rc == 0)
        rc = err_sys(err, ERR_IO, "cannot enter the folder '%s'", shard->path);
    (void)!dir_remove(folder, &left);
    return rc;
}

int fast_load_measure(const struct shard *shard, json_t **ret, struct err *err)
{
    AUTO_FREE char *path = path_join(shard->base_dir, "fast_load.json");
    char text[FACTS_MAX];
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || flock(fd, LOCK_EX) < 0) {
        err_sys(err, ERR_IO, "cannot open '%s'", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    ssize_t len = pread(fd, text, sizeof(text), 0);
    *ret = len > 0 ? json_read_quietly(text, (size_t)len, 0) : NULL;
    int rc = *ret ? 0 : measure_in_folder(shard, ret, err);
    if (rc == 0 && len <= 0) {
        AUTO_FREE char *found = json_dumps(*ret, JSON_COMPACT);
        rc = file_write_all(fd, found, strlen(found), path, err);
    }
    close(fd);
    return rc;
}
