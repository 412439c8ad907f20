#ifndef RECLUSTER_REPORT_DOC_H
#define RECLUSTER_REPORT_DOC_H

/* Makes JSON documents, and reads them for people. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/buf.h"
#include "recluster/json.h"

/* A JSON string of any bytes: bytes that are not UTF-8 become U+FFFD. NULL becomes null. */
json_t *doc_string(const char *s);
json_t *doc_label(const char *kind, const char *uid); /* "db", "1": "db:1"; null without uid */
json_t *doc_int_or_null(int64_t n, int64_t null_value);

/* The message of an error or issue in a document: {"message", "hint", …} or a string. */
const char *doc_message(const json_t *issue);

/* A time: text as it is, a number (milliseconds) as UTC. The result is in `text` or the JSON. */
const char *doc_time(const json_t *doc, const char *field, char *text);

/* Ranges [[a,b],…] as "0-5460, 6000", cut after `max` ranges with "… and N more". */
void doc_ranges(const json_t *ranges, size_t max, struct buf *out);

/*
 * The next character of the UTF-8 text *s; moves *s after it. A byte that is not UTF-8 gives
 * 0xFFFD. Not for the NUL at the end.
 */
uint32_t doc_next_char(const char **s);

#endif
