#ifndef AGENT_DUMP_FILE_H
#define AGENT_DUMP_FILE_H

/* What a shard's server starts on: dump.rdb in the working folder. */

#include <stdbool.h>

#include "shard.h"

/* A server is, or was, to load it while it comes (landing.h). */
bool dump_file_is_pipe(void);

/*
 * Makes dump.rdb a hard link of the fetched file incoming/AS: the server replaces its file by
 * renaming another over it, so the fetched one stays as it is. NULL: nothing may be there for the
 * server to load. A pipe is replaced in one step; another file is moved aside.
 */
int dump_file_place(const struct shard *shard, const char *as, struct err *err) MUST_CHECK;

#endif
