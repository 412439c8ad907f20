#ifndef RECOVER_MOVED_H
#define RECOVER_MOVED_H

/*
 * What shards left on a host that was lost and is back. A run or an abort that has a link to the
 * host calls "remove_shard" with these parameters (the caller's) and records the outcome.
 */

#include "model.h"

/* The next one, starting at *next; NULL: none. */
struct moved_run *moved_left_on(struct executor *x, const struct host_run *h, size_t *next);
json_t *moved_params(const struct executor *x, const struct moved_run *moved);
int moved_is_removed(struct executor *x, struct moved_run *moved, struct err *err) MUST_CHECK;
int moved_is_kept(struct executor *x, const struct moved_run *moved, const struct err *why,
    struct err *err) MUST_CHECK;

#endif
