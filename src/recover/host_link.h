#ifndef RECOVER_HOST_LINK_H
#define RECOVER_HOST_LINK_H

/*
 * Links to hosts with what the state file knows of their keys: those that were accepted as new
 * stand in its table host_key, and nowhere else.
 */

#include "recluster/link.h"
#include "recluster/state.h"

struct host_links {
    struct state *st;
    bool accept_new_keys;
};

/* `links` is borrowed until the link is closed. */
int host_link_open(struct host_links *links, struct loop *loop, const struct link_target *target,
    const struct link_events *events, void *arg, struct link **ret, struct err *err) MUST_CHECK;

/* Who we are, for others who find a host locked: "user@host pid n". The caller frees it. */
char *operator_name(void);

#endif
