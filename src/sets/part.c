#include "part.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "recluster/file.h"

/* The lock shows whether another writer is still running. */
static int lock(const struct part *p, struct err *err)
{
    return flock(p->fd, LOCK_EX | LOCK_NB) < 0
               ? err_sys(err, ERR_IO, "cannot lock '%s'", p->part_path)
               : 0;
}

int part_open(struct part *p, const char *path, struct err *err)
{
    *p = (struct part){.path = path, .fd = -1};
    if (!path)
        return 0;
    char *part_path = xasprintf("%s.part", path);
    /* A leftover of a crash: start again. */
    unlink(part_path);
    p->fd = open(part_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (p->fd < 0) {
        err_sys(err, ERR_IO, "cannot create '%s'", part_path);
        free(part_path);
        return -1;
    }
    p->part_path = part_path;
    p->out = xmalloc(FILE_PIECE_BYTES);
    return lock(p, err);
}

static int flush(struct part *p, struct err *err)
{
    size_t len = p->out_len;

    p->out_len = 0;
    return file_append(p->fd, &p->written, p->out, len, p->part_path, err);
}

int part_add(struct part *p, const void *data, size_t len, struct err *err)
{
    const char *from = data;

    while (p->part_path && len) {
        size_t room = FILE_PIECE_BYTES - p->out_len;
        size_t n = len < room ? len : room;
        memcpy(p->out + p->out_len, from, n);
        p->out_len += n;
        from += n;
        len -= n;
        if (p->out_len == FILE_PIECE_BYTES && flush(p, err) < 0)
            return -1;
    }
    return 0;
}

int part_patch(struct part *p, uint64_t offset, const void *data, size_t len, struct err *err)
{
    const char *from = data;

    if (!p->part_path)
        return 0;
    if (flush(p, err) < 0)
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

int part_share(struct part *p, const char *other, struct err *err)
{
    close(p->fd);
    p->fd = -1;
    unlink(p->part_path);
    if (link(other, p->part_path) < 0)
        return err_sys(err, ERR_IO, "cannot link '%s' to '%s'", other, p->part_path);
    p->fd = open(p->part_path, O_RDWR | O_CLOEXEC);
    if (p->fd < 0)
        return err_sys(err, ERR_IO, "cannot open '%s'", p->part_path);
    return lock(p, err);
}

int part_truncate(struct part *p, uint64_t bytes, struct err *err)
{
    if (!p->part_path)
        return 0;
    if (flush(p, err) < 0)
        return -1;
    return ftruncate(p->fd, (off_t)bytes) < 0
               ? err_sys(err, ERR_IO, "cannot shorten '%s'", p->part_path)
               : 0;
}

int part_sync(struct part *p, struct err *err)
{
    if (!p->part_path)
        return 0;
    if (flush(p, err) < 0)
        return -1;
    file_trim(p->fd);
    return fsync(p->fd) < 0 ? err_sys(err, ERR_IO, "cannot sync '%s'", p->part_path) : 0;
}

int part_name(struct part *p, struct err *err)
{
    if (!p->part_path)
        return 0;
    AUTO_FREE char *dir = path_dir(p->path);
    if (rename(p->part_path, p->path) < 0)
        return err_sys(err, ERR_IO, "cannot rename '%s' to '%s'", p->part_path, p->path);
    free(p->part_path);
    p->part_path = NULL;
    if (dir_sync(dir, err) < 0) {
        unlink(p->path); /* after a crash the file may be missing, so nothing may rely on it */
        return -1;
    }
    return 0;
}

void part_release(struct part *p)
{
    if (p->part_path)
        unlink(p->part_path);
    if (p->fd >= 0)
        close(p->fd);
    free(p->part_path);
    free(p->out);
    *p = (struct part){.fd = -1};
}
