#ifndef RECLUSTER_TRANSFER_H
#define RECLUSTER_TRANSFER_H

/*
 * Reads the stored bytes of one object, each once and in order. It uses several connections if that
 * is faster. It can keep the bytes on the disk for a later run, and compares them with a digest.
 *
 * The file KEEP has the kept bytes, and KEEP.json describes them: {"label", "name", "validator",
 * "bytes", "boot_id"}. A later transfer continues after them if all of this is unchanged, and
 * otherwise starts again. The kept bytes go through the sink first, so a check of the whole file
 * covers them too. Bytes from before a restart of the machine are not used, because some may never
 * have reached the disk.
 */

#include <stdbool.h>

#include "recluster/store.h"

struct transfer {
    struct store *store;
    const char *name;
    const char *keep_path; /* NULL: nothing is kept */
    const char *sha256;    /* hex, of the stored bytes; NULL: unknown */
    store_sink sink;
    void *arg;
};

/*
 * ret_object is set before the sink is first called. ret_resumed: whether kept bytes were used. A
 * digest that differs is ERR_CORRUPT. The kept files stay until transfer_forget().
 */
int transfer_run(const struct transfer *t, struct store_object *ret_object, bool *ret_resumed,
    struct err *err) MUST_CHECK;

/* Removes the kept files, if there are any. */
void transfer_forget(const char *keep_path);

#endif
