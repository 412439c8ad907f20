#include "run_as.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/file.h"

int run_as_find(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
    const struct passwd *found = getpwnam(user);

    if (!found) {
        err_set(err, ERR_NOT_FOUND, "there is no user '%s' on this host", user);
        return err_hint(
            err, "Make that user, or name another one with \"run_as\" in the hosts file.");
    }
    *ret_uid = found->pw_uid;
    *ret_gid = found->pw_gid;
    return 0;
}

bool run_as_is_used(const struct shard *shard)
{
    return shard_string(shard, "run_as") && geteuid() == 0;
}

/* A file with a second hard link is not given away: it could be any file of the host. */
static int give(const char *name, uid_t uid, gid_t gid, bool linked, struct err *err)
{
    struct stat st;

    if (lstat(name, &st) < 0)
        return errno == ENOENT ? 0 : err_sys(err, ERR_IO, "cannot look at '%s'", name);
    if (st.st_uid == uid || (S_ISREG(st.st_mode) && st.st_nlink > 1 && !linked))
        return 0;
    return lchown(name, uid, gid) < 0
               ? err_sys(err, ERR_IO, "cannot give '%s' to the server's user", name)
               : 0;
}

/* The folders from the shard's up to base_dir, which are ours. */
static int make_passable(const struct shard *shard, struct err *err)
{
    AUTO_FREE char *path = path_dir(shard->path);

    for (;;) {
        struct stat st;
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0 &&
            chmod(path, (st.st_mode & 07777) | S_IXGRP | S_IXOTH) < 0)
            return err_sys(err, ERR_IO, "cannot give the server's user access to '%s'", path);
        if (strlen(path) <= strlen(shard->base_dir))
            return 0;
        char *above = path_dir(path);
        free(path);
        path = above;
    }
}

static bool is_ours(const char *name)
{
    return strncmp(name, "shard.json", strlen("shard.json")) == 0 || strcmp(name, "incoming") == 0;
}

int run_as_give(const struct shard *shard, struct err *err)
{
    char **names;
    size_t count;
    uid_t uid;
    gid_t gid;

    if (!run_as_is_used(shard))
        return 0;
    if (run_as_find(shard_string(shard, "run_as"), &uid, &gid, err) < 0 ||
        make_passable(shard, err) < 0 || dir_list(".", &names, &count, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        if (!is_ours(names[i]))
            rc = give(names[i], uid, gid, false, err);
    strv_free(names, count);
    if (rc == 0 && (chown(".", 0, gid) < 0 || chmod(".", S_ISVTX | 0770) < 0))
        rc = err_sys(err, ERR_IO, "cannot let the server's user write in '%s'", shard->path);
    return rc;
}

int run_as_give_file(const struct shard *shard, const char *name, struct err *err)
{
    uid_t uid;
    gid_t gid;

    if (!run_as_is_used(shard))
        return 0;
    if (run_as_find(shard_string(shard, "run_as"), &uid, &gid, err) < 0)
        return -1;
    return give(name, uid, gid, true, err);
}

static bool may_pass(const struct stat *st, uid_t uid, gid_t gid)
{
    mode_t bit = st->st_uid == uid ? S_IXUSR : st->st_gid == gid ? S_IXGRP : S_IXOTH;
    return st->st_mode & bit;
}

int run_as_check_way(const char *user, const char *base_dir, struct err *err)
{
    AUTO_FREE char *path = path_dir(base_dir);
    uid_t uid;
    gid_t gid;

    if (geteuid() != 0)
        return 0;
    if (run_as_find(user, &uid, &gid, err) < 0)
        return -1;
    for (;;) {
        struct stat st;
        if (stat(path, &st) == 0 && !may_pass(&st, uid, gid)) {
            err_set(err, ERR_CHECK, "the user '%s' (\"run_as\") can't enter '%s'", user, path);
            return err_hint(err,
                "Let others pass it (chmod o+x '%s'), or name another \"base_dir\" in "
                "the hosts file.",
                path);
        }
        if (strcmp(path, "/") == 0)
            return 0;
        char *above = path_dir(path);
        free(path);
        path = above;
    }
}
