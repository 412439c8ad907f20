#ifndef AGENT_RECORD_WRITER_H
#define AGENT_RECORD_WRITER_H

/*
 * Writes one object to a location, compressed and encrypted, in a process of its own, so that a slow location
 * never holds up the connections to servers.
 *
 *     record_writer_start(&params, &w, err)
 *     in a job's step:
 *         if (record_writer_has_room(w))
 *             record_writer_add(w, data, len);
 *         record_writer_end(w);                          // after the last byte
 *         record_writer_commit(w);                       // once it is RECORD_WRITER_READY
 *         switch (record_writer_step(w, wait, err)) …
 *     record_writer_free(w)                              // without commit: nothing was written
 *
 * Until the commit nothing is visible at the location.
 */

#include <jansson.h>

#include "recluster/loop.h"
#include "recluster/pack.h"

struct record_writer_params {
    const json_t *location;
    const char *name;
    enum pack_kind kind;
    const json_t
        *recipients; /* public keys (sealed.h): it is encrypted for them; NULL: it is not */
};

struct record_writer;
int record_writer_start(const struct record_writer_params *params, struct record_writer **ret,
    struct err *err) MUST_CHECK;
void record_writer_free(struct record_writer *w); /* may be NULL */

bool record_writer_has_room(const struct record_writer *w);
void record_writer_add(struct record_writer *w, const void *data, size_t len);
void record_writer_end(struct record_writer *w);
void record_writer_commit(struct record_writer *w);

enum record_writer_state {
    RECORD_WRITER_BUSY,
    RECORD_WRITER_READY, /* all bytes are at the location, but not visible yet */
    RECORD_WRITER_COMMITTED,
    RECORD_WRITER_FAILED,
};
enum record_writer_state record_writer_step(
    struct record_writer *w, struct wait *wait, struct err *err) MUST_CHECK;

/* Once ready: {"bytes" (stored), "plain_bytes", "sha256" (of the stored bytes)}; borrowed. */
const json_t *record_writer_facts(const struct record_writer *w);

#endif
