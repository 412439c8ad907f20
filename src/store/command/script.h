#ifndef STORE_COMMAND_SCRIPT_H
#define STORE_COMMAND_SCRIPT_H

/*
 * The scripts for a POSIX shell with stat, tail and head, as GNU's and Busybox's are. Each answers
 * with a line that begins with `word`, so that the output of a login is skipped:
 *
 *     WORD missing | WORD denied | WORD list | WORD file BYTES SECONDS INODE
 *
 * After "list": entries "f BYTES SECONDS NAME" or "d 0 0 NAME", each ended by NUL. After "file": the
 * bytes, and a last line "WORD file …", which differs if the file was changed meanwhile.
 */

#include <stdint.h>

#include "recluster/buf.h"

void script_list(struct buf *out, const char *word, const char *folder);

/* `length` -1: to the end. */
void script_read(
    struct buf *out, const char *word, const char *path, int64_t offset, int64_t length);

#endif
