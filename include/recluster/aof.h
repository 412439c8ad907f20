#ifndef RECLUSTER_AOF_H
#define RECLUSTER_AOF_H

/*
 * Reader of append-only files. Such a file is an RDB file (the "preamble", whose checksum is
 * checked) followed by commands as clients send them, or commands alone. The files of an AOF folder
 * are of either kind. Pure: no I/O. The reader takes bytes as they come and passes them to `sink`,
 * without the annotations ("#TS:") that servers before 7.0 do not understand:
 *
 *     struct aof_reader *r = aof_reader_new(sink, arg, NULL);
 *     while (more)
 *         if (aof_reader_feed(r, data, len, err) < 0) …
 *     if (aof_reader_end(r, &facts, err) < 0) …
 *     aof_reader_free(r);
 *
 * Tail. A server that died during a write leaves a tail: a command that the end of the file cuts
 * off, or a transaction without its EXEC. A tail is not an error: the facts say where it begins,
 * and the caller truncates its copy to kept_bytes. Any other damage is ERR_CORRUPT; the message
 * names the byte.
 *
 * Commands. The file is not trusted.
 *   - Passed on: commands that write data, SELECT, MULTI, EXEC, and FUNCTION LOAD, DELETE, FLUSH
 *     and RESTORE.
 *   - Left out: SCRIPT, PING and PUBLISH, which change nothing.
 *   - Any other command is ERR_CHECK. The message names the command and its byte. No part of the
 *     command has been passed on.
 *
 * Format: the public sources of Redis (aof.c) and the description of its protocol.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"

struct aof_facts {
    bool preamble;
    uint64_t bytes;       /* fed */
    uint64_t whole_bytes; /* fed, without the tail: the offset at which the tail begins */
    uint64_t kept_bytes;  /* passed on, without the tail */
    uint64_t commands;    /* complete ones, including MULTI and EXEC */
};

/* Returns -1 with err set to stop the reader. */
typedef int (*aof_sink)(void *arg, const void *data, size_t len, struct err *err);

struct aof_reader;
/* `also`: more commands to pass on (EVAL, commands of modules), NULL-ended; NULL: none. */
struct aof_reader *aof_reader_new(aof_sink sink, void *arg, const char *const *also);
void aof_reader_free(struct aof_reader *r); /* may be NULL */
int aof_reader_feed(struct aof_reader *r, const void *data, size_t len, struct err *err) MUST_CHECK;
/* In `sink`: whether the bytes are those of the RDB file. */
bool aof_reader_in_preamble(const struct aof_reader *r);
int aof_reader_end(struct aof_reader *r, struct aof_facts *ret, struct err *err) MUST_CHECK;

/* Whether a command of this name can be passed on. */
bool aof_command_is_data(const char *name, const char *const *also);
/* Whether it is never passed on: in such a file only an attacker has a use for it. */
bool aof_command_is_never(const char *name);

/*
 * The manifest of an AOF folder (Redis 7.0 and later): the names of the base file, if it has one,
 * and of the increments, in the order in which the server loads them. History files are left out.
 * ERR_CORRUPT if the text is not a manifest, if sequence numbers do not rise, or if it names
 * anything but files beside itself.
 */
struct aof_manifest {
    char **names;
    size_t count;
};
int aof_manifest_parse(
    const char *text, size_t len, struct aof_manifest *ret, struct err *err) MUST_CHECK;
void aof_manifest_release(struct aof_manifest *m);

#endif
