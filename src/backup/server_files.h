#ifndef BACKUP_SERVER_FILES_H
#define BACKUP_SERVER_FILES_H

/*
 * Files that the servers make themselves, on their own disks (BACKUP START, SEAL; Redis 8.10).
 *
 *     server_files_seal(params, shards, &cut, &files, err)   // all end at the cut
 *     … server_files_of(files, i) …                          // paths on the machine of that server
 *     server_files_clean(files)                              // removes them there
 *
 * The server of a shard is its first source. BACKUP START makes it write a base and keep what is
 * written from then on; BACKUP SEAL ends that, between the two readings of a cut (cut.h), when the
 * server has all that its primary has. After a cut that failed, all begins anew.
 *
 * Source of the replies: redis.io/docs/latest/commands/backup-*. They were tried with a module that
 * gives the same ones, not with such a server.
 */

#include "cut.h"
#include "recluster/backup.h"

struct server_files;

/* ret_cut->shards has room for all shards. On failure nothing of ours is left on the servers that
 * still answer. */
int server_files_seal(const struct backup_params *params, const struct backup_shards *shards,
    struct cut *ret_cut, struct server_files **ret, struct err *err) MUST_CHECK;
void server_files_clean(struct server_files *f); /* may be NULL */

/* [path of the base, path of what came after it] */
const json_t *server_files_of(const struct server_files *f, size_t shard);

#endif
