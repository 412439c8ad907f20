#ifndef RECLUSTER_TRANSFER_H
#define RECLUSTER_TRANSFER_H

/*
 * The bytes of one object as they are stored, each once and in order: over several connections
 * where that pays, kept on the disk where a later run shall go on with them, and compared with the
 * digest that somebody noted.
 *
 * Kept bytes are KEEP; KEEP.json says what of: {"label", "name", "validator", "bytes", "boot_id"}.
 * A later transfer goes on behind them if all of it still holds, else begins anew. The kept bytes
 * go through the sink first, so whatever checks the whole, checks them too; bytes from before a
 * restart of the machine are not trusted, as some may never have reached the disk.
 */

#include <stdbool.h>

#include "recluster/store.h"

struct transfer {
    struct store *store;
    const char *name;
    const char *keep_path; /* NULL: nothing is kept */
    const char *sha256;    /* hex, of the stored bytes; NULL: not known */
    store_sink sink;
    void *arg;
};

/*
 * ret_object is set before the sink is first called. ret_resumed: whether kept bytes were used.
 * Another digest is ERR_CORRUPT. The kept files stay: transfer_forget().
 */
int transfer_run(const struct transfer *t, struct store_object *ret_object, bool *ret_resumed,
    struct err *err) MUST_CHECK;

/* Removes what is kept, if anything is. */
void transfer_forget(const char *keep_path);

#endif
