#include "listener.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "recluster/file.h"

enum { PROC_FILE_MAX = 64 * 1024 };

/* The text of /proc/PID/NAME; NULL: gone, or another user's. The caller frees it. */
static char *read_proc(const char *pid, const char *name)
{
    AUTO_FREE char *path = xasprintf("/proc/%s/%s", pid, name);
    struct buf text = BUF_INIT;
    struct err unseen = ERR_INIT;

    if (file_read(path, PROC_FILE_MAX, &text, &unseen) == 0)
        return buf_take(&text);
    buf_release(&text);
    return NULL;
}

static bool is_pid(const char *name)
{
    return isdigit((unsigned char)name[0]);
}

static bool holds_socket(const char *pid, unsigned long inode)
{
    AUTO_FREE char *dir = xasprintf("/proc/%s/fd", pid);
    AUTO_FREE char *wanted = xasprintf("socket:[%lu]", inode);
    bool found = false;
    DIR *fds = opendir(dir);

    if (!fds)
        return false;
    for (const struct dirent *e; !found && (e = readdir(fds));) {
        AUTO_FREE char *path = path_join(dir, e->d_name);
        char target[64];
        ssize_t len = readlink(path, target, sizeof(target) - 1);
        target[len > 0 ? len : 0] = '\0';
        found = strcmp(target, wanted) == 0;
    }
    closedir(fds);
    return found;
}

static bool read_name(const char *pid, char name[16])
{
    AUTO_FREE char *comm = read_proc(pid, "comm");

    if (!comm)
        return false;
    snprintf(name, 16, "%.*s", (int)strcspn(comm, "\n"), comm);
    return true;
}

bool listener_find(unsigned long inode, struct listener *ret)
{
    bool found = false;
    DIR *proc = opendir("/proc");

    if (!proc)
        return false;
    for (const struct dirent *e; !found && (e = readdir(proc));) {
        if (!is_pid(e->d_name) || !holds_socket(e->d_name, inode))
            continue;
        ret->pid = (pid_t)atoi(e->d_name);
        found = process_started(ret->pid, &ret->started) && read_name(e->d_name, ret->name);
    }
    closedir(proc);
    return found;
}

bool listener_holds(pid_t pid, unsigned long inode)
{
    AUTO_FREE char *name = xasprintf("%d", (int)pid);

    return holds_socket(name, inode);
}

/* --- units --- */

static bool is_service(const char *name, size_t len)
{
    static const char suffix[] = ".service", user[] = "user@";
    size_t end = sizeof(suffix) - 1;

    if (len <= end || strncmp(name + len - end, suffix, end) != 0 || name[0] == '-' ||
        strncmp(name, user, sizeof(user) - 1) == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr(":_.\\@-", name[i]))
            return false;
    return true;
}

static char *unit_in_path(const char *path)
{
    static const char slice[] = ".slice";

    while (*path == '/') {
        size_t len = strcspn(++path, "/\n"), end = sizeof(slice) - 1;
        if (len <= end || strncmp(path + len - end, slice, end) != 0)
            return is_service(path, len) ? xstrndup(path, len) : NULL;
        path += len;
    }
    return NULL;
}

char *unit_in_cgroups(const char *cgroups)
{
    /* Of the control groups of version 1 and 2, those of systemd. */
    static const char *const marks[] = {":name=systemd:", "0::"};

    for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
        const char *at = strstr(cgroups, marks[i]);
        char *unit = at ? unit_in_path(at + strlen(marks[i])) : NULL;
        if (unit)
            return unit;
    }
    return NULL;
}

static char *unit_of_process(const char *pid)
{
    AUTO_FREE char *cgroups = read_proc(pid, "cgroup");

    return cgroups ? unit_in_cgroups(cgroups) : NULL;
}

char *unit_of(pid_t pid)
{
    AUTO_FREE char *name = xasprintf("%d", (int)pid);

    return unit_of_process(name);
}

bool unit_each(const char *unit, bool (*fn)(pid_t pid, const char *name))
{
    DIR *proc = opendir("/proc");
    bool go_on = true;

    if (!proc)
        return true;
    for (const struct dirent *e; go_on && (e = readdir(proc));) {
        AUTO_FREE char *here = is_pid(e->d_name) ? unit_of_process(e->d_name) : NULL;
        char name[16];
        if (here && strcmp(here, unit) == 0 && read_name(e->d_name, name))
            go_on = fn((pid_t)atoi(e->d_name), name);
    }
    closedir(proc);
    return go_on;
}
