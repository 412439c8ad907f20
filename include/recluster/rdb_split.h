#ifndef RECLUSTER_RDB_SPLIT_H
#define RECLUSTER_RDB_SPLIT_H

/*
 * Cutting and joining: k RDB files in, m out by the slots of their keys, in one pass, with memory
 * for one key and a buffer per output.
 *
 *     struct rdb_split *s = rdb_split_new(&params);
 *     rdb_split_feed(s, data, len, err) …            // the first input, in pieces of any size
 *     rdb_split_next(s, err)                         // it ended: the next one follows
 *     rdb_split_feed(s, data, len, err) …
 *     rdb_split_end(s, err)                          // the last one ended: outputs are complete
 *     rdb_split_facts(s, i) …
 *     rdb_split_free(s);
 *
 * Records are copied byte by byte as they stand, whatever their type, expired ones too. Each output
 * has the magic and the highest version of the inputs, the first input's aux fields, all functions
 * and the data of modules (but for `without`). Fields that were true of the input only are not taken over: repl-id,
 * repl-offset and repl-stream-db. SELECTDB is written where an output needs it; the hints of
 * RESIZEDB are what the output holds; those of SLOT_INFO go where the slot goes. Slot imports under
 * way (Valkey) and the keys of these slots stay only in an output that takes all slots: the server
 * that the slot leaves still has them all. A new checksum is written, unless
 * `no_checksum`. One output of all slots is thus a copy.
 *
 * A key of no output's slots is left out and counted. Outputs share no slot. Keys of one slot may be
 * in several inputs, as of a slot that was being moved. No key may be in two of them (ERR_CHECK names
 * it and both), unless it is said which counts: `take` says which slots of an input count, its other
 * keys are left out; `prefer` says where an input's copy of a key counts before those of others. Keys
 * of its other slots wait: when all inputs were read, those with waiting keys are read again, and
 * what no earlier one has is taken:
 *
 *     for each input i with rdb_split_waiting(s, i):
 *         rdb_split_again(s, i, err), rdb_split_take() as before, rdb_split_feed() …
 *
 * For this 16 bytes of each written key are kept. Equal functions of several inputs become one; a
 * library that differs between them is ERR_CHECK, data of modules in more than one input
 * ERR_UNSUPPORTED. Where files are cut or joined, functions stand in an order that comes of their
 * contents alone, so outputs of the same records are equal whichever input came first.
 *
 * What stands in front of the data but is known at its end (hints, version) is written
 * with bytes of the same length first and then patched: the checksum is mended without reading
 * anything again. `write` gets an output's bytes in order, `patch` comes in rdb_split_end() only,
 * and before the last `write`. On an error the outputs are not to be used.
 *
 * The stamp: a server of version 7.0 or newer that starts on a file with the aux fields
 * repl-stream-db, repl-id and repl-offset, as a primary or as a replica, continues that history of
 * replication; a primary and replicas that start on equal files come into step with no data sent.
 * Servers never compare contents. Hence the id is made of a digest of all that is behind the aux
 * fields (records in their order with their databases, functions): equal ids mean equal data. The
 * three fields stand behind the data, where the digest is known: servers take aux fields anywhere.
 * The digest (XXH3, 128 bits, and 32 of the length) is one against chance: one against forgers takes
 * longer than all the rest, and whoever can forge backups has no need of equal ids.
 *
 * `stamp_only`: one output of all slots of one input, which is that input with a stamp behind it. As
 * the caller has all else already, only the end is written: it takes the place of what stands there
 * from `end_offset` on, in rdb_split_end(), and nothing is patched. Fields of an older history stay
 * in front; of equal ones, servers take the last.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/rdb.h"
#include "recluster/rdb_scan.h"
#include "recluster/slots.h"

enum { RDB_REPL_ID_HEX = 40 };

struct rdb_split_output {
    const struct slots *slots; /* NULL: all */
    /*
     * NULL, or a scan of what is written to this output; made with rdb_scan_new() and freed by the
     * caller, not fed. Its "sha256" stays out: patches come behind.
     */
    struct rdb_scan *scan;
};

struct rdb_split_params {
    const struct rdb_split_output *outputs; /* copied, but for the scans */
    size_t count;
    bool stamp;
    bool stamp_only;       /* needs `stamp`; nothing may be left out (rdb_split_take()) */
    bool no_checksum;      /* write 0: "not made" */
    bool one_input;        /* rdb_split_next() is not called: no digests of keys are kept */
    const json_t *without; /* names of modules whose data outside of keys is left out; NULL: none */
    struct rdb_limits limits;
    int (*write)(void *arg, size_t output, const void *data, size_t len, struct err *err);
    /* Replaces bytes that were written. */
    int (*patch)(
        void *arg, size_t output, uint64_t offset, const void *data, size_t len, struct err *err);
    void *arg;
};

struct rdb_split;
struct rdb_split *rdb_split_new(const struct rdb_split_params *params, struct err *err);
void rdb_split_free(struct rdb_split *s);

/* Slots of the present input whose keys count, NULL: all. Before its first byte. */
void rdb_split_take(struct rdb_split *s, const struct slots *slots);
/* Of the present input, before its first byte. `slots` NULL: all. */
void rdb_split_prefer(struct rdb_split *s, const struct slots *slots);
/* Its name in messages, which must live as long as s does. */
void rdb_split_name(struct rdb_split *s, const char *name);
int rdb_split_feed(struct rdb_split *s, const void *data, size_t len, struct err *err) MUST_CHECK;
/* Both check that the present input is whole and its checksum. */
int rdb_split_next(struct rdb_split *s, struct err *err) MUST_CHECK;
/* Inputs count from 0, as they were fed first. */
uint64_t rdb_split_waiting(const struct rdb_split *s, size_t input);
int rdb_split_again(struct rdb_split *s, size_t input, struct err *err) MUST_CHECK;
int rdb_split_end(struct rdb_split *s, struct err *err) MUST_CHECK;

struct rdb_split_facts {
    uint64_t bytes, keys, expires;
    char repl_id[RDB_REPL_ID_HEX + 1]; /* with `stamp`, after the end; else "" */
    uint64_t end_offset;               /* with `stamp_only`, once something is written */
    uint64_t doubles;     /* keys that waited, and that an earlier input had too: its copy counts */
    unsigned double_slot; /* of the first of them */
    char double_key[4 * 64 + 8], double_kept[256], double_dropped[256]; /* as text; the inputs */
};
/* Modules of `without` that had data in an input; borrowed. */
const json_t *rdb_split_modules_left_out(const struct rdb_split *s);
const struct rdb_split_facts *rdb_split_facts(const struct rdb_split *s, size_t output);

/* Of all inputs together. */
struct rdb_split_source {
    uint64_t bytes, keys, expires;
    uint64_t left_out;          /* keys that went nowhere */
    uint64_t importing;         /* keys, not among `keys`, of slots that were only being imported */
    struct slots slots;         /* in which keys were found, whatever their database */
    enum rdb_checksum checksum; /* of the last input that ended: bad, absent, or ok */
};
void rdb_split_source(const struct rdb_split *s, struct rdb_split_source *ret);

#endif
