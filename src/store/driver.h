#ifndef STORE_DRIVER_H
#define STORE_DRIVER_H

/*
 * The contract of a kind of store. A driver builds requests and reads answers. It never retries,
 * sleeps or counts delivered bytes: store.c does that for all drivers. A function that the kind of
 * store cannot provide is NULL.
 *
 * Errors have a code that says what happened (err_code_is_retried() decides about a retry) and name
 * the object by its printable address, without passwords.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/store.h"

/* A piece of an upload. Driver and number determine its length; the last one may be shorter. */
struct store_part {
    size_t number; /* from 0 */
    int64_t offset;
    const void *data;
    size_t len;
};

struct store_driver {
    /* The URL schemes and types of location objects of this driver; NULL at the end. */
    const char *const *kinds;

    /* Whether it serves this location of its kind; NULL: it serves all. */
    bool (*serves)(const json_t *location);

    /*
     * Reads the location (a string or an object) and makes the handle, without contacting the
     * store. ret_label: the printable address, the caller's. NULL on failure.
     */
    void *(*open)(const json_t *location, char **ret_label, struct err *err);
    void (*close)(void *handle);

    /* Adds the files with store_list_add(), in any order; duplicates are allowed. */
    int (*list)(void *handle, struct store_list *list, struct err *err);

    /*
     * Reads `length` bytes from `offset`, -1: to the end. A different number of bytes is not an
     * error here. If a function of the receiver returns -1, so does this, with the same error.
     */
    int (*read)(void *handle, const char *name, int64_t offset, int64_t length,
        const struct store_receiver *receiver, struct err *err);

    /*
     * The number of connections for a large object, each in a process of its own: more than one if
     * each connection has its own limit of speed, or if reading keeps a processor busy. 0: one
     * connection, in this process.
     */
    unsigned connections;

    /* The pause that the last answer requested (Retry-After); 0: none. NULL: it never does. */
    int64_t (*retry_after_ms)(const void *handle);

    /*
     * Writing; all NULL if it is not possible. store.c cuts the bytes into parts and retries a
     * part. So a call may be repeated for the same part after it failed or its answer was lost, and
     * the second call must do no harm. write_begin() need not contact the store. Until
     * write_commit() has returned 0, nothing is visible under `name`, and an older object stays.
     * write_commit() brings the last part, which may be empty (the only one of an empty object).
     * write_end() always frees the upload; without a successful commit it also removes what was
     * uploaded, as far as possible.
     */
    void *(*write_begin)(void *handle, const char *name, struct err *err);
    int (*write_part)(void *upload, const struct store_part *part, struct err *err);
    int (*write_commit)(void *upload, const struct store_part *last, struct err *err);
    void (*write_end)(void *upload);
    size_t part_bytes; /* of the first parts; 0: 1 MiB */
    size_t parts_max;  /* per object; parts grow so that they suffice. 0: unlimited */

    /* A missing name is ERR_NOT_FOUND if the store reports it, else success. */
    int (*remove)(void *handle, const char *name, struct err *err);

    /*
     * The location with members only, if a URL has some of them in its path and query. A new
     * reference; NULL in the table: a URL is a single member.
     */
    json_t *(*members)(const json_t *location, struct err *err);

    /* The members that name an endpoint, NULL at the end. Without any: the provider's own. */
    const char *const *endpoints;

    /*
     * Adds missing credentials (only if `own`) and settings to the location (an object, changed in
     * place), from the environment and the usual files of this kind. NULL: there are none.
     */
    int (*resolve)(json_t *location, bool own, struct err *err);

    /* Calls store_logins_add() for each endpoint that gets a login of this location. */
    void (*logins)(const json_t *location, json_t *logins);
};

/* An endpoint gets a login. `secret`: a password or token, not just a signature. */
void store_logins_add(json_t *logins, const char *endpoint, bool secret);

/* Whether logins may use connections without TLS ("insecure": true). */
bool store_location_is_insecure(const json_t *location);

/* A location of a CCS file for whose endpoints the operator has not vouched. */
bool store_location_is_of_ccs(const json_t *location);

extern const struct store_driver store_file_driver;
extern const struct store_driver store_http_driver;
extern const struct store_driver store_s3_driver;
extern const struct store_driver store_azure_driver;
extern const struct store_driver store_gcs_xml_driver;
extern const struct store_driver store_gcs_driver;
extern const struct store_driver store_swift_driver;
extern const struct store_driver store_ftp_driver;
extern const struct store_driver store_sftp_driver;
extern const struct store_driver store_command_driver;

/* Skips names that no file in a location can have ("", "..", "a/b", over 255 bytes). */
void store_list_add(
    struct store_list *list, const char *name, size_t len, int64_t bytes, int64_t modified_ms);

/* The same for a folder. */
void store_list_add_folder(struct store_list *list, const char *name, size_t len);

/* ERR_LIMIT if names had to be dropped. For a list() that could continue forever. */
int store_list_check(const struct store_list *list, const char *label, struct err *err) MUST_CHECK;

/*
 * For a list in pages: call it before each further page, with its token. ERR_PROTOCOL if the token
 * equals the last one, ERR_LIMIT after STORE_PAGES_MAX pages or too many files.
 */
enum { STORE_PAGES_MAX = 10000 };
struct store_pages {
    const struct store_list *list;
    size_t count;
    char *last;
};
int store_pages_next(
    struct store_pages *pages, const char *token, const char *label, struct err *err) MUST_CHECK;
void store_pages_release(struct store_pages *pages);

/* The text of a location: itself if it is a string, else its member `key`; NULL: none. */
const char *store_location_text(const json_t *location, const char *key);

/*
 * How long the location may be silent, or send less than STORE_LOW_SPEED bytes a second, before a
 * try is given up: its member "timeout", in seconds (1 to 3600, a number or a text), default 30.
 * Connecting may take STORE_CONNECT_S of that.
 */
enum { STORE_SILENCE_S = 30, STORE_CONNECT_S = 10, STORE_LOW_SPEED = 100 };
int store_location_timeout(const json_t *location, long *ret_seconds, struct err *err) MUST_CHECK;
long store_connect_timeout(long silence_s);

#endif
