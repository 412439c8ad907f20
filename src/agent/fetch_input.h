#ifndef AGENT_FETCH_INPUT_H
#define AGENT_FETCH_INPUT_H

/*
 * A file that a fetch reads. An append-only file is first turned into a snapshot.
 *
 *     struct fetch_input in = FETCH_INPUT_INIT;
 *     if (fetch_input_open(&in, &reader, file, number, err) < 0) …
 *     … pull() in.name from in.store …
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
    const char *label;  /* for messages: its location, or its name there */
    const char *name;   /* borrowed from the file's JSON */
    json_int_t bytes;   /* as stored; -1: any */
    const char *sha256; /* NULL: unknown */
    json_t *aof;        /* facts of the snapshot (aof_snapshot.h), or NULL */
    char *aof_folder;
};
#define FETCH_INPUT_INIT                                                                           \
    {                                                                                              \
        .store = NULL                                                                              \
    }

/* The same for all files of a fetch. */
struct fetch_reader {
    struct agent_call *call;
    const struct shard *shard; /* snapshots are made in its folder */
    struct aof_wishes wishes;
};

/*
 * `file`: {"location" or "relay", "name", "bytes", "sha256"?, "kind"?, "parts"?}, as in the
 * parameters of fetch; `number` is its index there. Waits for the snapshot.
 */
int fetch_input_open(struct fetch_input *ret, const struct fetch_reader *reader, const json_t *file,
    size_t number, struct err *err) MUST_CHECK;

bool fetch_input_is_aof(const json_t *file);

/* keep: a later try needs the snapshot. */
void fetch_input_close(struct fetch_input *in, bool keep);

#endif
