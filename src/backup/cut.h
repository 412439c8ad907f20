#ifndef BACKUP_CUT_H
#define BACKUP_CUT_H

/*
 * A cut: replication offsets of all primaries of a database that were true at one moment.
 *
 * Proof. All offsets are read, and when all answers have arrived, all are read again. If no offset
 * has moved, there was a moment, between the two readings, at which all of them were true: whatever
 * a client had been told before that moment is in the cut, and nothing that ran after it. On a busy
 * cluster the second reading differs; then the writes of all primaries are paused for the time of
 * the two readings, for at most CUT_PAUSE_MS. The pause only helps the proof: a write that gets
 * through moves an offset, and the cut is not taken.
 *
 * Nothing is taken for true that would make an offset lie: a server that is no primary any more or
 * has no backlog, slots that move, nodes that fail, another topology in the second reading.
 */

#include "recluster/offsets.h"

enum { CUT_PAUSE_MS = 100 };

struct cut_shard {
    struct repl_place place;
    struct slots slots;
};

struct cut {
    int64_t time_ms;   /* of that moment, by the clock of this machine */
    int64_t paused_ms; /* how long writes were paused; 0: not at all */
    int tries;
    struct cut_shard *shards; /* as many as primaries, in their order; the caller's array */
};

/*
 * What has to happen at that moment, on the servers: it is called between the two readings, with the
 * first one. -1 with err set: not now; ERR_CHANGED: something has happened, but not everywhere. It
 * succeeds once at most: if the second reading differs, the cut has failed (ERR_CHANGED), and what
 * was done is of no use. Writes are
 * paused then, unless slots are open.
 */
struct cut_step {
    int (*run)(void *arg, const struct offset_reading *first, struct err *err);
    void *arg;
};

/*
 * ret->shards has room for `count` shards. ERR_CHANGED: the primaries are no longer those; ERR_BUSY:
 * no cut was found in the time; the message names the server that was in the way. No pause is left
 * behind, whatever happens.
 */
int cut_find(struct offsets *o, size_t count, int64_t give_up_after_ms, struct cut *ret,
    struct err *err) MUST_CHECK;
int cut_find_with(struct offsets *o, size_t count, const struct cut_step *step,
    int64_t give_up_after_ms, struct cut *ret, struct err *err) MUST_CHECK;

#endif
