#ifndef RECLUSTER_DISK_FILES_H
#define RECLUSTER_DISK_FILES_H

/*
 * Files that servers of shards saved on the disks of their nodes. In the folder of a node:
 *
 *     redis-<shard uid>.rdb               a snapshot
 *     appendonly-<shard uid>.aof          an append-only file (aof.h)
 *     appendonly-<shard uid>.aof.dir/     an AOF folder: manifest, base and increments
 *
 * The same names with ".prev" at the end are the previous files. A node of a plain cluster has a
 * nodes.conf in its folder; its files are dump.rdb, appendonly.aof and appendonlydir/. The node's
 * own id, in the line of nodes.conf with "myself", is then the shard's uid; without a nodes.conf it
 * is "". Other files are ignored.
 *
 * Two sides read such folders: the agent of a host (method list_files), and the operator's side
 * over SFTP. The facts of a file are JSON:
 *
 *     {"name", "kind": "rdb|aof|aof-folder", "shard": uid, "previous": bool, "bytes", "time_ms",
 *      "head": {…}, "parts": [{"name", "bytes"}], "error": message}
 *
 * "parts" are the files that the manifest of an AOF folder names, in the order in which the server
 * loads them; "bytes" of the folder is their sum. "time_ms" is the time of the data: of a snapshot
 * its own ctime, otherwise the last write. "head" (rdb_scan_head()) is that of the snapshot, or of
 * the snapshot that an AOF begins with, otherwise {}. "error" says why the file is unusable, as far
 * as its first kilobyte shows; "head" is missing then.
 */

#include <jansson.h>

#include "recluster/err.h"

/*
 * The facts of all such files in the folder, as an array. Fails only if the folder cannot be read;
 * ERR_NOT_FOUND if it does not exist.
 */
int disk_files_list(const json_t *folder, json_t **ret, struct err *err) MUST_CHECK;

/* The same for a plain server whose configuration calls its files so. NULL: the usual name. */
struct disk_names {
    const char *snapshot, *aof, *aof_folder, *nodes;
};
int disk_files_list_named(
    const json_t *folder, const struct disk_names *names, json_t **ret, struct err *err) MUST_CHECK;

#endif
