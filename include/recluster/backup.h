#ifndef RECLUSTER_BACKUP_H
#define RECLUSTER_BACKUP_H

/*
 * A backup set of a running database: one file for each shard, all true at the same moment.
 *
 *     backup_find(live, ccs, db, &shards, err)       // who has what; refuses what cannot work
 *     backup_begin(&params, &shards, 1, err)         // one backup at a time at a location
 *     backup_take(&params, shards, &manifest, err)   // the files, and last the manifest
 *     backup_end(&params)
 *     backup_shards_free(shards)
 *
 * From each shard comes its data set (an RDB file that a replica makes for us) and its replication
 * stream, up to a cut: offsets that were true of all shards at one moment (cut.h). Nothing changes
 * on the servers: no setting, no file, no save; a primary forks only if it has no replica. Writes
 * wait for some milliseconds if the cluster is so busy that the moment cannot be proven otherwise.
 * A database of one shard needs no cut.
 *
 * A file is an RDB file followed by commands: an append-only file with a preamble, as every server
 * since 4.0 loads it. Names are those of the vendor's files, but end in .aof.zst. If a plain RDB file
 * is wanted, a server loads that file where it is written, and saves: *.rdb.gz. The manifest, which is
 * written last, makes the files a set; without it nothing looks at them.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/ccs.h"
#include "recluster/host_link.h"
#include "recluster/hosts.h"
#include "recluster/live.h"
#include "recluster/pack.h"
#include "recluster/store.h"

struct backup_source {
    const struct live_server *server;
    bool primary;
};

struct backup_shard {
    const char *uid, *label;   /* "4", "shard:4" */
    const struct slots *slots; /* when it was asked */
    const struct live_server *primary;
    struct backup_source *sources; /* replicas that are in step, then the primary */
    size_t source_count;
};

struct backup_shards {
    struct arena arena; /* owns all; servers belong to `live` */
    const struct ccs_database *db;
    struct backup_shard *shards; /* primaries with slots */
    size_t count;
    const char *const *warnings; /* NULL-ended */
};

/*
 * `ccs` was made of `live`. ERR_CHECK if a backup would not be consistent or complete: a shard
 * without a living primary, a cluster that is not ok, servers that are too old. ERR_BUSY if that may
 * pass.
 */
int backup_find(struct live *live, const struct ccs *ccs, const struct ccs_database *db,
    struct backup_shards **ret, struct err *err) MUST_CHECK;
void backup_shards_free(struct backup_shards *shards); /* may be NULL */

/* What a run is doing, for the person who waits. */
struct backup_progress {
    size_t shards, based, written; /* of them: data set has arrived, all is at the location */
    int64_t bytes, stream_bytes;
};

/* What the file of a shard is. */
enum backup_form {
    BACKUP_FORM_STREAM, /* an RDB file and the commands after it */
    BACKUP_FORM_RDB,    /* an RDB file, which a server makes of both */
};
const char *backup_form_name(enum backup_form form); /* "rdb+stream", "rdb" */
bool backup_form_of(const char *name, enum backup_form *ret);

/* What is read back from the location before the manifest is written. */
enum backup_verify {
    BACKUP_VERIFY_SIZE,   /* the list of its files */
    BACKUP_VERIFY_DIGEST, /* all bytes, compared with their SHA-256 */
    BACKUP_VERIFY_FULL,   /* unpacked and checked to the last command as well */
};
const char *backup_verify_name(enum backup_verify verify); /* "size", … */
bool backup_verify_of(const char *name, enum backup_verify *ret);

struct backup_params {
    const struct live_params *ask; /* the login */
    const struct tls_params *tls;  /* the files of ask->tls; NULL: none */
    struct store *store;
    const json_t *location; /* the same, resolved (store_resolve_location()) */
    int64_t time_ms;        /* of the run; gives the names; backup_begin() may set a later one */
    const json_t *ccs;      /* {"name", "sha256"} of the CCS file beside it, for the manifest */
    enum backup_form form;
    const json_t *server; /* for BACKUP_FORM_RDB: {"server", "run_as"?, "modules"?} (protocol.h) */
    enum pack_kind pack;
    const json_t *recipients; /* public keys (sealed.h): files are encrypted for them; NULL: none */
    enum backup_verify verify;
    bool server_files;   /* the servers make files on their own disks (BACKUP START, SEAL) */
    size_t forks;        /* at most so many servers make a data set at the same time; > 0 */
    int64_t limit_rate;  /* bytes a second, all shards together; 0: none */
    const char *spool;   /* a folder for streams that wait; NULL: /var/tmp */
    int64_t spool_max;   /* bytes of one stream; 0: 16 GiB */
    int64_t patience_ms; /* how long to look for a cut */
    int stop_fd;         /* becomes readable: stop; -1: none */
    /* NULL: all is read by this machine. Otherwise a shard is read by the host of its servers, which
     * writes to the location itself. */
    const struct hosts *hosts;
    struct host_links *links;                                       /* with hosts */
    void (*progress)(void *arg, const struct backup_progress *now); /* may be NULL */
    void (*warn)(void *arg, const char *text);                      /* may be NULL */
    void *arg;
    struct backup_lock *lock; /* set by backup_begin() */
};

/* The name of the copy of the CCS file that belongs to the sets of this run. The caller frees it. */
char *backup_ccs_name(const struct backup_params *params);

/*
 * Locks the location, and removes what a run has left there that was killed. ERR_LOCKED: another
 * backup is writing there.
 */
int backup_begin(struct backup_params *params, struct backup_shards *const *databases, size_t count,
    struct err *err) MUST_CHECK;
void backup_end(struct backup_params *params);

/*
 * *ret_manifest is what was written, the caller's. On failure nothing is left at the location that
 * counts as a set.
 */
int backup_take(const struct backup_params *params, const struct backup_shards *shards,
    json_t **ret_manifest, struct err *err) MUST_CHECK;

extern const char backup_acl_rules[]; /* the rights that all this needs, with those of live_ask() */

#endif
