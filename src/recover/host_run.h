#ifndef RECOVER_HOST_RUN_H
#define RECOVER_HOST_RUN_H

/*
 * The hosts of a run. A host is connected when a task needs it:
 *
 *     IDLE ──(a task wants it)──> CONNECTING ──hello, lock, questions──> READY
 *      ▲                              │                                   │
 *      └── backoff <── lost, failed ──┴───────────────────────────────────┘
 *                         └── for hooks->patience_ms ──> GONE: its tasks fail
 *
 * Questions: a run that resumes first asks each shard whose server was started for its status, and
 * resets the tasks of a shard whose status differs from the records. It also removes what shards
 * left on the host before it was lost.
 */

#include "model.h"

/* True while the host is needed and not given up. Connects it when the backoff is over. */
bool host_wanted(struct host_run *h, int64_t *look_again_ms);

#endif
