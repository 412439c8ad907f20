#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/mem.h"
#include "wire.h"

enum {
    REQUEST_IDENTITIES = 11,
    IDENTITIES_ANSWER = 12,
    SIGN_REQUEST = 13,
    SIGN_RESPONSE = 14,
    SIGN_SHA2_256 = 2,
    SIGN_SHA2_512 = 4,
    ANSWER_BYTES_MAX = 256 << 10,
    COMMENT_MAX = 200,
    KEYS_MAX = 200,
    ANSWER_MS = 5000,
};

struct agent {
    int fd; /* -1: unreachable, or given up */
    struct buf out, in;
    size_t sent;
    bool asked;
    int64_t deadline_ms; /* of a list */
    struct agent_key *keys;
    size_t count, alloc;
};

static int connect_to(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(addr.sun_path))
        return -1;
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    close(fd);
    return -1;
}

struct agent *agent_open(void)
{
    const char *path = getenv("SSH_AUTH_SOCK");

    if (!path || !*path)
        return NULL;
    struct agent *a = xcalloc(1, sizeof(*a));
    a->fd = connect_to(path);
    buf_init(&a->out);
    buf_init(&a->in);
    return a;
}

static void drop_keys(struct agent *a)
{
    for (size_t i = 0; i < a->count; i++) {
        buf_release(&a->keys[i].key);
        free(a->keys[i].type);
        free(a->keys[i].comment);
    }
    a->count = 0;
}

void agent_close(struct agent *a)
{
    if (!a)
        return;
    drop_keys(a);
    free(a->keys);
    if (a->fd >= 0)
        close(a->fd);
    buf_release(&a->out);
    buf_release(&a->in);
    free(a);
}

bool agent_is_asked(const struct agent *a)
{
    return a->asked;
}

void agent_wait(const struct agent *a, struct wait *wait)
{
    wait_fd(wait, a->fd, a->sent < a->out.len ? POLLOUT : POLLIN);
    wait_until(wait, a->deadline_ms);
}

/* After an invalid answer or silence nothing more is asked. */
static int give_up(struct agent *a)
{
    a->asked = false;
    if (a->fd >= 0)
        close(a->fd);
    a->fd = -1;
    return -1;
}

static void begin(struct agent *a, const struct buf *request, int64_t deadline_ms)
{
    a->asked = true;
    a->sent = 0;
    a->deadline_ms = deadline_ms;
    buf_clear(&a->in);
    buf_clear(&a->out);
    wire_put_string(&a->out, request->data, request->len);
}

static int send_request(struct agent *a)
{
    while (a->sent < a->out.len) {
        ssize_t n = send(a->fd, a->out.data + a->sent, a->out.len - a->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? SSH_WAIT : -1;
        a->sent += (size_t)n;
    }
    return 0;
}

static int take_answer(struct agent *a, struct wire *ret)
{
    for (;;) {
        struct wire w = wire_of(a->in.data, a->in.len);
        uint32_t len = wire_u32(&w);
        if (!w.bad && len > ANSWER_BYTES_MAX)
            return -1;
        if (!w.bad && len <= (size_t)(w.end - w.at)) {
            *ret = wire_of(w.at, len);
            return 0;
        }
        size_t missing = w.bad ? 4 - a->in.len : len - (size_t)(w.end - w.at);
        buf_reserve(&a->in, missing);
        ssize_t n = recv(a->fd, a->in.data + a->in.len, missing, 0);
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR) ? SSH_WAIT : -1;
        a->in.len += (size_t)n;
        a->in.data[a->in.len] = '\0';
    }
}

/* The answer to the open request, if it is of this type. */
static int finish(struct agent *a, uint8_t type, struct wire *ret)
{
    int rc = a->fd >= 0 ? send_request(a) : -1;

    if (rc == 0)
        rc = take_answer(a, ret);
    if (rc == SSH_WAIT && clock_mono_ms() < a->deadline_ms)
        return SSH_WAIT;
    if (rc != 0)
        return give_up(a);
    a->asked = false;
    return wire_byte(ret) == type ? 0 : -1;
}

static void add_key(struct agent *a, struct wire *w)
{
    size_t len, comment_len, type_len;
    const char *key = wire_string(w, &len), *comment = wire_string(w, &comment_len);

    if (w->bad)
        return;
    struct wire of_key = wire_of(key, len);
    const char *type = wire_string(&of_key, &type_len);
    if (of_key.bad)
        return;
    GROW(a->keys, a->count, a->alloc);
    struct agent_key *k = &a->keys[a->count++];
    *k = (struct agent_key){.key = BUF_INIT};
    buf_add(&k->key, key, len);
    k->type = wire_printable(type, type_len, COMMENT_MAX);
    k->comment = wire_printable(comment, comment_len, COMMENT_MAX);
}

int agent_list(struct agent *a, const struct agent_key **ret, size_t *ret_count)
{
    CLEANUP(buf_release) struct buf request = BUF_INIT;
    struct wire w;

    buf_addc(&request, REQUEST_IDENTITIES);
    if (!a->asked)
        begin(a, &request, clock_mono_ms() + ANSWER_MS);
    int rc = finish(a, IDENTITIES_ANSWER, &w);
    if (rc != 0)
        return rc;
    drop_keys(a);
    for (uint32_t n = wire_u32(&w); n > 0 && !w.bad && a->count < KEYS_MAX; n--)
        add_key(a, &w);
    *ret = a->keys;
    *ret_count = a->count;
    return w.bad ? give_up(a) : 0;
}

int agent_sign(struct agent *a, const struct agent_key *key, const char *algorithm,
    const void *data, size_t len, struct buf *ret)
{
    CLEANUP(buf_release) struct buf request = BUF_INIT;
    bool with_512 = strncmp(algorithm, "rsa-sha2-512", 12) == 0;
    bool with_256 = strncmp(algorithm, "rsa-sha2-256", 12) == 0;
    struct wire w;
    size_t n;

    if (!a->asked) {
        buf_addc(&request, SIGN_REQUEST);
        wire_put_string(&request, key->key.data, key->key.len);
        wire_put_string(&request, data, len);
        wire_put_u32(&request, with_512 ? SIGN_SHA2_512 : with_256 ? SIGN_SHA2_256 : 0);
        begin(a, &request, INT64_MAX);
    }
    int rc = finish(a, SIGN_RESPONSE, &w);
    if (rc != 0)
        return rc;
    const char *signature = wire_string(&w, &n);
    struct wire in = wire_of(signature, n);
    wire_string(&in, &n); /* its algorithm */
    /* Of a FIDO device, a byte and a number follow the signature. */
    bool device = strncmp(algorithm, "sk-", 3) == 0;
    const unsigned char *rest = in.at;
    signature = wire_string(&in, &n);
    if (w.bad || in.bad)
        return -1;
    if (device)
        buf_add(ret, rest, (size_t)(in.end - rest));
    else
        buf_add(ret, signature, n);
    return 0;
}
