#ifndef RECLUSTER_CATALOGUE_H
#define RECLUSTER_CATALOGUE_H

/*
 * The catalogue: which backup sets of a database lie at a location. A location holds one or more of
 *
 *   - manifests, *recluster-manifest.json (recluster(5)): each says what its set is;
 *   - files named as the vendor's backups are (backup_name.h): a set is the files of one run;
 *   - the folder that `redis-cli --cluster backup` writes: nodes.json and one RDB file per primary;
 *   - any other *.rdb, *.rdb.gz files: together one set, whose slots are found by reading each file
 *     whole: a file belongs to the shard that holds all slots of its keys (one without keys to a
 *     shard that is left over; with `resort` one of several shards is taken for all slots that are
 *     no other's). Files named temp-*.rdb are what a save that was killed left: they are no backups.
 *
 * Only manifests and vendor names say whose a file is: each of the other two is looked at only when
 * those before it give nothing. A file that a manifest names belongs to that set alone.
 *
 * Beside the location's sets there may be one more: the files that shards' servers kept on the disks
 * of hosts and of the old nodes (disk_files.h), of each slot range the newest that is of use, be it
 * a primary's or a replica's (catalogue_add_disks()).
 *
 * A set is complete when its files cover the slots that were asked for (and, by vendor names, all
 * of its n files are there), and nothing speaks against one of its files. For the files of the set
 * that is chosen, the first kilobyte has been read and its facts (rdb_scan_head()) are in `head`; a
 * set with a file that turns out there to be no backup is incomplete too, and an older one is
 * chosen. A store that can't be reached is an error.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"
#include "recluster/slots.h"
#include "recluster/store.h"

struct backup_file {
    const char *name;
    int64_t bytes;         /* as stored; -1: not known */
    int64_t modified_ms;   /* as the store says; -1: not known */
    const char *shard_uid; /* as its name says; NULL: not said */
    struct slots slots;    /* that it is meant for: by name, by nodes.json, or its shard's */
    const struct slots *importing; /* on their way to its node, as nodes.json says; NULL: none */
    const char *sha256; /* hex, of the stored bytes, as the manifest says; NULL: not said */
    int64_t keys;       /* as the manifest says; -1: not said */
    json_t *head;       /* NULL: not read */
    bool scanned;       /* read whole: `facts` has the scan */
    json_t *facts;
    /* Of a file on a disk; else kind is NULL. */
    const char *kind;   /* "rdb", "aof", "aof-folder" */
    bool aof;           /* one of the latter two */
    const char *where;  /* "a1:/data/redis/redis-1.rdb": host or old node, and path */
    const char *host;   /* of hosts.json, on whose disk it is; NULL: only `location` reaches it */
    const char *folder; /* its path there */
    const json_t *location; /* of the folder; borrowed */
    const json_t *parts;    /* of an AOF folder: [{"name", "bytes"}]; borrowed */
    int64_t time_ms;        /* of what it holds; -1: not known */
    const char *next; /* where the next newest of the same slots is, and of when; NULL: none */
};

struct backup_set {
    const char *id;                           /* "20201130-223654", "nodes.json", "folder" */
    const char *database_uid, *database_name; /* as manifest or names say; NULL: not said */
    int64_t time_ms; /* of the run; else its oldest file's ctime, or modification; -1: not known */
    struct backup_file *files; /* by first slot */
    size_t file_count;
    struct slots missing; /* of those asked for */
    bool complete;
    /* Why it isn't complete: "file 2 of 3 is not there; slots 5461-10922 are missing"; else NULL. */
    const char *reason;
    const char *cause;        /* the same without the slots; NULL: they are all that is wrong */
    const char *hint;         /* what to do about the cause; NULL: nothing is known */
    bool future;              /* of a time that is still to come, by more than clocks differ */
    const char *disks;        /* a set of files on disks: whose, as it may be printed; else NULL */
    const char *const *notes; /* what the choice of its files passed over, a sentence each */
    size_t note_count;
};

struct catalogue {
    struct arena arena;
    struct backup_set *sets; /* newest first */
    size_t set_count;
    /* The newest complete set not after at_ms, one of the future only if there is no other; -1: none */
    int chosen;
};

struct catalogue_query {
    const char *database_uid;
    const char *database_name;
    bool sharded;              /* false: one file holds all, whatever slots its name says */
    bool legacy;               /* slots in names are 1-4096 */
    const struct slots *slots; /* that a set must cover (open slots) */
    bool some_files;           /* those that cover them are enough, others may be missing */
    /* The slots of each primary: a folder's files are given to the one that holds all their keys. */
    const struct slots *const *shards;
    size_t shard_count;
    int64_t at_ms; /* -1: the newest */
    int64_t
        now_ms; /* sets that are later by more than CATALOGUE_SKEW_MS are of the future; 0: none is */
    bool resort; /* a file may have keys of any shard: a folder's file needs not fit one */
};
enum { CATALOGUE_SKEW_MS = 5 * 60 * 1000 };

/*
 * ERR_NOT_FOUND if the location has no set of this database at all; the message names what was
 * there instead. An incomplete set is no error: chosen is then -1 or an older set.
 */
int catalogue_read(struct store *s, const struct catalogue_query *query, struct catalogue *ret,
    struct err *err) MUST_CHECK;
/*
 * All sets that manifests, vendor names and nodes.json tell of, of whatever database, newest first:
 * of files that lie about without any of these nothing is known. No set is chosen; files aren't
 * read, but for the heads of those that belong to nodes.json. Complete: as the names say, all slots
 * of the policy are there. `list` is that of the location.
 */
int catalogue_read_all(struct store *s, const struct store_list *list, struct catalogue *ret,
    struct err *err) MUST_CHECK;
void catalogue_release(struct catalogue *c);

/* A folder on a disk, and the files of shards in it. */
struct disk_folder {
    const char *owner; /* "a1", "node:1" */
    const char *host;  /* as in struct backup_file */
    const char *path;
    const json_t *location; /* NULL where `host` is said */
    const json_t *files;    /* as disk_files_list() gives them */
};

struct disk_query {
    const struct disk_folder *folders;
    size_t folder_count;
    /* The shards of the database, replicas too: whose slots does a file of this uid have? */
    struct disk_shard {
        const char *uid;
        size_t range; /* index into `ranges` */
    } * shards;
    size_t shard_count;
    const struct slots *const *ranges; /* of the primaries */
    size_t range_count;
    const struct slots *slots; /* that the set must cover */
    int64_t at_ms;             /* no file after it is taken; -1: any */
    int64_t set_at_ms;         /* nor a set: of the oldest of its files */
    const json_t *without; /* ["file:a1:/data/redis/redis-1.rdb", …]; other words don't matter */
};

/*
 * Adds the set "disks", unless no folder has a file of the database, and chooses it if it is
 * complete and newer than the one that is chosen. `c` may be empty: {.chosen = -1}. What the query
 * points to must outlive it.
 */
void catalogue_add_disks(struct catalogue *c, const struct disk_query *query);

#endif
