#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>

#include "driver.h"
#include "recluster/file.h"

/* "/path", "file:///path", {"type": "mount_point", "path": …}, {"type": "file", "path": …}. */

struct file_store {
    char *dir;
};

/* The path in "file:///path", which is percent-encoded. The caller frees it. */
static char *path_of_url(const char *url, struct err *err)
{
    const char *path = url + strlen("file://");
    int len = 0;

    if (strncmp(path, "localhost/", 10) == 0)
        path += 9;
    if (*path != '/') {
        err_set(err, ERR_USAGE, "'%s' names another host", url);
        err_hint(err, "Write \"file:///folder\" or just the folder's path.");
        return NULL;
    }
    char *decoded = curl_easy_unescape(NULL, path, (int)strlen(path), &len);
    char *copy = decoded && strlen(decoded) == (size_t)len ? xstrdup(decoded) : NULL;
    if (!copy)
        err_set(err, ERR_USAGE, "'%s' is not the URL of a folder", url);
    curl_free(decoded);
    return copy;
}

static void *file_open(const json_t *location, char **ret_label, struct err *err)
{
    const char *text = store_location_text(location, "path");
    char *dir = NULL;

    if (!text)
        text = store_location_text(location, "url");
    if (!text || !*text)
        err_set(err, ERR_USAGE, "a backup location that is a folder needs its 'path'");
    else if (strncasecmp(text, "file://", 7) == 0)
        dir = path_of_url(text, err);
    else
        dir = xstrdup(text);
    if (!dir)
        return NULL;
    struct file_store *f = xmalloc(sizeof(*f));
    f->dir = dir;
    *ret_label = xstrdup(dir);
    return f;
}

static void file_close(void *handle)
{
    struct file_store *f = handle;
    free(f->dir);
    free(f);
}

static enum err_code code_of_errno(void)
{
    if (errno == ENOENT || errno == ENOTDIR)
        return ERR_NOT_FOUND;
    return errno == EACCES || errno == EPERM ? ERR_DENIED : ERR_IO;
}

