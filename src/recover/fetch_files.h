#ifndef RECOVER_FETCH_FILES_H
#define RECOVER_FETCH_FILES_H

/* What a fetch reads, and where from. */

#include "model.h"

/* All its files, as relay.h says. The caller's. */
json_t *fetch_files(const struct executor *x, const struct task_run *t);

/*
 * Whether the fetch may start, as far as other hosts and relays go; connects the hosts that have its
 * files. -1: it never will, and the error says why.
 */
int fetch_sources_ready(struct executor *x, struct task_run *t, int64_t *look_again_ms,
    bool *ret_ready, struct err *err) MUST_CHECK;

#endif
