#ifndef AGENT_MADE_FILES_H
#define AGENT_MADE_FILES_H

/*
 * Files that a server of this host has made: its base, and what came after it, read as one.
 *
 *     struct made_files f = {.paths = paths, .fd = -1};
 *     while ((n = made_files_read(&f, bytes, sizeof(bytes), err)) > 0) …   // of file number f.file
 *     made_files_close(&f);
 */

#include <jansson.h>
#include <sys/types.h>

#include "recluster/err.h"

struct made_files {
    const json_t *paths; /* NULL: none */
    size_t file;         /* that the last bytes came from */
    int fd;              /* -1: none is open */
};

/* 0: all has been read. */
ssize_t made_files_read(struct made_files *f, void *bytes, size_t size, struct err *err) MUST_CHECK;
void made_files_close(struct made_files *f);

#endif
