#ifndef RECLUSTER_RDB_SPLIT_H
#define RECLUSTER_RDB_SPLIT_H

/*
 * Cuts and joins RDB files: reads any number of inputs in one pass and writes each key to the
 * output that has its slot. It needs memory for one key, and a buffer for each output.
 *
 *     struct rdb_split *s = rdb_split_new(&params);
 *     rdb_split_feed(s, data, len, err) …            // the first input, in pieces of any size
 *     rdb_split_next(s, err)                         // the first input ends, the next one begins
 *     rdb_split_feed(s, data, len, err) …
 *     rdb_split_end(s, err)                          // the last input ends: outputs are complete
 *     rdb_split_facts(s, i) …
 *     rdb_split_free(s);
 *
 * What an output has.
 *   - Records: copied byte by byte, of all types, also expired ones; with `shift_expiry_ms`, but
 *     for the times of their keys.
 *   - Header: the magic and the highest version of the inputs.
 *   - Aux fields: those of the first input, without repl-id, repl-offset and repl-stream-db, which
 *     describe the input only.
 *   - All functions and the data of modules (except those of `without`).
 *   - SELECTDB where the output needs it. RESIZEDB hints give the keys of the output. SLOT_INFO
 *     hints go to the output of the slot.
 *   - Slot imports that were under way (Valkey), and the keys of these slots, only if the output
 *     takes all slots: the server that such a slot leaves still has all its keys.
 *   - A new checksum, unless `no_checksum` is set.
 * So a single output of all slots is a copy.
 *
 * Keys. Outputs share no slot. A key whose slot no output has is left out and counted. Several
 * inputs may have keys of one slot, if the slot was being moved. A key in two inputs is ERR_CHECK,
 * which names the key and both inputs, unless the caller says which copy to use:
 *   - `take` names the slots of an input whose keys are used; its other keys are left out.
 *   - `prefer` names the slots in which the input's copy of a key comes before the copies of
 *     others. The keys of its other slots wait. When all inputs were read, those with waiting keys
 *     are read again, and each key that no earlier input has is used:
 *
 *     for each input i with rdb_split_waiting(s, i):
 *         rdb_split_again(s, i, err), rdb_split_take() as before, rdb_split_feed() …
 *
 * To find such keys, 16 bytes of each written key are kept.
 *
 * Functions. Equal functions of several inputs are written once. A library that differs between
 * inputs is ERR_CHECK. Module data in more than one input is ERR_UNSUPPORTED. When files are cut or
 * joined, functions are sorted by their contents, so outputs of the same records are equal in
 * whatever order the inputs came.
 *
 * Writing. Values at the front that are known only at the end (hints, version) are first written as
 * bytes of the same length and then patched; the checksum is updated without reading anything
 * again. `write` gets the bytes of an output in order. `patch` is called only by rdb_split_end(),
 * before the last `write`. After an error the outputs must not be used.
 *
 * The stamp. A server of version 7.0 or newer that starts from a file with the aux fields
 * repl-stream-db, repl-id and repl-offset continues that replication history, as a primary or as a
 * replica. So a primary and replicas that start from equal files are in step without sending data.
 * Servers never compare contents. The id is therefore a digest of everything after the aux fields
 * (records in order with their databases, functions): equal ids mean equal data. The three fields
 * come after the data, when the digest is known; servers accept aux fields anywhere. The digest
 * (XXH3, 128 bits, and 32 bits of the length) guards against accidental collisions. It does not
 * guard against forgery: that would cost more than the whole pass, and an attacker who can
 * forge backups does not need equal ids.
 *
 * `stamp_only`: the single output is the single input with a stamp at its end. The caller already
 * has the other bytes, so rdb_split_end() writes only the end, which replaces what the file has
 * from `end_offset` on. Nothing is patched. Fields of an older history stay at the front; of equal
 * fields servers use the last.
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
     * A scan of what is written to this output; NULL: none. The caller makes it with rdb_scan_new()
     * and frees it, but does not feed it. It has no "sha256", because patches come later.
     */
    struct rdb_scan *scan;
};

struct rdb_split_params {
    const struct rdb_split_output *outputs; /* copied, but for the scans */
    size_t count;
    bool stamp;
    bool stamp_only;  /* needs `stamp`; nothing may be left out (rdb_split_take()) */
    bool no_checksum; /* write 0, which means "no checksum" */
    bool one_input;   /* rdb_split_next() will not be called, so no digests of keys are kept */
    /* Keys that expire do so this much later. The times of fields of hashes stay. */
    int64_t shift_expiry_ms;
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

/* All three: for the current input, before its first byte. `slots` NULL: all. */
void rdb_split_take(struct rdb_split *s, const struct slots *slots);
void rdb_split_prefer(struct rdb_split *s, const struct slots *slots);
/* Its name in messages; must live as long as s. */
void rdb_split_name(struct rdb_split *s, const char *name);
int rdb_split_feed(struct rdb_split *s, const void *data, size_t len, struct err *err) MUST_CHECK;
/* Like rdb_split_end(), checks that the current input is complete, and its checksum. */
int rdb_split_next(struct rdb_split *s, struct err *err) MUST_CHECK;
/* Inputs are numbered from 0, in the order in which they were first fed. */
uint64_t rdb_split_waiting(const struct rdb_split *s, size_t input);
int rdb_split_again(struct rdb_split *s, size_t input, struct err *err) MUST_CHECK;
int rdb_split_end(struct rdb_split *s, struct err *err) MUST_CHECK;

struct rdb_split_facts {
    uint64_t bytes, keys, expires;
    char repl_id[RDB_REPL_ID_HEX + 1]; /* with `stamp`, after the end; else "" */
    uint64_t end_offset;               /* with `stamp_only`, once something is written */
    uint64_t doubles;     /* waiting keys that were dropped, because an earlier input has them */
    unsigned double_slot; /* of the first of them */
    char double_key[4 * 64 + 8], double_kept[256], double_dropped[256]; /* as text; input names */
};
/* Modules of `without` that had data in an input; borrowed. */
const json_t *rdb_split_modules_left_out(const struct rdb_split *s);
const struct rdb_split_facts *rdb_split_facts(const struct rdb_split *s, size_t output);

/* Totals of all inputs. */
struct rdb_split_source {
    uint64_t bytes, keys, expires;
    uint64_t left_out;          /* keys in no output */
    uint64_t importing;         /* keys of slots that were being imported; not part of `keys` */
    struct slots slots;         /* of the keys of all databases */
    enum rdb_checksum checksum; /* of the last input that ended: bad, absent, or ok */
};
void rdb_split_source(const struct rdb_split *s, struct rdb_split_source *ret);

#endif
