#ifndef RECLUSTER_FILE_H
#define RECLUSTER_FILE_H

/*
 * Files and paths.
 *
 * What is written here is durable when the call returns: file_write_atomic() writes NAME.tmp, syncs
 * it, renames it over NAME and syncs the folder, so that after a crash NAME holds the old bytes or
 * the new ones, never half of either. It is for folders that are ours alone, as NAME.tmp is taken
 * for a leftover of a crash; elsewhere: out_file.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "recluster/buf.h"
#include "recluster/err.h"

/* "a/b", with one slash between. The caller frees it. */
char *path_join(const char *dir, const char *name);

/* The part behind the last slash; points into path. */
const char *path_base(const char *path);

/* The part before the last slash, "." if there is none. The caller frees it. */
char *path_dir(const char *path);

/*
 * A name made safe as one path component: letters, digits, '.', '_' and '-' stay, all else becomes
 * %XX, as does a leading '.'; "" becomes "%". The caller frees it.
 */
char *path_component(const char *name);

/* "~" and "~/x" with the home folder put in. The caller frees it. */
char *path_expand_home(const char *path);

/* Reads a whole file of at most `limit` bytes onto the end of b. */
int file_read(const char *path, size_t limit, struct buf *b, struct err *err) MUST_CHECK;

int file_write_atomic(
    const char *path, const void *data, size_t len, mode_t mode, struct err *err) MUST_CHECK;

/* Writes all of it, whatever write(2) takes at a time. `what` names the file in the message. */
int file_write_all(
    int fd, const void *data, size_t len, const char *what, struct err *err) MUST_CHECK;

/*
 * After a write of `len` bytes that end at `at`: now and then has the kernel begin to bring to the
 * disk what was written, so that the fsync at the end waits for little. No more than a hint.
 */
void file_write_behind(int fd, int64_t at, size_t len);

bool file_exists(const char *path);

/* mkdir -p; folders that it makes get `mode`. */
int dir_make(const char *path, mode_t mode, struct err *err) MUST_CHECK;

/* fsync of a folder: makes renames in it durable. */
int dir_sync(const char *path, struct err *err) MUST_CHECK;

/* Names in a folder, sorted by byte, without "." and "..". Free with strv_free(). */
int dir_list(const char *path, char ***ret_names, size_t *ret_count, struct err *err) MUST_CHECK;

/* Removes a folder and all below it; links are removed, not followed. A missing one is no error. */
int dir_remove(const char *path, struct err *err) MUST_CHECK;

void strv_free(char **names, size_t count);

#endif
