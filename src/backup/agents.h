#ifndef BACKUP_AGENTS_H
#define BACKUP_AGENTS_H

/*
 * The agents that read from servers and write to the location: on the hosts of the servers, as far
 * as params->hosts names them, and else on this machine.
 *
 *     struct agents *a = agents_new(&params, loop, wake, arg);
 *     if (agents_find(a, shard, first, &place, wait, err) > 0)
 *         link_call(place.link, …)             // open calls end with ERR_LINK if the link is lost
 *     agents_free(a)
 *
 * A link is opened when it is first needed. A host that cannot be reached is told to params->warn,
 * and asked again later; meanwhile the next source of the shard is taken.
 */

#include "recluster/backup.h"
#include "recluster/hosts.h"
#include "recluster/link.h"

struct agent_place {
    struct link *link;       /* borrowed, until it is lost */
    const struct host *host; /* NULL: this machine */
    size_t source;           /* which of the shard's sources is near it */
};

struct agents;

/* `wake` is called when a link is ready or lost. */
struct agents *agents_new(
    const struct backup_params *params, struct loop *loop, void (*wake)(void *arg), void *arg);
void agents_free(struct agents *a); /* may be NULL */

/* Looks at the sources from `first` on. 1: found; 0: a link is being opened; -1. */
int agents_find(struct agents *a, const struct backup_shard *shard, size_t first,
    struct agent_place *ret, struct err *err) MUST_CHECK;

/*
 * Parameters of a call at that place: "sources" (the near one first), "location" (without the key
 * that decrypts: hosts only write there), "login" and "tls"
 * (protocol.h), and on other machines "witness": an object that must be seen at the location there.
 * The caller's; NULL: a file of the login cannot be read.
 */
json_t *agents_params(const struct backup_params *params, const struct backup_shard *shard,
    const struct agent_place *place, const char *witness, struct err *err) MUST_CHECK;

#endif
