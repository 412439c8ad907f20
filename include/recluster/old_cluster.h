#ifndef RECLUSTER_OLD_CLUSTER_H
#define RECLUSTER_OLD_CLUSTER_H

/*
 * Is the old cluster really dead?
 *
 *     struct old_cluster *old = old_cluster_new(ccs, err);      // its addresses; looks up names
 *     old_cluster_ask(old, err);                                // asks from this machine
 *     old_cluster_take(old, "h1", answers);                     // adds what a host saw (`knock`)
 *     old_cluster_judge(old);
 *     … old->alive, old->silent, old->unasked, old->sentinels …
 *     old_cluster_free(old);
 *
 * Every address of its nodes, shards and endpoints is tried with a plain TCP connection.
 *   - Accepted: the address is alive, whatever listens there. Two clusters for the same clients
 *     would lose writes.
 *   - Refused: it is dead.
 *   - No answer: it is silent. It may be off, or only unreachable from here.
 *
 * The answers from hosts count like those from this machine. A Sentinel at the usual port of a node
 * is asked which masters it watches.
 */

#include <jansson.h>

#include "recluster/ccs.h"
#include "recluster/err.h"
#include "recluster/state.h"

struct old_cluster {
    /* Arrays of {"addr", "port", "what"}. An item of `alive` has "seen_from" if only that host saw
     * it. Items of `unasked` are {"name", "what", "why"}. */
    json_t *alive, *silent, *unasked;
    json_t *silent_nodes;  /* uids: every address of the node is silent */
    json_t *sentinels;     /* [{"addr", "port", "master", "watches"}] */
    size_t asked, foreign; /* number of addresses; of those that belong to no node */
    const struct ccs *ccs;
    struct old_addresses *addresses;
};

/* Whether a majority of its nodes is silent. Call old_cluster_judge() first. */
bool old_cluster_is_silent(const struct old_cluster *old);

/* The CCS file must outlive it. */
struct old_cluster *old_cluster_new(const struct ccs *ccs, struct err *err) MUST_CHECK;
void old_cluster_free(struct old_cluster *old); /* may be NULL */
int old_cluster_ask(struct old_cluster *old, struct err *err) MUST_CHECK;

/* Parameters of `knock` for a host (the caller's), and what to do with its "answers". */
json_t *old_cluster_questions(const struct old_cluster *old);
void old_cluster_take(struct old_cluster *old, const char *host, const json_t *answers);

void old_cluster_judge(struct old_cluster *old);

/*
 * For a run that resumes: ERR_CHECK if an address answers that does not belong to this recovery, or
 * if a majority of the nodes is silent.
 */
int old_cluster_check_again(
    struct state *st, const struct ccs *ccs, const char *typed, struct err *err) MUST_CHECK;
int old_cluster_wrong_name(const char *typed, const char *name, struct err *err);

#endif
