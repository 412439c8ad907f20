#ifndef RECOVER_MOVED_H
#define RECOVER_MOVED_H

/*
 * What shards left on a host that was lost, and is back. Where the host is at hand, in a run or an
 * abort, it is removed by "remove_shard" with these parameters (the caller's), and then that is
 * recorded.
 */

#include "model.h"

/* The next one from *next on; NULL: there is none. */
struct moved_run *moved_left_on(struct executor *x, const struct host_run *h, size_t *next);
json_t *moved_params(const struct executor *x, const struct moved_run *moved);
int moved_is_removed(struct executor *x, struct moved_run *moved, struct err *err) MUST_CHECK;
int moved_is_kept(struct executor *x, const struct moved_run *moved, const struct err *why,
    struct err *err) MUST_CHECK;

#endif
