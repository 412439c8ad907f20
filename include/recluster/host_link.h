#ifndef RECLUSTER_HOST_LINK_H
#define RECLUSTER_HOST_LINK_H

/*
 * Opens links to hosts up to the point at which they can be used:
 *
 *     link ──> hello ──> lock (if `recovery` is set) ──> ready()
 *
 * Host keys that were accepted as new are saved in table host_key of the state file, and only
 * there.
 */

#include "recluster/link.h"
#include "recluster/state.h"

struct host_links {
    struct state *st;
    bool accept_new_keys;
};

struct host_opening {
    struct link_target target; /* host_link_open() sets its members for host keys */
    const char *base_dir;
    const char *recovery; /* locks the host for this recovery; NULL: no lock */
    void (*ready)(void *arg);
    /* The link could not be opened or is lost, or hello or lock failed. The caller closes it. */
    void (*failed)(void *arg, const struct err *err);
    void *arg;
};

/*
 * -1: opening could not start; neither function is called. `links` is borrowed until the link is
 * closed. failed() may be called again while the link is being closed.
 */
int host_link_open(struct host_links *links, struct loop *loop, const struct host_opening *opening,
    struct link **ret, struct err *err) MUST_CHECK;

/* Our name, shown to others who find a host locked: "user@host pid n". The caller frees it. */
char *operator_name(void);

#endif
