#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "internal.h"
#include "recluster/file.h"

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

int state_lock_take(const char *path, struct err *err)
{
    CLEANUP(free_ptr) char *lock = lock_path(path);
    char pid[32];
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_sys(err, ERR_STATE, "cannot open the lock '%s'", lock);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK) {
            err_sys(err, ERR_STATE, "cannot lock '%s'", lock);
        } else {
            err_set(err, ERR_LOCKED, "another run (process %d) works on the state file '%s'",
                read_pid(fd), path);
            err_hint(err, "Follow it with: recluster status --state FILE");
        }
        close(fd);
        return -1;
    }
    int len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        err_sys(err, ERR_STATE, "cannot write the lock '%s'", lock);
        close(fd);
        return -1;
    }
    return fd;
}

int state_lock_holder(const char *path)
{
    CLEANUP(free_ptr) char *lock = lock_path(path);
    int fd = open(lock, O_RDWR | O_CLOEXEC);
    int pid = 0;

    if (fd < 0)
        return 0;
    if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        pid = read_pid(fd);
    close(fd);
    return pid;
}
