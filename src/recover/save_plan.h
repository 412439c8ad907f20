#ifndef RECOVER_SAVE_PLAN_H
#define RECOVER_SAVE_PLAN_H

/* Plans that replace the current one (replan.h). */

#include "recluster/recover.h"

/* What a replan does with a database. */
enum database_change {
    CHANGE_NONE,     /* leaves it unchanged */
    CHANGE_RESTART,  /* starts it again, with the shards of lost hosts elsewhere */
    CHANGE_REPLICAS, /* replaces the lost replicas of an open database */
};

struct replanned {
    enum database_change *changes; /* of the plan's databases */
    int64_t *generations;          /* the new generation of those that restart */
    bool *moves;                   /* of the plan's shards: whether it moves */
    json_t *document;              /* the plan's, with what stays as it was */
};

/* Inside the caller's transaction. */
int save_replanned(const struct plan *plan, struct state *st, const struct replanned *replanned,
    struct err *err) MUST_CHECK;

#endif
