#ifndef RECOVER_WISHES_H
#define RECOVER_WISHES_H

/* What is wanted of a plan (recover_request.options), from words to the planner's input. */

#include "survey.h"

/* Whether databases, hosts and racks that are named are there: ERR_USAGE otherwise. */
int wishes_check(const struct survey *survey, const json_t *options, struct err *err) MUST_CHECK;

bool wishes_database(const struct survey *survey, const json_t *options,
    const struct ccs_database *db); /* it is wanted at all */
void wishes_fill_database(
    const struct survey *survey, const json_t *options, struct plan_database_input *in);

/* The option that keeps a host out, "rack:b"; NULL: none does. Borrowed from the options. */
const char *wishes_without(const json_t *options, const struct host *host);

/* Slots that may stay empty; false: none. */
bool wishes_missing_slots(const json_t *options, struct slots *ret);

#endif
