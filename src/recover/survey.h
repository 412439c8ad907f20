#ifndef RECOVER_SURVEY_H
#define RECOVER_SURVEY_H

#include "recluster/recover.h"

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
    json_t *disks; /* files on hosts and old nodes: disks.h */
    json_t *options, *pinned;
    bool replan; /* shards of `pinned` that have no host get one */
    struct plan_rates rates;
    struct plan *plan;
};

/* Parts of recover_survey(): what is asked for of the databases, and their backup sets. */
int survey_databases(
    struct survey *survey, const struct recover_request *request, struct err *err) MUST_CHECK;
/* Probes the hosts that have neither facts nor an error yet, and are not kept out; of those that
 * have facts only the files on their disks are asked for. */
int survey_probe_hosts(struct survey *survey, const struct recover_request *request,
    struct state *st, struct err *err) MUST_CHECK;
/* Whether its data comes from a backup set at all. */
bool survey_wants_backups(const struct survey *survey, const struct plan_database_input *in);
/* The time that a set must not be after; -1: any. */
int64_t survey_wanted_time(const struct survey *survey, const struct ccs_database *db);
/* Of the facts that are there. */
void survey_make_plan(
    struct survey *survey, const struct recover_request *request, struct state *st);

/* replan.c, save_plan.c: what becomes of a database some of whose hosts are lost. */
enum fate {
    FATE_STAYS,    /* as it is */
    FATE_ANEW,     /* it begins anew, the shards of lost hosts elsewhere */
    FATE_REPLICAS, /* clients use it: it gets new replicas for those that are lost */
};

struct replanned {
    enum fate *fates;     /* of the plan's databases */
    int64_t *generations; /* of those that begin anew, from now on */
    bool *moves;          /* of the plan's shards: it was elsewhere before */
    json_t *document;     /* the plan's, with what stays as it was */
};

/* Inside the caller's transaction. */
int save_replanned(const struct plan *plan, struct state *st, const struct replanned *replanned,
    struct err *err) MUST_CHECK;

/* host_questions.c: the parameters of `probe` for a host; the caller's. */
json_t *host_questions(const struct survey *survey, const struct host *host);

/* measure.c: the parameters of `measure` for a host, and its answer, or why there is none, into the
 * host's facts as "measured". */
json_t *measure_params(const struct survey *survey, size_t host);
void measure_take(json_t *facts, const json_t *result, const struct err *error);

#endif
