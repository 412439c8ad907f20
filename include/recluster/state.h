#ifndef RECLUSTER_STATE_H
#define RECLUSTER_STATE_H

/*
 * The state file: one SQLite file per recovery (schema: src/state/schema.sql, public and stable;
 * see recluster(1), FILES). Mode 0600, WAL, synchronous=FULL: a committed change survives a crash
 * of the machine. Other processes may read the file while a recovery runs.
 *
 * One call runs a statement with its parameters; `types` has one letter for each parameter:
 *     i int64_t    d double    s const char * (NULL is NULL)    j json_t * (as text; NULL is NULL)
 *     b const void *, size_t: bytes; text where they are UTF-8 without NUL, else a blob
 *
 *     state_run(st, err, "UPDATE task SET state = ? WHERE task_id = ?", "si", "done", (int64_t)id)
 *
 *     struct rows rows;
 *     if (state_query(st, &rows, err, "SELECT uid, port FROM shard WHERE port > ?", "i", p) < 0)
 *         return -1;
 *     while (rows_next(&rows))
 *         … rows_text(&rows, 0), rows_int(&rows, 1) …
 *     return rows_end(&rows, err);
 *
 * Put changes that belong together between state_begin() and state_commit(); after an error call
 * state_rollback(). Statements are cached by the address of their text, so `sql` must be a string
 * literal.
 */

#include <jansson.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/err.h"

enum { STATE_SCHEMA_VERSION = 4 };

enum state_mode {
    STATE_MEMORY,   /* for inspect and plan: leaves nothing behind; path is ignored */
    STATE_CREATE,   /* must not exist yet */
    STATE_EXISTING, /* must exist */
    STATE_READ,     /* must exist; is not changed */
};

struct state;

/*
 * A file with an earlier version of the schema is migrated (src/state/migrate.c); STATE_READ
 * migrates a copy in memory. A file with a later version is ERR_CHECK.
 *
 * STATE_CREATE and STATE_EXISTING take the run lock (PATH-lock beside the file): ERR_LOCKED
 * names the process that holds it. The lock ends with the process or with state_close().
 */
int state_open(
    const char *path, enum state_mode mode, struct state **ret, struct err *err) MUST_CHECK;
void state_close(struct state *st);

/*
 * Writes everything into a new state file, which appears complete or not at all. ERR_CHECK if the
 * file exists. It takes no lock: call state_open(path, STATE_EXISTING, …) next.
 */
int state_save_as(struct state *st, const char *path, struct err *err) MUST_CHECK;

/* Only tests set it: called after each commit to a file. */
extern void (*state_test_on_commit)(void);

const char *state_path(const struct state *st); /* "" for STATE_MEMORY */

/* The pid of the process that holds the run lock of the state file at path, or 0. */
int state_lock_holder(const char *path);

int state_run(
    struct state *st, struct err *err, const char *sql, const char *types, ...) MUST_CHECK;
int64_t state_last_id(const struct state *st); /* rowid of the last INSERT */

/*
 * Inserts a row with many columns, each written beside its name:
 *
 *     state_insert(st, "shard",
 *         (const struct column[]){COL_TEXT("uid", uid), COL_INT_OR_NULL("port", port, 0), COL_END},
 *         err)
 *
 * Names of tables and columns must be string literals.
 */
struct column {
    const char *name;
    enum { COLUMN_INT, COLUMN_TEXT, COLUMN_JSON } type;
    const char *text; /* NULL is NULL */
    const json_t *json;
    int64_t n;
    bool null;
};
#define COL_TEXT(column, value)                                                                    \
    {                                                                                              \
        .name = (column), .type = COLUMN_TEXT, .text = (value)                                     \
    }
#define COL_JSON(column, value)                                                                    \
    {                                                                                              \
        .name = (column), .type = COLUMN_JSON, .json = (value)                                     \
    }
#define COL_INT(column, value)                                                                     \
    {                                                                                              \
        .name = (column), .n = (value)                                                             \
    }
/* The value `nothing` is stored as NULL. Evaluates `value` twice. */
#define COL_INT_OR_NULL(column, value, nothing)                                                    \
    {                                                                                              \
        .name = (column), .n = (value), .null = (value) == (nothing)                               \
    }
#define COL_END                                                                                    \
    {                                                                                              \
        .name = NULL                                                                               \
    }
int state_insert(
    struct state *st, const char *table, const struct column *columns, struct err *err) MUST_CHECK;

struct rows {
    sqlite3_stmt *stmt;
    struct state *state;
    int rc;
};
int state_query(struct state *st, struct rows *rows, struct err *err, const char *sql,
    const char *types, ...) MUST_CHECK;
