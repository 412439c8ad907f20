#ifndef RECOVER_FETCH_FILES_H
#define RECOVER_FETCH_FILES_H

/* The files of a fetch and their locations. */

#include "model.h"

/* All its files, in the form of relay.h. The caller's. */
json_t *fetch_files(const struct executor *x, const struct task_run *t);

/*
 * Whether other hosts and relays allow the fetch to start. Connects the hosts that have its files.
 * -1: it can never start, and the error says why.
 */
int fetch_sources_ready(struct executor *x, struct task_run *t, int64_t *look_again_ms,
    bool *ret_ready, struct err *err) MUST_CHECK;

#endif
