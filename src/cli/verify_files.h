#ifndef CLI_VERIFY_FILES_H
#define CLI_VERIFY_FILES_H

/* Verifies many backup files at a time, each completely, in a process of its own. */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"

struct rate;
struct slots;

struct verify_file {
    const json_t *location; /* of the file */
    const char *name;       /* its name there */
    const char *path;       /* for messages */
    int64_t bytes;          /* as listed; -1: unknown */
    /* From a manifest; NULL or -1: unknown. */
    const char *sha256;
    int64_t expected_bytes, keys;
    struct slots *slots; /* of a set of several files: the slots of its keys; NULL: any */
    /* Set by verify_files(): an entry of `verify --json`, the caller's. */
    json_t *entry;
};

/* The file could not be read, so it is not known to be bad. */
bool verify_was_not_asked(enum err_code code);

/*
 * Uses all processors and shows the progress on standard error. rate: the common limit, or NULL.
 * digest: computes the SHA-256 of each decompressed file; otherwise only for files whose manifest
 * has one. -1 only if no process can be started.
 */
int verify_files(struct verify_file *files, size_t count, struct rate *rate, bool digest,
    struct err *err) MUST_CHECK;

#endif
