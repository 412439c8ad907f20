#ifndef AGENT_TRIAL_H
#define AGENT_TRIAL_H

/*
 * What a server program can, found out by asking it: it is started for a moment on an empty folder
 * of its own, reachable by a socket in it (a node of a cluster also at a port of 127.0.0.1, behind a
 * random password), and ended again.
 */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/err.h"
#include "server_version.h"

struct trial_params {
    const char *server;
    const struct server_version *version;
    const json_t *modules; /* of the hosts file; NULL: none */
    const char *run_as;    /* as in scratch.h */
    const json_t *types;   /* names of types of modules to ask for: ["vectorset"]; NULL: none */
};

/*
 * {"nodes_conf": whether it takes a cluster from a nodes.conf that is written for it,
 *  "cluster_databases": whether a cluster may have more than one database,
 *  "modules": ["vectorset"], those that are loaded,
 *  "types": {"vectorset": true}, whether it has values of these types}
 */
int trial_run(const struct trial_params *params, json_t **ret, struct err *err) MUST_CHECK;

/* Only the last of these: {"vectorset": true}. */
int trial_types(const struct trial_params *params, json_t **ret, struct err *err) MUST_CHECK;

#endif
