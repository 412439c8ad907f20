#include "process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "recluster/clock.h"

enum { LOOK_MS = 20, STAT_MAX = 1024 };

bool process_read(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, text, size - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    return len >= 0;
}

/* /proc/PID/stat begins with: pid (name) state …, and the name may hold any bytes. */
struct stat_line {
    char state;
    long threads;
    uint64_t started;
};

static bool read_stat(pid_t pid, struct stat_line *ret)
{
    char text[STAT_MAX];
    const char *at = process_read(pid, "stat", text, sizeof(text)) ? strrchr(text, ')') : NULL;

    /* Fields 3, 20 and 22. */
    return at && sscanf(at + 1,
                     " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld %*s "
                     "%" SCNu64,
                     &ret->state, &ret->threads, &ret->started) == 3;
}

bool process_started(pid_t pid, uint64_t *ret)
{
    struct stat_line line;

    if (!read_stat(pid, &line))
        return false;
    *ret = line.started;
    return true;
}

uint64_t process_now(void)
{
    struct timespec now = {.tv_sec = 0};
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * ticks + (uint64_t)now.tv_nsec * ticks / 1000000000U;
}

bool process_hold(pid_t pid, struct process *ret)
{
    struct process p = {.pid = pid, .fd = pidfd_open(pid, 0)};

    if (p.fd < 0 && errno == ESRCH)
        return false;
    if (!process_started(pid, &p.started) || process_has_ended(&p)) {
        process_release(&p);
        return false;
    }
    *ret = p;
    return true;
}

void process_release(struct process *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

bool process_has_ended(const struct process *p)
{
    struct stat_line line;

    if (p->fd >= 0)
        return poll(&(struct pollfd){.fd = p->fd, .events = POLLIN}, 1, 0) > 0;
    /* If the first thread has ended, it is a zombie while other threads run. */
    return !read_stat(p->pid, &line) || line.started != p->started ||
           (line.state == 'Z' && line.threads <= 1);
}

bool process_ends_within(const struct process *p, int ms)
{
    int64_t deadline = clock_mono_ms() + ms;

    while (!process_has_ended(p)) {
        int64_t left = deadline - clock_mono_ms();
        if (left <= 0)
            return false;
        if (p->fd >= 0)
            poll(&(struct pollfd){.fd = p->fd, .events = POLLIN}, 1, (int)left);
        else
            poll(NULL, 0, LOOK_MS);
    }
    return true;
}

int process_signal(const struct process *p, int sig)
{
    if (process_has_ended(p))
        return 0;
    int rc = p->fd >= 0 ? pidfd_send_signal(p->fd, sig, NULL, 0) : kill(p->pid, sig);
    return rc < 0 && errno != ESRCH ? -1 : 0;
}

bool process_is_in(pid_t pid, const struct stat *folder)
{
    char path[64];
    struct stat cwd;

    snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
    return stat(path, &cwd) == 0 && cwd.st_dev == folder->st_dev && cwd.st_ino == folder->st_ino;
}

static bool is_agent(pid_t pid)
{
    char path[64];
    struct stat its, ours;

    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    return getsid(pid) == getsid(0) && stat(path, &its) == 0 &&
           stat("/proc/self/exe", &ours) == 0 && its.st_dev == ours.st_dev &&
           its.st_ino == ours.st_ino;
}

void process_each_in(const struct stat *folder, bool (*fn)(pid_t pid, void *arg), void *arg)
{
    DIR *proc = opendir("/proc");
    bool go_on = true;

    if (!proc)
        return;
    for (const struct dirent *e; go_on && (e = readdir(proc));) {
        pid_t pid = isdigit((unsigned char)e->d_name[0]) ? (pid_t)atol(e->d_name) : 0;
        if (pid && process_is_in(pid, folder) && !is_agent(pid))
            go_on = fn(pid, arg);
    }
    closedir(proc);
}
