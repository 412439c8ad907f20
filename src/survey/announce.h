#ifndef SURVEY_ANNOUNCE_H
#define SURVEY_ANNOUNCE_H

/* Lines for the operator while the survey runs. */

#include "recluster/survey.h"

/* lasting: a line that he must know; otherwise progress, which the next line replaces. */
void survey_announce(const struct survey_request *request, bool lasting, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
