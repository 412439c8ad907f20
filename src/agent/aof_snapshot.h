#ifndef AGENT_AOF_SNAPSHOT_H
#define AGENT_AOF_SNAPSHOT_H

/*
 * A snapshot of what an append-only file holds, so that all that comes after it is the same as for
 * an RDB file.
 *
 * The AOF is copied into a folder of its own, checked command by command (aof.h), its tail cut off
 * if it has one; then a private server of this host loads it (scratch.h: no port, a socket that only we
 * may open, not as root) and writes dump.rdb. What an append-only file can't need is renamed away in that
 * server; it dies with us. The AOF itself is only read.
 *
 * Called again after a crash, it begins anew, unless the snapshot was finished: then that is it.
 */

#include <jansson.h>

#include "method.h"
#include "recluster/store.h"
#include "shard.h"

#define AOF_SNAPSHOT_NAME                                                                          \
    "snapshot.rdb" /* in `folder`, where the server has files of its own names */

struct aof_wishes {
    const char *const *also; /* commands that are replayed although they are no data; or NULL */
    bool errors;             /* it is no failure that the server refuses commands */
};

struct aof_input {
    const json_t *file;  /* {"name", "bytes", "parts"? (of an AOF folder, as disk_files.h)} */
    struct store *store; /* has the file, or the parts */
    struct aof_wishes wishes;
};

/*
 * `folder`, below the shard's, gets the snapshot under the AOF's own name. ret_facts:
 * {"name", "bytes", "commands", "preamble": bool, "dropped": {"file", "offset", "bytes"} or null,
 * "errors": n (replies of the server that loaded it; -1: it does not count them), "error_names"}.
 */
int aof_snapshot(struct agent_call *call, const struct shard *shard, const struct aof_input *in,
    const char *folder, json_t **ret_facts, struct err *err) MUST_CHECK;

#endif
