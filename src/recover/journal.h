#ifndef RECOVER_JOURNAL_H
#define RECOVER_JOURNAL_H

/*
 * The tasks of a recovery, between memory and the state file.
 *
 *     pending ──started──> running ──answered──> done
 *        ▲                    │  └─────────────> failed
 *        └── not yet, lost link, retry ──┘          │
 *        └───────────── next run ───────────────────┘
 *
 * 1. "running" is committed before the host is asked: a pending task was never started, or its
 *    outcome was recorded.
 * 2. The outcome and all its effects (placement, events) are one transaction.
 * 3. A run that finds "running" makes the call again: every method of the agent is repeatable.
 *
 * journal_answer() keeps answers and journal_take_answers() records them together, so that one sync
 * of the disk serves all. If a crash loses an answer, the call is made again.
 */

#include "model.h"

/* Borrows both; exactly one is not NULL. */
void journal_answer(struct task_run *t, const json_t *result, const struct err *error);
/* Runs kind->finish for each, commits the verdicts, sets the states of tasks and databases. */
int journal_take_answers(struct executor *x, struct err *err) MUST_CHECK;

int journal_task_started(struct executor *x, struct task_run *t, struct err *err) MUST_CHECK;
int journal_task_failed(
    struct executor *x, struct task_run *t, const struct err *error, struct err *err) MUST_CHECK;
/* The shard differs from the records: resets its tasks, from the first stage on. */
int journal_shard_reset(struct executor *x, int shard, const char *why, struct err *err) MUST_CHECK;
/* Writes the progress of running tasks, for readers of the state file. */
void journal_progress(struct executor *x);
int journal_databases_finished(struct executor *x, struct err *err) MUST_CHECK;

/* The state file cannot be written. Stops the run, because it may not act without a record. */
void journal_lost(struct executor *x, const struct err *err);

#endif
