#ifndef AGENT_LANDING_H
#define AGENT_LANDING_H

/*
 * A server that loads a file while it still lands in incoming/: it is started on a pipe in the place
 * of dump.rdb, into which a process of its own, the feeder, puts what stands in the file already.
 *
 *     struct landing landing = LANDING_INIT;
 *     landing_begin(&landing, &shard, as);
 *     … pull() to incoming/AS, whose bytes are only ever added to …
 *     landing_end(&landing, &shard, good);
 *
 * Nothing that is said of the file depends on it: the feeder reads what was written, so that a server
 * that is slow, or gone, holds nobody up. And no server ever comes to the end of a file that is not
 * good: the last bytes, with the mark of the end and the checksum, are held back until the file has
 * its name. Where it turns out bad, or whoever fetches it is killed, the pipe ends before, and a server
 * takes that for what it is, a file that was cut off. A hard link of the good file takes the place of
 * the pipe before the server gets the rest: some open dump.rdb once more when they have it. What comes of the server is seen by load_shard:
 * one that has not all of the file is ended, and started again on the file.
 *
 * The shard's record has "landing": AS from the start of the server until it is proven or gone.
 */

#include <stdbool.h>

#include "shard.h"

struct landing {
    int control; /* to the feeder; -1: nothing lands */
};
#define LANDING_INIT                                                                               \
    {                                                                                              \
        .control = -1                                                                              \
    }

/* What fails here is no error: the server is then started later, as usual. */
void landing_begin(struct landing *landing, struct shard *shard, const char *as);
/* `good`: incoming/AS is there. Else the server is gone afterwards. */
void landing_end(struct landing *landing, struct shard *shard, bool good);
/* It was started on this file. */
bool landing_is_of(const struct shard *shard, const char *as);
/* It has proven its data, or is gone. */
int landing_close(struct shard *shard, struct err *err) MUST_CHECK;

#endif
