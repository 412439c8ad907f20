#ifndef CCS_MODEL_H
#define CCS_MODEL_H

/* Sorts and links the model of ccs_load(). */

#include "recluster/ccs.h"

/* The target of every ccs_shard.slots. Shards with equal slots share one. */
struct model_slots {
    struct slots slots;
    unsigned first; /* SLOT_COUNT: none */
    /*
     * While the replicas of a database are being linked: the start of its run of shards, plus 1;
     * the first of its primaries with these slots, and the first on another node (-1: none).
     */
    size_t run;
    int primary, other;
};

/* Sorts all arrays; gives each database its shards and endpoints, each replica its primary. */
void model_connect(struct ccs *ccs);

#endif
