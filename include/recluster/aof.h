#ifndef RECLUSTER_AOF_H
#define RECLUSTER_AOF_H

/*
 * Reader of append-only files: an RDB file (the "preamble", checked with its checksum), then
 * commands as clients send them, or commands alone; the files of an AOF folder are of either kind.
 * Pure: no I/O. It takes the bytes as they come and hands them on, without the annotations ("#TS:")
 * that servers before 7.0 don't know:
 *
 *     struct aof_reader *r = aof_reader_new(sink, arg, NULL);
 *     while (more)
 *         if (aof_reader_feed(r, data, len, err) < 0) …
 *     if (aof_reader_end(r, &facts, err) < 0) …
 *     aof_reader_free(r);
 *
 * A server that died in the middle of a write leaves a tail: a command that ends with the file, or
 * a transaction without its EXEC. It is no error here; the facts say where it begins, and what was
 * handed on of it is to be cut off again. All else is ERR_CORRUPT and says at which byte.
 *
 * The file is data, whoever wrote it: commands that write data are handed on, with SELECT, MULTI, EXEC
 * and FUNCTION LOAD, DELETE, FLUSH and RESTORE; SCRIPT, PING and PUBLISH, which change nothing, are left
 * out; any other is ERR_CHECK, which names it and its byte, and nothing of it has been handed on.
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
    uint64_t bytes;       /* that were fed */
    uint64_t whole_bytes; /* of them, without the tail: where it begins */
    uint64_t kept_bytes;  /* handed on that belong to whole commands */
    uint64_t commands;    /* whole ones, those that frame transactions too */
};

/* Returns -1 with err set to stop the reader. */
typedef int (*aof_sink)(void *arg, const void *data, size_t len, struct err *err);

struct aof_reader;
/* `also`: names of commands, NULL-ended, that are handed on too (EVAL, those of modules); NULL: none. */
struct aof_reader *aof_reader_new(aof_sink sink, void *arg, const char *const *also);
void aof_reader_free(struct aof_reader *r); /* NULL is fine */
int aof_reader_feed(struct aof_reader *r, const void *data, size_t len, struct err *err) MUST_CHECK;
int aof_reader_end(struct aof_reader *r, struct aof_facts *ret, struct err *err) MUST_CHECK;

/* A command of this name can be handed on. */
bool aof_command_is_data(const char *name, const char *const *also);
/* One that is never handed on: nobody has a use for it in such a file, but an attacker. */
bool aof_command_is_never(const char *name);

/*
 * The manifest of an AOF folder (Redis 7.0 and later): the names of the base file, if it has one,
 * and of the increments, in the order in which they are loaded; files that are only remembered are
 * left out. ERR_CORRUPT if it is none, if sequence numbers do not rise, or if it names anything but
 * files beside itself.
 */
struct aof_manifest {
    char **names;
    size_t count;
};
int aof_manifest_parse(
    const char *text, size_t len, struct aof_manifest *ret, struct err *err) MUST_CHECK;
void aof_manifest_release(struct aof_manifest *m);

#endif
