#include "dump_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/file.h"
#include "run_as.h"

bool dump_file_is_pipe(void)
{
    struct stat st;
    return lstat("dump.rdb", &st) == 0 && S_ISFIFO(st.st_mode);
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* In one step: a server that finds no file starts empty. */
static int link_file(const struct shard *shard, const char *source, struct err *err)
{
    static const char fresh[] = "dump.rdb.new";

    if ((unlink(fresh) < 0 && errno != ENOENT) || link(source, fresh) < 0 ||
        rename(fresh, "dump.rdb") < 0)
        return err_sys(err, ERR_IO, "cannot link '%s/%s' to dump.rdb", shard->path, source);
    return 0;
}

int dump_file_place(const struct shard *shard, const char *as, struct err *err)
{
    AUTO_FREE char *source = as ? path_join("incoming", as) : NULL;

    if (source && !file_exists(source)) {
        err_set(err, ERR_NOT_FOUND, "'%s/%s' is not there", shard->path, source);
        return err_hint(err, "Fetch it again: run the same recovery once more.");
    }
    if (source && same_file(source, "dump.rdb"))
        return 0;
    if (file_exists("dump.rdb") && !dump_file_is_pipe()) {
        AUTO_FREE char *aside = aside_name("dump.rdb", "aside");
        if (rename("dump.rdb", aside) < 0)
            return err_sys(err, ERR_IO, "cannot move '%s/dump.rdb' to '%s'", shard->path, aside);
    }
    if (!source && dump_file_is_pipe() && unlink("dump.rdb") < 0)
        return err_sys(err, ERR_IO, "cannot remove '%s/dump.rdb'", shard->path);
    if (source &&
        (link_file(shard, source, err) < 0 || run_as_give_file(shard, "dump.rdb", err) < 0))
        return -1;
    return dir_sync(".", err);
}
