#ifndef STORE_HANDLE_H
#define STORE_HANDLE_H

/* What the layer above the drivers shares: reading and listing (store.c), writing (writer.c). */

#include <stdbool.h>
#include <stdint.h>

#include "driver.h"

struct rate;

struct store {
    const struct store_driver *driver;
    void *handle;
    char *label;
    json_t *location;  /* to open it again */
    struct rate *rate; /* NULL: no limit; of whoever set it */
};

/*
 * Tries of one request:
 *
 *     struct patience patience;
 *     patience_renew(&patience);
 *     while (request() fails with err)
 *         if (!patience_left(&patience, s, &err))
 *             return the error;
 *
 * A request is tried 5 times, and no new try begins after two minutes. Whoever makes progress may
 * renew the patience, so that a long transfer over a bad line arrives.
 */
struct patience {
    int tries;
    int64_t since_ms;
};

void patience_renew(struct patience *p);

/*
 * Counts a failed try. Pauses, as long as the store asked for if it did, and returns true if
 * another one makes sense, else err is final.
 */
bool patience_left(struct patience *p, const struct store *s, struct err *err);

/* The driver of this kind of location; NULL if there is none (kinds.c). */
const struct store_driver *store_driver_of(const json_t *location, struct err *err);

/* The same location once more, for another process: over connections of its own. */
struct store *store_open_again(const struct store *s, struct err *err);

/* Whether two looks at an object of one name saw the same bytes, as far as the store says. */
bool store_object_is_same(const struct store_object *a, const struct store_object *b);

/* Sets ERR_CHANGED: two looks saw different bytes. Returns -1. */
int store_changed_error(const struct store *s, const char *name, struct err *err);

/* Whether a file in a location can have this name. */
bool store_name_is_possible(const char *name, size_t len);

#endif
