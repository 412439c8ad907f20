#ifndef RECLUSTER_STORE_H
#define RECLUSTER_STORE_H

/*
 * Locations: where backup files lie.
 *
 *     struct store *s = store_open(location, err);
 *     store_list(s, &list, err) … store_read(s, &range, sink, arg, &info, err) …
 *     store_close(s);
 *
 * A location is a JSON string (a URL or a path: "/mnt/backups", "file:///mnt/backups",
 * "http://host/dir/") or an object as in a CCS `backup_location` ({"type": "mount_point", "path":
 * …}; {"type": "http", "url": …}). What each kind's URL and members are stands in recluster(1), and
 * at the top of its driver, src/store/..._driver.c. Other kinds give ERR_UNSUPPORTED with the
 * kind's name and what to do.
 *
 * Names are relative to the location and hold no '/'. Calls block, each with the location's
 * deadlines: 10 s to connect, and 30 s ("timeout" in the location) in which nothing comes, or next
 * to nothing. What failed is tried again in one place (src/store/store.c) where
 * err_code_is_retried() says so, and goes on at the byte where it stopped if the object is still
 * the same one, else fails with ERR_CHANGED.
 *
 * The same: its size, where the store gives it, and its validator. That is over HTTP the ETag (with
 * Last-Modified, if it is a weak one), else Last-Modified alone; for FTP, SFTP and files what the
 * driver says. Two seconds' worth of one date may be two objects, so pull() verifies as a whole what
 * came in pieces. Without any validator, what has begun to come can't be gone on with: the first
 * failure is final for store_read(), and pull() begins once more at the first byte.
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
    bool full;       /* it has STORE_ENTRIES_MAX entries or folders: what followed was left out */
    char **folders;  /* names, where the store has folders and is asked over a path (file, sftp) */
    size_t folder_count;
};
#define STORE_LIST_INIT                                                                            \
    {                                                                                              \
        .entries = NULL                                                                            \
    }

/*
 * The location of a folder in a location that has `folders`; its name must not need escaping in a
 * URL. A new reference.
 */
json_t *store_location_below(const json_t *location, const char *folder);

/* The location as it was given, without secrets; for one that cannot be opened. The caller frees it. */
char *store_location_shown(const json_t *location);

/* Whether it is a folder of this machine, as it sees it: a disk, or what is mounted there. */
bool store_location_is_folder(const json_t *location);

/*
 * Files directly in the location; folders are no entries. ERR_NOT_FOUND if the location isn't there,
 * ERR_LIMIT if it has more than STORE_ENTRIES_MAX of them.
 */
enum { STORE_ENTRIES_MAX = 1000000 };
int store_list(struct store *s, struct store_list *ret, struct err *err) MUST_CHECK;
void store_list_release(struct store_list *list);
/* The entry of that name; NULL: there is none. */
const struct store_entry *store_list_find(const struct store_list *list, const char *name);

struct store_object {
    int64_t bytes;       /* of the whole object; -1: not known */
    int64_t modified_ms; /* -1: not known */
    char validator[256]; /* changes when the object does ("" : the store gives none) */
};

/* Takes bytes in order. Returns -1 with err set to stop the transfer. */
typedef int (*store_sink)(void *arg, const void *data, size_t len, struct err *err);

/* What is read of an object. */
struct store_range {
    const char *name;
    int64_t offset, length; /* length -1: to the end */
};

/*
 * Reads the range into the sink; reading past the end gives no bytes. An object that is shorter than the store said is ERR_CORRUPT. A sink that has seen
 * enough returns -1 with code ERR_CANCELLED: store_read() then returns 0. `ret` (may be NULL) is
 * set before the sink is first called.
 */
int store_read(struct store *s, const struct store_range *range, store_sink sink, void *arg,
    struct store_object *ret, struct err *err) MUST_CHECK;

/*
 * Where an answer goes. begin() comes once, before the first byte, also when there are none;
 * `first_byte` is the position of the first byte that data() will get: a store that knows no ranges
 * says 0 whatever was asked. When one of them returns -1, the reading stops and fails with that
 * error.
 */
struct store_receiver {
    int (*begin)(void *arg, const struct store_object *object, int64_t first_byte, struct err *err);
    int (*data)(void *arg, const void *data, size_t len, struct err *err);
    void *arg;
};

/*
 * One try of it, with nothing made good: less or more bytes than asked for may come. For whoever
 * hands the bytes on to a store_open_relay() elsewhere, which does the rest. After a failure,
 * store_retry_after_ms() is how long the store asked to be left alone; 0: it did not.
 */
int store_read_once(struct store *s, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err) MUST_CHECK;
int64_t store_retry_after_ms(const struct store *s);

/*
 * A location whose files somebody else reads for us, each time `read` is called: as
 * store_read_once() does there. Files can't be listed nor written.
 */
struct store_relay {
    int (*read)(void *arg, const char *name, int64_t offset, int64_t length,
        const struct store_receiver *receiver, struct err *err);
    int64_t (*retry_after_ms)(void *arg);
    void (*close)(void *arg); /* by store_close(); may be NULL */
    void *arg;
};
struct store *store_open_relay(const char *label, const struct store_relay *relay);

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
 * What is believed. A location of the operator (hosts.json, --source, --location, the command line)
 * may read files and environment variables, and the logins of the environment go to its endpoints.
 * A location that stands in a CCS file is data of somebody else. store_location_of_ccs() takes from
 * it what such a location may say, as text, and marks the result; what names a file, a variable or
 * a profile of this machine is ERR_CHECK. With a marked location, a login of the environment or the
 * usual files goes to the provider's own endpoint only, never to one that the location names.
 *
 * `trusted` (may be NULL) is the operator's word: an array of URLs, or of {"url", "insecure"}. A
 * location all of whose endpoints are in it counts as the operator's own.
 */
json_t *store_location_of_ccs(
    const json_t *location, const json_t *trusted, struct err *err) MUST_CHECK;

/*
 * The location with everything in it that it takes to log in: secrets given as {"env": …} or
 * {"file": …} read, credentials and settings that it lacks taken from the environment and the files
 * of its kind (AWS_…, ~/.aws, AZURE_STORAGE_…, GOOGLE_APPLICATION_CREDENTIALS, OS_…, ~/.netrc). For
 * the operator's side: what it returns can be sent to another host and opened there. ERR_CHECK if
 * a password or a token would go over a connection without TLS, unless the location has "insecure":
 * true. store_open() itself never looks at the environment. A new reference; NULL on failure.
 */
json_t *store_resolve_location(const json_t *location, struct err *err) MUST_CHECK;

/*
 * Who gets a login with a resolved location: [{"endpoint": "https://host:443", "clear": whether
 * others can read it on the way}]. A new reference.
 */
json_t *store_logins(const json_t *resolved);

/* Both: for a location that is read by the operator's machine itself. */
struct store *store_open_resolved(const json_t *location, struct err *err) MUST_CHECK;

#endif
