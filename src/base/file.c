#include "recluster/file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *path_join(const char *dir, const char *name)
{
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/')
        len--;
    return xasprintf("%.*s%s%s", (int)len, dir, len && dir[len - 1] == '/' ? "" : "/", name);
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

char *path_component(const char *name)
{
    struct buf b = BUF_INIT;

    for (const char *p = name; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c < 0x80 && isalnum(c)) || c == '_' || c == '-' || (c == '.' && p > name);
        if (plain)
            buf_addc(&b, *p);
        else
            buf_addf(&b, "%%%02X", c);
    }
    if (!b.len)
        buf_addc(&b, '%');
    return buf_take(&b);
}

char *path_expand_home(const char *path)
{
    if (path[0] != '~' || (path[1] && path[1] != '/'))
        return xstrdup(path);
    const char *home = getenv("HOME");
    if (!home || !*home) {
        const struct passwd *pw = getpwuid(getuid());
        home = pw ? pw->pw_dir : "/";
    }
    return path[1] ? path_join(home, path + 2) : xstrdup(home);
}

int file_read(const char *path, size_t limit, struct buf *b, struct err *err)
{
    char chunk[64 * 1024];
    size_t start = b->len;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open '%s'", path);
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err_sys(err, ERR_IO, "cannot read '%s'", path);
            close(fd);
            return -1;
        }
        if (n == 0)
            break;
        if (b->len - start + (size_t)n > limit) {
            close(fd);
            return err_set(err, ERR_LIMIT, "'%s' is larger than %zu bytes", path, limit);
        }
        buf_add(b, chunk, (size_t)n);
    }
    close(fd);
    return 0;
}

int file_write_all(int fd, const void *data, size_t len, const char *what, struct err *err)
{
    const char *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, ERR_IO, "cannot write '%s'", what);
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int file_append(
    int fd, int64_t *at, const void *data, size_t len, const char *what, struct err *err)
{
    const int64_t step = 8 << 20;
    int64_t end = *at + (int64_t)len, from = *at / step * step, to = end / step * step;

    if (to > from)
        (void)!fallocate(fd, FALLOC_FL_KEEP_SIZE, to, step);
    /* For larger pieces the kernel searches larger runs of free pages, which costs more than it saves. */
    for (const char *p = data; len;) {
        size_t n = len < FILE_PIECE_BYTES ? len : FILE_PIECE_BYTES;
        if (file_write_all(fd, p, n, what, err) < 0)
            return -1;
        p += n;
        len -= n;
    }
    if (to > from)
        (void)!sync_file_range(fd, from, to - from, SYNC_FILE_RANGE_WRITE);
    *at = end;
    return 0;
}

void file_trim(int fd)
{
    struct stat st;

    if (fstat(fd, &st) == 0)
        (void)!ftruncate(fd, st.st_size);
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
    AUTO_FREE char *tmp = xasprintf("%s.tmp", path);
    AUTO_FREE char *dir = path_dir(path);
    /* A leftover of a crash may have another mode: start again. */
    unlink(tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot create '%s'", tmp);
    if (file_write_all(fd, data, len, tmp, err) < 0)
        goto fail;
    if (fsync(fd) < 0) {
        err_sys(err, ERR_IO, "cannot sync '%s'", tmp);
        goto fail;
    }
    close(fd);
    if (rename(tmp, path) < 0) {
        err_sys(err, ERR_IO, "cannot rename '%s' to '%s'", tmp, path);
        unlink(tmp);
        return -1;
    }
    return dir_sync(dir, err);
fail:
    close(fd);
    unlink(tmp);
    return -1;
}

bool file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

int dir_make(const char *path, mode_t mode, struct err *err)
{
    AUTO_FREE char *copy = xstrdup(path);

    for (char *p = copy + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char keep = *p;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return err_sys(err, ERR_IO, "cannot make the folder '%s'", copy);
        *p = keep;
        if (!keep)
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return err_sys(err, ERR_IO, "cannot look at '%s'", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_IO, "'%s' is not a folder", path);
    return 0;
}

int dir_sync(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot open the folder '%s'", path);
    int rc = fsync(fd);
    if (rc < 0)
        err_sys(err, ERR_IO, "cannot sync the folder '%s'", path);
    close(fd);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

int dir_list(const char *path, char ***ret_names, size_t *ret_count, struct err *err)
{
    char **names = NULL;
    size_t count = 0, alloc = 0;
    DIR *dir = opendir(path);

    if (!dir)
        return err_sys(
            err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open the folder '%s'", path);
    errno = 0;
    for (const struct dirent *e; (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        GROW(names, count, alloc);
        names[count++] = xstrdup(e->d_name);
    }
    if (errno) {
        err_sys(err, ERR_IO, "cannot read the folder '%s'", path);
        closedir(dir);
        strv_free(names, count);
        return -1;
    }
    closedir(dir);
    if (count)
        qsort(names, count, sizeof(*names), by_name);
    *ret_names = names;
    *ret_count = count;
    return 0;
}

int dir_remove(const char *path, struct err *err)
{
    char **names;
    size_t count;
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_sys(err, ERR_IO, "cannot look at '%s'", path);
    if (!S_ISDIR(st.st_mode)) {
        if (unlink(path) < 0)
            return err_sys(err, ERR_IO, "cannot remove '%s'", path);
        return 0;
    }
    if (dir_list(path, &names, &count, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        AUTO_FREE char *child = path_join(path, names[i]);
        rc = dir_remove(child, err);
    }
    strv_free(names, count);
    if (rc == 0 && rmdir(path) < 0)
        rc = err_sys(err, ERR_IO, "cannot remove the folder '%s'", path);
    return rc;
}

void strv_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}
