#ifndef BACKUP_CUT_INDEX_H
#define BACKUP_CUT_INDEX_H

/*
 * The index of an archive's moments (recluster/archive.h): an object for each minute, which is written
 * again as it grows.
 *
 *     x = cut_index_new(store, db)
 *     cut_index_begin(x, time_ms, &first, err)    // the minute of a cut
 *     cut_index_append(x, cut)                    // as JSON
 *     cut_index_save(x, err)                      // now and then
 *     cut_index_free(x)
 */

#include <jansson.h>

#include "recluster/ccs.h"
#include "recluster/store.h"

struct cut_index;

/* `store` is borrowed; of the database its names are copied. */
struct cut_index *cut_index_new(struct store *store, const struct ccs_database *db);
void cut_index_free(struct cut_index *x); /* without saving */

/*
 * *ret_first: no cut stands before it in its object. What an earlier run wrote of that minute stays
 * in it: -1 if it cannot be read, then no cut can be appended. A minute before that cannot be written
 * is not lost: its cuts go into this one; err has the reason, but 0 is returned.
 */
int cut_index_begin(
    struct cut_index *x, int64_t time_ms, bool *ret_first, struct err *err) MUST_CHECK;
void cut_index_append(struct cut_index *x, json_t *cut); /* taken over */

/* Does nothing if nothing was appended since the last time. */
int cut_index_save(struct cut_index *x, struct err *err) MUST_CHECK;

#endif
