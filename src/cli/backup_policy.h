#ifndef CLI_BACKUP_POLICY_H
#define CLI_BACKUP_POLICY_H

/*
 * backup --policy: of which databases a set is due, and which of their sets stay. The policy is a
 * file (recluster(5)), or the CCS file that was given in the place of addresses (backup_interval and
 * backup_history of its databases).
 *
 *     backup_policy_read(args, request, &policy, err)     // NULL: no --policy
 *     backup_policy_choose(policy, store, look, err)      // look->found: only what is due
 *     backup_policy_expire(policy, store, sets, err)      // after backup_end()
 *     backup_policy_free(policy)
 */

#include "cluster_look.h"

struct backup_policy;

int backup_policy_read(const struct arguments *args, const struct live_request *request,
    struct backup_policy **ret, struct err *err) MUST_CHECK;
void backup_policy_free(struct backup_policy *p); /* may be NULL */

/* What is not due is told on standard error. */
int backup_policy_choose(const struct backup_policy *p, struct store *store,
    struct cluster_look *look, struct err *err) MUST_CHECK;

/* `sets`: the manifests of this run, whose databases have a rule, or have none and keep all. */
int backup_policy_expire(const struct backup_policy *p, struct store *store, const json_t *sets,
    struct err *err) MUST_CHECK;

#endif
