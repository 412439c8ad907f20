#ifndef CLI_CLUSTER_LOOK_H
#define CLI_CLUSTER_LOOK_H

/*
 * A running cluster as it was when it was asked: its CCS file, and who has the shards of each
 * database that --database names.
 *
 *     cluster_look(&params, &look, err)
 *     … look->found[0] …
 *     cluster_look_free(look)
 */

#include "command.h"
#include "recluster/backup.h"

struct cluster_look_params {
    const struct arguments *args; /* --database, --name, --key */
    const struct live_request *request;
    const struct live_params *ask; /* whom it asks: those of the request, or more servers */
    struct store *store;           /* its CCS file gives the uids */
    int64_t wait_s;                /* for a failover, moving slots, or a server that is busy */
};

struct cluster_look {
    struct live *live;
    struct buf ccs_file;
    struct state *st;
    struct ccs *ccs;
    struct backup_shards **found; /* of the wanted databases */
    size_t found_count;
};

int cluster_look(const struct cluster_look_params *params, struct cluster_look **ret,
    struct err *err) MUST_CHECK;
void cluster_look_free(struct cluster_look *look); /* may be NULL */

#endif
