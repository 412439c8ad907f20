#ifndef RECLUSTER_PULL_H
#define RECLUSTER_PULL_H

/*
 * One pass over a backup file: read from its location, inflate if it is compressed (told by
 * content: gzip or none), scan, and write where asked to. `verify`, the catalogue and the agent's
 * fetch are this one function.
 *
 * With `out_path` the file appears there only if every check held: bytes go to OUT.part, then
 * fsync, rename, fsync of the folder. On failure nothing stands at out_path; the .part is removed.
 * What stood at out_path before is replaced only on success.
 *
 * ret_facts is the scan's JSON (rdb_scan.h) with "compressed": "gzip|none" and "stored_bytes" (as
 * it lies in the store) added; it is set (the caller's) even on failure, if anything was read, else
 * NULL.
 */

#include <jansson.h>

#include "recluster/err.h"
#include "recluster/rdb_scan.h"
#include "recluster/store.h"

struct pull_params {
    struct store *store;
    const char *name;
    struct rdb_scan_options scan;
    const char *out_path;   /* NULL: only look */
    int64_t expected_bytes; /* as stored; -1: any. Another size is ERR_CORRUPT */
    /* NULL or called now and then (every 0.2 s or so) with stored bytes read and their total (-1:
     * not known). */
    void (*progress)(void *arg, int64_t done_bytes, int64_t total_bytes);
    /*
     * NULL or called once with the facts, after the scan's end and before the file gets its final
     * name, also where nothing is written. -1 with err set refuses the file.
     */
    int (*check)(void *arg, const json_t *facts, struct err *err);
    void *arg;
};

int pull(const struct pull_params *params, json_t **ret_facts, struct err *err) MUST_CHECK;

#endif
