#ifndef AGENT_REPLICA_SOURCE_H
#define AGENT_REPLICA_SOURCE_H

/*
 * The servers of a shard, as sources of its data set and its stream. They all send the same bytes
 * under the same offsets, so a stream that is lost goes on at the next one.
 *
 *     replica_source_open(&s, params, err)
 *     replica_source_data_set(&s, &psync, err)       // repl.h
 *     in a job's step:
 *         switch (replica_source_stream(&s, &at, &piece, wait, err)) …
 *     replica_source_close(&s)
 *
 * Parameters: "sources", "login", "tls", "witness" of record (protocol.h).
 */

#include <jansson.h>

#include "recluster/repl.h"

struct replica_source {
    const json_t *sources, *login;
    struct secret *password;
    struct tls *tls;
    struct psync *stream;
    size_t at;                 /* which source the stream comes from */
    size_t skipped;            /* how many sources after it a data set comes from */
    int64_t lost_ms, retry_ms; /* 0: not lost */
};

int replica_source_open(struct replica_source *s, const json_t *params, struct err *err) MUST_CHECK;
void replica_source_close(struct replica_source *s);

int replica_source_data_set(
    struct replica_source *s, struct psync **ret, struct err *err) MUST_CHECK;
/* It failed: the next one comes from another source. */
void replica_source_skip(struct replica_source *s);

/*
 * The stream from *at on, which moves behind what is given. PSYNC_FAILED: it cannot be continued
 * (ERR_CHANGED), or no source has had it for a minute.
 */
enum psync_event replica_source_stream(struct replica_source *s, struct repl_place *at,
    struct rdb_bytes *ret, struct wait *wait, struct err *err) MUST_CHECK;
/* No more of the stream is wanted: the server need not keep it for us. */
void replica_source_end_stream(struct replica_source *s);
const char *replica_source_peer(const struct replica_source *s); /* of the stream, for messages */

#endif
