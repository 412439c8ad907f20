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
 * {"type": "http", "url": …}). What each kind's URL and members are stands in recluster(1), and at
 * the top of its driver, src/store/..._driver.c. Other kinds give ERR_UNSUPPORTED with the kind's
 * name and what to do.
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
    size_t not_utf8; /* names left out: JSON, which all goes through, can't carry them */
};
#define STORE_LIST_INIT                                                                            \
    {                                                                                              \
        .entries = NULL                                                                            \
    }

/* Files directly in the location; folders are left out. ERR_NOT_FOUND if the location isn't there. */
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

/*
 * No more than so many bytes a second are read, by all stores that share the limit, also in child
 * processes that were forked after rate_new(). The limit stays the caller's.
 */
struct rate;
struct rate *rate_new(int64_t bytes_per_second); /* > 0 */
void rate_free(struct rate *rate);               /* NULL is fine */
void store_limit_rate(struct store *s, struct rate *rate);

/*
 * Writes an object of any size, piece by piece:
 *
 *     struct store_writer *w = store_write_begin(s, "NAME", err);
 *     store_write(w, data, len, err) … store_write_commit(w, err);   // or store_write_abort(w)
 *
 * Nothing can be seen at the location, and an object that was there stays, until the commit has
 * returned 0; a writer that is aborted leaves nothing behind. The commit frees the writer, also
 * when it fails (then as an abort does). ERR_UNSUPPORTED from a location that can only be read.
 */
struct store_writer;
struct store_writer *store_write_begin(
    struct store *s, const char *name, struct err *err) MUST_CHECK;
int store_write(struct store_writer *w, const void *data, size_t len, struct err *err) MUST_CHECK;
int store_write_commit(struct store_writer *w, struct err *err) MUST_CHECK;
void store_write_abort(struct store_writer *w); /* NULL is fine */

/* Removes an object. One that isn't there is no error. */
int store_remove(struct store *s, const char *name, struct err *err) MUST_CHECK;

/*
 * The location with everything in it that it takes to get in: secrets given as {"env": …} or
 * {"file": …} read, credentials and settings that it lacks taken from the environment and the files
 * of its kind (AWS_…, ~/.aws, AZURE_STORAGE_…, GOOGLE_APPLICATION_CREDENTIALS, OS_…, ~/.netrc). For
 * the operator's side: what it returns can be sent to another host and opened there. store_open()
 * itself never looks at the environment but for {"env": …}. A new reference; NULL on failure.
 */
json_t *store_resolve_location(const json_t *location, struct err *err) MUST_CHECK;

/* Both: for a location that is read by the operator's machine itself. */
struct store *store_open_resolved(const json_t *location, struct err *err) MUST_CHECK;

#endif
