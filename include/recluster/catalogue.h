#ifndef RECLUSTER_CATALOGUE_H
#define RECLUSTER_CATALOGUE_H

/*
 * The catalogue: which backup sets of a database a location has. A set comes from
 *
 *   1. a manifest, *recluster-manifest.json (recluster(5)), which describes the set;
 *   2. files with the vendor's names (backup_name.h): the files of one run are a set;
 *   3. an archive (archive.h), whose newest moment up to at_ms is a set;
 *   4. the folder of `redis-cli --cluster backup`: nodes.json and one RDB file per primary;
 *   5. all other *.rdb, *.rdb.gz and *.rdb.zst files, which are one set.
 *
 * In case 5 each file is read whole to find its slots. A file belongs to the shard that holds all
 * slots of its keys. A file without keys goes to a shard that has no file yet. With `resort`, a
 * file with keys of several shards is taken for all slots that no other file has. Files named
 * temp-*.rdb are left over from a save that was killed; they are not backups.
 *
 * Only 1, 2 and 3 name the database of a file. 4 is tried only if they find nothing, and 5 only if
 * 4 finds nothing either. A file that a manifest names belongs to that set alone.
 *
 * catalogue_add_disks() adds one more set: the files that servers kept on the disks of hosts and of
 * old nodes (disk_files.h). For each slot range it takes the newest usable file, of a primary or of
 * a replica.
 *
 * A set is complete if its files cover the slots that were asked for, and no file has a problem.
 * With vendor names all n files must be there too. The first kilobyte of each file of the chosen
 * set has been read; its facts (rdb_scan_head()) are in `head`. If that shows that a file is not a
 * backup, the set is incomplete and an older one is chosen. A store that cannot be reached is an
 * error.
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
    int64_t bytes;         /* as stored; -1: unknown */
    int64_t modified_ms;   /* as the store says; -1: unknown */
    const char *shard_uid; /* from its name; NULL: unknown */
    struct slots slots;    /* that it should hold: by name, by nodes.json, or those of its shard */
    const struct slots *importing; /* that its node was importing, by nodes.json; NULL: none */
    const char *sha256;            /* hex, of the stored bytes, from the manifest; NULL: unknown */
    int64_t keys;                  /* from the manifest; -1: unknown */
    json_t *head;                  /* NULL: not read */
    bool scanned;                  /* read whole: `facts` has the scan */
    json_t *facts;
    int64_t plain_bytes; /* unpacked, from the manifest; 0: unknown */
    /*
     * "rdb", "aof", "aof-folder", "aof-parts": of a file on a disk, with a manifest, or of an
     * archive. NULL: an RDB file.
     */
    const char *kind;
    bool aof; /* kind is one of "aof…" */
    /* Only of a file on a disk; otherwise NULL. */
    const char *where;      /* "a1:/data/redis/redis-1.rdb": host or old node, and path */
    const char *host;       /* of hosts.json, with that disk; NULL: only `location` reaches it */
    const char *folder;     /* path of its folder there */
    const json_t *location; /* of the folder; borrowed */
    /*
     * Of an AOF folder: [{"name", "bytes"}]. Of an archive the same, and of a segment "stream_bytes"
     * (behind the SELECT at its front) and perhaps "take" (only the first so many of them)
     * and "skip" (without the first so many). Borrowed.
     */
    const json_t *parts;
    int64_t time_ms;  /* of its data; -1: unknown */
    const char *next; /* place and time of the next newest file of the same slots; NULL: none */
};

struct backup_set {
    const char *id;                           /* "20201130-223654", "nodes.json", "folder" */
    const char *database_uid, *database_name; /* from manifest or names; NULL: unknown */
    int64_t time_ms;           /* of the run; else the oldest ctime or modification; -1: unknown */
    struct backup_file *files; /* sorted by first slot */
    size_t file_count;
    struct slots missing; /* of those asked for */
    bool complete;
    /* Why it is incomplete: "file 2 of 3 is not there; slots 5461-10922 are missing"; else NULL. */
    const char *reason;
    const char *cause; /* the same without the slots; NULL: only slots are missing */
    const char *hint;  /* what to do about the cause; NULL: unknown */
    bool future;       /* its time lies in the future, by more than CATALOGUE_SKEW_MS */
    const char *disks; /* of a set of files on disks: their owners, printable; else NULL */
    /* By its manifest: what was read back when it was made ("size", "digest", "full"), and when. */
    const char *verified, *verified_time; /* NULL: not said */
    const char *const *notes;             /* files that were passed over, one sentence each */
    size_t note_count;
};

