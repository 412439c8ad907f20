#ifndef AGENT_SERVE_H
#define AGENT_SERVE_H

/* Between the serving loop (agent.c) and the methods that deal with the agent itself. */

#include "method.h"
#include "recluster/rpc.h"

extern const struct agent_method *const agent_methods[]; /* NULL-ended */

/* agent_serve() with another table of methods: for tests. */
int agent_serve_methods(
    const struct agent_method *const *methods, int in_fd, int out_fd, struct err *err) MUST_CHECK;

/* The lock on base_dir that this agent holds or waits for; see lock.c. */
struct host_lock {
    int fd; /* -1: none */
    bool made_base_dir;
};
struct host_lock *agent_host_lock(struct agent_call *call);

/*
 * In the child that serves a call: its channel to the operator's side. A message with the call's
 * "id" is forwarded; notifications about the call can be read from it.
 */
struct agent_channel {
    int fd; /* blocking */
    uint64_t id;
    struct rpc_input in;
    json_int_t streams; /* of relay.c: begun so far */
};
struct agent_channel *agent_channel(struct agent_call *call);

/* The holder of base_dir's lock: {"operator", "recovery", "since", …}, the caller's; or NULL. */
json_t *lock_holder(const char *base_dir);

/*
 * For a method that runs in the agent: after `run` has returned 0, fn continues the call in a child
 * process, where it may wait, and gives the answer.
 */
void agent_continue(struct agent_call *call,
    int (*fn)(struct agent_call *call, const json_t *params, json_t **ret, struct err *err));

#endif
