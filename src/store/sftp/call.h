#ifndef STORE_SFTP_CALL_H
#define STORE_SFTP_CALL_H

/*
 * Operations on files over SFTP.
 *
 *     struct sftp *f = sftp_call_connect(&login, err);
 *     sftp_call_open(f, path, SFTP_OPEN_READ, &handle, err);
 *     sftp_call_read(f, &handle, 0, -1, data, arg, err) … sftp_call_close(f, &handle, err);
 *     sftp_call_disconnect(f);
 *
 * Errors of the server are ERR_NOT_FOUND, ERR_DENIED, ERR_SPACE or ERR_IO with a text that names no
 * file. After an error of the connection, sftp_call_is_broken(): disconnect, and connect again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"

struct sftp;
struct sftp_login;

struct sftp *sftp_call_connect(const struct sftp_login *login, struct err *err) MUST_CHECK;
void sftp_call_disconnect(struct sftp *f); /* may be NULL */
bool sftp_call_is_broken(const struct sftp *f);

struct sftp_handle {
    size_t len;
    char bytes[256];
};

struct sftp_attributes {
    int64_t bytes, modified_ms; /* -1: unknown */
    bool knows_type;            /* else the rest is false */
    bool is_file, is_folder, is_link;
};

enum { SFTP_OPEN_READ = 1, SFTP_OPEN_WRITE = 2, SFTP_OPEN_CREATE = 8, SFTP_OPEN_TRUNCATE = 16 };
int sftp_call_open(struct sftp *f, const char *path, uint32_t flags, struct sftp_handle *ret,
    struct err *err) MUST_CHECK;
int sftp_call_open_folder(
    struct sftp *f, const char *path, struct sftp_handle *ret, struct err *err) MUST_CHECK;
int sftp_call_close(struct sftp *f, const struct sftp_handle *handle, struct err *err) MUST_CHECK;

/* Links are followed. */
int sftp_call_stat(
    struct sftp *f, const char *path, struct sftp_attributes *ret, struct err *err) MUST_CHECK;
int sftp_call_fstat(struct sftp *f, const struct sftp_handle *handle, struct sftp_attributes *ret,
    struct err *err) MUST_CHECK;

/* Calls `entry` for each entry of a folder, also "." and "..". `entry` may make calls itself. */
typedef int (*sftp_entry)(void *arg, const char *name, size_t len,
    const struct sftp_attributes *attributes, struct err *err);
int sftp_call_list(struct sftp *f, const struct sftp_handle *folder, sftp_entry entry, void *arg,
    struct err *err) MUST_CHECK;

/*
 * Passes `length` bytes to the sink as they arrive; -1: to the end of the file. Fewer are not an
 * error. All bytes that arrived before the connection ended have been passed on. Seven parameters:
 * those of pread(2) and a sink.
 */
typedef int (*sftp_sink)(void *arg, const void *data, size_t len, struct err *err);
int sftp_call_read(struct sftp *f, const struct sftp_handle *handle, int64_t offset, int64_t length,
    sftp_sink sink, void *arg, struct err *err) MUST_CHECK;

int sftp_call_write(struct sftp *f, const struct sftp_handle *handle, int64_t offset,
    const void *data, size_t len, struct err *err) MUST_CHECK;

/* Syncs the file to the server's disk. A server that does not support this is not an error. */
int sftp_call_sync(struct sftp *f, const struct sftp_handle *handle, struct err *err) MUST_CHECK;

/* Replaces an existing file, which a server that cannot do that in one step removes first. */
int sftp_call_rename(struct sftp *f, const char *from, const char *to, struct err *err) MUST_CHECK;

int sftp_call_remove(struct sftp *f, const char *path, struct err *err) MUST_CHECK;

#endif
