#ifndef RECLUSTER_STORE_H
#define RECLUSTER_STORE_H

/*
 * Locations: where backup files lie.
 *
 *     struct store *s = store_open(location, err);
 *     store_list(s, &list, err) … store_read(s, "NAME", 0, -1, sink, arg, &info, err) …
 *     store_close(s);
 *
 * A location is a JSON string (a URL or a path: "/mnt/backups", "file:///mnt/backups",
 * "http://host/dir/") or an object as in a CCS `backup_location` ({"type": "mount_point", "path":
 * …};
 * {"type": "http", "url": …}). Kinds that this version can't read give ERR_UNSUPPORTED with the
 * kind's name and what to do.
 *
 * An object on an HTTP server may also have "user" and "password", or "bearer" (secrets, see
 * secret.h), and "ca_file". A query in its URL goes with each request.
 *
 * Names are relative to the location and hold no '/'. Calls block, each with the location's
 * deadlines: 10 s to connect, and 30 s in which nothing comes. What failed is tried again in one
 * place (src/store/store.c) where err_code_is_retried() says so, and goes on at the byte where it
 * stopped if the object is still the same one (its validator), else fails with ERR_CORRUPT. From a
 * store that gives no validator, what has begun to come can't be gone on with: the first failure is
 * final.
 *
 * A driver (src/store/driver.h) only builds requests and reads answers: struct store_driver is its
 * table of functions.
 */

#include <jansson.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"

struct store;

struct store *store_open(const json_t *location, struct err *err) MUST_CHECK;
void store_close(struct store *s); /* NULL is fine */

/* The location as it may be printed: no password in it. */
const char *store_label(const struct store *s);

struct store_entry {
    char *name;
    int64_t bytes;       /* -1: not known */
    int64_t modified_ms; /* -1: not known */
};

struct store_list {
    struct store_entry *entries; /* sorted by name, byte by byte */
    size_t count;
};
#define STORE_LIST_INIT                                                                            \
    {                                                                                              \
        .entries = NULL                                                                            \
    }

/* Files directly in the location; folders are left out. ERR_NOT_FOUND if the location isn't there.
 */
int store_list(struct store *s, struct store_list *ret, struct err *err) MUST_CHECK;
void store_list_release(struct store_list *list);

struct store_object {
    int64_t bytes;       /* of the whole object; -1: not known */
    int64_t modified_ms; /* -1: not known */
    char validator[256]; /* changes when the object does ("" : the store gives none) */
};

/* Takes bytes in order. Returns -1 with err set to stop the transfer. */
typedef int (*store_sink)(void *arg, const void *data, size_t len, struct err *err);

/*
 * Reads `length` bytes from `offset` (-1: to the end) into the sink; behind the object's end there
 * are none. An object that is shorter than the store said is ERR_CORRUPT. A sink that has seen
 * enough returns -1 with code ERR_CANCELLED: store_read() then returns 0. `ret` (may be NULL) is
 * set before the sink is first called.
 */
int store_read(struct store *s, const char *name, int64_t offset, int64_t length, store_sink sink,
    void *arg, struct store_object *ret, struct err *err) MUST_CHECK;

#endif
