#ifndef SURVEY_QUESTIONS_H
#define SURVEY_QUESTIONS_H

/* The calls that probe a host. */

#include "recluster/survey.h"

/* The parameters of `probe` for a host; the caller's. */
json_t *host_questions(const struct survey *survey, const struct host *host);

/* --measure: the parameters of `measure` for a host, the caller's; NULL: nothing to read. */
json_t *measure_params(const struct survey *survey, size_t host);
/* Puts the answer or the error into the host's facts as "measured". */
void measure_take(json_t *facts, const json_t *result, const struct err *error);

/* The set that will be used, as far as it is known before the plan; or NULL. */
const struct backup_set *chosen_set(const struct plan_database_input *in);

#endif
