#ifndef RECLUSTER_SURVEY_H
#define RECLUSTER_SURVEY_H

/*
 * The survey collects all facts that a plan is made from, and makes the plan. It reads the CCS file
 * and the hosts file, lists the backups, and asks the hosts, the old nodes and the old cluster. It
 * changes nothing.
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
#include "recluster/rdb.h"
#include "recluster/state.h"

struct survey_source {
    const char *database; /* "db:1" or a name */
    const char *location; /* URL or path */
};

/*
 * What the operator asks for. `options` is part of the plan's document; `plan` brings its own:
 *
 *     {"databases": [label or name, …], "at_ms": n, "offline": true, "without": ["host:a2",
 *      "rack:b", …], "extra": [path of a hosts file, …], "no_replicas": [label or name, "" for
 *      all], "priority": [label or name, …], "only_configuration": true, "allow_missing_slots":
 *      "0-99", "shards": {label or name: primaries}, "rto_s": n, "accept_weaker_access": [label or
 *      name, …], "prove_failover": true}
 *
 * All of these may be left out.
 */
struct survey_request {
    const char *ccs_path;
    struct rdb_bytes
        ccs_bytes; /* the file itself; `ccs_path` is then only its name. data NULL: read it */
    struct rdb_bytes settings; /* for a nodes.json (ccs_add_settings()); data NULL: none */
    const char *settings_path; /* of --settings; NULL: they were found beside `ccs_path` */
    /*
     * Folders that were already listed, as in `disks` of struct survey; NULL: none. "server", an
     * address and a port, says which server of no cluster a folder belongs to. A database without a
     * source is then recovered from disks.
     */
    const json_t *folders;
    const char *ccs_key; /* a file with the private key of an encrypted CCS file; NULL: none */
    const char *hosts_path;
    const json_t *options;
    const json_t *plan; /* document of a plan to execute unchanged; NULL: none */
    const struct survey_source *sources;
    size_t source_count;
    /* The cluster's name, typed by the operator: skips the check that it is dead. NULL: check. */
    const char *old_cluster_is_dead;
    bool accept_new_host_keys;
    bool full_sync; /* for the meta of the state file */
    bool fence;     /* stop the remaining servers of the old cluster */
    bool measure;   /* measure the hosts' disks and bandwidths to the backups; takes seconds */
    bool insecure;  /* logins of `sources` may go over connections without TLS */
    /* Lines for the operator while the survey runs. `tell` gets what he must know before it
     * continues, `progress` what is being done (each line replaces the one before). May be NULL. */
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
    json_t *logins; /* endpoints that get a login (plan.h) */
    /* Replan: for each database that needs its backup, uid to location ("disks": files on disks).
     * Otherwise NULL. */
    json_t *locations;
    struct old_cluster *old; /* NULL: not asked */
    json_t *fence;           /* the machines with servers to stop (fence.h); NULL: none */
    json_t *disks;           /* files on hosts and old nodes (survey/disks.h) */
    json_t *options, *pinned;
    bool replan; /* shards of `pinned` without a host get one */
    struct plan_rates rates;
    struct plan *plan;
};

int survey_run(const struct survey_request *request, struct state *st, struct survey **ret,
    struct err *err) MUST_CHECK;
void survey_free(struct survey *survey);
const struct plan *survey_plan(const struct survey *survey);
json_t *survey_plan_json(const struct survey *survey); /* `plan --json`; the caller's */

/* The parts of survey_run(), in this order, for a new plan during a recovery. */
/* Selects the databases that were asked for, and reads their backup sets. */
int survey_databases(
    struct survey *survey, const struct survey_request *request, struct err *err) MUST_CHECK;
/* The value of --without that excludes the host, "rack:b", borrowed from the options; or NULL. */
const char *survey_without(const json_t *options, const struct host *host);
/* Probes the hosts that are not excluded and have neither facts nor an error yet. Hosts that have
 * facts are asked only for the files on their disks. */
int survey_probe_hosts(struct survey *survey, const struct survey_request *request,
    struct state *st, struct err *err) MUST_CHECK;
/*
 * Adds the files on disks to the catalogues of the databases. ERR_USAGE if --without file:… names a
 * file that was not found, except for a replan.
 */
int survey_choose_disks(struct survey *survey, struct err *err) MUST_CHECK;
/* Makes the plan from the collected facts. */
void survey_make_plan(
    struct survey *survey, const struct survey_request *request, struct state *st);

/*
 * The rates for the estimates of a plan: those of earlier recoveries from this machine, or the
 * defaults. They are learned at the end of a run, from hosts and servers that got 256 MiB or more.
 * What was learned before counts half, by its bytes.
 */
void rates_read(struct plan_rates *ret);
int rates_learn(struct state *st, struct err *err) MUST_CHECK;

#endif
