#ifndef CCS_MODEL_H
#define CCS_MODEL_H

/* The model that ccs_load() gives: its order and the links in it. */

#include "recluster/ccs.h"

/* What every ccs_shard.slots points to. Shards with equal slots share one. */
struct model_slots {
    struct slots slots;
    unsigned first; /* SLOT_COUNT: none */
    /*
     * While a database's replicas are connected: where its run of shards begins, plus 1; the first of its
     * primaries with these slots, and the first on another node than that one (-1: none).
     */
    size_t run;
    int primary, other;
};

/* Sorts all arrays, gives each database its shards and endpoints, each replica its primary. */
void model_connect(struct ccs *ccs);

#endif
