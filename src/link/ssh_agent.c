/*
 * The names of the keys of ssh-agent, by its protocol (draft-miller-ssh-agent): libssh tries all of
 * them at once and names none.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "recluster/mem.h"
#include "ssh.h"

enum {
    REQUEST_IDENTITIES = 11,
    IDENTITIES_ANSWER = 12,
    HEAD_BYTES = 5, /* of an answer: length, type */
    ANSWER_BYTES_MAX = 256 * 1024,
    ANSWER_S = 5,
};

static int open_agent(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = ANSWER_S};

    if (strlen(path) >= sizeof(addr.sun_path))
        return -1;
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    close(fd);
    return -1;
}

static uint32_t u32_at(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* What follows the type, the caller's; NULL: none came. */
static unsigned char *ask(int fd, size_t *ret_len)
{
    static const unsigned char request[] = {0, 0, 0, 1, REQUEST_IDENTITIES};
    unsigned char head[HEAD_BYTES];

    if (send(fd, request, sizeof(request), MSG_NOSIGNAL) != sizeof(request) ||
        recv(fd, head, sizeof(head), MSG_WAITALL) != sizeof(head))
        return NULL;
    uint32_t len = u32_at(head);
    if (head[4] != IDENTITIES_ANSWER || len < 1 || len > ANSWER_BYTES_MAX)
        return NULL;
    *ret_len = len - 1;
    unsigned char *answer = xmalloc(len);
    if (recv(fd, answer, *ret_len, MSG_WAITALL) == (ssize_t)*ret_len)
        return answer;
    free(answer);
    return NULL;
}

/* A string at *at, which goes on behind it; NULL: it is cut. */
static const unsigned char *take_string(const unsigned char **at, size_t *left, size_t *ret_len)
{
    if (*left < 4 || u32_at(*at) > *left - 4)
        return NULL;
    *ret_len = u32_at(*at);
    const unsigned char *string = *at + 4;
    *at = string + *ret_len;
    *left -= 4 + *ret_len;
    return string;
}

static int see_keys(
    const unsigned char *at, size_t left, void (*see)(void *, const char *), void *arg)
{
    int count = 0;
    size_t len;

    if (left < 4)
        return -1;
    for (at += 4, left -= 4; left > 0; count++) {
        const unsigned char *comment = NULL;
        if (take_string(&at, &left, &len)) /* the key itself */
            comment = take_string(&at, &left, &len);
        if (!comment)
            return -1;
        CLEANUP(free_ptr) char *text = xstrndup((const char *)comment, len);
        see(arg, text);
    }
    return count;
}

int ssh_link_agent_list(void (*see)(void *arg, const char *comment), void *arg)
{
    const char *path = getenv("SSH_AUTH_SOCK");
    size_t len = 0;

    if (!path || !*path)
        return 0;
    int fd = open_agent(path);
    unsigned char *answer = fd >= 0 ? ask(fd, &len) : NULL;
    if (fd >= 0)
        close(fd);
    int count = answer ? see_keys(answer, len, see, arg) : -1;
    free(answer);
    return count;
}
