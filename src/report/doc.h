#ifndef RECLUSTER_REPORT_DOC_H
#define RECLUSTER_REPORT_DOC_H

/*
 * Reading and making JSON documents. A field that is missing or of another type has the value that
 * the caller names: documents also come from older and newer versions of the program.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/buf.h"

const char *doc_text(const json_t *doc, const char *field, const char *missing);
int64_t doc_int(
    const json_t *doc, const char *field, int64_t missing); /* true is 1, reals are cut */
double doc_real(const json_t *doc, const char *field, double missing);
bool doc_bool(const json_t *doc, const char *field);
bool doc_has(const json_t *doc, const char *field);     /* there, and not null */
size_t doc_count(const json_t *doc, const char *field); /* items of an array */

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
