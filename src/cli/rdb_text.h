#ifndef CLI_RDB_TEXT_H
#define CLI_RDB_TEXT_H

/* The output of `recluster rdb scan` and `head` without --json. */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/buf.h"

void rdb_files_text(const json_t *document, bool colour, struct buf *out);

#endif
