#ifndef RECLUSTER_FENCE_H
#define RECLUSTER_FENCE_H

/*
 * --fence: stops, for good, the remaining servers of an old cluster that has lost its quorum.
 *
 *     fence_look(survey, request, st, err)    // before the plan is made: finds these servers
 *     fence_save(survey, st, err)             // when the plan is saved
 *     fence_run(st, ccs, accept, err)         // before anything else of the recovery
 */

#include "recluster/survey.h"

/*
 * Adds "server" ({"pid", "started", "name", "unit"}) to each address of survey->old->alive, or, if
 * that server cannot be stopped, the reason as "error". Changes nothing on the machines.
 */
int fence_look(struct survey *survey, const struct survey_request *request, struct state *st,
    struct err *err) MUST_CHECK;

int fence_save(const struct survey *survey, struct state *st, struct err *err) MUST_CHECK;

/* Stops what fence_save() recorded and is not stopped yet. After an error, call it again. */
int fence_run(
    struct state *st, const struct ccs *ccs, bool accept_new_keys, struct err *err) MUST_CHECK;

#endif
