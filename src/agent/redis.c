#include "redis.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "recluster/buf.h"
#include "recluster/clock.h"

struct redis {
    redisContext *context; /* NULL: by TLS */
    char *peer;            /* for messages */
    struct tcp *tcp;       /* by TLS, with what follows */
    redisReader *reader;
    int timeout_ms;
};

static struct timeval timeval_of_ms(int ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

/* Takes over the context and the name of the peer. */
static int connected(
    redisContext *context, char *peer, int timeout_ms, struct redis **ret, struct err *err)
{
    struct redis *r = xcalloc(1, sizeof(*r));
    r->context = context;
    r->peer = peer;
    if (!context || context->err) {
        bool late = context && (errno == EAGAIN || errno == ETIMEDOUT || errno == EINPROGRESS);
        err_set(err, late ? ERR_TIMEOUT : ERR_NETWORK, "cannot connect to the server at %s: %s",
            peer, context ? context->errstr : "out of memory");
        err->sys = errno;
        redis_close(r);
        return -1;
    }
    if (redisSetTimeout(context, timeval_of_ms(timeout_ms)) != REDIS_OK) {
        err_sys(err, ERR_NETWORK, "cannot set a deadline on the connection to %s", peer);
        redis_close(r);
        return -1;
    }
    *ret = r;
    return 0;
}

int redis_connect_unix(const char *path, int timeout_ms, struct redis **ret, struct err *err)
{
    redisContext *context = redisConnectUnixWithTimeout(path, timeval_of_ms(timeout_ms));
    return connected(context, xasprintf("'%s'", path), timeout_ms, ret, err);
}

/* --- by TLS: hiredis parses, tcp.h moves the bytes --- */

/* Waits for the connection, at most until the deadline. */
static int await_tcp(struct redis *r, bool writing, int64_t deadline_ms, struct err *err)
{
    struct wait wait = {.fd_count = 0};
    struct pollfd fds[WAIT_FDS_MAX];
    int64_t left_ms = deadline_ms - clock_mono_ms();

    tcp_wait(r->tcp, &wait, writing);
    for (int i = 0; i < wait.fd_count; i++)
        fds[i] = (struct pollfd){wait.fds[i].fd, wait.fds[i].events, 0};
    if (left_ms <= 0 || poll(fds, (nfds_t)wait.fd_count, (int)left_ms) == 0)
        return err_set(err, ERR_TIMEOUT, "no answer in time from %s", r->peer);
    return 0;
}

static int send_by_tls(
    struct redis *r, const char *data, size_t len, int64_t deadline_ms, struct err *err)
{
    for (size_t sent = 0; sent < len;) {
        ssize_t n = tcp_write(r->tcp, data + sent, len - sent, err);
        if (n < 0 || (n == 0 && await_tcp(r, true, deadline_ms, err) < 0))
            return -1;
        sent += (size_t)n;
    }
    return 0;
}

static int read_by_tls(struct redis *r, redisReply **ret, int64_t deadline_ms, struct err *err)
{
    for (;;) {
        char data[16384];
        void *reply = NULL;
        if (redisReaderGetReply(r->reader, &reply) != REDIS_OK)
            return err_set(err, ERR_PROTOCOL, "%s: %s", r->peer, r->reader->errstr);
        *ret = reply;
        if (reply)
            return 0;
        ssize_t n = tcp_read(r->tcp, data, sizeof(data), err);
        if (n < 0 || (n == 0 && await_tcp(r, false, deadline_ms, err) < 0))
            return -1;
        redisReaderFeed(r->reader, data, (size_t)n);
    }
}

/* NULL with err set. */
static redisReply *command_by_tls(
    struct redis *r, int argc, const char **argv, const size_t *lens, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + r->timeout_ms;
    redisReply *reply = NULL;
    char *text;

    long long len = redisFormatCommandArgv(&text, argc, argv, lens);
    if (len < 0)
        die_of_memory(0);
    if (send_by_tls(r, text, (size_t)len, deadline_ms, err) == 0)
        (void)!read_by_tls(r, &reply, deadline_ms, err);
    explicit_bzero(text, (size_t)len); /* it may hold a password */
    redisFreeCommand(text);
    return reply;
}

int redis_connect_tls(
    const struct tcp_params *params, int timeout_ms, struct redis **ret, struct err *err)
{
    struct redis *r = xcalloc(1, sizeof(*r));

    r->timeout_ms = timeout_ms;
    if (tcp_open(params, &r->tcp, err) < 0) {
        redis_close(r);
        return -1;
    }
    r->peer = xstrdup(tcp_peer(r->tcp));
    r->reader = xchecked(redisReaderCreate(), 0);
    *ret = r;
    return 0;
}

/* --- connections --- */

int redis_connect_tcp(
    const char *addr, int port, int timeout_ms, struct redis **ret, struct err *err)
{
    redisContext *context = redisConnectWithTimeout(addr, port, timeval_of_ms(timeout_ms));
    return connected(context, xasprintf("%s:%d", addr, port), timeout_ms, ret, err);
}

void redis_close(struct redis *r)
{
    if (!r)
        return;
    if (r->context)
        redisFree(r->context);
    if (r->reader)
        redisReaderFree(r->reader);
    tcp_close(r->tcp);
    free(r->peer);
    free(r);
}

void redis_close_ptr(struct redis **r)
{
    redis_close(*r);
}

/* Servers quote arguments in errors, and the arguments of these commands include passwords. */
static bool has_secrets(const char *const *argv)
{
    return strcasecmp(argv[0], "AUTH") == 0 ||
           (strcasecmp(argv[0], "ACL") == 0 && argv[1] && strcasecmp(argv[1], "SETUSER") == 0);
}

/* "CONFIG SET maxclients", "ACL SETUSER", "PING". */
static char *command_name(const char *const *argv)
{
    static const char *const containers[] = {"ACL", "CLUSTER", "CONFIG"};
    bool container = false;

    for (size_t i = 0; i < ARRAY_SIZE(containers); i++)
        container |= strcasecmp(argv[0], containers[i]) == 0;
    if (!container || !argv[1])
        return xstrdup(argv[0]);
    if (strcasecmp(argv[0], "CONFIG") == 0 && argv[2])
        return xasprintf("CONFIG %s %s", argv[1], argv[2]);
    return xasprintf("%s %s", argv[0], argv[1]);
}

static enum err_code code_of_answer(const char *text)
{
    static const struct {
        const char *word;
        enum err_code code;
    } known[] = {
        {"NOAUTH", ERR_DENIED},
        {"WRONGPASS", ERR_DENIED},
        {"NOPERM", ERR_DENIED},
        {"LOADING", ERR_BUSY},
        {"BUSY", ERR_BUSY},
        {"MASTERDOWN", ERR_BUSY},
        {"TRYAGAIN", ERR_BUSY},
    };
    size_t len = strcspn(text, " ");

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strlen(known[i].word) == len && memcmp(text, known[i].word, len) == 0)
            return known[i].code;
    return ERR_SERVER;
}

