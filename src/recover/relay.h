#ifndef RECOVER_RELAY_H
#define RECOVER_RELAY_H

/*
 * Files that a host cannot reach itself: this machine reads them, or asks another host's agent to
 * read them, and sends the bytes over the link to the host that needs them (recluster/relay.h).
 * Nothing is stored here, and at most a few MiB are in memory.
 *
 * The files of a fetch are a list of objects:
 *
 *     {"name", "parts"?, …, "location"}            the host reads it
 *     {"name", "parts"?, …, "relay": label, "from": {"location"} or {"host", "folder"}}
 */

#include "model.h"

/* For the files of one call of fetch; `files` is copied. NULL: none of them is relayed. */
struct relay *relay_begin(struct executor *x, struct link *to, uint64_t call, const json_t *files);
void relay_end(struct relay *relay); /* may be NULL */

bool relay_is_needed(const json_t *files);

/* "relay" of a file at this location, which then is "from". */
json_t *relay_label(const json_t *location);

#endif
