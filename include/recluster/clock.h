#ifndef RECLUSTER_CLOCK_H
#define RECLUSTER_CLOCK_H

/*
 * Time. Deadlines use the monotonic clock, records the wall clock. Both are int64_t milliseconds;
 * their names end in _ms. Wall times count from 1970-01-01 UTC.
 */

#include <stdint.h>

#include "recluster/err.h"

int64_t clock_mono_ms(void);
int64_t clock_wall_ms(void);

#define CLOCK_TEXT_MAX 32

/* "2026-01-31T13:05:09Z" (UTC, whole seconds) into text; returns text. */
char *clock_format(int64_t wall_ms, char text[CLOCK_TEXT_MAX]);

/*
 * Reads a time as people and servers write it: "2026-01-31T13:05:09Z", with a space for the T, with
 * fractions, with an offset +02:00, without seconds, a date alone (its first moment), or seconds
 * since 1970. No offset means UTC. ERR_USAGE if it is none of these.
 */
int clock_parse(const char *text, int64_t *ret_wall_ms, struct err *err) MUST_CHECK;

#endif
