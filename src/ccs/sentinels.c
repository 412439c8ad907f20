#include "sentinels.h"

#include <string.h>

#include "recluster/json.h"

#define DEFAULT_NAME "mymaster"

/* A Sentinel writes the name unquoted into its file. */
static bool is_name(const char *name)
{
    for (const char *p = name; *p; p++)
        if (*p <= ' ' || *p > '~' || strchr("\"'\\#", *p))
            return false;
    return *name != '\0';
}

/* The model owns it, so the cast only drops what the readers of the model may not do. */
static struct ccs_sentinels *sentinels_of(struct ccs *ccs, const struct ccs_database *found)
{
    struct ccs_database *db = &ccs->databases[found - ccs->databases];

    if (!db->sentinels) {
        struct ccs_sentinels *made = arena_alloc(&ccs->arena, sizeof(*made));
        *made = (struct ccs_sentinels){.name = DEFAULT_NAME};
        db->sentinels = made;
    }
    return (struct ccs_sentinels *)(uintptr_t)db->sentinels;
}

/* --- captured --- */

static int64_t within(const struct rows *rows, int column, int64_t max)
{
    int64_t n = rows_int(rows, column);
    return n > 0 && n <= max ? n : 0;
}

static const char *password_of(struct ccs *ccs, const char *text)
{
    return text && *text ? arena_strdup(&ccs->arena, text) : NULL;
}

/* The first Sentinel of a database says how; the others only count. */
static void take_captured(struct ccs *ccs, const struct ccs_database *db, const struct rows *rows)
{
    struct ccs_sentinels *s = sentinels_of(ccs, db);
    const char *name = rows_text(rows, 1);

    if (s->count++ > 0)
        return;
    if (name && is_name(name))
        s->name = arena_strdup(&ccs->arena, name);
    s->port = (int)within(rows, 2, UINT16_MAX);
    s->quorum = within(rows, 3, INT32_MAX);
    s->down_after_ms = within(rows, 4, INT32_MAX);
    s->failover_timeout_ms = within(rows, 5, INT32_MAX);
    s->parallel_syncs = within(rows, 6, INT32_MAX);
    s->needed_login = strcmp(rows_text(rows, 7) ? rows_text(rows, 7) : "", "needed") == 0;
    s->password = password_of(ccs, rows_text(rows, 8));
}

/* sentinel:<n>, of each Sentinel and each database that it watched. */
static int load_captured(struct ccs *ccs, struct state *st, struct err *err)
{
    struct rows rows;

    if (state_query(st, &rows, err,
            "SELECT max(CASE field WHEN 'bdb_uid' THEN value END),"
            " max(CASE field WHEN 'name' THEN value END),"
            " max(CASE field WHEN 'port' THEN value END),"
            " max(CASE field WHEN 'quorum' THEN value END),"
            " max(CASE field WHEN 'down_after_ms' THEN value END),"
            " max(CASE field WHEN 'failover_timeout_ms' THEN value END),"
            " max(CASE field WHEN 'parallel_syncs' THEN value END),"
            " max(CASE field WHEN 'login' THEN value END),"
            " max(CASE field WHEN 'password' THEN value END)"
            " FROM ccs_entry WHERE kind = 'hash' AND typeof(key) = 'text'"
            " AND substr(key, 1, 9) = 'sentinel:' AND typeof(value) = 'text'"
            " GROUP BY key ORDER BY min(entry_id)",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        const char *uid = rows_text(&rows, 0);
        const struct ccs_database *db = uid ? ccs_database(ccs, uid) : NULL;
        if (db)
            take_captured(ccs, db, &rows);
    }
    return rows_end(&rows, err);
}

/* --- asked for --- */

static void take_number(const json_t *wish, const char *field, int64_t *ret)
{
    if (json_object_get(wish, field))
        *ret = json_int(wish, field, 0);
}

static void take_wish(struct ccs *ccs, const struct ccs_database *db, const json_t *wish)
{
    const char *name = json_text(wish, "name", NULL);

    if (json_is_false(wish)) {
        ccs->databases[db - ccs->databases].sentinels = NULL;
        ccs->databases[db - ccs->databases].no_sentinels = true;
        return;
    }
    struct ccs_sentinels *s = sentinels_of(ccs, db);
    if (name)
        s->name = arena_strdup(&ccs->arena, name);
    s->port = (int)json_int(wish, "port", s->port);
    if (json_text(wish, "password", NULL))
        s->password = password_of(ccs, json_text(wish, "password", NULL));
    take_number(wish, "quorum", &s->quorum);
    take_number(wish, "down_after_ms", &s->down_after_ms);
    take_number(wish, "failover_timeout_ms", &s->failover_timeout_ms);
    take_number(wish, "parallel_syncs", &s->parallel_syncs);
}

static int load_wishes(struct ccs *ccs, struct state *st, struct err *err)
{
    struct rows rows;

    if (state_query(st, &rows, err,
            "SELECT uid, " STATE_SECRETS_OF("database.sentinels", "uid",
                "sentinels") " FROM database WHERE sentinels IS NOT NULL",
            "") < 0)
        return -1;
    while (rows_next(&rows)) {
        const struct ccs_database *db = ccs_database(ccs, rows_text(&rows, 0));
        json_t *wish = rows_json(&rows, 1);
        if (db && wish)
            take_wish(ccs, db, wish);
        json_decref(wish);
    }
    return rows_end(&rows, err);
}

int ccs_ask_for_sentinels(struct ccs *ccs, const struct ccs_database *db, const json_t *wish,
    struct state *st, struct err *err)
{
    json_t *masked;

    take_wish(ccs, db, wish);
    if (state_set_secrets_of(st, "database.sentinels", db->uid, wish, &masked, err) < 0)
        return -1;
    int rc = state_run(
        st, err, "UPDATE database SET sentinels = ? WHERE uid = ?", "js", masked, db->uid);
    json_decref(masked);
    return rc;
}

int sentinels_load(struct ccs *ccs, struct state *st, struct err *err)
{
    return load_captured(ccs, st, err) < 0 ? -1 : load_wishes(ccs, st, err);
}
