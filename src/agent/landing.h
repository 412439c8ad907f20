#ifndef AGENT_LANDING_H
#define AGENT_LANDING_H

/*
 * Starts a server that loads a file while the file still arrives in incoming/. The server reads a
 * pipe at the path of dump.rdb. A separate process, the feeder, copies the arrived bytes into it.
 *
 *     struct landing landing = LANDING_INIT;
 *     landing_begin(&landing, &shard, as);
 *     … pull() to incoming/AS, whose bytes are only ever added to …
 *     landing_end(&landing, &shard, good);
 *
 * The check of the file never depends on the server. The feeder reads written bytes, so a server
 * that is slow or gone delays nothing.
 *
 * No server ever reads a bad file to its end. The feeder holds back the last bytes (end mark and
 * checksum) until the file has its final name. If the file is bad, or the fetching process is
 * killed, the pipe ends earlier, and the server sees a truncated file. Before the server gets the
 * last bytes, a hard link of the good file replaces the pipe, because some servers open dump.rdb
 * once more at the end. load_shard checks the result: it ends a server that did not load the whole
 * file, and starts it again from the file.
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

/* A failure here is not an error: the server is then started later, as usual. */
void landing_begin(struct landing *landing, struct shard *shard, const char *as);
/* `good`: incoming/AS exists. Otherwise the server is ended. */
void landing_end(struct landing *landing, struct shard *shard, bool good);
/* Whether the server was started with this file. */
bool landing_is_of(const struct shard *shard, const char *as);
/* Call it when the server has proven its data, or is gone. */
int landing_close(struct shard *shard, struct err *err) MUST_CHECK;

#endif
