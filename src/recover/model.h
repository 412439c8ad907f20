#ifndef RECOVER_MODEL_H
#define RECOVER_MODEL_H

/*
 * The state file's rows as structs: executor_load() reads all of them at the start of a run, and
 * each step writes its changes (journal.h). Indices point into the executor's arrays; -1 means
 * none.
 */

#include <jansson.h>

#include "recluster/ccs.h"
#include "recluster/host_link.h"
#include "recluster/link.h"
#include "recluster/loop.h"
#include "recluster/recover.h"
#include "recluster/state.h"
#include "task_kind.h"

enum host_state {
    HOST_IDLE,       /* not needed, or waiting to be tried again */
    HOST_CONNECTING, /* link, hello, lock, questions about its shards */
    HOST_READY,
    HOST_GONE, /* given up for this run; `error` says why */
};

/* Left by a shard on a host that was lost (table moved). */
struct moved_run {
    int64_t id;
    int host, database;
    int64_t generation; /* of the database, at that time */
    const char *shard, *dir, *addr;
    int port; /* addr and port: where others reached it */
    bool removed;
};

struct host_run {
    struct executor *x;
    const char *name, *addr, *base_dir, *server, *link_kind;
    json_t *spec, *facts;
    enum host_state state;
    struct link *link;
    struct err error;
    bool lost; /* no link to it, or no answer */
    int connects;
    int64_t retry_at_ms, failing_since_ms; /* failing_since_ms 0: not failing */
    size_t questions;                      /* shards whose status is unknown (resume) */
    int64_t running[LANE_COUNT];           /* places in use */
    struct task_run **ready[LANE_COUNT];   /* ready.c */
    size_t ready_count[LANE_COUNT], ready_alloc[LANE_COUNT];
};

struct shard_run {
    const char *uid;
    int database, host, primary;
    bool is_primary;
    /* `node_id`: for a cluster by nodes.conf; NULL: by commands, or no cluster. */
    /* `file`: a replica has one if it loads its primary's file; otherwise it gets a copy. */
    const char *addr, *dir, *slots, *node_id, *file, *file_sha256;
    json_t *files;   /* the parts of a file that is cut or joined: [{"name", "bytes"}] */
    json_t *sources; /* its files on disks (column of placement) */
    int port, bus_port, other_port; /* other_port: placement; 0: none */
    /* Where others reach them: announced.h. */
    const char *seen_addr;
    int seen_port, seen_bus_port;
    int64_t memory_bytes, file_bytes;
    json_t *facts;                    /* of the scan; NULL until fetched */
    json_t *loaded;                   /* answer of load_shard or attach_replica */
    bool unsure;                      /* resume: its status is unknown */
    bool landed;                      /* its server may have been started before its file arrived */
    int next_in_group;                /* ring of the fetch group; itself: alone */
    struct task_run *prepare, *fetch; /* NULL: none */
    struct task_run *tasks;           /* list by `next_of_shard` */
};

struct shard_uid {
    const char *uid;
    int shard;
};

struct database_run {
    const char *uid, *label, *name;
    enum database_state state;
    const struct ccs_database *ccs;
    json_t *location;
    const char *password; /* secret; of its clients, or NULL */
    const char *replication_password;
    const char *client_rules;           /* "data", "all"; NULL: all */
    const char *admin_password;         /* secret; of user admin, or NULL */
    const char *sentinel_password;      /* secret; of user recluster-sentinel, or NULL */
    const char *sentinels_own_password; /* secret; a new one that they demand, or NULL */
    int64_t generation; /* how often it was started again after the loss of a host */
    int64_t maxmemory_bytes;
    int64_t shift_expiry_ms; /* keys expire so much later: the age of the set; 0: as they are */
    size_t first_shard, shard_count;
    size_t undone[GATE_COUNT]; /* tasks that are not done, by gate */
    size_t unsure;             /* shards */
    size_t unprepared;         /* shards whose prepare_shard is not done */
    bool proves_failover;      /* its Sentinels start before it is opened, and prove a failover */
    bool in_use;               /* from the first open_shard on clients may write to it */
    bool refused;              /* a check of its files or of the loaded data failed */
};

struct task_run {
    struct executor *x;
    int64_t id;
    const struct task_kind *kind;
    enum gate gate; /* column `gate` */
    int shard, database, host;
    json_t *params; /* column `params`; NULL: none, and `host` is that of the shard */
    enum task_state state;
    bool begun;               /* by an earlier run */
    int attempts;             /* in this run */
    bool asked_before;        /* it was answered with NOT_YET; its row says "running" */
    int *waits_for, *waiters; /* tasks */
    size_t wait_count, waiter_count;
    bool queued; /* ready.c */
    struct task_run *next_of_shard;
    int64_t not_before_ms, give_up_at_ms; /* monotonic; 0: none */
    unsigned lanes;                       /* running: bits of the lanes that it holds */
    int64_t bytes_done, bytes_total;      /* of the current phase */
    char doing[24];                       /* from its agent: "loading", "sync", …; "": unknown */
    bool told;                            /* its progress is in the state file */
    bool relayed;                         /* running: some of its files are relayed */
    struct relay *relay;                  /* or NULL */
    bool landing;           /* running fetch: the server loads the file as it arrives */
    struct task_run **with; /* running: tasks that are answered with this one */
    size_t with_count;
};

/* An answer that is not recorded yet. */
struct answer {
    struct task_run *task;
    json_t *result; /* NULL: the call failed with `error` */
    struct err error;
};

/* Whether servers load files as they arrive: where it pays, where it is possible, or never. */
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
    bool shift_ttl;
    int64_t created_ms;
    json_t *aof_commands; /* accepted in append-only files besides data; NULL: none */
    bool aof_errors;      /* accept that servers refuse some of their commands */
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
    struct answer *answers; /* journal.c */
    size_t answer_count, answer_alloc;
    bool refused_stopped; /* servers of refused databases were stopped */
    size_t stops_awaited;
    bool ready_begun; /* ready.c */
    size_t unsure;    /* shards that are */
    size_t tasks_running, tasks_relayed;
    int64_t running[LANE_COUNT]; /* on all hosts */
    struct err fatal;            /* the state file cannot be written: the run must end */
    int64_t progress_at_ms, progress_saved_ms;
};

int executor_load(struct executor *x, struct err *err) MUST_CHECK;
void executor_release(struct executor *x);

struct host_run *executor_host(const struct executor *x, const char *name); /* NULL: none */
int shard_by_uid(const struct executor *x, const char *uid);                /* -1: none */
struct task_run *task_of(struct executor *x, const struct task_kind *kind, int shard); /* or NULL */
/* The task that starts the shard's server. */
struct task_run *task_that_starts(struct executor *x, int shard);

/* Sets the state and updates the counts. In a run, use task_set_state() (ready.h). */
void task_count_state(struct executor *x, struct task_run *t, enum task_state state);

/* An event about a task, without a message: for state_tell(). */
struct event task_event(const struct task_run *t, const char *severity, const char *code);

#endif
