#ifndef LIVE_FOLDER_CHECKS_H
#define LIVE_FOLDER_CHECKS_H

/*
 * Whether data folders belong together. What contradicts and cannot be decided is an error; what a
 * cluster decides by its epochs is decided so here too, and is a note of `live`.
 *
 * folder_check_idle() is for one folder, before it is read: ERR_CHECK if a server runs in it.
 * folders_check() is for all of them, after topology_find().
 */

#include "recluster/live.h"
#include "recluster/store.h"

int folder_check_idle(const char *path, struct err *err) MUST_CHECK;
int folders_check(struct live *live, struct err *err) MUST_CHECK;

/* The note that a folder of another machine has no data. folders_check() looks at those here. */
int folder_note_listed(struct live *live, const struct live_server *s, struct store *store,
    struct err *err) MUST_CHECK;

/* Appends to live->notes. */
void live_note(struct live *live, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
