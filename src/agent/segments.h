#ifndef AGENT_SEGMENTS_H
#define AGENT_SEGMENTS_H

/*
 * The stream of a shard on its way into an archive: a folder of segments. Each is a file of whole
 * commands and whole transactions that begins with a SELECT of the database of its first command,
 * which is not part of the stream:
 *
 *     <id>-<first>.part            being written; offsets as in repl.h
 *     <id>-<first>-<last>.seg      closed, and on the disk for good
 *
 *     segments_open(folder, &s, err)
 *     segments_continue(s, &place, &db)          // where the stream goes on; false: nothing is there
 *     segments_begin(s, &place, db, err)         // a stream begins there, or goes on under another id
 *     segments_add(s, data, len, err) …
 *     segments_cut(s, err)                       // closes what is whole
 *     segments_first(s), segments_drop(s, err)   // the oldest closed one; it is archived
 *     segments_close(s)
 *
 * After a crash everything is still there, up to the last whole command that reached the disk.
 */

#include "recluster/repl.h"

struct segment {
    char id[REPL_ID_HEX + 1];
    int64_t first, last;
    int64_t db; /* of what comes after it; -1: not known, an earlier process has written it */
    char *path;
    struct segment *next;
};

struct segments;
/* ERR_LOCKED: another process uses the folder; ERR_DENIED: others could, too. */
int segments_open(const char *folder, struct segments **ret, struct err *err) MUST_CHECK;
void segments_close(struct segments *s); /* may be NULL */

bool segments_continue(const struct segments *s, struct repl_place *ret_at, int64_t *ret_db);
int segments_begin(
    struct segments *s, const struct repl_place *at, int64_t db, struct err *err) MUST_CHECK;
int segments_add(struct segments *s, const void *data, size_t len, struct err *err) MUST_CHECK;
int segments_cut(struct segments *s, struct err *err) MUST_CHECK;

/* The place where the stream went on, and what has come of a command: it begins anew elsewhere. */
void segments_forget(struct segments *s);

/* Of the segment that is being written: bytes, and when it was begun (monotonic; 0: it is empty). */
int64_t segments_open_bytes(const struct segments *s);
int64_t segments_open_since_ms(const struct segments *s);

const struct segment *segments_first(const struct segments *s); /* NULL: none is closed */
int segments_drop(struct segments *s, struct err *err) MUST_CHECK;
int64_t segments_waiting_bytes(const struct segments *s); /* of closed ones */

#endif
