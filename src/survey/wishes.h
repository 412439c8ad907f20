#ifndef SURVEY_WISHES_H
#define SURVEY_WISHES_H

/* What is wanted of a plan (survey_request.options), from words to the planner's input. */

#include "recluster/survey.h"

/* Whether databases, hosts and racks that are named are there: ERR_USAGE otherwise. */
int wishes_check(const struct survey *survey, const json_t *options, struct err *err) MUST_CHECK;

bool wishes_database(const struct survey *survey, const json_t *options,
    const struct ccs_database *db); /* it is wanted at all */
void wishes_fill_database(
    const struct survey *survey, const json_t *options, struct plan_database_input *in);

/* Whether its data comes from a backup set at all. */
bool wishes_backups(const struct survey *survey, const struct plan_database_input *in);
/* The time that a set must not be after; -1: any. */
int64_t wishes_time(const struct survey *survey, const struct ccs_database *db);

/* Slots that may stay empty; false: none. */
bool wishes_missing_slots(const json_t *options, struct slots *ret);

#endif
