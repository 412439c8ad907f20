#ifndef RECLUSTER_RELAY_H
#define RECLUSTER_RELAY_H

/*
 * The relay: one side of a link (the reader) reads a file for the other side (the receiver), by
 * notifications (rpc.h) about an open call. "id" is the number of the call. "stream" is the number
 * that the receiver gave to this read. The receiver sends read, more and stop:
 *
 *     read   {"file", "name", "offset", "length"}   asks for a range (length -1: to the end) of
 *     this
 *                      file of the call (from 0), or of its part of that name; this cancels any
 *                      earlier read of the same call
 *     begin  {"bytes", "modified_ms", "validator", "first_byte"}   struct store_object, and the
 *                      offset at which the answer begins
 *     data   {} with up to RELAY_FRAME bytes
 *     end    {"error"?, "retry_after_ms"?}
 *     more   {"bytes"}                              the receiver has processed that many bytes
 *     stop   {}                                     cancels the read
 *
 * At most RELAY_WINDOW bytes (and the rest of a frame) are sent before the receiver has processed
 * them, so a slow side costs the others no memory.
 */

#include <jansson.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/rpc.h"
#include "recluster/store.h"

enum { RELAY_WINDOW = 4 << 20, RELAY_FRAME = 128 << 10 };

struct relay_read {
    uint64_t id;
    json_int_t stream;
    const char *name;
    int64_t offset, length;
};

/*
 * Run it in a child process: it reads the file, writes "begin" and "data" to fd, and reads "more"
 * from fd (bytes beyond that stay in `in`). It retries nothing: the receiver does.
 */
int relay_send(int fd, struct rpc_input *in, const struct relay_read *read, struct store *store,
    struct err *err) MUST_CHECK;

/*
 * For the child process of a read: if its memory runs out (memory_limit.h), it sends "end" with the error to fd. `read`
 * must stay.
 */
void relay_tell_memory_limit(int fd, const struct relay_read *read);

/* Returns {"id", "stream"}, the caller's. */
json_t *relay_params(uint64_t id, json_int_t stream);

/* The parameters of "end", the caller's. `error` NULL: success. */
json_t *relay_end_params(
    uint64_t id, json_int_t stream, const struct err *error, int64_t retry_after_ms);

/* Reads the parameters of "begin". Missing ones become "not known". */
void relay_object(const json_t *begin, struct store_object *ret, int64_t *ret_first_byte);

/* Waits for the next message; the caller releases it. ERR_LINK if the other side is gone. */
int relay_await(int fd, struct rpc_input *in, int timeout_ms, struct rpc_message *ret,
    struct err *err) MUST_CHECK;

#endif
