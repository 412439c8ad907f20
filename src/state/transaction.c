/* Transactions, and their events, which are reported after the commit. */

#include "internal.h"

void state_flush_events(struct state *st)
{
    /* The listener may cause further events. */
    json_t *events = st->pending_events;
    st->pending_events = json_array();
    for (size_t i = 0; i < json_array_size(events) && st->on_event; i++)
        st->on_event(st->on_event_arg, json_array_get(events, i));
    json_decref(events);
}

/* An inner transaction is a savepoint: rolled back alone, committed with the outer one. */
int state_begin(struct state *st, struct err *err)
{
    const char *sql = st->transaction_depth ? "SAVEPOINT inner" : "BEGIN IMMEDIATE";

    if (st->transaction_depth == TRANSACTION_DEPTH_MAX)
        return err_set(err, ERR_STATE_FILE, "transactions are nested more than %d deep",
            st->transaction_depth);
    if (sqlite3_exec(st->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return state_sqlite_error(st, "cannot write the state file", err);
    st->events_before[st->transaction_depth++] = json_array_size(st->pending_events);
    return 0;
}

void (*state_test_on_commit)(void);

int state_commit(struct state *st, struct err *err)
{
    const char *sql = st->transaction_depth > 1 ? "RELEASE inner" : "COMMIT";

    if (sqlite3_exec(st->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return state_sqlite_error(st, "cannot write the state file", err);
    if (--st->transaction_depth > 0)
        return 0;
    if (state_test_on_commit && st->path[0])
        state_test_on_commit();
    state_flush_events(st);
    return 0;
}

void state_rollback(struct state *st)
{
    /* SQLite rolls back the whole transaction itself after some errors, such as a full disk. */
    if (sqlite3_get_autocommit(st->db))
        st->transaction_depth = 0;
    if (st->transaction_depth == 0) {
        json_array_clear(st->pending_events);
        return;
    }
    const char *sql = st->transaction_depth > 1 ? "ROLLBACK TO inner; RELEASE inner" : "ROLLBACK";
    sqlite3_exec(st->db, sql, NULL, NULL, NULL);
    st->transaction_depth--;
    while (json_array_size(st->pending_events) > st->events_before[st->transaction_depth])
        json_array_remove(st->pending_events, json_array_size(st->pending_events) - 1);
}