bool rows_next(struct rows *rows);
int rows_end(struct rows *rows, struct err *err) MUST_CHECK; /* also needed after an early break */
int rows_column(const struct rows *rows, const char *name);  /* its number, where there are many */
int64_t rows_int(const struct rows *rows, int column);
double rows_double(const struct rows *rows, int column);
const char *rows_text(const struct rows *rows, int column); /* NULL for NULL; until the next step */
bool rows_is_null(const struct rows *rows, int column);
json_t *rows_json(const struct rows *rows, int column); /* parsed; NULL for NULL; caller's */

/*
 * The row as a JSON object with a field for each column; NULL becomes null. A column whose name
 * ends in ":json" or ":bool" is read as that type: SELECT facts AS "facts:json". The caller's.
 */
json_t *rows_object(const struct rows *rows);

/* The first column of the first row; *ret stays unchanged if there is no row. */
int state_get_int(struct state *st, int64_t *ret, struct err *err, const char *sql,
    const char *types, ...) MUST_CHECK;

/*
 * A transaction (BEGIN IMMEDIATE), also inside another one. The state_rollback() of an inner
 * transaction undoes only that one. It reaches the disk with the commit of the outermost one.
 */
int state_begin(struct state *st, struct err *err) MUST_CHECK;
int state_commit(struct state *st, struct err *err) MUST_CHECK;
void state_rollback(struct state *st);

/* The words of the column `state` of databases (table target) and of tasks. */
#define DATABASE_STATES(X)                                                                         \
    X(DATABASE_PLANNED, "planned")                                                                 \
    X(DATABASE_SKIPPED, "skipped")                                                                 \
    X(DATABASE_RUNNING, "running")                                                                 \
    X(DATABASE_DONE, "done")                                                                       \
    X(DATABASE_FAILED, "failed")
#define TASK_STATES(X)                                                                             \
    X(TASK_PENDING, "pending")                                                                     \
    X(TASK_RUNNING, "running")                                                                     \
    X(TASK_DONE, "done")                                                                           \
    X(TASK_FAILED, "failed")
#define STATE_ENUM(id, word) id,
enum database_state { DATABASE_STATES(STATE_ENUM) DATABASE_STATE_COUNT };
enum task_state { TASK_STATES(STATE_ENUM) TASK_STATE_COUNT };
#undef STATE_ENUM

const char *database_state_name(enum database_state state);
const char *task_state_name(enum task_state state);
/* 0, or -1 if the word is unknown or NULL. */
int database_state_parse(const char *word, enum database_state *ret);
int task_state_parse(const char *word, enum task_state *ret);

/* Facts about the whole recovery by name (table meta). state_meta() returns NULL if it has none. */
int state_set_meta(
    struct state *st, const char *key, const char *value, struct err *err) MUST_CHECK;
char *state_meta(struct state *st, const char *key); /* the caller frees it */

/*
 * Secrets are in the tables secret and ccs_entry, and nowhere else. Other tables have SECRET_MASK
 * in their place, so they may be shown to anybody. `place` is table and column ("target.password",
 * "meta.recovery_password"), `id` the key of the row.
 *
 *     state_set_secrets_of(st, "host.spec", name, spec, &masked, err)     // the row gets `masked`
 *     state_query(st, &rows, err, "SELECT " STATE_SECRETS_OF("host.spec", "name", "spec") " …
 *
 * A NULL value removes the secret. state_secret() returns NULL if there is none; the caller frees
 * it.
 */
int state_set_secret(struct state *st, const char *place, const char *id, const char *value,
    struct err *err) MUST_CHECK;
char *state_secret(struct state *st, const char *place, const char *id);

/* For JSON with secrets inside: if it has any, the whole value is kept as the secret. *ret_masked
 * is the caller's. */
int state_set_secrets_of(struct state *st, const char *place, const char *id, const json_t *value,
    json_t **ret_masked, struct err *err) MUST_CHECK;

/* For a SELECT: a secret or NULL; a column with all of its secrets. */
#define STATE_SECRET(place, id)                                                                    \
    "(SELECT value FROM secret WHERE place = '" place "' AND id = " id ")"
#define STATE_SECRETS_OF(place, id, column) "coalesce(" STATE_SECRET(place, id) ", " column ")"

/*
 * One line of the history: a message for people, and facts for programs. It is committed with the
 * transaction around it. All fields except code and message may be NULL.
 */
struct event {
    const char *severity; /* "info" (NULL), "warning", "error" */
    const char *code;     /* "task-done", "recovery-started", … */
    const char *database, *shard, *host, *stage;
    const char *message;
    const json_t *detail; /* borrowed */
};
int state_event(struct state *st, const struct event *event, struct err *err) MUST_CHECK;
/* The same with a message made from `fmt`. */
int state_tell(struct state *st, const struct event *event, struct err *err, const char *fmt, ...)
    PRINTF_LIKE(4, 5) MUST_CHECK;

/* Called after each committed event with its row as JSON; for `recover --json` and progress. */
void state_on_event(struct state *st, void (*fn)(void *arg, const json_t *event), void *arg);

#endif
