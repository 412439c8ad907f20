#ifndef RECLUSTER_JSON_H
#define RECLUSTER_JSON_H

/*
 * Reads JSON that others wrote. All such text is parsed here.
 *
 *     json_t *document = json_read(text, len, 0, "the list of 's3://bucket/'", err);
 *
 * jansson needs up to 50 times the memory of the text, so the text is checked first: more than
 * JSON_VALUES_MAX values or more than JSON_DEPTH_MAX levels are ERR_LIMIT. Text that is not JSON is
 * ERR_CORRUPT, with line and column.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "recluster/err.h"

enum { JSON_VALUES_MAX = 1000000, JSON_DEPTH_MAX = 64 };

/*
 * `flags` are those of jansson (JSON_REJECT_DUPLICATES, JSON_DECODE_ANY, …). A byte order mark is
 * skipped. `what` names the text in messages. Returns a new reference, or NULL on failure.
 */
json_t *json_read(
    const char *text, size_t len, size_t flags, const char *what, struct err *err) MUST_CHECK;

/* The same for text that need not be JSON: returns NULL without an error. */
json_t *json_read_quietly(const char *text, size_t len, size_t flags);

/* Whether an array (or NULL) holds this string. */
bool json_has_text(const json_t *texts, const char *text);

/* A string; bytes that are not ASCII become '?' if the text is not UTF-8. */
json_t *json_text_of(const char *text);

/*
 * A field of an object, or `missing` if the object lacks it or it has another type: documents also
 * come from older and newer versions of the program. `o` may be NULL.
 */
const char *json_text(const json_t *o, const char *field, const char *missing);
json_int_t json_int(
    const json_t *o, const char *field, json_int_t missing); /* true is 1, reals are cut */
double json_number(const json_t *o, const char *field, double missing);
bool json_flag(const json_t *o, const char *field);    /* whether it is true */
bool json_has(const json_t *o, const char *field);     /* whether it exists and is not null */
size_t json_count(const json_t *o, const char *field); /* number of items of an array */

#endif
