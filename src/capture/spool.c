#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "recluster/capture.h"
#include "recluster/digest.h"
#include "recluster/file.h"

enum { FILE_BYTES_MAX = 64 << 20 };

/* The folder of a location, by a digest of its label. The caller frees it. */
static char *folder_of(const struct spool *s, size_t location)
{
    const char *label = store_label(s->stores[location]);
    char hex[DIGEST_HEX_MAX];

    digest_of(label, strlen(label), hex);
    hex[16] = '\0';
    return path_join(s->path, hex);
}

int spool_open(
    struct spool *s, const char *path, struct store **stores, size_t count, struct err *err)
{
    *s = (struct spool){.path = xstrdup(path), .lock = -1, .stores = stores, .count = count};
    AUTO_FREE char *lock = path_join(path, "lock");

    if (dir_make(path, 0700, err) < 0)
        return -1;
    s->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock < 0)
        return err_sys(err, ERR_IO, "cannot open '%s'", lock);
    if (flock(s->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return err_sys(err, ERR_IO, "cannot lock '%s'", lock);
        err_set(err, ERR_LOCKED, "another capture uses the spool folder '%s'", path);
        return err_hint(err, "Give this one a folder of its own: --spool FOLDER");
    }
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *folder = folder_of(s, i);
        if (dir_make(folder, 0700, err) < 0)
            return -1;
    }
    return 0;
}

void spool_close(struct spool *s)
{
    if (s->lock >= 0)
        close(s->lock);
    free(s->path);
    *s = (struct spool){.lock = -1};
}

int spool_add(struct spool *s, const char *name, const struct buf *file, struct err *err)
{
    for (size_t i = 0; i < s->count; i++) {
        AUTO_FREE char *folder = folder_of(s, i);
        AUTO_FREE char *path = path_join(folder, name);
        if (file_write_atomic(path, file->data, file->len, 0600, err) < 0)
            return -1;
    }
    return 0;
}

static int send_file(
    struct spool *s, size_t location, const char *folder, const char *name, struct err *err)
{
    CLEANUP(buf_release) struct buf file = BUF_INIT;
    AUTO_FREE char *path = path_join(folder, name);
    int64_t time_ms;

    if (!capture_dated_time(name, &time_ms)) /* what a killed process left: NAME.tmp */
        return 0;
    if (file_read(path, FILE_BYTES_MAX, &file, err) < 0 ||
        capture_put(s->stores[location], name, &file, err) < 0)
        return -1;
    return unlink(path) < 0 ? err_sys(err, ERR_IO, "cannot remove '%s'", path) : 0;
}

int spool_send(struct spool *s, size_t location, struct err *err)
{
    AUTO_FREE char *folder = folder_of(s, location);
    char **names;
    size_t count;
    int rc = 0;

    if (dir_list(folder, &names, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = send_file(s, location, folder, names[i], err);
    strv_free(names, count);
    return rc;
}

size_t spool_waiting(const struct spool *s, size_t location)
{
    AUTO_FREE char *folder = folder_of(s, location);
    struct err ignored = ERR_INIT;
    char **names;
    size_t count, waiting = 0;
    int64_t time_ms;

    if (dir_list(folder, &names, &count, &ignored) < 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        waiting += capture_dated_time(names[i], &time_ms);
    strv_free(names, count);
    return waiting;
}
