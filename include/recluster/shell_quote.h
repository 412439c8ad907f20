#ifndef RECLUSTER_SHELL_QUOTE_H
#define RECLUSTER_SHELL_QUOTE_H

/* The only way in which a value gets into the text of a shell command, run by us or by a person. */

#include "recluster/buf.h"

/* Adds it as one word of a POSIX shell, in single quotes, whatever bytes but NUL it holds. */
void shell_quote(struct buf *out, const char *value);

/*
 * For people: the word as it is where a shell reads nothing into it, quoted where it does. Bytes that no
 * terminal or JSON document can hold as they are (control characters, what is not UTF-8) are written as
 * $'\ooo', which the usual shells know. The caller's.
 */
char *shell_word(const char *value);

/* The same for the name of a file as an argument of a command: one that begins with '-' as "./-…". */
char *shell_path_word(const char *path);

#endif
