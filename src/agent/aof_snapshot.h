#ifndef AGENT_AOF_SNAPSHOT_H
#define AGENT_AOF_SNAPSHOT_H

/*
 * Turns an append-only file into an RDB snapshot, so that all later steps are the same as for an
 * RDB file.
 *
 * The AOF is copied into a folder of its own and checked command by command (aof.h). If it has a
 * broken tail, the copy ends before it. Then a private server of this host loads the copy
 * (scratch.h: no port, a socket that only we may open, not as root) and writes dump.rdb. Commands
 * that an append-only file cannot need are disabled in that server, which dies with us; it is a
 * replica of nobody, so no key expires meanwhile. The AOF itself is only read. It may be compressed
 * (NAME.gz, NAME.zst); one with a known digest is whole, so a broken tail is then an error.
 *
 * After a crash the next call starts again, unless the snapshot was finished: then it is used.
 */

#include <jansson.h>

#include "method.h"
#include "recluster/store.h"
#include "server_version.h"

#define AOF_SNAPSHOT_NAME "snapshot.rdb" /* in `folder`, whose other file names are the server's */

struct aof_wishes {
    const char *const *also; /* more commands to accept from the file, or NULL */
    bool errors;             /* accept that the server refuses some of the commands */
};

struct aof_input {
    /* {"name", "bytes", "sha256"?, "parts"? (as in catalogue.h)} */
    const json_t *file;
    struct store *store; /* has the file, or the parts */
    struct aof_wishes wishes;
};

/* The program that loads the file, and its modules as of server_conf_add_modules(). */
struct aof_server {
    const char *program;
    const char *run_as; /* as of scratch.h */
    const json_t *modules;
    struct server_version version;
};

/*
 * The snapshot is written into `folder`, which is made. ret_facts: {"name" (of the AOF),
 * "bytes", "commands", "preamble": bool, "dropped": {"file", "offset", "bytes"} or null,
 * "errors": n (how many commands the server refused; -1: it does not count them), "error_names"}.
 */
int aof_snapshot(struct agent_call *call, const struct aof_server *server,
    const struct aof_input *in, const char *folder, json_t **ret_facts, struct err *err) MUST_CHECK;

#endif
