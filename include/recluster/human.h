#ifndef RECLUSTER_HUMAN_H
#define RECLUSTER_HUMAN_H

/* Numbers as people read and write them. */

#include <stdint.h>

#include "recluster/err.h"

#define HUMAN_TEXT_MAX 32

/* "0 B", "1.5 KB", "64 GB": powers of 1024, at most three digits before the unit. Returns text. */
char *human_bytes(uint64_t bytes, char text[HUMAN_TEXT_MAX]);

/* "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". Returns text. */
char *human_duration(int64_t ms, char text[HUMAN_TEXT_MAX]);

/* "1,234,567". Returns text. */
char *human_count(uint64_t n, char text[HUMAN_TEXT_MAX]);

/* "64G", "1.5GB", "512 mb", "1048576": powers of 1024. ERR_USAGE otherwise. */
int human_parse_bytes(const char *text, uint64_t *ret_bytes, struct err *err) MUST_CHECK;

/* "90", "90s", "10m", "1h30m", "2d": in seconds. ERR_USAGE otherwise. */
int human_parse_seconds(const char *text, int64_t *ret_s, struct err *err) MUST_CHECK;

/*
 * How many single edits turn a into b, case ignored; for "did you mean". human_nearest() returns
 * the nearest entry of a NULL-ended list, or NULL if none is near enough.
 */
unsigned human_distance(const char *a, const char *b);
const char *human_nearest(const char *word, const char *const *words);

#endif
