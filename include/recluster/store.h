#ifndef RECLUSTER_STORE_H
#define RECLUSTER_STORE_H

/*
 * Locations: where backup files are stored.
 *
 *     struct store *s = store_open(location, err);
 *     store_list(s, &list, err) … store_read(s, &range, sink, arg, &info, err) …
 *     store_close(s);
 *
 * A location is a JSON string (a URL or a path: "/mnt/backups", "file:///mnt/backups",
 * "http://host/dir/") or an object as in a CCS `backup_location` ({"type": "mount_point", "path":
 * …}; {"type": "http", "url": …}). recluster(1) and the top of each driver, src/store/…/driver.c,
 * describe the URL and the members of each kind. Other kinds are ERR_UNSUPPORTED; the message names
 * the kind, the hint says what to do.
 *
 * Names are relative to the location and contain no '/'. Calls block. Their deadlines are 10 s to
 * connect, and 30 s ("timeout" in the location) without data or with almost none.
 *
 * Retries happen in one place (src/store/store.c), for errors with err_code_is_retried(). A retry
 * continues at the byte where reading stopped, if the object is still the same, and otherwise fails
 * with ERR_CHANGED. An object is the same if its size (if known) and its validator are. Over HTTP
 * the validator is the ETag (a weak one together with Last-Modified), or else Last-Modified; for
 * FTP, SFTP and files the driver decides. Two objects written within two seconds may have the
 * same date, so pull() verifies as a whole what came in pieces. Without a validator a read cannot
 * be continued: its first failure is final for store_read(), and pull() starts once more at the
 * first byte.
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
void store_close(struct store *s); /* may be NULL */

/* The location for messages, without passwords. */
const char *store_label(const struct store *s);

struct store_entry {
    char *name;
    int64_t bytes;       /* -1: unknown */
    int64_t modified_ms; /* -1: unknown */
};

struct store_list {
    struct store_entry *entries; /* sorted by name, byte by byte */
    size_t count;
    size_t not_utf8; /* how many names were left out because JSON cannot hold them */
    bool full;       /* it has STORE_ENTRIES_MAX entries or folders; the rest was left out */
    char **folders;  /* names of folders, from stores with paths (file, sftp) */
    size_t folder_count;
};
#define STORE_LIST_INIT                                                                            \
    {                                                                                              \
        .entries = NULL                                                                            \
    }

/*
 * The location of one of the `folders` of a location. The name must not need escaping in a URL.
 * Returns a new reference.
 */
json_t *store_location_below(const json_t *location, const char *folder);

/* The location as given, without secrets, even if it cannot be opened. The caller frees it. */
char *store_location_shown(const json_t *location);

/* Whether the location is a folder of this machine, on a disk or on a mounted file system. */
bool store_location_is_folder(const json_t *location);

/*
 * Lists the files directly in the location; folders are not entries. ERR_NOT_FOUND if the location
 * does not exist, ERR_LIMIT if it has more than STORE_ENTRIES_MAX files.
 */
enum { STORE_ENTRIES_MAX = 1000000 };
int store_list(struct store *s, struct store_list *ret, struct err *err) MUST_CHECK;
void store_list_release(struct store_list *list);
/* The entry of that name, or NULL. */
const struct store_entry *store_list_find(const struct store_list *list, const char *name);

struct store_object {
    int64_t bytes;       /* of the whole object; -1: unknown */
    int64_t modified_ms; /* -1: unknown */
    char validator[256]; /* changes when the object changes; "": the store gives none */
};

/* Takes bytes in order. Returns -1 with err set to stop the transfer. */
typedef int (*store_sink)(void *arg, const void *data, size_t len, struct err *err);

/* The part of an object to read. */
struct store_range {
    const char *name;
    int64_t offset, length; /* length -1: to the end */
};

/*
 * Reads the range into the sink. Reading past the end of the object gives no bytes. An object that
 * is shorter than the store announced is ERR_CORRUPT. If the sink needs no more, it returns -1 with
 * code ERR_CANCELLED; store_read() then returns 0. `ret` (may be NULL) is set before the sink is
 * first called.
 */
int store_read(struct store *s, const struct store_range *range, store_sink sink, void *arg,
    struct store_object *ret, struct err *err) MUST_CHECK;

/*
 * Receives an answer. begin() is called once before the first byte, even if there are no bytes.
 * `first_byte` is the offset of the first byte that data() will get. It is 0 if the store does not
 * support ranges. If a function returns -1, reading stops and fails with that error.
 */
