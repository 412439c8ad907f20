#ifndef AGENT_AOF_COPY_H
#define AGENT_AOF_COPY_H

/*
 * Copies an append-only file, checked command by command (aof.h), into the working folder. It may be
 * compressed (NAME.gz, NAME.zst), and consist of several parts: those of an AOF folder, or a base
 * and segments of an archive (catalogue.h). A broken tail of the last part is left out, unless the
 * part is known to be whole: by a digest, or because it is a segment.
 */

#include "aof_snapshot.h"

#define AOF_COPY_NAME "copy.aof" /* one file, of whole commands */

/* ret_facts: those of aof_snapshot() without "errors" and "error_names". */
int aof_copy(struct agent_call *call, const struct aof_input *in, json_t **ret_facts,
    struct err *err) MUST_CHECK;

#endif
