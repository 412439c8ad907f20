#include "resp.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/commands.h"

struct resp {
    struct tcp *tcp;
    redisReader *reader;
    struct buf out; /* wiped: it may hold a password */
    size_t sent, received;
};

#if HIREDIS_MAJOR < 1
static void *(*create_array)(const redisReadTask *task, int count);

static void *create_limited(const redisReadTask *task, int count)
{
    return count > RESP_ITEMS_MAX ? NULL : create_array(task, count);
}
#endif

redisReader *resp_reader_new(void)
{
    redisReader *reader = xchecked(redisReaderCreate(), 0);
#if HIREDIS_MAJOR < 1
    static redisReplyObjectFunctions limited;

    create_array = reader->fn->createArray;
    limited = *reader->fn;
    limited.createArray = create_limited;
    reader->fn = &limited;
#else
    reader->maxelements = RESP_ITEMS_MAX;
#endif
    return reader;
}

int resp_open(const struct tcp_params *params, struct resp **ret, struct err *err)
{
    struct tcp *tcp;

    if (tcp_open(params, &tcp, err) < 0)
        return -1;
    struct resp *r = xcalloc(1, sizeof(*r));
    r->tcp = tcp;
    r->reader = resp_reader_new();
    buf_init(&r->out);
    *ret = r;
    return 0;
}

static void forget_sent(struct resp *r)
{
    explicit_bzero(r->out.data, r->out.alloc);
    buf_clear(&r->out);
    r->sent = 0;
}

void resp_close(struct resp *r)
{
    if (!r)
        return;
    forget_sent(r);
    buf_release(&r->out);
    redisReaderFree(r->reader);
    tcp_close(r->tcp);
    free(r);
}

void resp_send(struct resp *r, const char *const *argv)
{
    command_add(&r->out, argv);
}

void resp_forget(struct resp *r)
{
    if (r)
        r->received = 0;
}

static int send_more(struct resp *r, struct err *err)
{
    while (r->sent < r->out.len) {
        ssize_t n = tcp_write(r->tcp, r->out.data + r->sent, r->out.len - r->sent, err);
        if (n <= 0)
            return (int)n;
        r->sent += (size_t)n;
    }
    if (r->sent)
        forget_sent(r);
    return 0;
}

enum resp_step resp_next(struct resp *r, redisReply **ret, struct wait *wait, struct err *err)
{
    for (;;) {
        void *reply = NULL;
        char data[16384];
        if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
            if (r->reader->err == REDIS_ERR_OOM) {
                err_set(err, ERR_LIMIT, "an answer of %s has a list of more than %d items",
                    tcp_peer(r->tcp), RESP_ITEMS_MAX);
                return RESP_FAILED;
            }
            err_set(err, ERR_PROTOCOL, "%s does not answer as a server of Redis or Valkey does: %s",
                tcp_peer(r->tcp), r->reader->errstr);
            return RESP_FAILED;
        }
        if (reply) {
            *ret = reply;
            return RESP_REPLY;
        }
        if (send_more(r, err) < 0)
            return RESP_FAILED;
        ssize_t n = tcp_read(r->tcp, data, sizeof(data), err);
        if (n < 0)
            return RESP_FAILED;
        if (n == 0) {
            tcp_wait(r->tcp, wait, r->sent < r->out.len);
            return RESP_WAIT;
        }
        r->received += (size_t)n;
        if (r->received > RESP_BYTES_MAX) {
            err_set(err, ERR_LIMIT, "the answers of %s are longer than %d bytes", tcp_peer(r->tcp),
                RESP_BYTES_MAX);
            return RESP_FAILED;
        }
        redisReaderFeed(r->reader, data, (size_t)n);
    }
}
