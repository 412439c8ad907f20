#ifndef RECLUSTER_RELAY_H
#define RECLUSTER_RELAY_H

/*
 * A file whose bytes one side of a link reads and the other one wants: how they travel, as
 * notifications (rpc.h) beside an open call. All have the call's number as "id", and "stream", the
 * number that the wanting side gave to one read:
 *
 *     read   {"name", "offset", "length"}  wanted: a range (length -1: to the end); an earlier read
 *                                          of the call is given up by that
 *     begin  {"bytes", "modified_ms", "validator", "first_byte"}   struct store_object, and where
 *                                          the answer begins
 *     data   {} with up to RELAY_FRAME bytes
 *     end    {"error"?, "retry_after_ms"?}
 *     more   {"bytes"}                     so many bytes were taken in
 *
 * Never more than RELAY_WINDOW bytes (and the rest of a frame) are on their way that were not yet
 * taken in: a side that is slow costs the others no memory.
 */

#include <jansson.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/store.h"

enum { RELAY_WINDOW = 4 << 20, RELAY_FRAME = 128 << 10 };

struct relay_read {
    uint64_t id;
    json_int_t stream;
    const char *name;
    int64_t offset, length;
};

/*
 * Reads, in a process of its own, and writes "begin" and "data" to fd. It tries nothing twice: the
 * wanting side does.
 */
int relay_send(
    int fd, const struct relay_read *read, struct store *store, struct err *err) MUST_CHECK;

/* {"id", "stream"}; the caller's. */
json_t *relay_params(uint64_t id, json_int_t stream);

/* Of "begin". What is missing reads as not known. */
void relay_object(const json_t *begin, struct store_object *ret, int64_t *ret_first_byte);

#endif
