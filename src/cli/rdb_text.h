#ifndef CLI_RDB_TEXT_H
#define CLI_RDB_TEXT_H

/* What `recluster rdb scan` and `head` print without --json. */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/buf.h"

void rdb_files_text(const json_t *document, bool colour, struct buf *out);

#endif
