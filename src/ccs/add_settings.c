/* What a server's configuration adds to a nodes.json, which has no settings. */

#include <string.h>

#include "recluster/ccs.h"
#include "recluster/secret.h"

static int copy_entries(struct state *from, struct state *st, struct err *err)
{
    struct rows rows;
    int rc = 0;

    if (state_query(from, &rows, err,
            "SELECT field, value FROM ccs_entry WHERE key = 'bdb:1' AND field IN"
            " ('acl_users', 'redis_config', 'module_arg_list', 'renamed_commands') AND typeof(value) = 'text'",
            "") < 0)
        return -1;
    while (rc == 0 && rows_next(&rows))
        rc = state_run(st, err,
            "INSERT INTO ccs_entry (db, key, kind, field, value) VALUES (0, 'bdb:1', 'hash', ?, ?)",
            "ss", rows_text(&rows, 0), rows_text(&rows, 1));
    return rows_end(&rows, err) < 0 ? -1 : rc;
}

/* memory_size is of all servers together. */
static int copy_columns(struct state *from, struct state *st, struct err *err)
{
    struct rows rows;
    int rc = 0;

    if (state_query(from, &rows, err,
            "SELECT eviction_policy, persistence, fsync_always, save_points, max_clients, tls,"
            " tls_mixed, client_certificates, modules, login, login_lost, memory_size"
            " FROM database WHERE uid = '1'",
            "") < 0)
        return -1;
    while (rc == 0 && rows_next(&rows))
        rc = state_run(st, err,
            "UPDATE database SET eviction_policy = ?, persistence = ?, fsync_always = ?,"
            " save_points = ?, max_clients = NULLIF(?, 0), tls = ?, tls_mixed = ?,"
            " client_certificates = ?, modules = ?, login = ?, login_lost = ?,"
            " memory_size = ? * (SELECT count(*) FROM shard) WHERE uid = '1'",
            "ssisiiiissii", rows_text(&rows, 0), rows_text(&rows, 1), rows_int(&rows, 2),
            rows_text(&rows, 3), rows_int(&rows, 4), rows_int(&rows, 5), rows_int(&rows, 6),
            rows_int(&rows, 7), rows_text(&rows, 8), rows_text(&rows, 9), rows_int(&rows, 10),
            rows_int(&rows, 11));
    return rows_end(&rows, err) < 0 ? -1 : rc;
}

/* What was missing when the configuration was read. */
static int copy_findings(struct state *from, struct state *st, struct err *err)
{
    struct rows rows;
    int rc = 0;

    if (state_query(from, &rows, err,
            "SELECT severity, code, message, keys FROM finding WHERE code = 'capture'", "") < 0)
        return -1;
    while (rc == 0 && rows_next(&rows))
        rc = state_run(st, err,
            "INSERT INTO finding (severity, code, message, keys) VALUES (?, ?, ?, ?)", "ssss",
            rows_text(&rows, 0), rows_text(&rows, 1), rows_text(&rows, 2), rows_text(&rows, 3));
    return rows_end(&rows, err) < 0 ? -1 : rc;
}

static int copy_password(struct state *from, struct state *st, struct err *err)
{
    struct ccs *ccs = ccs_load(from, err);

    if (!ccs)
        return -1;
    const char *password = ccs->database_count ? ccs->databases[0].password : NULL;
    int rc = state_set_secret(st, "database.password", "1", password, err);
    if (rc == 0 && password)
        rc = state_run(
            st, err, "UPDATE database SET password = ? WHERE uid = '1'", "s", SECRET_MASK);
    ccs_free(ccs);
    return rc;
}

int ccs_add_settings(
    const char *name, struct rdb_bytes bytes, struct state *st, bool *ret_added, struct err *err)
{
    struct state *from;
    int64_t plain = 0;

    if (state_get_int(
            st, &plain, err, "SELECT count(*) FROM cluster WHERE format = 'nodes.json'", "") < 0)
        return -1;
    *ret_added = plain > 0;
    if (!plain)
        return 0;
    if (state_open(NULL, STATE_MEMORY, &from, err) < 0)
        return -1;
    int rc = ccs_import_bytes(name, bytes, from, err);
    if (rc == 0 && (rc = state_begin(st, err)) == 0) {
        if (copy_entries(from, st, err) < 0 || copy_columns(from, st, err) < 0 ||
            copy_password(from, st, err) < 0 || copy_findings(from, st, err) < 0 ||
            state_run(st, err, "DELETE FROM finding WHERE code = 'settings-unknown'", "") < 0)
            rc = -1;
        if (rc == 0)
            rc = state_commit(st, err);
        if (rc < 0)
            state_rollback(st);
    }
    state_close(from);
    return rc;
}
