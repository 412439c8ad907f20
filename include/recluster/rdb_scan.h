#ifndef RECLUSTER_RDB_SCAN_H
#define RECLUSTER_RDB_SCAN_H

/*
 * The scan: all that a recovery must know of an RDB file, gathered in the one pass in which the
 * bytes go by. Nothing of it grows with the file but the counts.
 *
 *     struct rdb_scan *s = rdb_scan_new(&options);
 *     rdb_scan_feed(s, data, len, err) …
 *     rdb_scan_end(s, err)
 *     json_t *facts = rdb_scan_json(s);       // also after an error: what was seen until then
 *     rdb_scan_free(s);
 *
 * The JSON is the wire form of `fetch` and the file's entry in `verify --json`:
 *
 *     {"rdb_version": 10, "valkey": false, "bytes": n, "checksum": "ok|absent|bad|not reached",
 *      "sha256": hex, "keys": n, "empty": n, "expires": n, "expired": n, "keys_by_db": {"0": n},
 *      "kinds": {"string": n, …}, "notes": [text, …],
 *      "slots": {"covered": n, "ranges": [[a,b],…]}, "foreign": {"keys": n, "first": {"key": hex,
 *      "slot": n}}, "aux": {"redis-ver": "7.0.15", …}, "modules": ["name", …], "module_values": ["name", …], "functions": n,
 *      "samples": [{"db": 0, "key": hex, "kind": "hash"}, …],
 *      "memory": n, "largest": [{"db": 0, "key": hex, "kind": "list", "bytes": n}, …],
 *      "types": [{"type": 16, "name": "hash as listpack", "keys": n, "bytes": n, "memory": n,
 *      "redis": "7.0", "valkey": "7.2", "first": {"db": 0, "key": hex, "kind": "hash"}}, …],
 *      "opcodes": [{"name": "functions", "count": n, "redis": "7.0", "valkey": "7.2"}, …],
 *      "oldest": {"redis": "7.0", "valkey": null, "by_content": {"redis": "7.0", "valkey": "7.2"}}}
 *
 * "modules" are those of which anything is in the file, "module_values" those of them that have
 * values in keys. "importing": {"ranges": [[a,b],…], "keys": n}, there if the server (Valkey 9) was
 * importing slots: their keys are not all there, and never "foreign".
 *
 * "slots" are those in which keys were found in database 0. "bytes" and "sha256" are of the
 * uncompressed file, up to where it was read; the digest costs more time than all the rest and is made only when asked for.
 * Keys stand in hex as they may be any bytes. Aux fields that are not UTF-8, have a NUL or are
 * unusually long, and those behind the 256th, are left out. Keys over 16 KiB are not sampled, as a foreign one they are
 * cut. Keys in more than 16,384 databases or data of more than 1,024 modules are ERR_LIMIT.
 * "rdb_version" and "valkey" are there once the header was read.
 *
 * "empty" are the keys, among "keys", of collections without elements: servers since 6.2.6 leave
 * them out when they load, older ones keep them. "notes", there if there is one, are sentences on
 * what does no harm, but is odd.
 *
 * A key that is there twice is ERR_CORRUPT, as servers refuse such a file. Two records behind one
 * another are found at once; for others the scan keeps 8 bytes of each key, and what it finds at the
 * end is a suspicion: rdb_scan_suspects() is what a second scan of the same bytes looks for
 * (options.suspects), which then names the key, or finds that no key is there twice.
 *
 * "types" are those of the file: how values stand in it, so one kind may have several. "redis" and
 * "valkey" are the first versions that know a type or an opcode, null where none does; "oldest"
 * puts them together with the version in the header ("by_content": without it). "memory" estimates
 * what a server of version 7 will use, within a fifth for all but streams and modules. "bytes" of a
 * type or key are those in the file. Keys in "types" and "largest" are cut behind 256 bytes.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/rdb.h"
#include "recluster/slots.h"

struct rdb_scan_options {
    int64_t now_ms;              /* keys that expire before it count as "expired"; 0: none does */
    const struct slots *allowed; /* keys of other slots count as "foreign"; NULL: none does */
    size_t samples;              /* how many keys to pick at random, from those that never expire */
    uint64_t seed;               /* of that choice: the same seed and file give the same samples */
    bool sha256;                 /* of the uncompressed bytes, known when the scan ended well */
    struct rdb_limits limits;
    const struct rdb_suspects *suspects; /* of an earlier scan of the same bytes; NULL: none */
    bool ignore_repeated;                /* nothing is kept, and no key counts as there twice */
};

struct rdb_scan;
struct rdb_scan *rdb_scan_new(const struct rdb_scan_options *options);
void rdb_scan_free(struct rdb_scan *s);
int rdb_scan_feed(struct rdb_scan *s, const void *data, size_t len, struct err *err) MUST_CHECK;
int rdb_scan_end(struct rdb_scan *s, struct err *err) MUST_CHECK;
uint64_t rdb_scan_offset(const struct rdb_scan *s);
/* Behind an end that failed: what to look for, the caller's; NULL: it failed for another reason. */
struct rdb_suspects *rdb_scan_suspects(const struct rdb_scan *s);
void rdb_suspects_free(struct rdb_suspects *suspects);
/* The size hints of the file say much more than the keys that are there: a server would believe them. */
bool rdb_scan_hints_are_false(const struct rdb_scan *s);
json_t *rdb_scan_json(const struct rdb_scan *s);

/*
 * The facts of a file's first bytes (a kilobyte is enough): {"rdb_version", "valkey", "aux",
 * "modules", "importing"} with the aux fields that are whole in it; of a file that is no longer, also
 * "keys" and "module_values". ERR_CORRUPT if it is no RDB file.
 */
int rdb_scan_head(const void *data, size_t len, json_t **ret_facts, struct err *err) MUST_CHECK;

#endif
