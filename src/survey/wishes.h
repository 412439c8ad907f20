#ifndef SURVEY_WISHES_H
#define SURVEY_WISHES_H

/* The options of a plan (survey_request.options), turned into the planner's input. */

#include "recluster/survey.h"

/* ERR_USAGE if an option names a database, host or rack that does not exist. */
int wishes_check(const struct survey *survey, const json_t *options, struct err *err) MUST_CHECK;

bool wishes_database(const struct survey *survey, const json_t *options,
    const struct ccs_database *db); /* the database is to be recovered */
void wishes_fill_database(
    const struct survey *survey, const json_t *options, struct plan_database_input *in);

/* Whether its data comes from a backup set. */
bool wishes_backups(const struct survey *survey, const struct plan_database_input *in);
/* The latest time of a set; -1: any. */
int64_t wishes_time(const struct survey *survey, const struct ccs_database *db);

/* Slots that may stay empty; false: none. */
bool wishes_missing_slots(const json_t *options, struct slots *ret);

#endif
