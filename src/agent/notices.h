#ifndef AGENT_NOTICES_H
#define AGENT_NOTICES_H

/*
 * Notifications from the operator's side during a call, for a method that runs a loop.
 *
 *     notices_listen(&notices, loop, call, on_notice, on_end, arg)
 */

#include "recluster/loop.h"
#include "serve.h"

struct notices {
    struct agent_call *call;
    /* -1 ends the listening: on_end() is called with the error. */
    int (*on_notice)(void *arg, const struct rpc_message *m, struct err *err);
    void (*on_end)(void *arg, struct err *err); /* also if the operator's side is gone */
    void *arg;
};

/* `n` must live as long as the loop's jobs. The other five parameters are copied into it. */
void notices_listen(struct notices *n, struct loop *loop, struct agent_call *call,
    int (*on_notice)(void *arg, const struct rpc_message *m, struct err *err),
    void (*on_end)(void *arg, struct err *err), void *arg);

#endif
