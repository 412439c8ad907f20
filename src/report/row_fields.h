#ifndef RECLUSTER_REPORT_ROW_FIELDS_H
#define RECLUSTER_REPORT_ROW_FIELDS_H

/* One column of a row as a field of an object; NULL becomes null. */

#include <jansson.h>

#include "doc.h"
#include "recluster/state.h"

static inline void row_text(json_t *o, const char *field, const struct rows *rows, int column)
{
    json_object_set_new(o, field, doc_string(rows_text(rows, column)));
}

static inline void row_int(json_t *o, const char *field, const struct rows *rows, int column)
{
    json_object_set_new(
        o, field, rows_is_null(rows, column) ? json_null() : json_integer(rows_int(rows, column)));
}

static inline void row_json(json_t *o, const char *field, const struct rows *rows, int column)
{
    json_t *value = rows_json(rows, column);
    json_object_set_new(o, field, value ? value : json_null());
}

#endif
