#ifndef STORE_RANGES_H
#define STORE_RANGES_H

/*
 * A large object by other processes: children read ranges into shared memory (RANGE_BYTES *
 * RANGES_AHEAD for each); the bytes reach the sink in order. They take turns, range by range,
 * each over a connection of its own. Children retry as store_read() does and die with this process.
 */

#include <stdbool.h>

#include "recluster/store.h"

enum { RANGE_BYTES = 2 << 20, RANGES_AHEAD = 2 };

/* Like store_read(), from range->offset to the end of the object that `object` describes. */
int ranges_read(struct store *s, const struct store_range *range, const struct store_object *object,
    store_sink sink, void *arg, struct err *err) MUST_CHECK;

/* Whether that is worth it: enough bytes are left, and of a kind of store that says so (driver.h). */
bool ranges_pay(const struct store *s, const struct store_object *object, int64_t offset);

#endif
