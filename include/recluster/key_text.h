#ifndef RECLUSTER_KEY_TEXT_H
#define RECLUSTER_KEY_TEXT_H

/* Keys as messages show them: bytes that are not printable ASCII become \xHH; long keys are cut. */

#include "recluster/rdb.h"

enum { KEY_TEXT_MAX = 4 * 64 + 8 };
const char *key_text(struct rdb_bytes key, char text[KEY_TEXT_MAX]);

/* The same for a key in hex (as in facts), in quotes. The caller frees it. */
char *key_text_of_hex(const char *hex);

#endif
