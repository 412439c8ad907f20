#ifndef RECLUSTER_CAPTURE_H
#define RECLUSTER_CAPTURE_H

/*
 * The CCS file of a running cluster.
 *
 *     capture_settled(&live_params, 30000, &live, &unsettled, err)  // asks until nothing moves
 *     capture_make(live, &params, &file, err)                       // the bytes of ccs-redis.rdb
 *     capture_put(store, CAPTURE_FILE_NAME, &file, err)             // written, and read back
 *
 * The file has the keys and fields of the vendor's CCS (node:<uid>, bdb:<uid>, redis:<uid>,
 * endpoint:<bdb>:<n>, cluster), and these of our own:
 *
 *     cluster        captured_at, captured_from, capture_findings (JSON: [{code, message}, …])
 *     bdb            acl_users (JSON: the lines of ACL LIST), redis_config (JSON: the settings that
 *                    are equal on all its servers), functions, module_paths, captured_keys,
 *                    captured_bytes, tls_ports ("only", "mixed")
 *     redis          cluster_node_id, config_epoch, bus_port, hostname, data_path, executable,
 *                    redis_config (JSON: the settings in which it differs), status
 *     sentinel:<n>   bdb_uid, name, addr, port, quorum, down_after_ms, failover_timeout_ms,
 *                    parallel_syncs
 *
 * Uids stay: a node keeps the uid that its address had in the file before, a shard that of its node
 * id or address, a database that of its shards. A server that does not answer keeps what the file
 * before said of it, with status "down".
 */

#include "recluster/buf.h"
#include "recluster/live.h"
#include "recluster/rdb.h"
#include "recluster/store.h"

struct hosts;

#define CAPTURE_FILE_NAME "ccs-redis.rdb"

struct capture_params {
    const char *cluster_name;  /* NULL: as before, else "redis" */
    const struct hosts *hosts; /* racks of nodes; may be NULL */
    struct rdb_bytes before;   /* the file before; data NULL: none */
    const char *const *from;   /* addresses that were asked, NULL-ended */
    const char *unsettled;     /* becomes a finding; NULL: none */
    bool without_secrets;      /* leave out passwords and their hashes */
};

/*
 * ERR_CHECK if the file before is of another cluster: they have no server in common. ERR_CORRUPT if
 * it cannot be read.
 */
int capture_make(struct live *live, const struct capture_params *params, struct buf *ret,
    struct err *err) MUST_CHECK;

/*
 * Asks until two answers in a row are the same and nothing is being changed, for at most `wait_ms`.
 * *ret_unsettled is why it gave up waiting, NULL if it did not have to; it lives as long as *ret.
 */
int capture_settled(const struct live_params *params, int64_t wait_ms, struct live **ret,
    const char **ret_unsettled, struct err *err) MUST_CHECK;

/* The CCS file that a location has now; nothing is appended if there is none. */
int capture_get(struct store *s, struct buf *ret, struct err *err) MUST_CHECK;

/* Writes a file whole or not at all, and reads it back: ERR_CORRUPT if other bytes come back. */
int capture_put(
    struct store *s, const char *name, const struct buf *file, struct err *err) MUST_CHECK;

#endif
