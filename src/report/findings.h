#ifndef RECLUSTER_REPORT_FINDINGS_H
#define RECLUSTER_REPORT_FINDINGS_H

/* Prints lists of findings, blockers, warnings and errors. */

#include <jansson.h>

#include "text.h"

/* With a heading that counts them; errors first, then warnings. */
void findings_text(struct text *t, const json_t *findings);

/*
 * Issues of a plan or failed tasks: {"message", "hint", "database", "shard", "host", "task"}, all
 * but the message optional; or plain strings. An empty list prints nothing.
 */
void issues_text(struct text *t, const char *heading, enum text_style style, const json_t *issues);

/* The subject of an issue: "db:1, shard:4, host 'a1', task load_shard"; "" for the recovery. */
void issue_subject(const json_t *issue, struct buf *out);

/* 0 error, 1 warning, 2 any other severity. */
int finding_rank(const json_t *finding);

#endif
