#ifndef CLI_RDB_CUT_H
#define CLI_RDB_CUT_H

/* `recluster rdb split` and `join`. */

#include "command.h"

int rdb_cut(
    const struct arguments *args, bool join, json_t **ret_document, struct err *err) MUST_CHECK;
void rdb_cut_text(const json_t *document, bool colour, struct buf *out);

#endif
