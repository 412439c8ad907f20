#ifndef RECLUSTER_FENCE_H
#define RECLUSTER_FENCE_H

/*
 * --fence: servers that are left of an old cluster without a quorum, stopped for good.
 *
 *     fence_look(survey, request, st, err)    // before the plan is made: who listens there?
 *     fence_save(survey, st, err)             // with the plan
 *     fence_run(st, ccs, accept, err)         // before anything else of the recovery
 */

#include "recluster/survey.h"

/*
 * Gives each address of survey->old->alive what is known of it as "server" ({"pid", "started", "name",
 * "unit"}), or why it can't be stopped as "error". Changes nothing.
 */
int fence_look(struct survey *survey, const struct survey_request *request, struct state *st,
    struct err *err) MUST_CHECK;

int fence_save(const struct survey *survey, struct state *st, struct err *err) MUST_CHECK;

/* Stops what fence_save() recorded, unless that is done. An error leaves the rest to the next run. */
int fence_run(
    struct state *st, const struct ccs *ccs, bool accept_new_keys, struct err *err) MUST_CHECK;

#endif
