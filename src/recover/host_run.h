#ifndef RECOVER_HOST_RUN_H
#define RECOVER_HOST_RUN_H

/*
 * The hosts of a run, connected when something is to be done on them:
 *
 *     IDLE ──(a task wants it)──> CONNECTING ──hello, lock, questions──> READY
 *      ▲                              │                                   │
 *      └── backoff <── lost, failed ──┴───────────────────────────────────┘
 *                         └── for hooks->patience_ms ──> GONE: its tasks fail
 *
 * Questions: in a run that resumes, each shard whose server was started is asked for its status
 * before anything else is done with it; records that are no longer true are taken back. What shards
 * left there before the host was lost is removed.
 */

#include "model.h"

/* True while the host is needed and not given up; connects it when it is time. */
bool host_wanted(struct host_run *h, int64_t *look_again_ms);

#endif
