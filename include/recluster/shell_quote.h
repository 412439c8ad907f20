#ifndef RECLUSTER_SHELL_QUOTE_H
#define RECLUSTER_SHELL_QUOTE_H

/* Quotes values for shell commands, which we or a person run. There is no other way to do it. */

#include "recluster/buf.h"

/* Adds the value as one word of a POSIX shell, in single quotes. It may hold any bytes but NUL. */
void shell_quote(struct buf *out, const char *value);

/*
 * For people: quotes the word only if a shell needs it. Bytes that a terminal or a JSON document
 * cannot show (control characters, bytes that are not UTF-8) are written as $'\ooo', which the
 * usual shells understand. The caller frees it.
 */
char *shell_word(const char *value);

/* The same for a file name as an argument of a command: a name that begins with '-' gets "./". */
char *shell_path_word(const char *path);

#endif