static int connection_failed(const struct redis *r, const char *name, struct err *err)
{
    int sys = errno;
    bool late = r->context->err == REDIS_ERR_IO && (sys == EAGAIN || sys == ETIMEDOUT);
    enum err_code code = r->context->err == REDIS_ERR_PROTOCOL ? ERR_PROTOCOL
                         : late                                ? ERR_TIMEOUT
                                                               : ERR_NETWORK;

    return err_set(
        err, code, "%s at %s: %s", name, r->peer, late ? "no answer in time" : r->context->errstr);
}

int redis_command_argv(
    struct redis *r, redisReply **ret, const char *const *argv, const size_t *lens, struct err *err)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    AUTO_FREE char *name = command_name(argv);
    AUTO_FREE const char **args = xmemdup(argv, (size_t)argc * sizeof(*argv));
    redisReply *reply = r->tcp ? command_by_tls(r, argc, args, lens, err)
                               : redisCommandArgv(r->context, argc, args, lens);
    if (!reply)
        return r->tcp ? err_wrap(err, "%s", name) : connection_failed(r, name, err);
    if (reply->type == REDIS_REPLY_ERROR) {
        size_t shown = has_secrets(argv) ? strcspn(reply->str, " ") : strlen(reply->str);
        err_set(err, code_of_answer(reply->str), "%s at %s: the server answered '%.*s'", name,
            r->peer, (int)shown, reply->str);
        freeReplyObject(reply);
        return -1;
    }
    if (ret)
        *ret = reply;
    else
        freeReplyObject(reply);
    return 0;
}

int redis_auth(struct redis *r, const char *user, const char *password, struct err *err)
{
    if (user)
        return redis_command(r, NULL, err, "AUTH", user, password);
    return redis_command(r, NULL, err, "AUTH", password);
}

int redis_text(struct redis *r, char **ret, const char *const *argv, struct err *err)
{
    redisReply *reply;

    if (redis_command_argv(r, &reply, argv, NULL, err) < 0)
        return -1;
    if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS) {
        err_set(err, ERR_PROTOCOL, "%s at %s: the answer is not text", argv[0], r->peer);
        freeReplyObject(reply);
        return -1;
    }
    *ret = xmemdup(reply->str, (size_t)reply->len);
    freeReplyObject(reply);
    return 0;
}

int redis_info(struct redis *r, char **ret, struct err *err)
{
    return redis_text(r, ret, (const char *const[]){"INFO", NULL}, err);
}

/* The value of the line that starts with "field:". */
static const char *find(const char *info, const char *field, size_t *ret_len)
{
    size_t len = strlen(field);

    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, field, len) == 0 && line[len] == ':') {
            *ret_len = strcspn(line + len + 1, "\r\n");
            return line + len + 1;
        }
    }
    return NULL;
}

int64_t info_int(const char *info, const char *field, int64_t fallback)
{
    size_t len;
    const char *value = find(info, field, &len);
    char *end;

    if (!value)
        return fallback;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    return errno || end == value ? fallback : n;
}

bool info_is(const char *info, const char *field, const char *value)
{
    size_t len;
    const char *found = find(info, field, &len);
    return found && len == strlen(value) && memcmp(found, value, len) == 0;
}

char *info_string(const char *info, const char *field)
{
    size_t len;
    const char *found = find(info, field, &len);
    return found ? xstrndup(found, len) : NULL;
}

json_t *info_keys_by_db(const char *info)
{
    json_t *dbs = json_object();

    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        char *end;
        if (strncmp(line, "db", 2) != 0 || !isdigit((unsigned char)line[2]))
            continue;
        unsigned long db = strtoul(line + 2, &end, 10);
        if (strncmp(end, ":keys=", 6) != 0)
            continue;
        AUTO_FREE char *name = xasprintf("%lu", db);
        json_object_set_new(dbs, name, json_integer(strtoll(end + 6, NULL, 10)));
    }
    return dbs;
}

int64_t info_keys(const char *info)
{
    json_t *dbs = info_keys_by_db(info), *count;
    const char *name;
    int64_t sum = 0;

    json_object_foreach (dbs, name, count) {
        sum += json_integer_value(count);
    }
    json_decref(dbs);
    return sum;
}
