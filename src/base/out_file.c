#include "recluster/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/file.h"

int out_file_open(struct out_file *out, const char *path, mode_t mode, struct err *err)
{
    mode_t mask = umask(0);

    umask(mask);
    *out = (struct out_file){.path = xstrdup(path), .working = xasprintf("%s.XXXXXX", path)};
    out->fd = mkostemp(out->working, O_CLOEXEC);
    if (out->fd < 0) {
        free(out->working);
        out->working = NULL;
        return err_sys(err, ERR_IO, "cannot create '%s'", path);
    }
    if (fchmod(out->fd, mode & ~mask) < 0)
        return err_sys(err, ERR_IO, "cannot set the mode of '%s'", out->working);
    return 0;
}

int out_file_sync(struct out_file *out, struct err *err)
{
    return fsync(out->fd) < 0 ? err_sys(err, ERR_IO, "cannot sync '%s'", out->working) : 0;
}

/* Unlike rename(2), neither call replaces an existing file. */
static int name_new(const struct out_file *out)
{
    if (renameat2(AT_FDCWD, out->working, AT_FDCWD, out->path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    return link(out->working, out->path) < 0 ? -1 : unlink(out->working);
}

int out_file_commit(struct out_file *out, enum out_file_way way, struct err *err)
{
    AUTO_FREE char *dir = path_dir(out->path);
    int rc = out_file_sync(out, err);

    if (rc < 0)
        return -1;
    rc = way == OUT_FILE_NEW ? name_new(out) : rename(out->working, out->path);
    if (rc < 0 && way == OUT_FILE_NEW && errno == EEXIST) {
        err_set(err, ERR_CHECK, "'%s' exists already", out->path);
        return err_hint(err, "Move it away, or name another file.");
    }
    if (rc < 0)
        return err_sys(err, ERR_IO, "cannot rename '%s' to '%s'", out->working, out->path);
    free(out->working);
    out->working = NULL;
    return dir_sync(dir, err);
}

void out_file_release(struct out_file *out)
{
    if (out->fd >= 0)
        close(out->fd);
    if (out->working)
        unlink(out->working);
    free(out->working);
    free(out->path);
    *out = (struct out_file)OUT_FILE_INIT;
}

int out_file_write(const char *path, const void *data, size_t len, mode_t mode,
    enum out_file_way way, struct err *err)
{
    struct out_file out = OUT_FILE_INIT;
    int rc = out_file_open(&out, path, mode, err);

    if (rc == 0)
        rc = file_write_all(out.fd, data, len, out.working, err);
    if (rc == 0)
        rc = out_file_commit(&out, way, err);
    out_file_release(&out);
    return rc;
}
