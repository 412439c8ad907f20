#include "http_script.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/mem.h"
#include "test.h"

enum { REQUEST_MAX = 4096 };

struct http_script {
    const struct scripted_reply *replies;
    size_t count;
    atomic_size_t served;
    char (*requests)[REQUEST_MAX];
    int listener;
    int stop[2]; /* closing its writing end stops the thread */
    char *url;
    pthread_t thread;
    sem_t running;
};

/* Whether fd can be read before the script is ended. */
static int wait_for(const struct http_script *s, int fd)
{
    struct pollfd fds[] = {{.fd = s->stop[0]}, {.fd = fd, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0) {
    }
    return !fds[0].revents;
}

static void send_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the client has seen enough */
        data += n;
        len -= (size_t)n;
    }
}

/* A client whose request isn't read to its end gets no answer, but a reset connection. */
static void read_body(const struct http_script *s, int fd, const char *request, size_t len)
{
    const char *length = strcasestr(request, "\r\nContent-Length:");
    size_t head = (size_t)(strstr(request, "\r\n\r\n") + 4 - request);
    long long left = length ? atoll(length + 17) - (long long)(len - head) : 0;
    char dropped[65536];

    while (left > 0 && wait_for(s, fd)) {
        ssize_t n = recv(fd, dropped, sizeof(dropped), 0);
        if (n <= 0)
            return;
        left -= n;
    }
}

static void answer(struct http_script *s, int fd, size_t number)
{
    const struct scripted_reply *reply = &s->replies[number];
    char *request = s->requests[number];
    size_t len = 0;

    while (!strstr(request, "\r\n\r\n") && len < REQUEST_MAX - 1 && wait_for(s, fd)) {
        ssize_t n = recv(fd, request + len, REQUEST_MAX - 1 - len, 0);
        if (n <= 0)
            return;
        len += (size_t)n;
    }
    if (strstr(request, "\r\n\r\n"))
        read_body(s, fd, request, len);
    s->served++;
    send_all(fd, reply->head, strlen(reply->head));
    if (reply->head[0])
        send_all(fd, "\r\n", 2);
    send_all(fd, reply->body, reply->body_len);
    if (reply->hold)
        while (wait_for(s, fd) && recv(fd, (char[64]){0}, 64, 0) > 0) {
        }
}

static void *run(void *arg)
{
    struct http_script *s = arg;

    sem_post(&s->running);
    for (size_t i = 0; i < s->count && wait_for(s, s->listener); i++) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            break;
        answer(s, fd, i);
        close(fd);
    }
    close(s->listener);
    return NULL;
}

struct http_script *http_script_start(const struct scripted_reply *replies, size_t count)
{
    struct http_script *s = xcalloc(1, sizeof(*s));
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);

    s->replies = replies;
    s->count = count;
    s->requests = xcalloc(count + 1, sizeof(*s->requests));
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(s->listener, 16), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&addr, &len), 0);
    assert_int_equal(pipe(s->stop), 0);
    s->url = xasprintf("http://127.0.0.1:%d/backups/", ntohs(addr.sin_port));
    assert_int_equal(sem_init(&s->running, 0, 0), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
    /* Tests fork: the child of a process whose thread is just starting could inherit held locks. */
    while (sem_wait(&s->running) < 0) {
    }
    return s;
}

const char *http_script_url(const struct http_script *s)
{
    return s->url;
}

const char *http_script_request(const struct http_script *s, size_t number)
{
    return s->requests[number];
}

size_t http_script_served(const struct http_script *s)
{
    return s->served;
}

void http_script_end(struct http_script *s)
{
    close(s->stop[1]);
    pthread_join(s->thread, NULL);
    sem_destroy(&s->running);
    close(s->stop[0]);
    free(s->url);
    free(s->requests);
    free(s);
}
