/*
 * State files of earlier versions. Each step leads from one version of the schema to the next, in
 * one transaction with the new version number, and adds what schema.sql gives a new file. Tables
 * and columns are only added, so older data stays and older queries work.
 */

#include <sqlite3.h>

#include "internal.h"

/* steps[n]: from version n to n + 1. */
static const char *const steps[STATE_SCHEMA_VERSION] = {
    [1] = "ALTER TABLE database ADD COLUMN login TEXT;"
          "ALTER TABLE database ADD COLUMN client_certificates INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE target ADD COLUMN client_rules TEXT;"
          "ALTER TABLE target ADD COLUMN admin_password TEXT;"
          "ALTER TABLE task ADD COLUMN bytes_done INTEGER;"
          "ALTER TABLE task ADD COLUMN bytes_total INTEGER;"
          "ALTER TABLE task ADD COLUMN progress TEXT;"
          "ALTER TABLE task ADD COLUMN progress_ms INTEGER;"
          "CREATE INDEX task_shard ON task (shard_uid);"
          "CREATE INDEX placement_primary ON placement (primary_uid);",
    [2] = "ALTER TABLE task ADD COLUMN params TEXT;"
          "ALTER TABLE database ADD COLUMN sentinels TEXT;"
          "ALTER TABLE database ADD COLUMN tls_mixed INTEGER NOT NULL DEFAULT 0;",
    [3] = "ALTER TABLE placement ADD COLUMN other_port INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE placement ADD COLUMN tls INTEGER;",
};

int state_schema_version(struct state *st, int64_t *ret, struct err *err)
{
    *ret = 0;
    if (state_get_int(st, ret, err, "PRAGMA user_version", "") < 0)
        return -1;
    /* The first version had its number only in a row. */
    return *ret ? 0
                : state_get_int(st, ret, err,
                      "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'schema_version'", "");
}

int state_schema_mark(struct state *st, struct err *err)
{
    AUTO_FREE char *sql = xasprintf("PRAGMA user_version = %d;"
                                    "INSERT OR REPLACE INTO meta VALUES ('schema_version', '%d')",
        STATE_SCHEMA_VERSION, STATE_SCHEMA_VERSION);

    return state_exec(st, sql, err);
}

int state_migrate(struct state *st, int64_t version, struct err *err)
{
    if (state_begin(st, err) < 0)
        return -1;
    for (int64_t v = version; v < STATE_SCHEMA_VERSION; v++)
        if (steps[v] && state_exec(st, steps[v], err) < 0)
            goto fail;
    if (state_schema_mark(st, err) == 0 && state_commit(st, err) == 0)
        return 0;
fail:
    state_rollback(st);
    return err_wrap(err, "cannot bring the state file from version %lld of its schema to %d",
        (long long)version, STATE_SCHEMA_VERSION);
}
