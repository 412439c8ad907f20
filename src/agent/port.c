#include "port.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/file.h"

enum { TCP_STATE_LISTEN = 0x0a };

/* The inode of a socket that listens on the port, by /proc/net/tcp or tcp6; 0: none. */
static unsigned long listening_inode(const char *table, int port)
{
    unsigned long inode = 0, found = 0;
    unsigned local, state;
    char line[512];
    FILE *f = fopen(table, "re");

    if (!f)
        return 0;
    while (!found && fgets(line, sizeof(line), f))
        /* sl: local address:port, remote address:port, state, queues, timer, retransmits, uid,
         * timeout */
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu",
                &local, &state, &inode) == 3 &&
            state == TCP_STATE_LISTEN && local == (unsigned)port)
            found = inode;
    fclose(f);
    return found;
}

static bool holds_socket(const char *pid, unsigned long inode)
{
    char dir[64], path[128], target[64], wanted[64];
    bool found = false;

    snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    snprintf(dir, sizeof(dir), "/proc/%.20s/fd", pid);
    DIR *fds = opendir(dir);
    if (!fds)
        return false;
    for (const struct dirent *e; !found && (e = readdir(fds));) {
        snprintf(path, sizeof(path), "%s/%.20s", dir, e->d_name);
        ssize_t len = readlink(path, target, sizeof(target) - 1);
        if (len > 0) {
            target[len] = '\0';
            found = strcmp(target, wanted) == 0;
        }
    }
    closedir(fds);
    return found;
}

/* "redis-server (process 123)"; NULL: not to be seen. The caller frees it. */
static char *listener(int port)
{
    unsigned long inode = listening_inode("/proc/net/tcp", port);
    char *name = NULL;

    if (!inode)
        inode = listening_inode("/proc/net/tcp6", port);
    DIR *proc = inode ? opendir("/proc") : NULL;
    if (!proc)
        return NULL;
    for (const struct dirent *e; !name && (e = readdir(proc));) {
        if (!isdigit((unsigned char)e->d_name[0]) || !holds_socket(e->d_name, inode))
            continue;
        struct buf comm = BUF_INIT;
        struct err unseen = ERR_INIT;
        CLEANUP(free_ptr) char *path = xasprintf("/proc/%s/comm", e->d_name);
        if (file_read(path, 256, &comm, &unseen) == 0)
            name =
                xasprintf("%.*s (process %s)", (int)strcspn(comm.data, "\n"), comm.data, e->d_name);
        buf_release(&comm);
    }
    closedir(proc);
    return name;
}

static int refuse(const char *addr, int port, struct err *err)
{
    if (errno == EADDRINUSE) {
        CLEANUP(free_ptr) char *who = listener(port);
        err_set(err, ERR_CHECK, "port %d of %s is taken%s%s", port, addr, who ? " by " : "",
            who ? who : "");
        return err_hint(
            err, "Stop what listens there, or plan again so that another host is chosen.");
    }
    if (errno == EADDRNOTAVAIL) {
        err_set(err, ERR_CHECK, "the address %s is not this host's", addr);
        return err_hint(err, "Correct \"addr\" of this host in the hosts file.");
    }
    return err_sys(err, ERR_CHECK, "a server can't listen on port %d of %s", port, addr);
}

int port_check(const char *addr, int port, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE};
    struct addrinfo *found;
    char service[16];
    int on = 1;

    if (port < 1 || port > 65535)
        return err_set(err, ERR_PROTOCOL, "%d is no port", port);
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(addr, service, &hints, &found) != 0)
        return err_set(err, ERR_CHECK, "'%s' is no IP address", addr);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = 0;
    /* As the server does it: connections that are just ending don't keep it from starting. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        rc = err_sys(err, ERR_NETWORK, "cannot make a socket");
    else if (bind(fd, found->ai_addr, found->ai_addrlen) < 0)
        rc = refuse(addr, port, err);
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return rc;
}
