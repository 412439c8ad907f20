#ifndef RECLUSTER_SHELL_QUOTE_H
#define RECLUSTER_SHELL_QUOTE_H

/* The only way in which a value gets into the text of a shell command, run by us or by a person. */

#include "recluster/buf.h"

/* Adds it as one word of a POSIX shell, in single quotes, whatever bytes but NUL it holds. */
void shell_quote(struct buf *out, const char *value);

/* For people: the word as it is where a shell reads nothing into it, quoted where it does. The caller's. */
char *shell_word(const char *value);

#endif
