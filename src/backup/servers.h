#ifndef BACKUP_SERVERS_H
#define BACKUP_SERVERS_H

/* The servers of a shard and the login to them, as parameters of an agent's call (protocol.h). */

#include "recluster/backup.h"

/* From the source of this number on. The caller's. */
json_t *servers_of_shard(const struct backup_shard *shard, size_t first);

/* Sets "login" and "tls", if there are any. */
void servers_add_login(json_t *params, const struct backup_params *backup);

#endif
