#ifndef RECLUSTER_STORE_DRIVER_H
#define RECLUSTER_STORE_DRIVER_H

/*
 * What a kind of store must be able to do. A driver builds requests and reads answers; it tries
 * nothing twice, never sleeps, and keeps no count of what was delivered: store.c does that for all
 * of them. What a kind of store can't do is NULL in its table.
 *
 * Errors carry the code that says what happened (err_code_is_retried() decides on another try) and
 * name the object by the printable address, without passwords.
 */

#include <jansson.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/store.h"

/*
 * Where an answer goes. begin() comes once, before the first byte, also when there are none;
 * `first_byte` is the position of the first byte that data() will get: a store that knows no ranges
 * says 0 whatever was asked. When one of them returns -1, the driver stops and returns -1 with the
 * error as it is.
 */
struct store_receiver {
    int (*begin)(void *arg, const struct store_object *object, int64_t first_byte, struct err *err);
    int (*data)(void *arg, const void *data, size_t len, struct err *err);
    void *arg;
};

struct store_driver {
    /* Schemes of URLs and types of location objects that are this driver's; NULL at the end. */
    const char *const *kinds;

    /*
     * Reads the location (a string or an object) and makes the handle, without touching the store.
     * ret_label: the printable address, the caller's. NULL on failure.
     */
    void *(*open)(const json_t *location, char **ret_label, struct err *err);
    void (*close)(void *handle);

    /* Adds the files with store_list_add(), in any order; a name may come twice. */
    int (*list)(void *handle, struct store_list *list, struct err *err);

    /* `length` bytes from `offset`, -1: to the end. Less or more than asked for is no error here.
     */
    int (*read)(void *handle, const char *name, int64_t offset, int64_t length,
        const struct store_receiver *receiver, struct err *err);
};

extern const struct store_driver store_file_driver;
extern const struct store_driver store_http_driver;

/* Names that no file in a location can have ("", "..", "a/b", over 255 bytes) are left out. */
void store_list_add(
    struct store_list *list, const char *name, size_t len, int64_t bytes, int64_t modified_ms);

/* The text of a location: itself if it is a string, else its member `key`; NULL if there is none.
 */
const char *store_location_text(const json_t *location, const char *key);

#endif
