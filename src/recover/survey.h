#ifndef RECOVER_SURVEY_H
#define RECOVER_SURVEY_H

#include "recluster/recover.h"

/* All that a plan is made from, and the plan. */
struct survey {
    struct ccs *ccs;
    struct hosts *hosts;
    struct plan_host_input *host_inputs;
    struct err *host_errors;
    struct plan_database_input *databases;
    struct err *database_errors;
    size_t database_count;
    json_t *owned;     /* locations that were made here */
    json_t *alive;     /* addresses of the old cluster that answer */
    json_t *sentinels; /* that watch addresses of it */
    json_t *options, *pinned;
    struct plan_rates rates;
    struct plan *plan;
};

#endif
