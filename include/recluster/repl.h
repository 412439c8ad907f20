#ifndef RECLUSTER_REPL_H
#define RECLUSTER_REPL_H

/*
 * What a server sends to its replicas: its data set as an RDB file, and its stream of commands.
 *
 * An offset is a position in a replication history: the number of its bytes before it, as INFO tells
 * it (master_repl_offset). A history has an id of 40 hex digits. A primary and its replicas send the
 * same bytes under the same offsets.
 *
 * The connection (psync_…) is a replica that only listens. It reads the data set or the stream, not
 * both: a server drops a replica that cannot take its stream because it is still taking the data
 * set. The data set begins the stream: its PSYNC_BEGUN says where.
 *
 *     psync_open(&params, &p, err)
 *     in a job's step:
 *         switch (psync_next(p, &piece, wait, err)) {
 *         case PSYNC_BEGUN:  … psync_place(p) …          // once, before the first byte
 *         case PSYNC_DATA:   … piece.data, piece.len …   // valid until the next call
 *         case PSYNC_END:    …                           // of a data set; a stream has no end
 *         case PSYNC_WAIT:   … return JOB_WAIT …         // deadlines are set
 *         case PSYNC_FAILED: …                           // the connection can only be closed
 *     psync_close(p)
 *
 * It acknowledges offset 0, so that WAIT does not count it. A primary still counts it for
 * min-replicas-to-write, and a Sentinel takes it for a replica: read from a replica where there is
 * one.
 *
 * Rights: PING, INFO, PSYNC and REPLCONF. A user with PSYNC can read all data.
 *
 * Format: the public sources of Redis and Valkey (replication.c).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/commands.h"
#include "recluster/rdb.h"
#include "recluster/secret.h"
#include "recluster/tcp.h"

enum { REPL_ID_HEX = 40 };

struct repl_place {
    char id[REPL_ID_HEX + 1]; /* of the history */
    int64_t offset;
};

struct psync_params {
    struct tcp_params tcp;
    const char *user;              /* NULL: default */
    const struct secret *password; /* borrowed; NULL: no login */
    const struct repl_place *from; /* the stream from there on; NULL: the data set */
    int64_t silence_ms;            /* the longest time without a byte; 0: PSYNC_SILENCE_MS */
};
enum {
    PSYNC_SILENCE_MS = 60 * 1000
}; /* servers send at least a PING each 10 s, if not set up otherwise */

struct psync;

/*
 * psync_next() fails with
 *   ERR_DENIED   a refused login, or a user without the rights
 *   ERR_BUSY     a replica without its primary, or a server that loads: try again, or elsewhere
 *   ERR_CHANGED  it no longer has the stream from that place, or never had it: a new data set is
 *                needed. The server is asked before, so it does not begin a full sync.
 *   ERR_NETWORK, ERR_TIMEOUT, ERR_PROTOCOL
 */
int psync_open(const struct psync_params *params, struct psync **ret, struct err *err) MUST_CHECK;
void psync_close(struct psync *p); /* may be NULL */

enum psync_event { PSYNC_WAIT, PSYNC_BEGUN, PSYNC_DATA, PSYNC_END, PSYNC_FAILED };
enum psync_event psync_next(
    struct psync *p, struct rdb_bytes *ret, struct wait *wait, struct err *err) MUST_CHECK;

/*
 * Where the data set begins the stream, or where the next byte of the stream belongs. After a
 * failover a stream continues under another id.
 */
const struct repl_place *psync_place(const struct psync *p);
const char *psync_peer(const struct psync *p); /* "10.0.0.1:6379" */

/*
 * The stream, taken apart: where commands end, where a transaction is open, which database is
 * selected. Pure: no I/O.
 *
 *     struct repl_stream s;
 *     repl_stream_init(&s, offset, db);           // of its first byte
 *     repl_stream_feed(&s, data, len, err) …      // in pieces of any size
 *     if (repl_stream_is_whole(&s)) …             // it could end here
 *
 * A stream from a replica does not begin with SELECT: `db` is the database that the data set says
 * (repl-stream-db), or that of the stream before.
 */
struct repl_stream {
    struct command_reader reader;
    int64_t first;    /* offset of the first byte */
    int64_t offset;   /* of the next byte */
    int64_t whole_at; /* the last offset at which it could end */
    int64_t db;       /* selected by the last whole command */
};

void repl_stream_init(struct repl_stream *s, int64_t offset, int64_t db);
/* ERR_CORRUPT: these are not commands. The message names the offset. */
int repl_stream_feed(
    struct repl_stream *s, const void *data, size_t len, struct err *err) MUST_CHECK;
bool repl_stream_is_whole(const struct repl_stream *s);

#endif
