#ifndef AGENT_FETCH_INPUT_H
#define AGENT_FETCH_INPUT_H

/*
 * A file that a fetch reads: where its bytes come from, and, if it is an append-only file, the
 * snapshot that is made of it first.
 *
 *     struct fetch_input in = FETCH_INPUT_INIT;
 *     if (fetch_input_open(&in, &reader, file, number, err) < 0) …
 *     … pull() from in.store what has in.name …
 *     fetch_input_close(&in, keep);
 */

#include <jansson.h>
#include <stdbool.h>

#include "aof_snapshot.h"
#include "method.h"
#include "recluster/store.h"
#include "shard.h"

struct fetch_input {
    struct store *store;
    const char *label;  /* where it is from, or its name there */
    const char *name;   /* borrowed from the file's JSON */
    json_int_t bytes;   /* as stored; -1: any */
    const char *sha256; /* NULL: not known */
    json_t *aof;        /* aof_snapshot.h; NULL: it is none */
    char *aof_folder;
};
#define FETCH_INPUT_INIT                                                                           \
    {                                                                                              \
        .store = NULL                                                                              \
    }

/* What is the same for all files of a fetch. */
struct fetch_reader {
    struct agent_call *call;
    const struct shard *shard; /* snapshots of append-only files are made in its folder */
    struct aof_wishes wishes;
};

/*
 * `file`: {"location" or "relay", "name", "bytes", "sha256"?, "kind"?, "parts"?}, as fetch gets
 * them; its number is from 0. Waits until the snapshot is there.
 */
int fetch_input_open(struct fetch_input *ret, const struct fetch_reader *reader, const json_t *file,
    size_t number, struct err *err) MUST_CHECK;

/* By what is said of it. */
bool fetch_input_is_aof(const json_t *file);

/* keep: the snapshot stays, for a later try. */
void fetch_input_close(struct fetch_input *in, bool keep);

#endif
