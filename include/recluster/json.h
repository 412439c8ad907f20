#ifndef RECLUSTER_JSON_H
#define RECLUSTER_JSON_H

/*
 * JSON from others: the one place where text becomes values.
 *
 *     json_t *document = json_read(text, len, 0, "the list of 's3://bucket/'", err);
 *
 * jansson needs up to 50 times the memory of the text, so the text is looked through before: one
 * that has more than JSON_VALUES_MAX values, or is nested deeper than JSON_DEPTH_MAX, is ERR_LIMIT.
 * Text that is not JSON is ERR_CORRUPT, with line and column.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "recluster/err.h"

enum { JSON_VALUES_MAX = 1000000, JSON_DEPTH_MAX = 64 };

/*
 * `flags` are jansson's (JSON_REJECT_DUPLICATES, JSON_DECODE_ANY, …). A byte order mark before the
 * text is skipped. `what` names the text in messages. A new reference; NULL on failure.
 */
json_t *json_read(
    const char *text, size_t len, size_t flags, const char *what, struct err *err) MUST_CHECK;

/* The same for text that may be no JSON: NULL, and nothing is told. */
json_t *json_read_quietly(const char *text, size_t len, size_t flags);

/* Whether an array (or NULL) holds this string. */
bool json_has_text(const json_t *texts, const char *text);

/*
 * A field of an object. One that is missing or of another type has the value that the caller names:
 * documents also come from older and newer versions of the program. `o` may be NULL.
 */
const char *json_text(const json_t *o, const char *field, const char *missing);
json_int_t json_int(
    const json_t *o, const char *field, json_int_t missing); /* true is 1, reals are cut */
double json_number(const json_t *o, const char *field, double missing);
bool json_flag(const json_t *o, const char *field);    /* it is true */
bool json_has(const json_t *o, const char *field);     /* it is there, and not null */
size_t json_count(const json_t *o, const char *field); /* items of an array */

#endif
