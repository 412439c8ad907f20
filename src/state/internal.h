#ifndef STATE_INTERNAL_H
#define STATE_INTERNAL_H

#include "recluster/state.h"

enum { TRANSACTION_DEPTH_MAX = 8 };

struct cached_statement {
    const char *sql; /* by address */
    sqlite3_stmt *stmt;
};

struct state {
    sqlite3 *db;
    char *path;
    int lock_fd; /* -1: none */
    struct cached_statement *cache;
    size_t cache_count, cache_alloc;
    char **inserts; /* statements of state_insert(), by text */
    size_t insert_count, insert_alloc;
    int transaction_depth;
    json_t *pending_events;                      /* reported to the listener after the commit */
    size_t events_before[TRANSACTION_DEPTH_MAX]; /* their number when each transaction began */
    void (*on_event)(void *arg, const json_t *event);
    void *on_event_arg;
};

/* query.c: sets err from SQLite's last error; returns -1. */
int state_sqlite_error(struct state *st, const char *what, struct err *err);
int state_exec(struct state *st, const char *sql, struct err *err) MUST_CHECK;
/* Prepared statements belong to the open database: call this before it is closed or replaced. */
void state_forget_statements(struct state *st);

/* migrate.c */
int state_schema_version(struct state *st, int64_t *ret, struct err *err) MUST_CHECK;
int state_schema_mark(struct state *st, struct err *err) MUST_CHECK; /* inside a transaction */
int state_migrate(struct state *st, int64_t version, struct err *err) MUST_CHECK;

/* The run lock of the state file at path: the descriptor that holds it, or -1. */
int state_lock_take(const char *path, struct err *err) MUST_CHECK;

/* transaction.c: reports the committed events to the listener. */
void state_flush_events(struct state *st);

#endif
