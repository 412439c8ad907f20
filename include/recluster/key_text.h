#ifndef RECLUSTER_KEY_TEXT_H
#define RECLUSTER_KEY_TEXT_H

/* Keys as messages show them: what is not printable ASCII as \xHH, cut when long. */

#include "recluster/rdb.h"

enum { KEY_TEXT_MAX = 4 * 64 + 8 };
const char *key_text(struct rdb_bytes key, char text[KEY_TEXT_MAX]);

/* Of a key in hex, as facts have it, in quotes. The caller's. */
char *key_text_of_hex(const char *hex);

#endif
