#ifndef RECLUSTER_PROGRAM_H
#define RECLUSTER_PROGRAM_H

/*
 * This program as a folder that runs on any Linux of the same architecture: the program (file
 * "recluster"), the shared libraries that it has loaded, and their loader, one file each:
 *
 *     FOLDER/ld-linux-x86-64.so.2 --library-path FOLDER FOLDER/recluster agent
 *
 * The folder is named by the SHA-256 of what is in it: of a line "SHA-256  NAME" for each file, in
 * the order of the names. So a folder of that name holds this very program, or is damaged.
 */

#include <stdbool.h>

#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/err.h"

struct program {
    char machine[65];          /* as `uname -m` says it */
    char *loader;              /* its name in the folder; NULL: linked statically */
    char hash[DIGEST_HEX_MAX]; /* the folder's name */
    struct buf tar;            /* its files, as a tar archive (ustar) */
    struct buf tar_gz;         /* the same gzipped; empty until it is asked for */
};

/* The running program. Read once, kept until the process ends: NULL if it can't be read. */
struct program *program_self(struct err *err) MUST_CHECK;

/* The archive as it is sent. */
const struct buf *program_archive(struct program *program, bool gzip, struct err *err) MUST_CHECK;

/*
 * On the host, by the program that was unpacked at `from`: checks all of it, makes it durable and
 * gives it its name `to`, beside it. A folder that is there already, by somebody faster, stays.
 * Unless 0 is returned nothing is left of `from`. Older leftovers of the same kind go too.
 */
int program_install(const char *from, const char *to, struct err *err) MUST_CHECK;

#endif
