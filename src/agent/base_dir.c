#include "base_dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/file.h"
#include "recluster/json.h"

enum { RECORD_MAX = 1024 * 1024, NAMES_SHOWN = 3 };

/* Entries of a folder that belongs to no recovery. A crash may leave recovery.json.tmp. */
static bool is_neutral(const char *name)
{
    static const char *const neutral[] = {"agent", "lock", "recovery.json.tmp"};

    for (size_t i = 0; i < ARRAY_SIZE(neutral); i++)
        if (strcmp(name, neutral[i]) == 0)
            return true;
    return false;
}

/* A file name may hold any bytes, but a message must be UTF-8. */
static void add_name(struct buf *text, const char *name)
{
    buf_addc(text, '\'');
    for (; *name; name++)
        buf_addc(text, *name >= ' ' && *name <= '~' ? *name : '?');
    buf_addc(text, '\'');
}

/* Names the first entries that are not neutral; "" if all are. */
static char *name_entries(char *const *names, size_t count)
{
    struct buf text = BUF_INIT;
    size_t seen = 0;

    for (size_t i = 0; i < count; i++) {
        if (is_neutral(names[i]) || seen++ >= NAMES_SHOWN)
            continue;
        buf_adds(&text, text.len ? ", " : "");
        add_name(&text, names[i]);
    }
    if (seen > NAMES_SHOWN)
        buf_addf(&text, " and %zu more", seen - NAMES_SHOWN);
    return buf_take(&text);
}

/* Reads recovery.json, if there is one. */
static int read_record(const char *path, struct base_dir *base_dir, struct err *err)
{
    AUTO_FREE char *file = path_join(path, "recovery.json");
    struct buf text = BUF_INIT;

    if (!file_exists(file))
        return 0;
    int rc = file_read(file, RECORD_MAX, &text, err);
    if (rc == 0) {
        base_dir->record = json_read_quietly(text.data, text.len, 0);
        base_dir->recovery = json_text(base_dir->record, "recovery", NULL);
    }
    buf_release(&text);
    return rc;
}

int base_dir_look(const char *path, struct base_dir *ret, struct err *err)
{
    struct base_dir found = BASE_DIR_INIT;
    struct err why = ERR_INIT;
    char **names;
    size_t count;

    if (path[0] != '/')
        return err_set(err, ERR_PROTOCOL, "base_dir '%s' is not absolute", path);
    if (dir_list(path, &names, &count, &why) < 0) {
        if (why.code != ERR_NOT_FOUND) {
            *err = why;
            return -1;
        }
        *ret = found;
        return 0;
    }
    int rc = read_record(path, &found, err);
    if (rc == 0) {
        found.detail = name_entries(names, count);
        found.state = found.recovery  ? BASE_DIR_RECOVERY
                      : *found.detail ? BASE_DIR_FOREIGN
                                      : BASE_DIR_EMPTY;
        *ret = found;
    } else {
        base_dir_release(&found);
    }
    strv_free(names, count);
    return rc;
}

void base_dir_release(struct base_dir *base_dir)
{
    free(base_dir->detail);
    json_decref(base_dir->record);
    *base_dir = (struct base_dir)BASE_DIR_INIT;
}

int base_dir_check(
    const struct base_dir *base_dir, const char *path, const char *recovery, struct err *err)
{
    if (base_dir->state == BASE_DIR_FOREIGN) {
        err_set(err, ERR_CHECK, "'%s' holds something that is not recluster's: %s", path,
            base_dir->detail);
        return err_hint(err, "Choose an empty or new folder as \"base_dir\" of this host.");
    }
    if (base_dir->state == BASE_DIR_RECOVERY && recovery &&
        strcmp(base_dir->recovery, recovery) != 0) {
        err_set(err, ERR_CHECK, "'%s' belongs to another recovery (%s)", path, base_dir->recovery);
        return err_hint(
            err, "Choose another base_dir for this host, or abort that recovery first.");
    }
    return 0;
}

int base_dir_disk(const char *base_dir, char **ret_folder, struct statvfs *ret, struct err *err)
{
    char *path = xstrdup(base_dir);

    while (statvfs(path, ret) < 0) {
        if (errno != ENOENT || strcmp(path, "/") == 0) {
            err_sys(err, ERR_IO, "cannot look at the file system of '%s'", path);
            free(path);
            return -1;
        }
        char *parent = path_dir(path);
        free(path);
        path = parent;
    }
    if (ret_folder)
        *ret_folder = path;
    else
        free(path);
    return 0;
}

static int check_owner(const char *path, struct err *err)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : err_sys(err, ERR_IO, "cannot look at '%s'", path);
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        err_set(err, ERR_CHECK, "'%s' belongs to another user (%u)", path, (unsigned)st.st_uid);
    } else if (!S_ISLNK(st.st_mode) && (st.st_mode & (S_IWGRP | S_IWOTH)) &&
               !(st.st_mode & S_ISVTX)) {
        err_set(err, ERR_CHECK, "'%s' may be changed by other users (mode %03o)", path,
            (unsigned)st.st_mode & 07777);
    } else {
        return 0;
    }
    return err_hint(err,
        "\"base_dir\" and all folders above it must belong to the user of the link or to root, and "
        "nobody else may write to them.");
}

/* Each folder of the path, from the root. */
static int check_way(const char *path, struct err *err)
{
    AUTO_FREE char *part = xstrdup(path);

    if (check_owner("/", err) < 0)
        return -1;
    for (char *end = part; *end;) {
        end += 1 + strcspn(end + 1, "/");
        char behind = *end;
        *end = '\0';
        if (check_owner(part, err) < 0)
            return -1;
        *end = behind;
    }
    return 0;
}

int base_dir_check_owners(const char *path, struct err *err)
{
    AUTO_FREE char *there = xstrdup(path);
    char *real = NULL;

    if (check_way(path, err) < 0)
        return -1;
    while (!(real = realpath(there, NULL)) && strcmp(there, "/") != 0) {
        char *above = path_dir(there);
        free(there);
        there = above;
    }
    int rc = real ? check_way(real, err) : 0;
    free(real);
    return rc;
}
