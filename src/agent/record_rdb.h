#ifndef AGENT_RECORD_RDB_H
#define AGENT_RECORD_RDB_H

/*
 * The plain RDB file of a recording: a server of this host loads the data set and the stream behind
 * it, and saves what it has then.
 *
 *     record_rdb_open(spool, wanted, &x, err)
 *     … the data set and the stream are written to record_rdb_location(x) as RECORD_RDB_INPUT …
 *     record_rdb_make(x, call, err)            // waits until record_rdb_path(x) is there
 *     record_rdb_close(x)
 *
 * All of it lies in a folder <spool>/recluster-rdb-XXXXXX, which record_rdb_close() removes. The
 * next record_rdb_open() removes those of processes that were killed. Room: up to three times the
 * data set.
 */

#include <jansson.h>

#include "method.h"

#define RECORD_RDB_INPUT "shard.aof"

struct record_rdb;

/* `wanted`: {"server", "run_as"?, "modules"?} (prepare_shard). */
int record_rdb_open(
    const char *spool, const json_t *wanted, struct record_rdb **ret, struct err *err) MUST_CHECK;
void record_rdb_close(struct record_rdb *x); /* may be NULL */

const json_t *record_rdb_location(const struct record_rdb *x);
const char *record_rdb_path(const struct record_rdb *x);
int record_rdb_make(struct record_rdb *x, struct agent_call *call, struct err *err) MUST_CHECK;

#endif
