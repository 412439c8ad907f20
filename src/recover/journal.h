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
 * 1. "running" is committed before the host is asked: a task that is pending was never begun, or
 *    its outcome was seen.
 * 2. The outcome and everything that it changes (placement, events) are one transaction.
 * 3. A run that finds "running" asks again: every method of the agent looks first.
 *
 * Answers are kept by journal_answer() and recorded together by journal_take_answers(), so that one
 * sync of the disk serves all that came meanwhile. What is lost with a crash in between is asked again.
 */

#include "model.h"

/* Borrows both; exactly one is not NULL. */
void journal_answer(struct task_run *t, const json_t *result, const struct err *error);
/* Runs kind->finish for each, commits the verdicts, sets the states of tasks and databases. */
int journal_take_answers(struct executor *x, struct err *err) MUST_CHECK;

int journal_task_started(struct executor *x, struct task_run *t, struct err *err) MUST_CHECK;
int journal_task_failed(
    struct executor *x, struct task_run *t, const struct err *error, struct err *err) MUST_CHECK;
/* The shard is not as the records say: its tasks from the first stage on are to be done again. */
int journal_shard_reset(struct executor *x, int shard, const char *why, struct err *err) MUST_CHECK;
/* What the running tasks are doing, for others who look at the state file. */
void journal_progress(struct executor *x);
int journal_databases_finished(struct executor *x, struct err *err) MUST_CHECK;

/* The state file could not be written: going on would be acting without a record. Stops the run. */
void journal_lost(struct executor *x, const struct err *err);

#endif
