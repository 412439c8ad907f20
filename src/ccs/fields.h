#ifndef CCS_FIELDS_H
#define CCS_FIELDS_H

/*
 * Reads the fields of an object as values. A missing or empty field gives `missing`. So does an
 * unreadable one, with a finding that names key and field. Field names may list aliases, "tls_mode
 *
 * ssl": the first one that the object has counts.
 */

#include <stdbool.h>
#include <stdint.h>

#include "finding.h"
#include "object.h"
#include "value.h"

struct reader {
    struct findings *findings;
    struct arena *arena;
    const struct object *object; /* NULL: all fields are missing */
};

const char *read_text(const struct reader *r, const char *names, const char *missing);
bool read_bool(const struct reader *r, const char *names, bool missing);
int64_t read_int(
    const struct reader *r, const char *names, int64_t min, int64_t max, int64_t missing);
int64_t read_bytes(const struct reader *r, const char *names, int64_t missing);

/* A list of ids or names; empty if the field is missing. */
const char *const *read_list(const struct reader *r, const char *names, size_t *ret_count);

/* The items of such a list joined by ','; NULL: none. */
const char *read_joined(const struct reader *r, const char *names);

/* Adds the finding that a field with this text cannot be read. */
void reader_refuse(const struct reader *r, const char *names, const char *text);

#endif
