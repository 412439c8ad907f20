#ifndef LIVE_RESP_H
#define LIVE_RESP_H

/*
 * A connection to a server that sends commands without waiting for their answers.
 *
 *     resp_open(&params, &r, err)
 *     resp_send(r, argv); resp_send(r, …);
 *     in a job's step:
 *         switch (resp_next(r, &reply, wait, err)) {
 *         case RESP_REPLY: … freeReplyObject(reply) …   // answers come in the order of commands
 *         case RESP_WAIT:  … add a deadline, return JOB_WAIT …
 *         case RESP_FAILED: …                           // the connection can only be closed
 *     resp_close(r)
 *
 * All answers of a connection together may have RESP_BYTES_MAX bytes; more is ERR_LIMIT. A
 * connection that lives on begins to count again with resp_forget().
 */

#include <hiredis/hiredis.h>

#include "recluster/tcp.h"

enum { RESP_BYTES_MAX = 64 << 20 };

/* A longer list in an answer is ERR_LIMIT: its memory is taken before its first item has come. */
enum { RESP_ITEMS_MAX = 1 << 20 };

struct resp;

int resp_open(const struct tcp_params *params, struct resp **ret, struct err *err) MUST_CHECK;
void resp_close(struct resp *r); /* may be NULL */

void resp_send(struct resp *r, const char *const *argv); /* NULL-ended */

void resp_forget(struct resp *r); /* may be NULL */

enum resp_step { RESP_REPLY, RESP_WAIT, RESP_FAILED };
enum resp_step resp_next(
    struct resp *r, redisReply **ret, struct wait *wait, struct err *err) MUST_CHECK;

/* The reader of answers, with this limit. Free it with redisReaderFree(). */
redisReader *resp_reader_new(void);

#endif
