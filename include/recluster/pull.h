#ifndef RECLUSTER_PULL_H
#define RECLUSTER_PULL_H

/*
 * One pass over a backup file: read from its location, inflate if it is compressed (told by
 * content: gzip, zstd or none), scan, and write where asked to. `verify`, the catalogue and the
 * agent's fetch are this one function.
 *
 * With `out_path` the file appears there only if every check held: bytes go to OUT.part, then
 * fsync, rename, fsync of the folder. On failure nothing stands at out_path; the .part is removed.
 * What stood at out_path before is replaced only on success.
 *
 * The .part may be read while it grows. It is locked (flock, exclusive) until the pull has ended,
 * well or not; no byte in it changes, but where `keep` or `more` is given, and those of the end (its
 * mark, the checksum) with `stamp`; a pull that begins anew writes another file. If the lock is gone,
 * and out_path is the same file, then all of it is good.
 *
 * An object that is changed while it is read is read anew, once; a second time it is ERR_CHANGED. It
 * is read a second time too when keys of it seem to be there twice, to name one.
 *
 * With `resume` the bytes that have come stay in OUT.fetch0 (and further numbers for `more`) when
 * the transfer is cut off, by a failure that may pass or by the end of the process, and the next
 * pull() goes on behind them if the object is still the same (its validator). All bytes pass the
 * checks again. Any other failure removes them.
 *
 * ret_facts is the scan's JSON (rdb_scan.h) with "compressed": "gzip|zstd|none" and "stored_bytes"
 * (as it lies in the store) added; it is set (the caller's) even on failure, if anything was read,
 * else NULL.
 *
 * With `keep`, `stamp`, `more` or `without` the file that is written is another than the one that is
 * read (rdb_split.h): cut to the records of some slots, given the aux fields of a replication
 * history, joined with others, or all of that. So it is where the file's size hints are false, which
 * no server is to get: they are put right, in a second pass. The facts are then those of the written file (without
 * "sha256"), with "repl_id" where it was stamped, and
 *
 *     "source": {"bytes": n, "keys": n, "expires": n, "left_out": n, "importing": n,
 *      "checksum": "ok|absent|bad|not reached", "slots": {"covered": n, "ranges": [[a,b],…]},
 *      "files": [{"name", "keys": n}, …]}
 *
 * and, where keys were in two files, "doubles": {"keys": n, "first": {"key": text, "slot": n,
 * "kept": name, "dropped": name}}; of `without`, "modules_left_out": those that were there.
 *
 * pull_cut() writes several such files in the one pass, each with slots of its own. Each is checked
 * by itself, so one may be refused while the others get their names.
 */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/err.h"
#include "recluster/rdb_scan.h"
#include "recluster/slots.h"
#include "recluster/store.h"

struct pull_input {
    struct store *store; /* NULL: the same as of the first file */
    const char *name;
    const char *label;      /* its name in facts and messages; NULL: `name` */
    int64_t expected_bytes; /* as stored; -1: any */
    const char *sha256;     /* hex, of the stored bytes; NULL: not known. Another is ERR_CORRUPT */
    const struct slots *take; /* of which its keys count, others are left out; NULL: all */
    const struct slots
        *prefer; /* in which its copy of a key counts first (rdb_split.h); NULL: all */
};

struct pull_params {
    struct store *store;
    const char *name;
    const char *label;             /* as in struct pull_input */
    const struct pull_input *more; /* files whose records follow; NULL: none */
    size_t more_count;
    struct rdb_scan_options scan;
    const char *out_path;       /* NULL: only look */
    const struct slots *keep;   /* write only records of these slots; NULL: all */
    bool stamp;                 /* a repl-id made of the records' digest, for partial resyncs */
    bool resume;                /* needs out_path */
    int64_t expected_bytes;     /* as stored; -1: any. Another size is ERR_CORRUPT */
    const char *sha256;         /* as in struct pull_input */
    const struct slots *take;   /* the same */
    const struct slots *prefer; /* the same */
    const json_t *without;      /* modules whose data outside of keys is not written; NULL: none */
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

/*
 * Only the reading: the plain bytes of the file go to the sink. Of the parameters store, name,
 * expected_bytes, sha256 and progress count.
 */
int pull_plain(
    const struct pull_params *params, store_sink sink, void *arg, struct err *err) MUST_CHECK;

int pull(const struct pull_params *params, json_t **ret_facts, struct err *err) MUST_CHECK;

struct pull_output {
    const char *out_path;     /* with `resume`, bytes are kept beside the first one's */
    const struct slots *keep; /* no slot is of two outputs */
    struct rdb_scan_options scan;
    int (*check)(void *arg, const json_t *facts, struct err *err);
    void *arg;
    /* What came of it: */
    json_t *facts;      /* the caller's; NULL: nothing was read */
    struct err failure; /* why this file isn't there, though the pass was good */
};

/*
 * As pull(), but what stands in the outputs (all zero behind `arg`) comes from there. -1: the pass
 * failed, and no file is there.
 */
int pull_cut(const struct pull_params *params, struct pull_output *outputs, size_t count,
    struct err *err) MUST_CHECK;

#endif