struct catalogue {
    struct arena arena;
    struct backup_set *sets; /* newest first */
    size_t set_count;
    json_t *parts; /* owns those of archives; NULL: none */
    /* The newest complete set up to at_ms; a future one only if no other exists; -1: none. */
    int chosen;
};

struct catalogue_query {
    const char *database_uid;
    const char *database_name;
    bool sharded;              /* false: one file holds all, whatever slots its name has */
    bool legacy;               /* slots in names are 1-4096 */
    const struct slots *slots; /* that a set must cover (open slots) */
    bool some_files;           /* files that do not cover any of them may be missing */
    /* The slots of each primary. A folder's file goes to the primary that holds all its keys. */
    const struct slots *const *shards;
    size_t shard_count;
    int64_t at_ms;  /* -1: the newest */
    int64_t now_ms; /* a set later than this by CATALOGUE_SKEW_MS is a future one; 0: none is */
    bool resort;    /* a file may have keys of any shard, so a folder's file need not fit one */
};
enum { CATALOGUE_SKEW_MS = 5 * 60 * 1000 };

/*
 * ERR_NOT_FOUND if the location has no set of this database; the message names what it has instead.
 * An incomplete set is not an error: chosen is then -1 or an older set.
 */
int catalogue_read(struct store *s, const struct catalogue_query *query, struct catalogue *ret,
    struct err *err) MUST_CHECK;
/*
 * All sets of all databases that manifests, vendor names and nodes.json describe, newest first.
 * Other files are ignored. No set is chosen. Of the files, only the heads of those of nodes.json
 * are read. A set is complete if, by its names, it has all slots of the policy. `list` is the list
 * of the location.
 */
int catalogue_read_all(struct store *s, const struct store_list *list, struct catalogue *ret,
    struct err *err) MUST_CHECK;
void catalogue_release(struct catalogue *c);

/* How many bytes of a stream the segment of an archive has, by its name; -1: it is not one. */
int64_t catalogue_segment_bytes(const char *name);

/*
 * The archives of all databases: [{"database_uid", "database_name", "first", "last" (times of the
 * oldest and the newest moment of the index), "newest" (of those of which all is there; missing if
 * there is none), "reason"? (why not the last one), "bases", "segments", "bytes", "branches" (ends of
 * histories that no later moment has: what a primary sent that failed, and its successor never got:
 * [{"shard", "repl_id", "from", "to", "bytes"}])}], the caller's.
 */
int catalogue_archives(
    struct store *s, const struct store_list *list, json_t **ret, struct err *err) MUST_CHECK;

/*
 * What of the archive of a database is only needed for moments before `horizon_ms`: names, in the
 * order in which they may be removed. Nothing, if no moment from then on can be recovered.
 */
int catalogue_archive_old(struct store *s, const struct store_list *list, const char *database_uid,
    int64_t horizon_ms, json_t **ret_names, struct err *err) MUST_CHECK;

/* A folder on a disk, and the files of shards in it. */
struct disk_folder {
    const char *owner; /* "a1", "node:1" */
    const char *host;  /* as in struct backup_file */
    const char *path;
    const json_t *location; /* NULL if `host` is set */
    const json_t *files;    /* from disk_files_list() */
};

struct disk_query {
    const struct disk_folder *folders;
    size_t folder_count;
    /* The shards of the database, replicas too: which slots has a file of this uid? */
    struct disk_shard {
        const char *uid;
        size_t range; /* index into `ranges` */
    } * shards;
    size_t shard_count;
    const struct slots *const *ranges; /* of the primaries */
    size_t range_count;
    const struct slots *slots; /* that the set must cover */
    int64_t at_ms;             /* files later than this are not taken; -1: take any */
    int64_t set_at_ms;         /* the same for the set, whose time is that of its oldest file */
    const json_t *without; /* ["file:a1:/data/redis/redis-1.rdb", …]; other words are ignored */
};

/*
 * Adds the set "disks", if a folder has a file of the database. Chooses it if it is complete and
 * newer than the chosen set. `c` may be empty: {.chosen = -1}. What the query points to must
 * outlive the catalogue.
 */
void catalogue_add_disks(struct catalogue *c, const struct disk_query *query);

#endif
