#include "reach.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/mem.h"

enum { AT_A_TIME = 256, WAIT_MS = 1500, TARGETS_MAX = 20000 };

static struct addrinfo *find(const char *addr, int port)
{
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[16];

    snprintf(service, sizeof(service), "%d", port);
    return addr && getaddrinfo(addr, service, &hints, &found) == 0 ? found : NULL;
}

static bool is_silence(int sys)
{
    return sys == ETIMEDOUT || sys == EHOSTUNREACH || sys == ENETUNREACH || sys == EACCES ||
           sys == EPERM;
}

/* -1: decided, and *ret_silent is set. */
static int begin(const json_t *target, const struct addrinfo *from, bool *ret_silent)
{
    struct addrinfo *to = find(json_text(target, "addr", NULL), (int)json_int(target, "port", 0));
    int fd = to ? socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;

    *ret_silent = false;
    if (fd >= 0 && from->ai_family == to->ai_family)
        (void)!bind(fd, from->ai_addr, from->ai_addrlen);
    int rc = !to || fd < 0 ? 0 : connect(fd, to->ai_addr, to->ai_addrlen);
    int sys = errno;
    if (to)
        freeaddrinfo(to);
    if (fd >= 0 && rc < 0 && sys == EINPROGRESS)
        return fd;
    if (fd >= 0)
        close(fd);
    *ret_silent = fd >= 0 && rc < 0 && is_silence(sys);
    return -1;
}

/* Takes the outcome of a connection and closes it. */
static bool end(int fd)
{
    int sys = 0;
    socklen_t len = sizeof(sys);

    getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &len);
    close(fd);
    return is_silence(sys);
}

static void await(struct pollfd *fds, bool *silent, size_t count)
{
    int64_t deadline = clock_mono_ms() + WAIT_MS;
    size_t left = count;

    while (left) {
        int64_t ms = deadline - clock_mono_ms();
        if (ms <= 0 || poll(fds, count, (int)ms) < 0)
            break;
        left = 0;
        for (size_t i = 0; i < count; i++) {
            if (fds[i].fd >= 0 && fds[i].revents) {
                silent[i] = end(fds[i].fd);
                fds[i].fd = -1;
            }
            left += fds[i].fd >= 0;
        }
    }
    for (size_t i = 0; i < count; i++)
        if (fds[i].fd >= 0) {
            silent[i] = true;
            close(fds[i].fd);
        }
}

json_t *reach_silent(const json_t *targets, const char *from)
{
    struct addrinfo *own = find(from, 0);
    size_t all = json_array_size(targets);
    json_t *list = json_array();

    for (size_t at = 0; own && at < all && at < TARGETS_MAX; at += AT_A_TIME) {
        struct pollfd fds[AT_A_TIME];
        bool silent[AT_A_TIME];
        size_t count = all - at < AT_A_TIME ? all - at : AT_A_TIME;
        for (size_t i = 0; i < count; i++)
            fds[i] = (struct pollfd){
                .fd = begin(json_array_get(targets, at + i), own, &silent[i]), .events = POLLOUT};
        await(fds, silent, count);
        for (size_t i = 0; i < count; i++)
            if (silent[i])
                json_array_append(list, json_array_get(targets, at + i));
    }
    if (own)
        freeaddrinfo(own);
    return list;
}
