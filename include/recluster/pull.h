#ifndef RECLUSTER_PULL_H
#define RECLUSTER_PULL_H

/*
 * One pass over a backup file: reads it from its location, unpacks it (gzip, zstd or none, detected
 * by content), scans it, and writes it if asked to. `verify`, the catalogue and the agent's fetch
 * all use this function.
 *
 * Output. A file appears at `out_path` only if every check passed: bytes go to OUT.part, then come
 * fsync, rename, and fsync of the folder. On failure the .part is removed, and out_path is as it
 * was before.
 *
 * Reading along. Others may read the .part while it grows. It is locked (flock, exclusive) until
 * the pull has ended, with success or not. Written bytes never change, except with `keep` or
 * `more`, and with `stamp` those of the trailer (end mark and checksum). A pull that starts over
 * writes another file. If the lock is gone and out_path is the same file, the whole file is good.
 *
 * Second passes. If an object changes while it is read, pull() starts over once; a second change is
 * ERR_CHANGED. If the file seems to have a key twice, it is read again to name that key.
 *
 * Resume. With `resume`, if the transfer is cut off (by a failure that may pass, or the end of the
 * process), the bytes that have arrived stay in OUT.fetch0 (with `more` also OUT.fetch1, …). The
 * next pull() continues after them if the object has the same validator. All bytes pass the checks
 * again. Any other failure removes them.
 *
 * Facts. ret_facts is the JSON of the scan (rdb_scan.h) with "compressed": "gzip|zstd|none" and
 * "stored_bytes" (the size in the store). If anything was read, it is set (the caller's) even on
 * failure, otherwise NULL.
 *
 * Changed files. With `keep`, `stamp`, `more` or `without` the written file differs from the one
 * that is read (rdb_split.h): cut to some slots, given a replication history, joined with other
 * files, or all of these. It also differs if the file's size hints are false: no server must get
 * those, so a second pass corrects them. The facts are then those of the written file (without
 * "sha256"), with "repl_id" if it was stamped, and
 *
 *     "source": {"bytes": n, "keys": n, "expires": n, "left_out": n, "importing": n,
 *      "checksum": "ok|absent|bad|not reached", "slots": {"covered": n, "ranges": [[a,b],…]},
 *      "files": [{"name", "keys": n}, …]}
 *
 * If keys were in two files, there is also "doubles": {"keys": n, "first": {"key": text, "slot": n,
 * "kept": name, "dropped": name}}. "modules_left_out" lists the modules of `without` that had data.
 *
 * pull_cut() writes several such files in one pass, each with its own slots. Each is checked
 * separately: one may be refused while the others get their names.
 */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/err.h"
#include "recluster/rdb_scan.h"
#include "recluster/slots.h"
#include "recluster/store.h"

struct pull_input {
    struct store *store; /* NULL: that of the first file */
    const char *name;
    const char *label;      /* its name in facts and messages; NULL: `name` */
    int64_t expected_bytes; /* as stored; -1: any */
    const char *sha256;     /* hex, of the stored bytes; NULL: unknown. A mismatch is ERR_CORRUPT */
    const struct slots *take;   /* keys of other slots are left out; NULL: take all */
    const struct slots *prefer; /* where its copy of a key comes first (rdb_split.h); NULL: all */
};

struct pull_params {
    struct store *store;
    const char *name;
    const char *label;             /* as in struct pull_input */
    const struct pull_input *more; /* files whose records are appended; NULL: none */
    size_t more_count;
    struct rdb_scan_options scan;
    const char *out_path;       /* NULL: write nothing */
    const struct slots *keep;   /* write only records of these slots; NULL: all */
    bool stamp;                 /* adds a repl-id made from a digest, for partial resyncs */
    bool resume;                /* needs out_path */
    int64_t expected_bytes;     /* as stored; -1: any. Another size is ERR_CORRUPT */
    const char *sha256;         /* as in struct pull_input */
    const struct slots *take;   /* the same */
    const struct slots *prefer; /* the same */
    int64_t shift_expiry_ms;    /* keys expire so much later (rdb_split.h); 0: as they are */
    const json_t *without;      /* modules whose data outside of keys is not written; NULL: none */
    /* Called about every 0.2 s with the stored bytes that were read, and their total (-1: not
     * known). May be NULL. */
    void (*progress)(void *arg, int64_t done_bytes, int64_t total_bytes);
    /*
     * Called once with the facts, after the scan and before the file gets its final name, also if
     * nothing is written. -1 with err set refuses the file. May be NULL.
     */
    int (*check)(void *arg, const json_t *facts, struct err *err);
    void *arg;
};

/*
 * Only reads and unpacks: the sink gets the plain bytes of the file. Uses the parameters store,
 * name, expected_bytes, sha256 and progress.
 */
int pull_plain(
    const struct pull_params *params, store_sink sink, void *arg, struct err *err) MUST_CHECK;

int pull(const struct pull_params *params, json_t **ret_facts, struct err *err) MUST_CHECK;

/*
 * The same for an append-only file (aof.h), which is only checked, not written: the parameters are
 * those of pull_plain(), and scan, check and arg. The facts are those of the RDB file that it begins
 * with, "kind": "aof", and "stream_bytes" and "commands" of what follows. A cut command or
 * transaction at its end is ERR_CORRUPT.
 */
int pull_aof(const struct pull_params *params, json_t **ret_facts, struct err *err) MUST_CHECK;

struct pull_output {
    const char *out_path; /* with `resume`, arrived bytes stay beside that of the first output */
    const struct slots *keep; /* outputs share no slot */
    struct rdb_scan_options scan;
    int (*check)(void *arg, const json_t *facts, struct err *err);
    void *arg;
    /* Results: */
    json_t *facts;      /* the caller's; NULL: nothing was read */
    struct err failure; /* why this file was refused, although the pass succeeded */
};

/*
 * Like pull(), but takes from each output what it has. Members after `arg` must be zero. -1: the
 * pass failed, and no file was written.
 */
int pull_cut(const struct pull_params *params, struct pull_output *outputs, size_t count,
    struct err *err) MUST_CHECK;

#endif
