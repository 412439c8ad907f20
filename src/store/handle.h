#ifndef STORE_HANDLE_H
#define STORE_HANDLE_H

/* Shared by the files above the drivers: store.c (reading, listing), writer.c. */

#include <stdbool.h>
#include <stdint.h>

#include "driver.h"

struct rate;

struct store {
    const struct store_driver *driver;
    void *handle;
    char *label;
    json_t *location;  /* to open it again */
    struct rate *rate; /* NULL: no limit; the caller's */
    char *decrypt_key; /* NULL: none */
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
 * A request is tried 5 times, and no new try begins after two minutes. A request that makes
 * progress may renew the patience, so that a long transfer over a bad line completes.
 */
struct patience {
    int tries;
    int64_t since_ms;
};

void patience_renew(struct patience *p);

/* Counts a failed try. True: try again, after the pause that this made. False: err is final. */
bool patience_left(struct patience *p, const struct store *s, struct err *err);

/* The driver of this kind of location; NULL: none (kinds.c). */
const struct store_driver *store_driver_of(const json_t *location, struct err *err);

/* Opens the location once more with connections of its own, for another process. */
struct store *store_open_again(const struct store *s, struct err *err);

/* Whether two answers describe the same bytes of an object, as far as the store tells. */
bool store_object_is_same(const struct store_object *a, const struct store_object *b);

/* Sets ERR_CHANGED: two answers describe different bytes. Returns -1. */
int store_changed_error(const struct store *s, const char *name, struct err *err);

/* Whether a file in a location can have this name. */
bool store_name_is_possible(const char *name, size_t len);

#endif