struct store_receiver {
    int (*begin)(void *arg, const struct store_object *object, int64_t first_byte, struct err *err);
    int (*data)(void *arg, const void *data, size_t len, struct err *err);
    void *arg;
};

/*
 * Tries to read once, without retries: fewer or more bytes than asked for may come. For a caller
 * that passes the bytes on to a store_open_relay() elsewhere, which does the rest. After a failure,
 * store_retry_after_ms() is the pause that the store asked for, or 0.
 */
int store_read_once(struct store *s, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err) MUST_CHECK;
int64_t store_retry_after_ms(const struct store *s);

/*
 * A location whose files another process reads for us: `read` works like store_read_once() there.
 * Files cannot be listed or written.
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
 * What opens the encrypted files of a location (sealed.h): the text of a private key. It is a member
 * of the location, STORE_DECRYPT_KEY. store_resolve_location() adds the operator's to each location,
 * so hosts that read files get it with the location. A relay's store gets it by the second function.
 */
#define STORE_DECRYPT_KEY "decrypt_private_key"
const char *store_decrypt_key(const struct store *s); /* NULL: none */
void store_set_decrypt_key(struct store *s, const char *text);
void store_resolve_with_key(const char *text); /* the operator's, from now on; copied */

/*
 * Limits the bytes a second that all stores with the same `rate` read together, also in child
 * processes that were forked after rate_new(). The caller keeps the rate and frees it.
 */
struct rate;
struct rate *rate_new(int64_t bytes_per_second); /* > 0 */
void rate_free(struct rate *rate);               /* may be NULL */
void store_limit_rate(struct store *s, struct rate *rate);

/*
 * Writes an object of any size, piece by piece:
 *
 *     struct store_writer *w = store_write_begin(s, "NAME", err);
 *     store_write(w, data, len, err) … store_write_commit(w, err);   // or store_write_abort(w)
 *
 * Until the commit returns 0, nothing new is visible at the location, and an existing object stays.
 * An aborted writer leaves nothing behind. The commit frees the writer, even if it fails, which is
 * then like an abort. A location that can only be read is ERR_UNSUPPORTED.
 */
struct store_writer;
struct store_writer *store_write_begin(
    struct store *s, const char *name, struct err *err) MUST_CHECK;
int store_write(struct store_writer *w, const void *data, size_t len, struct err *err) MUST_CHECK;
int store_write_commit(struct store_writer *w, struct err *err) MUST_CHECK;
void store_write_abort(struct store_writer *w); /* may be NULL */

/* Removes an object. A missing one is not an error. */
int store_remove(struct store *s, const char *name, struct err *err) MUST_CHECK;

/*
 * Trust. A location from the operator (hosts.json, --source, --location, the command line) may name
 * files and environment variables to read, and its endpoints get logins of the environment. A
 * location from a CCS file is not trusted. store_location_of_ccs() copies the members that such a
 * location may have, as text, and marks the result. A member that names a file, a variable or a
 * profile of this machine is ERR_CHECK. With a marked location, logins of the environment or the
 * usual files go only to the provider's own endpoint, never to an endpoint that the location names.
 *
 * `trusted` (may be NULL) comes from the operator: an array of URLs, or of {"url", "insecure"}. If
 * all endpoints of a location are in it, the location is trusted like the operator's own.
 */
json_t *store_location_of_ccs(
    const json_t *location, const json_t *trusted, struct err *err) MUST_CHECK;

/*
 * Completes a location with all that is needed to log in. It reads secrets given as {"env": …} or
 * {"file": …}, and takes missing credentials and settings from the environment and the usual files
 * of the kind (AWS_…, ~/.aws, AZURE_STORAGE_…, GOOGLE_APPLICATION_CREDENTIALS, OS_…, ~/.netrc). The
 * operator's side calls it; the result can be sent to another host and opened there. ERR_CHECK if a
 * password or a token would go over a connection without TLS, unless the location has "insecure":
 * true. store_open() itself never reads the environment. Returns a new reference; NULL on failure.
 */
json_t *store_resolve_location(const json_t *location, struct err *err) MUST_CHECK;

/*
 * The endpoints that get a login with a resolved location: [{"endpoint": "https://host:443",
 * "clear": whether the login is sent unencrypted}]. Returns a new reference.
 */
json_t *store_logins(const json_t *resolved);

/* Resolves and opens a location that the operator's machine reads itself. */
struct store *store_open_resolved(const json_t *location, struct err *err) MUST_CHECK;

#endif
