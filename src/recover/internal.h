#ifndef RECOVER_INTERNAL_H
#define RECOVER_INTERNAL_H

/*
 * The executor's view of the state file: read whole at the start of a run, written through
 * (journal.c) at each step. Indices point into the executor's arrays; -1 means none.
 */

#include <jansson.h>

#include "host_link.h"
#include "recluster/ccs.h"
#include "recluster/link.h"
#include "recluster/loop.h"
#include "recluster/recover.h"
#include "recluster/state.h"

/*
 * Gates: a task starts when all tasks of its database behind lower gates are done. Up to GATE_PROVE
 * shards go their own ways.
 */
enum gate {
    GATE_FILL,
    GATE_PROVE,
    GATE_CONFIGURE,
    GATE_OPEN,
    GATE_ENDPOINT,
    GATE_SEAL,
    GATE_COUNT
};

enum host_state {
    HOST_IDLE,       /* not needed, or waiting to be tried again */
    HOST_CONNECTING, /* link, hello, lock, questions about its shards */
    HOST_READY,
    HOST_GONE, /* given up for this run; `error` says why */
};

/* What a shard left on a host that was lost (table moved). */
struct moved_run {
    int64_t id;
    int host, database;
    int64_t generation; /* of the database, at that time */
    const char *shard, *dir, *addr;
    int port;
    bool removed;
};

struct host_run {
    struct executor *x;
    const char *name, *addr, *base_dir, *server, *link_kind;
    json_t *spec, *facts;
    enum host_state state;
    struct link *link;
    struct err error;
    bool lost; /* it stays away: there is no link to it, or no answer */
    int connects;
    int64_t retry_at_ms, failing_since_ms; /* the latter 0: it is not */
    size_t questions;                      /* shards not yet asked about (resume) */
    int running_fetches, running_loads;    /* a fetch whose server loads meanwhile is both */
    int running_prepares;
};

struct shard_run {
    const char *uid;
    int database, host, primary;
    bool is_primary;
    /* `node_id`: of a cluster by nodes.conf; NULL: by commands, or no cluster. */
    /* `file`: of a replica, where it is to load its primary's file too; else it is sent a copy. */
    const char *addr, *dir, *slots, *node_id, *file, *file_sha256;
    json_t *files;   /* if its file is made of several, or of a part of one: [{"name", "bytes"}] */
    json_t *sources; /* where its files are, if they are on disks: column of placement */
    int port, bus_port;
    int64_t memory_bytes, file_bytes;
    json_t *facts;     /* of the scan; NULL until fetched */
    json_t *loaded;    /* answer of load_shard or attach_replica */
    bool unsure;       /* resume: its host was not asked yet how it stands */
    bool landed;       /* its server may have been started before its file was there */
    int next_in_group; /* ring of those that are fetched together; itself: it is alone */
    struct task_run *prepare, *fetch; /* of its tasks; NULL: none */
    struct task_run *tasks;           /* all of them, by `next_of_shard` */
};

struct shard_uid {
    const char *uid;
    int shard;
};

struct database_run {
    const char *uid, *label, *name, *state;
    const struct ccs_database *ccs;
    json_t *location;
    const char *password; /* of its clients; NULL: none. A secret */
    const char *replication_password;
    const char *client_rules;   /* "data", "all"; NULL: all */
    const char *admin_password; /* of the user admin; NULL: there is none. A secret */
    int64_t generation;         /* how often it began anew because a host was lost */
    int64_t maxmemory_bytes;
    size_t first_shard, shard_count;
    size_t undone[GATE_COUNT]; /* tasks that are not done, by gate */
    size_t unsure;             /* shards that are */
    size_t unprepared;         /* shards whose prepare_shard is not done */
    bool in_use;  /* from the first open_shard on it is its clients': they may have written to it */
    bool refused; /* by a check of its files or of what was loaded from them */
};

enum task_state { TASK_PENDING, TASK_RUNNING, TASK_DONE, TASK_FAILED };

struct task_run {
    struct executor *x;
    int64_t id;
    const struct task_kind *kind;
    int shard, database, host;
    enum task_state state;
    bool begun;        /* by an earlier run */
    int attempts;      /* in this run */
    bool asked_before; /* its row says "running" already: it was answered with NOT_YET */
    int *waits_for;
    size_t wait_count;
    struct task_run *next_of_shard;
    int64_t not_before_ms, give_up_at_ms; /* monotonic; 0: none */
    int64_t bytes_done, bytes_total;      /* of what it is doing now */
    char doing[24];         /* as its agent says: "loading", "sync", …; "": not said */
    bool told;              /* what it does is in the state file */
    struct relay *relay;    /* of the files that are handed on to it; or NULL */
    bool landing;           /* running fetch: the server loads the file meanwhile */
    struct task_run **with; /* running: those whose answer comes with this one's */
    size_t with_count;
};

