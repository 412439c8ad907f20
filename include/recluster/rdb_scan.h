#ifndef RECLUSTER_RDB_SCAN_H
#define RECLUSTER_RDB_SCAN_H

/*
 * The scan: collects in one pass all that a recovery must know about an RDB file. Memory use does
 * not grow with the file, except for 8 bytes of each key (see Duplicate keys).
 *
 *     struct rdb_scan *s = rdb_scan_new(&options);
 *     rdb_scan_feed(s, data, len, err) …
 *     rdb_scan_end(s, err)
 *     json_t *facts = rdb_scan_json(s);       // also after an error: what was read until then
 *     rdb_scan_free(s);
 *
 * The JSON is the wire form of `fetch` and the file's entry in `verify --json`:
 *
 *     {"rdb_version": 10, "valkey": false, "bytes": n, "checksum": "ok|absent|bad|not reached",
 *      "sha256": hex, "keys": n, "empty": n, "expires": n, "expired": n, "keys_by_db": {"0": n},
 *      "kinds": {"string": n, …}, "notes": [text, …],
 *      "slots": {"covered": n, "ranges": [[a,b],…]}, "foreign": {"keys": n, "first": {"key": hex,
 *      "slot": n}}, "aux": {"redis-ver": "7.0.15", …}, "modules": ["name", …],
 *      "module_values": ["name", …], "functions": n,
 *      "samples": [{"db": 0, "key": hex, "kind": "hash"}, …],
 *      "memory": n, "largest": [{"db": 0, "key": hex, "kind": "list", "bytes": n}, …],
 *      "types": [{"type": 16, "name": "hash as listpack", "keys": n, "bytes": n, "memory": n,
 *      "redis": "7.0", "valkey": "7.2", "first": {"db": 0, "key": hex, "kind": "hash"}}, …],
 *      "opcodes": [{"name": "functions", "count": n, "redis": "7.0", "valkey": "7.2"}, …],
 *      "oldest": {"redis": "7.0", "valkey": null, "by_content": {"redis": "7.0", "valkey": "7.2"}}}
 *
 * "rdb_version", "valkey": set once the header was read.
 * "bytes", "sha256": of the uncompressed file, up to where it was read. The digest takes more time
 *     than all the rest, so it is made only if asked for.
 * "empty": how many of "keys" are collections without elements. Servers since 6.2.6 drop them when
 *     they load, older ones keep them.
 * "notes": sentences on what is odd but harmless; missing if there are none.
 * "slots": those of the keys in database 0.
 * "aux": without fields that are not UTF-8, contain a NUL or are unusually long, and without those
 *     after the 256th.
 * "modules": all that have data in the file; "module_values": those that have values in keys.
 * "importing": {"ranges": [[a,b],…], "keys": n}, if the server (Valkey 9) was importing slots. The
 *     file has only some keys of these slots. They never count as "foreign".
 * "types": how values are encoded in the file; one kind may have several types.
 * "redis", "valkey": the first version that can read the type or opcode; null: none can. "oldest"
 *     combines these with the version in the header ("by_content": without that version).
 * "memory": estimate for a server of version 7, within a fifth except for streams and modules.
 * "bytes" of a type or key: its bytes in the file.
 *
 * Keys are in hex because they may be any bytes. In "types" and "largest" they are cut after 256
 * bytes. Keys over 16 KiB are not sampled; in "foreign" they are cut. Keys in more than 16,384
 * databases, or data of more than 1,024 modules, are ERR_LIMIT.
 *
 * Duplicate keys are ERR_CORRUPT, because servers refuse such a file. Two records in a row are
 * found at once. For others the scan keeps 8 bytes of each key, so at the end it can only suspect a
 * key. Pass rdb_scan_suspects() to a second scan of the same bytes (options.suspects), which names
 * the key or finds no duplicate.
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
    size_t samples;              /* number of random keys to pick from those that never expire */
    uint64_t seed;               /* the same seed and file give the same samples */
    bool sha256;                 /* make the digest; it is known after a successful end */
    struct rdb_limits limits;
    const struct rdb_suspects *suspects; /* from an earlier scan of the same bytes; NULL: none */
    bool ignore_repeated;                /* do not look for duplicate keys */
};

struct rdb_scan;
struct rdb_scan *rdb_scan_new(const struct rdb_scan_options *options);
void rdb_scan_free(struct rdb_scan *s);
int rdb_scan_feed(struct rdb_scan *s, const void *data, size_t len, struct err *err) MUST_CHECK;
int rdb_scan_end(struct rdb_scan *s, struct err *err) MUST_CHECK;
uint64_t rdb_scan_offset(const struct rdb_scan *s);
/* After a failed end: the suspected keys, the caller's; NULL: it failed for another reason. */
struct rdb_suspects *rdb_scan_suspects(const struct rdb_scan *s);
void rdb_suspects_free(struct rdb_suspects *suspects);
/* Whether the size hints announce far more keys than the file has. A server would trust them. */
bool rdb_scan_hints_are_false(const struct rdb_scan *s);
json_t *rdb_scan_json(const struct rdb_scan *s);

/*
 * The facts from the first bytes of a file (a kilobyte is enough): {"rdb_version", "valkey", "aux",
 * "modules", "importing"}, with the aux fields that these bytes have whole. If the bytes are the
 * whole file, also "keys" and "module_values". ERR_CORRUPT if it is not an RDB file.
 */
int rdb_scan_head(const void *data, size_t len, json_t **ret_facts, struct err *err) MUST_CHECK;

#endif
