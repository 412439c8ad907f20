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
 *     cluster        captured_at, captured_from, capture_digest (live_digest()), capture_findings (JSON: [{code, message}, …])
 *     bdb            acl_users (JSON: the lines of ACL LIST), redis_config (JSON: the settings that
 *                    are equal on all its servers), functions, module_paths, captured_keys,
 *                    captured_bytes, tls_ports ("only", "mixed"),
 *                    renamed_commands (JSON: {name: other name, or "" if switched off}),
 *                    login ("unknown": the folder had no configuration)
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
 * ERR_BUSY if the answers differed each time.
 */
int capture_settled(const struct live_params *params, int64_t wait_ms, struct live **ret,
    const char **ret_unsettled, struct err *err) MUST_CHECK;

/*
 * The CCS file that a location has now, decrypted with `key` (sealed.h) if it is encrypted; nothing
 * is appended if there is none.
 */
int capture_get(struct store *s, const char *key, struct buf *ret, struct err *err) MUST_CHECK;

/* Reads the whole file for damage. *ret_saved_ms: when it was saved, 0 if it does not say. */
int capture_check_file(const struct buf *file, int64_t *ret_saved_ms, struct err *err) MUST_CHECK;

/*
 * The file of the location whose file was saved last; nothing is appended if none has one. Fails if
 * one cannot be read or is damaged, and no other location has one.
 */
int capture_get_newest(struct store **stores, size_t count, const char *key, struct buf *ret,
    int64_t *ret_saved_ms, struct err *err) MUST_CHECK;

/* Whether the location has this file now. ERR_NOT_FOUND if it has none of the name. */
int capture_has(struct store *s, const char *name, const struct buf *file, bool *ret,
    struct err *err) MUST_CHECK;

/* Writes a file whole or not at all, and reads it back: ERR_CORRUPT if other bytes come back. */
int capture_put(
    struct store *s, const char *name, const struct buf *file, struct err *err) MUST_CHECK;

/*
 * Dated copies: CAPTURE_FILE_NAME of a moment, named ccs-redis-20260131T130509Z.rdb.
 *
 * Which of them are kept: of the last `age_s`, one for each `every_s`; by any of the rules, and
 * always the newest.
 */
enum { CAPTURE_RULES_MAX = 8, CAPTURE_NAME_MAX = 40 };
struct capture_keep {
    struct capture_rule {
        int64_t age_s, every_s;
    } rules[CAPTURE_RULES_MAX];
    size_t count;
};
#define CAPTURE_KEEP_DEFAULT "24h:5m,30d:1d"

/* "24h:5m,30d:1d". ERR_USAGE. */
int capture_keep_parse(const char *text, struct capture_keep *ret, struct err *err) MUST_CHECK;

/* Marks those of the times, which are sorted from the newest on, that a rule keeps. */
void capture_keep_choose(const struct capture_keep *keep, int64_t now_ms, const int64_t *times_ms,
    size_t count, bool *ret_kept);

void capture_dated_name(int64_t time_ms, char name[CAPTURE_NAME_MAX]);
bool capture_dated_time(const char *name, int64_t *ret_ms); /* false: not such a name */

/*
 * The CCS file that a cluster of Redis Enterprise writes itself, one copy on each node:
 *
 *     capture_take(files, count, &file, &taken, err)
 *
 * Reads those files that have changed since the last call, checks them, and takes the one that was
 * saved last. *ret_taken is false if none is newer than what was taken before. A file that cannot
 * be read or is damaged is left out, with its error; the call fails if that holds for all.
 */
struct capture_file {
    struct store *store; /* borrowed */
    const char *name;
    struct err error;           /* of the last call; ERR_NONE: it was read, or has not changed */
    struct store_object object; /* as it was last read; the caller zeroes all from here on */
    int64_t saved_ms;
};
int capture_take(struct capture_file *files, size_t count, int64_t newer_than_ms, struct buf *ret,
    int64_t *ret_saved_ms, bool *ret_taken, struct err *err) MUST_CHECK;

/*
 * Keeps the CCS file at several locations up to date, until `stop_fd` becomes readable.
 *
 * Every `every_ms` all servers are asked. If anything has changed, and the cluster is settled, the
 * file and a dated copy are written to each location. Once a minute the object CAPTURE_SIGN_NAME
 * says that the file is still true, after a look whether the location still has it:
 *
 *     {"at": time, "sha256": of the file, "digest", "servers", "answered", "unsettled": text or null}
 *
 * The spool folder also has the newest file in plain, which is needed after a restart.
 *
 * A copy goes first into the spool folder, and from there to each location: a location that is out
 * of order gets all copies later. If the spool cannot be written to, `tell` hears of it, and the
 * locations that work get the file directly. Only one process may use a spool folder: ERR_LOCKED.
 *
 * With `files`, no server is asked: the newest of these files is kept as it is.
 *
 * If no server answers, or a location fails, `tell` hears of it once, and again when it works.
 */
#define CAPTURE_SIGN_NAME "ccs-redis.json"
struct capture_follow_params {
    const struct live_params *live;
    const struct capture_params *capture; /* but for `before` and `unsettled` */
    struct capture_file *files;           /* NULL: servers are asked */
    size_t file_count;
    struct store **stores;
    size_t store_count;
    const char *const *recipients; /* of encrypted files (sealed.h), NULL-ended; NULL: plain */
    const char *key;               /* for the file before; NULL: none */
    int64_t every_ms, wait_ms;
    struct capture_keep keep;
    const char *spool;   /* a folder; it is made */
    const char *metrics; /* a file in the text format of Prometheus; NULL: none */
    int stop_fd;
    void (*tell)(void *arg, bool warning, const char *text);
    void *arg;
};
int capture_follow(const struct capture_follow_params *params, struct err *err) MUST_CHECK;

#endif