static int64_t modified_ms(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

static int file_list(void *handle, struct store_list *list, struct err *err)
{
    const struct file_store *f = handle;
    char **names;
    size_t count;
    struct stat st;

    if (stat(f->dir, &st) < 0)
        return err_sys(err, code_of_errno(), "cannot look at the folder '%s'", f->dir);
    if (!S_ISDIR(st.st_mode)) {
        err_set(err, ERR_NOT_FOUND, "'%s' is a file, not a folder", f->dir);
        return err_hint(err, "Name the folder that the backup files are in.");
    }
    if (dir_list(f->dir, &names, &count, err) < 0) {
        if (err->sys == EACCES)
            err->code = ERR_DENIED;
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *path = path_join(f->dir, names[i]);
        if (stat(path, &st) < 0)
            continue;
        if (S_ISREG(st.st_mode))
            store_list_add(list, names[i], strlen(names[i]), st.st_size, modified_ms(&st));
        else if (S_ISDIR(st.st_mode))
            store_list_add_folder(list, names[i], strlen(names[i]));
    }
    strv_free(names, count);
    return 0;
}

static void describe(const struct stat *st, struct store_object *ret)
{
    *ret = (struct store_object){.bytes = st->st_size, .modified_ms = modified_ms(st)};
    snprintf(ret->validator, sizeof(ret->validator), "%llx-%llx-%llx-%lld.%09ld",
        (unsigned long long)st->st_dev, (unsigned long long)st->st_ino,
        (unsigned long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static int read_range(int fd, const char *path, int64_t offset, int64_t length,
    const struct store_receiver *to, struct err *err)
{
    AUTO_FREE char *chunk = xmalloc(FILE_PIECE_BYTES);

    while (length != 0) {
        size_t want = length < 0 || length > FILE_PIECE_BYTES ? FILE_PIECE_BYTES : (size_t)length;
        ssize_t n = pread(fd, chunk, want, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, ERR_IO, "cannot read '%s'", path);
        if (n == 0)
            return 0;
        if (to->data(to->arg, chunk, (size_t)n, err) < 0)
            return -1;
        offset += n;
        if (length > 0)
            length -= n;
    }
    return 0;
}

static int read_open_file(int fd, const char *path, int64_t offset, int64_t length,
    const struct store_receiver *to, struct err *err)
{
    struct store_object before, after;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_sys(err, ERR_IO, "cannot look at '%s'", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_NOT_FOUND, "'%s' is not a regular file", path);
    describe(&st, &before);
    if (to->begin(to->arg, &before, offset, err) < 0 ||
        read_range(fd, path, offset, length, to, err) < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return err_sys(err, ERR_IO, "cannot look at '%s'", path);
    describe(&st, &after);
    if (strcmp(before.validator, after.validator) != 0) {
        err_set(err, ERR_CHANGED, "'%s' was changed while it was being read", path);
        return err_hint(err, "Wait until whatever writes it has ended, then try again.");
    }
    return 0;
}

static int file_read_range(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    const struct file_store *f = handle;
    AUTO_FREE char *path = path_join(f->dir, name);
    /* A pipe of that name must not block us. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return err_sys(err, code_of_errno(), "cannot open '%s'", path);
    int rc = read_open_file(fd, path, offset, length, receiver, err);
    close(fd);
    return rc;
}

/* --- write --- */

struct file_upload {
    char *path, *part_path;
    int fd;    /* -1: not open */
    bool made; /* part_path exists and is ours */
};

static void *file_write_begin(void *handle, const char *name, struct err *err)
{
    const struct file_store *f = handle;
    struct file_upload *u = xmalloc(sizeof(*u));

    (void)err;
    u->path = path_join(f->dir, name);
    u->part_path = xasprintf("%s.part", u->path);
    u->fd = -1;
    u->made = false;
    return u;
}

static int file_write_part(void *upload, const struct store_part *part, struct err *err)
{
    struct file_upload *u = upload;
    const char *data = part->data;

    if (u->fd < 0)
        u->fd = open(u->part_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (u->fd < 0)
        return err_sys(err, code_of_errno(), "cannot create '%s'", u->part_path);
    u->made = true;
    if (lseek(u->fd, part->offset, SEEK_SET) < 0)
        return err_sys(err, ERR_IO, "cannot write '%s'", u->part_path);
    return file_write_all(u->fd, data, part->len, u->part_path, err);
}

static int file_write_commit(void *upload, const struct store_part *last, struct err *err)
{
    struct file_upload *u = upload;
    AUTO_FREE char *dir = path_dir(u->path);

    if (file_write_part(u, last, err) < 0)
        return -1;
    if (fsync(u->fd) < 0)
        return err_sys(err, ERR_IO, "cannot sync '%s'", u->part_path);
    int fd = u->fd;
    u->fd = -1;
    if (close(fd) < 0)
        return err_sys(err, ERR_IO, "cannot close '%s'", u->part_path);
    if (rename(u->part_path, u->path) < 0)
        return err_sys(err, ERR_IO, "cannot rename '%s' to '%s'", u->part_path, u->path);
    u->made = false;
    return dir_sync(dir, err);
}

static void file_write_end(void *upload)
{
    struct file_upload *u = upload;

    if (u->fd >= 0)
        close(u->fd);
    if (u->made)
        unlink(u->part_path);
    free(u->path);
    free(u->part_path);
    free(u);
}

static int file_remove(void *handle, const char *name, struct err *err)
{
    const struct file_store *f = handle;
    AUTO_FREE char *path = path_join(f->dir, name);

    if (unlink(path) < 0)
        return err_sys(err, code_of_errno(), "cannot remove '%s'", path);
    return dir_sync(f->dir, err);
}

static const char *const file_kinds[] = {"file", "mount_point", NULL};

const struct store_driver store_file_driver = {
    .kinds = file_kinds,
    .open = file_open,
    .close = file_close,
    .list = file_list,
    .read = file_read_range,
    .write_begin = file_write_begin,
    .write_part = file_write_part,
    .write_commit = file_write_commit,
    .write_end = file_write_end,
    .remove = file_remove,
};
