#ifndef CCS_TYPED_H
#define CCS_TYPED_H

/*
 * Fills the typed tables of the state file from objects. Each function runs in the import's
 * transaction and adds findings for unreadable values.
 */

#include <jansson.h>

#include "finding.h"
#include "object.h"
#include "recluster/ccs.h"

struct import {
    struct state *state;
    const struct objects *objects;
    struct findings findings;
    struct arena arena;   /* of the whole import */
    struct arena scratch; /* of one object */
    const char *path;
    struct err *err;
};

/* cluster, node, shard, endpoint, proxy, user, database, then the users of databases (roles.h). */
int typed_import(struct import *im) MUST_CHECK;

/* Needs the shards, whose slots also show whether a database is sharded. */
int typed_import_databases(struct import *im) MUST_CHECK;

/* Fills all of them from the nodes.json of `redis-cli --cluster backup`. */
int typed_import_nodes_json(struct import *im, const json_t *document) MUST_CHECK;

/* The value of hash_slots_policy; 16k without one (NULL). */
bool typed_slots_policy(const char *text, enum ccs_slots_policy *ret);

#endif
