#ifndef RECLUSTER_REPORT_STATUS_WORDS_H
#define RECLUSTER_REPORT_STATUS_WORDS_H

/* Texts for the document of report_status_json(). */

#include <jansson.h>
#include <stdint.h>

#include "text.h"

enum verdict { VERDICT_GOOD, VERDICT_BAD, VERDICT_MIXED, VERDICT_OPEN };
enum verdict status_verdict(const json_t *status);

/* "Recovered: every database is open and proven." */
const char *status_headline(const json_t *status);

/* "Started 2026-…, took 3 min 20 s." The caller frees it. */
char *status_times(const json_t *status);

/* The keys in the primaries of a database; -1: nothing is loaded yet. */
int64_t status_keys(const json_t *database);

void status_verdict_text(struct text *t, const json_t *status);
void status_stages_text(struct text *t, const json_t *status);
void status_databases_text(struct text *t, const json_t *status);
void status_next_text(struct text *t, const json_t *status);

#endif
