#ifndef RECLUSTER_REPORT_PROOF_WORDS_H
#define RECLUSTER_REPORT_PROOF_WORDS_H

/* One entry of "proof" in the document of report_json(), in words. */

#include <jansson.h>

#include "recluster/human.h"

enum proof_result { PROOF_OPEN, PROOF_GOOD, PROOF_BAD };
enum proof_result proof_result(const json_t *proof);

/* "equal", "in step", "differs", "failed", or the last stage of the shard. */
const char *proof_word(const json_t *proof);

/* "-" if unknown. A size or a count: */
const char *proof_bytes(const json_t *proof, const char *field, char text[HUMAN_TEXT_MAX]);
const char *proof_count(const json_t *proof, const char *field, char text[HUMAN_TEXT_MAX]);

/* How long the shard was in a stage. */
const char *proof_took(const json_t *proof, const char *stage, char text[HUMAN_TEXT_MAX]);

/* The planned time for "transfer" and "load". */
const char *proof_planned(const json_t *proof, const char *stage, char text[HUMAN_TEXT_MAX]);

#endif
