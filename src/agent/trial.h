#ifndef AGENT_TRIAL_H
#define AGENT_TRIAL_H

/*
 * Finds out what a server program can do: starts it for a moment in an empty folder of its own,
 * asks it over a socket there, and ends it. As a cluster node it also listens at a port of
 * 127.0.0.1, with a random password.
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
    const json_t *types;   /* names of module types to ask for: ["vectorset"]; NULL: none */
    const json_t *wanted;  /* of `probe`; NULL: nothing */
};

/*
 * {"nodes_conf": whether it accepts a nodes.conf that was written for it,
 *  "cluster_databases": whether a cluster may have more than one database,
 *  "modules": ["vectorset"], the loaded modules,
 *  "types": {"vectorset": true}, whether it has values of these types,
 *  "wanted": what it takes of `wanted`, as trial_settings.h says}
 */
int trial_run(const struct trial_params *params, json_t **ret, struct err *err) MUST_CHECK;

/* Only "types": {"vectorset": true}. */
int trial_types(const struct trial_params *params, json_t **ret, struct err *err) MUST_CHECK;

#endif
