#ifndef RECOVER_SAVE_PLAN_H
#define RECOVER_SAVE_PLAN_H

/* Plans that replace one that is being carried out (replan.h). */

#include "recluster/recover.h"

/* What becomes of a database some of whose hosts are lost. */
enum fate {
    FATE_STAYS,    /* as it is */
    FATE_ANEW,     /* it begins anew, the shards of lost hosts elsewhere */
    FATE_REPLICAS, /* clients use it: it gets new replicas for those that are lost */
};

struct replanned {
    enum fate *fates;     /* of the plan's databases */
    int64_t *generations; /* of those that begin anew, from now on */
    bool *moves;          /* of the plan's shards: it was elsewhere before */
    json_t *document;     /* the plan's, with what stays as it was */
};

/* Inside the caller's transaction. */
int save_replanned(const struct plan *plan, struct state *st, const struct replanned *replanned,
    struct err *err) MUST_CHECK;

#endif
