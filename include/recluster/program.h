#ifndef RECLUSTER_PROGRAM_H
#define RECLUSTER_PROGRAM_H

/*
 * This program as a folder that runs on any Linux of the same architecture. The folder has the
 * program (file "recluster"), the shared libraries that it has loaded, and their loader:
 *
 *     FOLDER/ld-linux-x86-64.so.2 --library-path FOLDER FOLDER/recluster agent
 *
 * The name of the folder is a SHA-256 of its content: of one line "SHA-256  NAME" for each file,
 * sorted by name. So a folder with that name holds exactly this program, or is damaged.
 */

#include <stdbool.h>

#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/err.h"

struct program {
    char machine[65];          /* as `uname -m` prints it */
    char *loader;              /* its name in the folder; NULL: the program is linked statically */
    char hash[DIGEST_HEX_MAX]; /* the folder's name */
    struct buf tar;            /* its files, as a tar archive (ustar) */
    struct buf tar_gz;         /* the same gzipped; empty until program_archive() needs it */
};

/* The running program. Read once and kept until the process ends; NULL if it cannot be read. */
struct program *program_self(struct err *err) MUST_CHECK;

/* The archive to send. */
const struct buf *program_archive(struct program *program, bool gzip, struct err *err) MUST_CHECK;

/*
 * The program that was unpacked at `from` calls this on the host. It checks all files, makes them
 * durable and renames the folder to `to`, beside it. If another process has already created `to`,
 * that folder stays. Afterwards `from` does not exist. Older leftovers of the same kind are
 * removed.
 */
int program_install(const char *from, const char *to, struct err *err) MUST_CHECK;

#endif
