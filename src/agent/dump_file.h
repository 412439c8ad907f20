#ifndef AGENT_DUMP_FILE_H
#define AGENT_DUMP_FILE_H

/* What a shard's server starts on: dump.rdb in the working folder. */

#include <stdbool.h>

#include "shard.h"

/* Set while a server may be loading the file as it arrives (landing.h). */
bool dump_file_is_pipe(void);

/*
 * Makes dump.rdb a hard link of the fetched file incoming/AS. The server replaces dump.rdb by a
 * rename, so the fetched file stays unchanged. NULL: makes sure that there is no dump.rdb to load.
 * A pipe is replaced in one step; another file is moved aside.
 */
int dump_file_place(const struct shard *shard, const char *as, struct err *err) MUST_CHECK;

#endif
