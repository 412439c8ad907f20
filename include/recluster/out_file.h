#ifndef RECLUSTER_OUT_FILE_H
#define RECLUSTER_OUT_FILE_H

/*
 * Writes a file so that it appears complete or not at all, in a folder that others use too.
 *
 *     struct out_file out = OUT_FILE_INIT;
 *     out_file_open(&out, path, 0644, err)           // creates a new working file: path.XXXXXX
 *     write to out.fd …
 *     out_file_commit(&out, OUT_FILE_NEW, err)       // syncs and renames it, syncs the folder
 *     out_file_release(&out)                         // removes the file if it was not committed
 *
 * The working file is created with O_EXCL, so it follows no link and overwrites nothing.
 */

#include <sys/types.h>

#include "recluster/err.h"

struct out_file {
    char *path, *working;
    int fd; /* -1: not open */
};
#define OUT_FILE_INIT                                                                              \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

enum out_file_way {
    OUT_FILE_NEW,     /* ERR_CHECK if the path exists by then */
    OUT_FILE_REPLACE, /* replaces an existing file */
};

/* `mode` as for open(2): less the umask. */
int out_file_open(struct out_file *out, const char *path, mode_t mode, struct err *err) MUST_CHECK;
/* Syncs the bytes to the disk under the working name. The descriptor stays open. */
int out_file_sync(struct out_file *out, struct err *err) MUST_CHECK;
int out_file_commit(struct out_file *out, enum out_file_way way, struct err *err) MUST_CHECK;
void out_file_release(struct out_file *out);

/* All of it in one call. */
int out_file_write(const char *path, const void *data, size_t len, mode_t mode,
    enum out_file_way way, struct err *err) MUST_CHECK;

#endif
