#ifndef STORE_DRIVER_H
#define STORE_DRIVER_H

/*
 * What a kind of store must be able to do. A driver builds requests and reads answers; it tries
 * nothing twice, never sleeps, and keeps no count of what was delivered: store.c does that for all
 * of them. What a kind of store can't do is NULL in its table.
 *
 * Errors carry the code that says what happened (err_code_is_retried() decides on another try) and
 * name the object by the printable address, without passwords.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/store.h"

/* A piece of an upload. Its length is what the driver and the number make it, or less at the end. */
struct store_part {
    size_t number; /* from 0 */
    int64_t offset;
    const void *data;
    size_t len;
};

struct store_driver {
    /* Schemes of URLs and types of location objects that are this driver's; NULL at the end. */
    const char *const *kinds;

    /* Whether it is for this location of its kind; NULL: for all. */
    bool (*serves)(const json_t *location);

    /*
     * Reads the location (a string or an object) and makes the handle, without touching the store.
     * ret_label: the printable address, the caller's. NULL on failure.
     */
    void *(*open)(const json_t *location, char **ret_label, struct err *err);
    void (*close)(void *handle);

    /* Adds the files with store_list_add(), in any order; a name may come twice. */
    int (*list)(void *handle, struct store_list *list, struct err *err);

    /*
     * `length` bytes from `offset`, -1: to the end. Less or more than asked for is no error here.
     * When a function of the receiver returns -1, so does this, with the error as it is.
     */
    int (*read)(void *handle, const char *name, int64_t offset, int64_t length,
        const struct store_receiver *receiver, struct err *err);

    /*
     * How many connections a large object is read over, each in a process of its own: more than one
     * where each has its own share of the speed, or where reading keeps a processor busy. 0: it is
     * read by one, in this process.
     */
    unsigned connections;

    /*
     * How long the store asked to be left alone in its last answer (Retry-After), 0: it did not.
     * NULL where there is no such answer.
     */
    int64_t (*retry_after_ms)(const void *handle);

    /*
     * Writing; all NULL where it can't be done. store.c cuts the bytes into parts and tries a part
     * again, so each call may come twice with the same part, after it failed or after its answer
     * was lost: the second must do no harm. write_begin() need not touch the store. Nothing is
     * visible under `name`, and what was there before stays, until write_commit() has returned 0.
     * write_commit() brings the last part, which may be empty (the only one of an empty object).
     * write_end() frees the upload, always; without a commit that returned 0 it also removes what
     * lies at the store, as far as that can be done.
     */
    void *(*write_begin)(void *handle, const char *name, struct err *err);
    int (*write_part)(void *upload, const struct store_part *part, struct err *err);
    int (*write_commit)(void *upload, const struct store_part *last, struct err *err);
    void (*write_end)(void *upload);
    size_t part_bytes; /* of the first parts; 0 stands for 1 MiB */
    size_t parts_max;  /* that an object can have; parts grow so that they suffice. 0: any number */

    /* A name that isn't there is ERR_NOT_FOUND where the store says so, else success. */
    int (*remove)(void *handle, const char *name, struct err *err);

    /*
     * The location with members only, where its URL has them in its path and query. A new
     * reference; NULL in the table: a URL is no more than one member.
     */
    json_t *(*members)(const json_t *location, struct err *err);

    /* Members that name an endpoint, NULL at the end. Without any, the provider's own is asked. */
    const char *const *endpoints;

    /*
     * Puts credentials and settings that the location (an object, changed in place) lacks into it,
     * from the environment and the usual files of this kind: credentials only if `own`. NULL: there
     * are none.
     */
    int (*resolve)(json_t *location, bool own, struct err *err);

    /* Calls store_logins_add() for each endpoint that gets a login with this location. */
    void (*logins)(const json_t *location, json_t *logins);
};

/*
 * An endpoint gets a login. `secret`: it can be used by whoever reads along (a password, a token),
 * as opposed to a signature.
 */
void store_logins_add(json_t *logins, const char *endpoint, bool secret);

/* It says that logins may go over connections without TLS ("insecure": true). */
bool store_location_is_insecure(const json_t *location);

/* It is a location of a CCS file, and the operator has not spoken for its endpoints. */
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

/* Names that no file in a location can have ("", "..", "a/b", over 255 bytes) are left out. */
void store_list_add(
    struct store_list *list, const char *name, size_t len, int64_t bytes, int64_t modified_ms);

/* The same for a folder. */
void store_list_add_folder(struct store_list *list, const char *name, size_t len);

/* ERR_LIMIT once names had to be left out. A list() that can go on for ever asks. */
int store_list_check(const struct store_list *list, const char *label, struct err *err) MUST_CHECK;

/*
 * A list that comes in pages: asked before each next page, with the token that names it. ERR_PROTOCOL
 * if it is the token of the page before, ERR_LIMIT after STORE_PAGES_MAX pages or too many files.
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

/* The text of a location: itself if it is a string, else its member `key`; NULL if there is none. */
const char *store_location_text(const json_t *location, const char *key);

/*
 * How long the location may be silent, or send less than STORE_LOW_SPEED bytes a second, before a
 * try of a request is given up: its member "timeout", in seconds (1 to 3600, a number or a text),
 * else 30. A connection must stand within STORE_CONNECT_S of that.
 */
enum { STORE_SILENCE_S = 30, STORE_CONNECT_S = 10, STORE_LOW_SPEED = 100 };
int store_location_timeout(const json_t *location, long *ret_seconds, struct err *err) MUST_CHECK;
long store_connect_timeout(long silence_s);

#endif
