#ifndef AGENT_METHOD_H
#define AGENT_METHOD_H

/*
 * A method of the agent (recluster/protocol.h) is a const struct beside its function. It runs in a
 * child process of its own: it may block, change its working folder and leak; it must be safe to
 * kill at any moment, and to run again after that. The few with in_agent run in the agent itself,
 * because what they take (a lock) must live as long as it; they must not block.
 */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/err.h"

struct agent_call; /* the request that is served */

struct agent_method {
    const char *name;
    bool in_agent;
    /* Sets *ret (the caller's) on success. Params are always an object. */
    int (*run)(struct agent_call *call, const json_t *params, json_t **ret, struct err *err);
};

/* Sends a progress notification; takes over params. The request's id is put in. */
void agent_progress(struct agent_call *call, json_t *params);
/* The same of another name: a talk with the other side while the call is served. */
void agent_notify(struct agent_call *call, const char *method, json_t *params);

extern const struct agent_method agent_hello, agent_probe, agent_measure, agent_lock,
    agent_prepare_host, agent_list_files, agent_read_file, agent_release, agent_old_servers,
    agent_knock, agent_fence;
extern const struct agent_method agent_prepare_shard, agent_fetch, agent_load_shard,
    agent_attach_replica, agent_shard_status, agent_configure, agent_open_shard,
    agent_prove_endpoint, agent_seal_shard, agent_stop_shard, agent_remove_shard,
    agent_forget_nodes;

/*
 * Parameters. Each fails with ERR_PROTOCOL that names the parameter if it is missing or of another
 * type. Strings are borrowed from params.
 */
int param_string(
    const json_t *params, const char *name, const char **ret, struct err *err) MUST_CHECK;
int param_int(const json_t *params, const char *name, json_int_t *ret, struct err *err) MUST_CHECK;
int param_bool(const json_t *params, const char *name, bool *ret, struct err *err) MUST_CHECK;

#endif
