#ifndef RECLUSTER_RELAY_H
#define RECLUSTER_RELAY_H

/*
 * A file whose bytes one side of a link reads and the other one wants: how they travel, as
 * notifications (rpc.h) beside an open call. All have the call's number as "id", and "stream", the
 * number that the wanting side gave to one read:
 *
 *     read   {"file", "name", "offset", "length"}   wanted: a range (length -1: to the end) of the
 *                      file of this number (of the call's, from 0), or of the part of it that has
 *                      the name; an earlier read of the call is given up by that
 *     begin  {"bytes", "modified_ms", "validator", "first_byte"}   struct store_object, and where
 *                      the answer begins
 *     data   {} with up to RELAY_FRAME bytes
 *     end    {"error"?, "retry_after_ms"?}
 *     more   {"bytes"}                              so many bytes were taken in
 *     stop   {}                                     the read is given up
 *
 * Never more than RELAY_WINDOW bytes (and the rest of a frame) are on their way that were not yet
 * taken in: a side that is slow costs the others no memory.
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
 * Reads, in a process of its own, and writes "begin" and "data" to fd, from where "more" comes back
 * (the rest of what comes stays in `in`). It tries nothing twice: the wanting side does.
 */
int relay_send(int fd, struct rpc_input *in, const struct relay_read *read, struct store *store,
    struct err *err) MUST_CHECK;

/* {"id", "stream"}; the caller's. */
json_t *relay_params(uint64_t id, json_int_t stream);

/* Of "end": `error` NULL: all is there. The caller's. */
json_t *relay_end_params(
    uint64_t id, json_int_t stream, const struct err *error, int64_t retry_after_ms);

/* Of "begin". What is missing reads as not known. */
void relay_object(const json_t *begin, struct store_object *ret, int64_t *ret_first_byte);

/* Waits for the next message; the caller releases it. ERR_LINK if the other side is gone. */
int relay_await(int fd, struct rpc_input *in, int timeout_ms, struct rpc_message *ret,
    struct err *err) MUST_CHECK;

#endif
