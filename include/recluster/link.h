#ifndef RECLUSTER_LINK_H
#define RECLUSTER_LINK_H

/*
 * A link: how the agent of one host is reached, and calls over it.
 *
 *     link_open(loop, &target, &events, arg, &link, err)
 *     link_call(link, "probe", params, 30000, on_answer, ctx)      // any number at the same time
 *     … loop_run() …
 *     link_close(link)
 *
 * Kinds: "local" starts this program's own `agent` as a child. ("ssh" and "command" come with the
 * links over the network; they fill the same struct link_driver, src/link/driver.h.) A link carries
 * the agent's standard input and output; what the agent prints on standard error goes to ours.
 *
 * When a link is lost, every open call ends with ERR_LINK, then events.lost is called once; the
 * link is then only good for link_close(). A call that gets no answer in time ends with
 * ERR_TIMEOUT; a late answer is dropped.
 */

#include <jansson.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/loop.h"

struct link;

struct link_target {
    const char *host;    /* name, for messages */
    const char *kind;    /* "local" */
    const char *program; /* path of this program; NULL: the running one */
    const json_t *spec;  /* the host's entry of hosts.json, for kinds that need more */
};

struct link_events {
    void (*lost)(void *arg, const struct err *err);
};

/* Exactly one of result and err is not NULL; both are borrowed: json_incref() what you keep. */
typedef void (*link_answer)(void *ctx, const json_t *result, const struct err *err);
typedef void (*link_progress)(void *ctx, const json_t *params);

int link_open(struct loop *loop, const struct link_target *target, const struct link_events *events,
    void *arg, struct link **ret, struct err *err) MUST_CHECK;

/* Takes over params. on_progress may be NULL. on_answer is called exactly once, never from in here.
 */
void link_call(struct link *link, const char *method, json_t *params, int64_t timeout_ms,
    link_answer on_answer, link_progress on_progress, void *ctx);

/* Ends the agent; open calls end with ERR_CANCELLED. NULL is fine. */
void link_close(struct link *link);

#endif
