#ifndef RECLUSTER_OFFSETS_H
#define RECLUSTER_OFFSETS_H

/*
 * The replication offsets of several primaries, read again and again over the same connections.
 *
 *     offsets_open(&params, primaries, count, &o)
 *     offsets_read(o, OFFSETS_ASK, 0, 1000, readings, err) …       // one reading for each primary
 *     offsets_close(o)
 *
 * A reading is made of all primaries at the same time, one packet and its answer for each. Which
 * moment an answer shows is not known: it lies between the call and its return. What two readings
 * have in common was true at every moment between the return of the first and the call of the second.
 *
 * A pause (CLIENT PAUSE … WRITE) is set by the packet that is read first, and ended by the packet
 * that is read last. It ends by itself after the time that was asked for. Servers before 6.2 have
 * none.
 */

#include "recluster/digest.h"
#include "recluster/live.h"
#include "recluster/repl.h"

struct offsets;

struct offset_reading {
    struct err error; /* ERR_NONE: it answered all; otherwise nothing else is set */
    bool primary;     /* by its own words */
    bool backlog;     /* without a backlog the offset stands still while keys change */
    bool fails;       /* the cluster says that it does not serve its slots */
    struct repl_place place;
    /* A digest of its own line of CLUSTER NODES, without times; "" for a server without a cluster. */
    char node[DIGEST_HEX_MAX];
    struct slots slots; /* that it serves; all without a cluster */
    bool moves_slots;
};

enum offsets_ask {
    OFFSETS_ASK,
    OFFSETS_PAUSE,  /* pauses writes, then asks */
    OFFSETS_RESUME, /* asks, then ends the pause */
};

/* `primaries` are copied; the login and TLS of params are borrowed. Connects when it asks. */
struct offsets *offsets_open(
    const struct live_params *params, const struct live_server *const *primaries, size_t count);
void offsets_close(struct offsets *o); /* may be NULL */

/*
 * -1 only if nothing could be asked at all. A server that does not answer within `deadline_ms` has
 * its error in its reading; it is asked over a new connection next time.
 */
int offsets_read(struct offsets *o, enum offsets_ask ask, int64_t pause_ms, int64_t deadline_ms,
    struct offset_reading *ret, struct err *err) MUST_CHECK;

/* Ends a pause everywhere it may have been set, as far as servers answer within `deadline_ms`. */
void offsets_end_pause(struct offsets *o, int64_t deadline_ms);

#endif
