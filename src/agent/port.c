#include "port.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener.h"
#include "machine.h"

static int refuse_taken(const char *addr, int port, const struct addrinfo *found, struct err *err)
{
    unsigned long inode = machine_listening("", found, port);
    struct listener who;

    if (inode && listener_find(inode, &who))
        return err_set(err, ERR_CHECK, "port %d of %s is taken by %s (process %d)", port, addr,
            who.name, (int)who.pid);
    return err_set(err, ERR_CHECK, "port %d of %s is taken", port, addr);
}

static int refuse(const char *addr, int port, const struct addrinfo *found, struct err *err)
{
    if (errno == EADDRINUSE) {
        refuse_taken(addr, port, found, err);
        return err_hint(
            err, "Stop what listens there, or plan again so that another host is chosen.");
    }
    if (errno == EADDRNOTAVAIL) {
        err_set(err, ERR_CHECK, "the address %s is not this host's", addr);
        return err_hint(err, "Correct \"addr\" of this host in the hosts file.");
    }
    return err_sys(err, ERR_CHECK, "a server can't listen on port %d of %s", port, addr);
}

bool port_addr_is_local(const struct addrinfo *addr)
{
    int fd = socket(addr->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool bound = bind(fd, addr->ai_addr, addr->ai_addrlen) == 0; /* at any free port */
    close(fd);
    return bound;
}

int port_check(const char *addr, int port, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE};
    struct addrinfo *found;
    char service[16];
    int on = 1;

    if (port < 1 || port > 65535)
        return err_set(err, ERR_PROTOCOL, "%d is not a port", port);
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(addr, service, &hints, &found) != 0)
        return err_set(err, ERR_CHECK, "'%s' is not an IP address", addr);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = 0;
    /* As servers do: closing connections do not make the port busy. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        rc = err_sys(err, ERR_NETWORK, "cannot make a socket");
    else if (bind(fd, found->ai_addr, found->ai_addrlen) < 0)
        rc = refuse(addr, port, found, err);
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return rc;
}
