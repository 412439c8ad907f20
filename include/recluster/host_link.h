#ifndef RECLUSTER_HOST_LINK_H
#define RECLUSTER_HOST_LINK_H

/*
 * Links to hosts, opened as far as all who use them need it:
 *
 *     link ──> hello ──> lock (if a recovery is to be locked for) ──> ready()
 *
 * with what the state file knows of the hosts' keys: those that were accepted as new are in its table
 * host_key, and nowhere else.
 */

#include "recluster/link.h"
#include "recluster/state.h"

struct host_links {
    struct state *st;
    bool accept_new_keys;
};

struct host_opening {
    struct link_target target; /* its members for host keys are set here */
    const char *base_dir;
    const char *recovery; /* the host is locked for it; NULL: it is only looked at */
    void (*ready)(void *arg);
    /* The link is lost or could not be opened, or hello or lock failed. The caller closes the link. */
    void (*failed)(void *arg, const struct err *err);
    void *arg;
};

/*
 * -1: the link could not even be begun; neither function is called then. `links` is borrowed until the
 * link is closed. failed() may be called again while the link is being closed.
 */
int host_link_open(struct host_links *links, struct loop *loop, const struct host_opening *opening,
    struct link **ret, struct err *err) MUST_CHECK;

/* Who we are, for others who find a host locked: "user@host pid n". The caller frees it. */
char *operator_name(void);

#endif
