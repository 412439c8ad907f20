#ifndef STORE_RANGES_H
#define STORE_RANGES_H

/*
 * Reads a large object with several processes: children read ranges into shared memory (RANGE_BYTES
 * * RANGES_AHEAD for each), and the sink gets the bytes in order. The children take turns, range by
 * range, each over its own connection. They retry like store_read() and die with this process.
 */

#include <stdbool.h>

#include "recluster/store.h"

enum { RANGE_BYTES = 2 << 20, RANGES_AHEAD = 2 };

/* Like store_read(), from range->offset to the end of the object that `object` describes. */
int ranges_read(struct store *s, const struct store_range *range, const struct store_object *object,
    store_sink sink, void *arg, struct err *err) MUST_CHECK;

/* Whether that pays: enough bytes are left, and the driver has `connections` (driver.h). */
bool ranges_pay(const struct store *s, const struct store_object *object, int64_t offset);

#endif
