#ifndef RECLUSTER_REPORT_DOC_H
#define RECLUSTER_REPORT_DOC_H

/* Making JSON documents, and what of them is shown to people. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/buf.h"
#include "recluster/json.h"

/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. NULL becomes null. */
json_t *doc_string(const char *s);
json_t *doc_label(const char *kind, const char *uid); /* "db", "1": "db:1"; null without uid */
json_t *doc_int_or_null(int64_t n, int64_t null_value);

/* An error or issue as documents hold it: {"message", "hint", …} or a string. */
const char *doc_message(const json_t *issue);

/*
 * A time as documents hold it: text as it is, numbers (milliseconds) as UTC. The text lives in
 * `text` or in the document.
 */
const char *doc_time(const json_t *doc, const char *field, char *text);

/* Ranges [[a,b],…] as "0-5460, 6000", cut behind `max` ranges with "… and N more". */
void doc_ranges(const json_t *ranges, size_t max, struct buf *out);

/*
 * The next character of UTF-8 at *s; moves *s behind it. Bytes that are no UTF-8 give 0xFFFD, one
 * at a time. Must not be called at the NUL.
 */
uint32_t doc_next_char(const char **s);

#endif
