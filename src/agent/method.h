#ifndef AGENT_METHOD_H
#define AGENT_METHOD_H

/*
 * A method of the agent (recluster/protocol.h) is a const struct beside its function. It runs in a
 * child process of its own: it may block, change its working folder and leak memory. It may be
 * killed at any moment and run again. A method with in_agent runs in the agent itself, because it
 * takes something that must live as long as the agent (the lock); it must not block.
 */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/err.h"

struct agent_call; /* the request */

struct agent_method {
    const char *name;
    bool in_agent;
    /* Sets *ret (the caller's) on success. Params are always an object. */
    int (*run)(struct agent_call *call, const json_t *params, json_t **ret, struct err *err);
};

/* Sends a progress notification with the request's id; takes over params. */
void agent_progress(struct agent_call *call, json_t *params);
/* The same with another name, for a dialogue with the operator during the call. */
void agent_notify(struct agent_call *call, const char *method, json_t *params);

extern const struct agent_method agent_hello, agent_probe, agent_measure, agent_lock,
    agent_prepare_host, agent_list_files, agent_read_file, agent_release, agent_old_servers,
    agent_knock, agent_fence, agent_record, agent_archive;
extern const struct agent_method agent_prepare_shard, agent_fetch, agent_load_shard,
    agent_attach_replica, agent_shard_status, agent_configure, agent_open_shard,
    agent_prove_endpoint, agent_seal_shard, agent_stop_shard, agent_remove_shard,
    agent_forget_nodes, agent_start_sentinel, agent_prove_failover;

/*
 * Parameters. Each function fails with ERR_PROTOCOL, which names the parameter, if it is missing or
 * has another type. Strings are borrowed from params.
 */
int param_string(
    const json_t *params, const char *name, const char **ret, struct err *err) MUST_CHECK;
int param_int(const json_t *params, const char *name, json_int_t *ret, struct err *err) MUST_CHECK;
int param_bool(const json_t *params, const char *name, bool *ret, struct err *err) MUST_CHECK;

#endif
