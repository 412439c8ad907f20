#ifndef RECLUSTER_DISK_FILES_H
#define RECLUSTER_DISK_FILES_H

/*
 * Files that shards' servers kept for themselves on the disk of their node. In its folder:
 *
 *     redis-<shard uid>.rdb               a snapshot
 *     appendonly-<shard uid>.aof          an append-only file (aof.h)
 *     appendonly-<shard uid>.aof.dir/     an AOF folder: manifest, base and increments
 *
 * each also with ".prev" behind it: the one before. In the folder of a node of a plain cluster, which
 * has a nodes.conf, they are dump.rdb, appendonly.aof and appendonlydir/; whose they are tells the line
 * of nodes.conf that says "myself": its node's id is the shard's uid. Other files are none of ours.
 *
 * They are looked at by whoever can: the agent of a host (method list_files), the operator over
 * SFTP. A file's facts are JSON, as they travel:
 *
 *     {"name", "kind": "rdb|aof|aof-folder", "shard": uid, "previous": bool, "bytes", "time_ms",
 *      "head": {…}, "parts": [{"name", "bytes"}], "error": message}
 *
 * "bytes" of a folder are those of its parts: the files that its manifest names, in the order in
 * which they are loaded. "time_ms": of what it holds, which for a snapshot is its own ctime, else
 * when it was last written. "head" (rdb_scan_head()) is of a snapshot or of the one that an AOF
 * begins with, else {}. "error" says why the file is of no use, as far as a look at its first
 * kilobyte can tell; "head" is missing then.
 */

#include <jansson.h>

#include "recluster/err.h"

/*
 * The facts of all such files in the folder, an array. Fails only if the folder can't be looked at:
 * ERR_NOT_FOUND if it isn't there.
 */
int disk_files_list(const json_t *folder, json_t **ret, struct err *err) MUST_CHECK;

#endif
