#ifndef STORE_SFTP_CALL_H
#define STORE_SFTP_CALL_H

/*
 * What is done with files over SFTP.
 *
 *     struct sftp *f = sftp_call_connect(&login, err);
 *     sftp_call_open(f, path, SFTP_OPEN_READ, &handle, err);
 *     sftp_call_read(f, &handle, 0, -1, data, arg, err) … sftp_call_close(f, &handle, err);
 *     sftp_call_disconnect(f);
 *
 * Errors of the server are ERR_NOT_FOUND, ERR_DENIED, ERR_SPACE or ERR_IO with a text that names no
 * file. After an error of the connection, sftp_call_is_broken(): disconnect, and connect anew.
 */

#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"

struct sftp;
struct sftp_login;

struct sftp *sftp_call_connect(const struct sftp_login *login, struct err *err) MUST_CHECK;
void sftp_call_disconnect(struct sftp *f); /* NULL is fine */
bool sftp_call_is_broken(const struct sftp *f);

struct sftp_handle {
    size_t len;
    char bytes[256];
};

struct sftp_attributes {
    int64_t bytes, modified_ms; /* -1: not known */
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

/* Calls `entry`, which may make calls of its own, for all that is in a folder, "." and ".." too. */
typedef int (*sftp_entry)(void *arg, const char *name, size_t len,
    const struct sftp_attributes *attributes, struct err *err);
int sftp_call_list(struct sftp *f, const struct sftp_handle *folder, sftp_entry entry, void *arg,
    struct err *err) MUST_CHECK;

/*
 * Passes `length` bytes on as they come, -1: up to the end of the file. Less is no error. Whatever
 * has come when the connection ends has been passed on.
 */
typedef int (*sftp_sink)(void *arg, const void *data, size_t len, struct err *err);
int sftp_call_read(struct sftp *f, const struct sftp_handle *handle, int64_t offset, int64_t length,
    sftp_sink sink, void *arg, struct err *err) MUST_CHECK;

int sftp_call_write(struct sftp *f, const struct sftp_handle *handle, int64_t offset,
    const void *data, size_t len, struct err *err) MUST_CHECK;

/* To the server's disk. Of a server that can't be told to, nothing is known: no error. */
int sftp_call_sync(struct sftp *f, const struct sftp_handle *handle, struct err *err) MUST_CHECK;

/*
 * Over a file that is there. Where the server can't do that in one go, that one is removed right
 * before.
 */
int sftp_call_rename(struct sftp *f, const char *from, const char *to, struct err *err) MUST_CHECK;

int sftp_call_remove(struct sftp *f, const char *path, struct err *err) MUST_CHECK;

#endif
