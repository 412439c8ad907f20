#ifndef CCS_FIELDS_H
#define CCS_FIELDS_H

/*
 * Reads the fields of one object as what they mean. A field that is missing or empty gives
 * `missing`; one that can't be read gives `missing` too, and a finding that names key and field.
 * Field names may list aliases, "tls_mode|ssl": the first that the object has counts.
 */

#include <stdbool.h>
#include <stdint.h>

#include "finding.h"
#include "object.h"
#include "value.h"

struct reader {
    struct findings *findings;
    struct arena *arena;
    const struct object *object; /* NULL: everything is missing */
};

const char *read_text(const struct reader *r, const char *names, const char *missing);
bool read_bool(const struct reader *r, const char *names, bool missing);
int64_t read_int(
    const struct reader *r, const char *names, int64_t min, int64_t max, int64_t missing);
int64_t read_bytes(const struct reader *r, const char *names, int64_t missing);

/* A list of ids or names; empty if it is missing. */
const char *const *read_list(const struct reader *r, const char *names, size_t *ret_count);

/* The items of such a list joined by ','; NULL if there are none. */
const char *read_joined(const struct reader *r, const char *names);

/* The finding that a field, whose text was `text`, can't be read. */
void reader_refuse(const struct reader *r, const char *names, const char *text);

#endif
