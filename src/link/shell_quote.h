#ifndef LINK_SHELL_QUOTE_H
#define LINK_SHELL_QUOTE_H

/*
 * The only way in which a value gets into the text of a shell command: as one word of a POSIX
 * shell, in single quotes, whatever bytes but NUL it holds.
 */

#include "recluster/buf.h"

void shell_quote(struct buf *out, const char *value);

#endif