/*
 * What finish makes of an answer. NOT_YET: ask again shortly, until the kind's patience ends; err
 * then says what is still missing.
 */
enum finish { FINISH_OK, FINISH_FAIL, FINISH_NOT_YET };

/*
 * A kind of task: one method of the agent and what is made of its answer. Tables of kinds stand in
 * stage_*.c.
 */
struct task_kind {
    const char *name;
    const char *method;
    enum plan_stage stage;
    enum gate gate;
    int64_t timeout_ms;      /* of one call */
    int64_t patience_ms;     /* how long NOT_YET is taken; 0: never */
    bool retries_itself;     /* only what the link lost is tried again here */
    const char *shard_state; /* of the placement, once done; NULL: unchanged */
    /* Parameters beside base_dir, recovery and dir, which all get. */
    void (*params)(const struct executor *x, const struct task_run *t, json_t *params);
    /* NULL or called when the call of this number has been made. */
    void (*called)(struct executor *x, struct task_run *t, uint64_t call);
    /* Inside the transaction that commits the outcome. NULL: any answer will do. */
    enum finish (*finish)(
        struct executor *x, struct task_run *t, const json_t *result, struct err *err);
};

extern const struct task_kind task_prepare_shard, task_fetch, task_load_shard, task_attach_replica,
    task_prove_shard, task_configure, task_open_shard, task_prove_endpoint, task_seal_shard,
    task_forget_nodes;
extern const struct task_kind *const task_kinds[]; /* all, NULL-ended */

/* Whether servers load files that are still coming: where it pays, where they can, or never. */
enum landing_choice { LANDING_AUTO, LANDING_ALWAYS, LANDING_NEVER };

struct executor {
    struct arena arena;
    struct state *st;
    struct host_links links;
    struct loop *loop;
    struct job *pump;
    const struct recover_hooks *hooks;
    struct ccs *ccs;
    char *recovery, *recovery_password, *replication_password;
    bool fast_load;
    json_t *aof_commands; /* that append-only files may hold beside data; NULL: none */
    bool aof_errors;      /* they may hold commands that servers refuse */
    enum landing_choice landing;
    struct host_run *hosts;
    size_t host_count;
    struct shard_run *shards;
    size_t shard_count;
    struct shard_uid *shards_by_uid; /* sorted */
    struct database_run *databases;
    size_t database_count;
    struct task_run *tasks;
    size_t task_count;
    struct moved_run *moved;
    size_t moved_count;
    bool stood_down; /* refused databases were told to stop */
    size_t stops_awaited;
    int64_t running_fetches;
    struct err fatal; /* the state file can't be written any more: the run must end */
    int64_t progress_at_ms, progress_saved_ms;
};

/* load.c */
int executor_load(struct executor *x, struct err *err) MUST_CHECK;
void executor_release(struct executor *x);
int shard_by_uid(const struct executor *x, const char *uid); /* -1: there is none */
struct task_run *task_of(struct executor *x, const struct task_kind *kind, int shard); /* or NULL */
/* The task that starts the shard's server. */
struct task_run *task_that_starts(struct executor *x, int shard);

/*
 * replan.c: places the shards of hosts that were lost in this run anew and saves that; *ret_changed
 * says whether there is anything new to do. Why something could not be is told as an event.
 */
bool replan_is_called_for(const struct executor *x);
int replan_lost(struct executor *x, bool *ret_changed, struct err *err) MUST_CHECK;

/* stage_transfer.c: puts logins into the locations, for the hosts that fetch from them. */
int executor_resolve_locations(struct executor *x, struct err *err) MUST_CHECK;
/* stage_transfer.c: whether the server of the shard may load its file while it comes. */
bool fetch_may_land(const struct executor *x, const struct task_run *t);

/* fetch_group.c: shards of a host whose files are cut from the same ones. */
void fetch_groups_make(struct executor *x);
/* No shard that the call would be for is still being prepared. */
bool fetch_group_is_prepared(const struct executor *x, const struct task_run *t);
/* Another one of its group stands for it where calls are counted. */
bool fetch_group_is_counted(const struct executor *x, const struct task_run *t);
/* Sets t->with: those of its group that are ready. */
void fetch_group_take(
    struct executor *x, struct task_run *t, bool (*is_ready)(struct executor *, struct task_run *));
