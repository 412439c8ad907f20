#ifndef CLI_VERIFY_FILES_H
#define CLI_VERIFY_FILES_H

/* Many backup files verified at a time, each whole, in a process of its own. */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"

struct rate;
struct slots;

struct verify_file {
    const json_t *location; /* of the file */
    const char *name;       /* there */
    const char *path;       /* as it is printed */
    int64_t bytes;          /* as listed; -1: not known */
    /* What a manifest says; NULL or -1: nothing. */
    const char *sha256;
    int64_t expected_bytes, keys;
    struct slots *slots; /* of a set of several files: where its keys must be; NULL: anywhere */
    /* Set by verify_files(): an entry of `verify --json`, the caller's. */
    json_t *entry;
};

/* The error says that nothing is known of the file, not that it is bad: it could not be read. */
bool verify_was_not_asked(enum err_code code);

/*
 * As many at a time as there are processors; tells how far it is on standard error. rate: NULL, or
 * the limit of all together. digest: each file's SHA-256, unpacked, is wanted; else it is made only
 * of those whose manifest has one. -1 only if processes can't be started.
 */
int verify_files(struct verify_file *files, size_t count, struct rate *rate, bool digest,
    struct err *err) MUST_CHECK;

#endif
