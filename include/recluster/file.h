#ifndef RECLUSTER_FILE_H
#define RECLUSTER_FILE_H

/*
 * Files and paths.
 *
 * file_write_atomic() writes NAME.tmp, syncs it, renames it to NAME and syncs the folder. The file
 * is durable when the call returns, and after a crash NAME holds either the old bytes or the new
 * ones. Use it only in folders that are ours alone, because it overwrites NAME.tmp as a leftover of
 * a crash. For other folders: out_file.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "recluster/buf.h"
#include "recluster/err.h"

/* "a/b", with one slash between. The caller frees it. */
char *path_join(const char *dir, const char *name);

/* The part after the last slash; points into path. */
const char *path_base(const char *path);

/* The part before the last slash, "." if there is none. The caller frees it. */
char *path_dir(const char *path);

/*
 * Makes a name safe as one path component: letters, digits, '.', '_' and '-' stay. Other bytes and
 * a leading '.' become %XX; "" becomes "%". The caller frees it.
 */
char *path_component(const char *name);

/* Replaces "~" in "~" and "~/x" by the home folder. The caller frees it. */
char *path_expand_home(const char *path);

/* Appends a whole file of at most `limit` bytes to b. */
int file_read(const char *path, size_t limit, struct buf *b, struct err *err) MUST_CHECK;

int file_write_atomic(
    const char *path, const void *data, size_t len, mode_t mode, struct err *err) MUST_CHECK;

/* Calls write(2) until all of it is written. `what` names the file in the message. */
int file_write_all(
    int fd, const void *data, size_t len, const char *what, struct err *err) MUST_CHECK;

/*
 * The same for the next bytes of a long file, at offset *at, which moves after them. After each 8
 * MiB the kernel is asked to start writing to the disk, which makes the final fsync short, and to
 * reserve the next 8 MiB, which halves the processor time of the writes. Both are only hints.
 */
int file_append(int fd, int64_t *at, const void *data, size_t len, const char *what,
    struct err *err) MUST_CHECK;
/* For one read or write of a long file: what was read is still in the cache when it is written. */
enum { FILE_PIECE_BYTES = 128 << 10 };
/* After the last file_append(): frees the reserved space after the end. */
void file_trim(int fd);

bool file_exists(const char *path);

/* Like mkdir -p. Folders that it creates get `mode`. */
int dir_make(const char *path, mode_t mode, struct err *err) MUST_CHECK;

/* fsync of a folder: makes renames in it durable. */
int dir_sync(const char *path, struct err *err) MUST_CHECK;

/* Names in a folder, sorted by byte, without "." and "..". Free with strv_free(). */
int dir_list(const char *path, char ***ret_names, size_t *ret_count, struct err *err) MUST_CHECK;

/* Removes a folder with its content; does not follow links. A missing folder is not an error. */
int dir_remove(const char *path, struct err *err) MUST_CHECK;

void strv_free(char **names, size_t count);

#endif
