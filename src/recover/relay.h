#ifndef RECOVER_RELAY_H
#define RECOVER_RELAY_H

/*
 * Files that a host can't get by itself: this machine reads them, or asks another host's agent to
 * read them, and hands the bytes on over the link to the host that wants them (recluster/relay.h).
 * Nothing of them is stored here, and never more than a few MiB are on their way.
 *
 * The files of a fetch are a list of objects:
 *
 *     {"name", "parts"?, …, "location"}            the host reads it
 *     {"name", "parts"?, …, "relay": label, "from": {"location"} or {"host", "folder"}}
 */

#include "model.h"

/* The files of a fetch, for one call of it; `files` is copied. NULL: none of them is relayed. */
struct relay *relay_begin(struct executor *x, struct link *to, uint64_t call, const json_t *files);
void relay_end(struct relay *relay); /* NULL is fine */

bool relay_is_needed(const json_t *files);

/* "relay" of a file at this location, which then is its "from". */
json_t *relay_label(const json_t *location);

#endif
