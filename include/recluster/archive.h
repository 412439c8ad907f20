#ifndef RECLUSTER_ARCHIVE_H
#define RECLUSTER_ARCHIVE_H

/*
 * An archive: every instant of a running database from now on. Names at the location:
 *
 *     base-<database>-<shard>-<id>-<offset>.rdb.zst            the data set of a shard
 *     stream-<database>-<shard>-<id>-<first>-<last>.zst        what came after it, without gaps
 *     cuts-<database>-<YYYYMMDDTHHMM>Z.json                    the moments of that minute
 *     archive-<word>.here                                      while it runs: the witness
 *
 * <id> and the offsets are those of the replication history (repl.h). A cut has an offset for each
 * shard, which were all true at one moment (cut.h). The instants that can be recovered are the
 * cuts, as far as their base and stream are there:
 *
 *     {"recluster_cuts": 1, "made_by", "database": {"uid", "name", "sharded"},
 *      "cuts": [{"time", "time_ms", "shards": {uid: {"repl_id", "offset", "slots"?}}}, …]}      oldest first
 *
 * "slots" are missing where they are those of the cut before, in the same object.
 */

#include "recluster/backup.h"

/* What happens, as it happens. */
struct archive_status {
    size_t shards, streaming; /* of them */
    int64_t last_cut_ms;      /* wall time of the newest cut; 0: none yet */
    int64_t archived_ms;      /* of the newest cut whose stream is at the location; 0: none */
    int64_t waiting_bytes;    /* for the location */
};

struct archive_params {
    const struct backup_params *backup; /* login, location, compression, stop_fd, … */
    int64_t cuts_ms;                    /* between two cuts */
    int64_t segment_ms, segment_bytes;  /* a segment is closed when it is so old or so large */
    int64_t base_ms;                    /* a new base when the last one is so old; 0: never */
    int64_t replay_ms;  /* or when it would take so long to load the stream behind it; 0: never */
    const char *folder; /* for streams on their way; one archive alone uses it */
    const char *host_folder; /* the same on hosts, followed by "-" and the shard; NULL: `folder` */
    const char *witness; /* an object of this run: hosts write to the location where they see it */
    /*
     * Asks the cluster again. What it gives, like `first`, is borrowed until the call after the next
     * that succeeds, or the end.
     */
    int (*look)(void *arg, struct backup_shards **ret, struct err *err);
    void (*tell)(void *arg, bool warning, const char *text);
    void (*status)(void *arg, const struct archive_status *now); /* about once a second */
    void *arg;
};

/*
 * Runs until stop_fd becomes readable (0), or until nothing can go on. ERR_CHANGED: the last look has
 * other shards, with which it can be called again: streams of shards that are still there go on.
 */
int archive_follow(
    const struct archive_params *params, struct backup_shards *first, struct err *err) MUST_CHECK;

#endif
