#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "recluster/file.h"
#include "recluster/shell_quote.h"

static char *lock_path(const char *path)
{
    return xasprintf("%s-lock", path);
}

static int read_pid(int fd)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    return n > 0 ? atoi(text) : 0;
}

/*
 * Locks of the open file description, not flock(2): they can be queried without taking them, which
 * would disturb a run that starts at that moment.
 */
static int lock_call(int fd, int command, struct flock *lock)
{
    *lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, command, lock);
}

/* It is truncated, so it must be a lock, and no hard link of another file. */
static int check_lock(int fd, const char *name, struct err *err)
{
    enum { LOCK_BYTES_MAX = 32 };
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_sys(err, ERR_STATE_FILE, "cannot look at the lock '%s'", name);
    if (S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_size < LOCK_BYTES_MAX)
        return 0;
    err_set(err, ERR_CHECK, "'%s' is not the lock of a state file", name);
    return err_hint(err, "Move it away, or name another state file.");
}

int state_lock_take(const char *path, struct err *err)
{
    AUTO_FREE char *name = lock_path(path);
    struct flock lock;
    char pid[32];
    int fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_sys(err, ERR_STATE_FILE, "cannot open the lock '%s'", name);
    if (check_lock(fd, name, err) < 0) {
        close(fd);
        return -1;
    }
    if (lock_call(fd, F_OFD_SETLK, &lock) < 0) {
        if (errno != EAGAIN && errno != EACCES) {
            err_sys(err, ERR_STATE_FILE, "cannot lock '%s'", name);
        } else {
            err_set(err, ERR_LOCKED, "another run (process %d) works on the state file '%s'",
                read_pid(fd), path);
            AUTO_FREE char *word = shell_word(path);
            err_hint(err, "Follow it with: recluster status --state %s", word);
        }
        close(fd);
        return -1;
    }
    int len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        err_sys(err, ERR_STATE_FILE, "cannot write the lock '%s'", name);
        close(fd);
        return -1;
    }
    return fd;
}

int state_lock_holder(const char *path)
{
    AUTO_FREE char *name = lock_path(path);
    struct flock lock;
    int fd = open(name, O_RDWR | O_CLOEXEC);
    int pid = 0;

    if (fd < 0)
        return 0;
    if (lock_call(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        pid = read_pid(fd);
    close(fd);
    return pid;
}