/*
 * The files that t and t->with are cut from, [{"name", …, "take"?}], in the order of their names:
 * which is the same on every host. The caller's.
 */
json_t *fetch_group_files(const struct executor *x, const struct task_run *t);
/* journal_task_answered() for each of t->with and t. */
int fetch_group_answered(struct executor *x, struct task_run *t, const json_t *result,
    const struct err *error, struct err *err) MUST_CHECK;

/* older_set.c: adds to the hint of a fetch that failed for good which older set could be taken. */
int older_set_offer(
    struct executor *x, const struct task_run *t, struct err *failure, struct err *err) MUST_CHECK;

/* journal.c */
int journal_task_started(struct executor *x, struct task_run *t, struct err *err) MUST_CHECK;
/* Runs kind->finish and commits its verdict; sets t->state. `error` is the call's own, or NULL. */
int journal_task_answered(struct executor *x, struct task_run *t, const json_t *result,
    const struct err *error, struct err *err) MUST_CHECK;
int journal_task_failed(
    struct executor *x, struct task_run *t, const struct err *error, struct err *err) MUST_CHECK;
/* The shard is not as the records say: its tasks from the first stage on are to be done again. */
int journal_shard_reset(struct executor *x, int shard, const char *why, struct err *err) MUST_CHECK;
/* What the running tasks are doing, for others who look at the state file. */
void journal_progress(struct executor *x);
int journal_databases_finished(struct executor *x, struct err *err) MUST_CHECK;
void task_set_state(struct executor *x, struct task_run *t, enum task_state state);
void shard_set_unsure(struct executor *x, struct shard_run *s, bool unsure);

/* The host of this name, or NULL. */
struct host_run *executor_host(const struct executor *x, const char *name);

/* executor.c */
int executor_run(
    struct executor *x, struct err *err) MUST_CHECK; /* until nothing more can be done */
/* The state file could not be written: going on would be acting without a record. */
void executor_give_up(struct executor *x, const struct err *err);

/* hosts.c: true while the host is needed and not given up; connects it when it is time. */
bool host_wanted(struct host_run *h, int64_t now_ms, int64_t *look_again_ms);

/*
 * Free replicas: a replica whose file is its primary's (equal "repl_id", made of the data) loads it
 * beside the primary and then continues where the file ends: no copy is sent.
 *
 * Whether the shard's server starts with its file, and not empty. Known once the file of its
 * primary is there too.
 */
bool shard_loads_file(const struct executor *x, const struct shard_run *s);
bool shard_has_free_replica(const struct executor *x, const struct shard_run *s);

/*
 * Puts "databases" into params: how many the shard's server needs for what its primary's file holds;
 * nodes of a cluster that may have several get these.
 */
enum { CLUSTER_DATABASES = 16 };
void shard_add_databases(const struct executor *x, const struct shard_run *s, json_t *params);

/* Parameters that every method of a shard gets. The caller's. */
json_t *shard_params(const struct executor *x, const struct shard_run *shard);

/*
 * moved.c: what shards left on a host that was lost, and is back. Where the host is at hand, in a run
 * or an abort, it is removed by "remove_shard" with these parameters (the caller's), and then that is
 * recorded.
 */
struct moved_run *moved_left_on(struct executor *x, const struct host_run *h, size_t *next);
json_t *moved_params(const struct executor *x, const struct moved_run *moved);
int journal_moved_removed(struct executor *x, struct moved_run *moved, struct err *err) MUST_CHECK;
int journal_moved_kept(struct executor *x, const struct moved_run *moved, const struct err *why,
    struct err *err) MUST_CHECK;

/* nodes_conf.c: the cluster as `self` is to know it; the caller frees it. */
char *nodes_conf_text(const struct executor *x, const struct shard_run *self);
/*
 * The server of a host takes such a file: it was asked when the host was looked at, and else goes by
 * its kind and version. `server` is that of the host's facts.
 */
bool nodes_conf_is_taken(const json_t *server);
/* What a primary is told where it is not: the "cluster" of load_shard. The caller's. */
json_t *nodes_by_command(const struct executor *x, const struct shard_run *self);
/* 40 hex digits, new for each recovery and generation, the same for each rerun; the caller frees it. */
char *nodes_conf_id(const char *recovery, const char *shard_uid, int64_t generation);

#endif
