#ifndef RECLUSTER_SURVEY_H
#define RECLUSTER_SURVEY_H

/*
 * The survey: all facts that a plan is made from, and the plan. It reads the CCS file and the hosts
 * file, lists the backups, asks hosts, old nodes and the old cluster. Nothing is changed anywhere.
 *
 *     survey_run(&request, st, &survey, err)        // st in memory
 *     … survey_plan(survey), survey_plan_json(survey) …
 *     survey_free(survey)
 */

#include <stddef.h>
#include <stdint.h>

#include "recluster/ccs.h"
#include "recluster/err.h"
#include "recluster/plan.h"
#include "recluster/state.h"

struct survey_source {
    const char *database; /* "db:1" or a name */
    const char *location; /* URL or path */
};

/*
 * What is wanted of a plan; also part of its document, from which `plan` below takes it:
 *
 *     {"databases": [label or name, …], "at_ms": n, "offline": true, "without": ["host:a2",
 *      "rack:b", …], "extra": [path of a hosts file, …], "no_replicas": [label or name, "" for all],
 *      "priority": [label or name, …], "only_configuration": true, "allow_missing_slots": "0-99",
 *      "shards": {label or name: primaries}, "rto_s": n, "accept_weaker_access": [label or
 *      name, …]}
 *
 * All may be left out.
 */
struct survey_request {
    const char *ccs_path;
    const char *hosts_path;
    const json_t *options;
    const json_t *plan; /* document of a plan that is to be carried out as it is; NULL: none */
    const struct survey_source *sources;
    size_t source_count;
    /* The cluster's name, typed by the operator: it may answer, it will not be asked. NULL: ask. */
    const char *old_cluster_is_dead;
    bool accept_new_host_keys;
    bool full_sync; /* as the state file's meta will have it */
    bool fence;     /* servers that are left of the old cluster are to be stopped */
    bool measure;   /* the hosts' disks and their ways to the backups; takes some seconds */
    bool insecure;  /* logins of `sources` may go over connections without TLS */
    /* Lines for the operator while the survey runs: what he must know before it goes on, and what
     * is being done right now (each takes the place of the one before). May be NULL. */
    void (*tell)(void *arg, const char *line);
    void (*progress)(void *arg, const char *line);
    void *arg;
};

/* All that a plan is made from, and the plan. */
struct survey {
    struct ccs *ccs;
    struct hosts *hosts;
    struct plan_host_input *host_inputs;
    struct err *host_errors;
    struct plan_database_input *databases;
    struct err *database_errors;
    size_t database_count;
    json_t *owned;  /* locations that were made here */
    json_t *logins; /* who gets one: plan.h */
    /* Replan: uid to location, "disks" for files on disks, of the databases whose backups are
     * wanted; else NULL. */
    json_t *locations;
    struct old_cluster *old; /* NULL: not asked */
    json_t *fence; /* the machines of those that are to be stopped (fence.h); NULL: none */
    json_t *disks; /* files on hosts and old nodes (survey/disks.h) */
    json_t *options, *pinned;
    bool replan; /* shards of `pinned` that have no host get one */
    struct plan_rates rates;
    struct plan *plan;
};

int survey_run(const struct survey_request *request, struct state *st, struct survey **ret,
    struct err *err) MUST_CHECK;
void survey_free(struct survey *survey);
const struct plan *survey_plan(const struct survey *survey);
json_t *survey_plan_json(const struct survey *survey); /* `plan --json`; the caller's */

/*
 * The parts of survey_run(), for a plan that is made again from what a recovery found. In this order.
 */
/* What is asked for of the databases, and their backup sets. */
int survey_databases(
    struct survey *survey, const struct survey_request *request, struct err *err) MUST_CHECK;
/* The option that keeps a host out, "rack:b"; NULL: none does. Borrowed from the options. */
const char *survey_without(const json_t *options, const struct host *host);
/* Probes the hosts that have neither facts nor an error yet, and are not kept out; of those that
 * have facts only the files on their disks are asked for. */
int survey_probe_hosts(struct survey *survey, const struct survey_request *request,
    struct state *st, struct err *err) MUST_CHECK;
/*
 * Puts the files on disks into the catalogues of the databases. ERR_USAGE if a file that is to be left
 * out (--without file:…) is nowhere, unless it is a replan.
 */
int survey_choose_disks(struct survey *survey, struct err *err) MUST_CHECK;
/* Of the facts that are there. */
void survey_make_plan(
    struct survey *survey, const struct survey_request *request, struct state *st);

/*
 * What a plan is estimated with: the rates of earlier recoveries from this machine, else defaults.
 * They are learned at the end of a run, of recoveries that were large enough to tell.
 */
void rates_read(struct plan_rates *ret);
int rates_learn(struct state *st, struct err *err) MUST_CHECK;

#endif
