#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "recluster/buf.h"

int state_sqlite_error(struct state *st, const char *what, struct err *err)
{
    int code = sqlite3_errcode(st->db) & 0xff;
    const char *name = st->path[0] ? st->path : "(memory)";

    if (code == SQLITE_NOMEM)
        die_of_memory(0);
    bool other = code == SQLITE_NOTADB || code == SQLITE_CORRUPT;

    err_set(err,
        code == SQLITE_FULL ? ERR_SPACE
        : other             ? ERR_CORRUPT
                            : ERR_STATE_FILE,
        "%s '%s': %s", what, name, sqlite3_errmsg(st->db));
    if (code == SQLITE_FULL)
        err_hint(err, "Make room on that file system and run the same command again.");
    else if (code == SQLITE_NOTADB)
        err_hint(err, "Name the state file that `recover` was started with.");
    return -1;
}

int state_exec(struct state *st, const char *sql, struct err *err)
{
    if (sqlite3_exec(st->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return state_sqlite_error(st, "cannot prepare the state file", err);
    return 0;
}

static sqlite3_stmt *cached(struct state *st, const char *sql)
{
    for (size_t i = 0; i < st->cache_count; i++)
        if (st->cache[i].sql == sql)
            return st->cache[i].stmt;
    return NULL;
}

/* A statement that a caller is stepping through gets a second copy, which is not cached. */
static int prepare(struct state *st, const char *sql, sqlite3_stmt **ret, struct err *err)
{
    sqlite3_stmt *stmt = cached(st, sql);
    bool in_use = stmt && sqlite3_stmt_busy(stmt);

    if (!stmt || in_use) {
        if (sqlite3_prepare_v2(st->db, sql, -1, &stmt, NULL) != SQLITE_OK)
            return state_sqlite_error(st, "cannot query the state file", err);
        if (!in_use) {
            GROW(st->cache, st->cache_count, st->cache_alloc);
            st->cache[st->cache_count++] = (struct cached_statement){sql, stmt};
        }
    }
    *ret = stmt;
    return 0;
}

static void release(struct state *st, sqlite3_stmt *stmt)
{
    for (size_t i = 0; i < st->cache_count; i++) {
        if (st->cache[i].stmt == stmt) {
            sqlite3_reset(stmt);
            sqlite3_clear_bindings(stmt);
            return;
        }
    }
    sqlite3_finalize(stmt);
}

void state_forget_statements(struct state *st)
{
    for (size_t i = 0; i < st->cache_count; i++)
        sqlite3_finalize(st->cache[i].stmt);
    free(st->cache);
    st->cache = NULL;
    st->cache_count = st->cache_alloc = 0;
    for (size_t i = 0; i < st->insert_count; i++)
        free(st->inserts[i]);
    free(st->inserts);
    st->inserts = NULL;
    st->insert_count = st->insert_alloc = 0;
}

static bool is_text(const void *data, size_t len)
{
    /* jansson accepts only UTF-8 without NUL. */
    json_t *probe = memchr(data, 0, len) ? NULL : json_stringn(data, len);
    bool text = probe != NULL;
    json_decref(probe);
    return text;
}

static int bind_json(sqlite3_stmt *stmt, int i, const json_t *value)
{
    if (!value)
        return sqlite3_bind_null(stmt, i);
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return sqlite3_bind_text(stmt, i, text, -1, free);
}

static int bind_bytes(sqlite3_stmt *stmt, int i, const void *data, size_t len)
{
    if (!data)
        return sqlite3_bind_null(stmt, i);
    if (is_text(data, len))
        return sqlite3_bind_text64(stmt, i, data, len, SQLITE_TRANSIENT, SQLITE_UTF8);
    return sqlite3_bind_blob64(stmt, i, data, len, SQLITE_TRANSIENT);
}

static int bind(
    struct state *st, sqlite3_stmt *stmt, const char *types, va_list args, struct err *err)
{
    for (int i = 1; *types; types++, i++) {
        int rc = SQLITE_MISUSE;
        if (*types == 'i') {
            rc = sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
        } else if (*types == 'd') {
            rc = sqlite3_bind_double(stmt, i, va_arg(args, double));
        } else if (*types == 's') {
            rc = sqlite3_bind_text(stmt, i, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
        } else if (*types == 'j') {
            rc = bind_json(stmt, i, va_arg(args, const json_t *));
        } else if (*types == 'b') {
            const void *data = va_arg(args, const void *);
            rc = bind_bytes(stmt, i, data, va_arg(args, size_t));
        }
        if (rc != SQLITE_OK)
            return state_sqlite_error(st, "cannot bind a value for the state file", err);
    }
    return 0;
}

static int start(struct state *st, const char *sql, const char *types, va_list args,
    sqlite3_stmt **ret, struct err *err)
{
    if (prepare(st, sql, ret, err) < 0)
        return -1;
    if (bind(st, *ret, types, args, err) < 0) {
        release(st, *ret);
        return -1;
    }
    return 0;
}

int state_run(struct state *st, struct err *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list args;

    va_start(args, types);
    int rc = start(st, sql, types, args, &stmt, err);
    va_end(args);
    if (rc < 0)
        return -1;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        ;
    if (rc != SQLITE_DONE)
        state_sqlite_error(st, "cannot write the state file", err);
    release(st, stmt);
    return rc == SQLITE_DONE ? 0 : -1;
}

/* The statement's text at a fixed address, by which it is cached. */
static const char *insert_text(struct state *st, const char *table, const struct column *columns)
{
    struct buf sql = BUF_INIT, marks = BUF_INIT;

    buf_addf(&sql, "INSERT INTO %s (", table);
    for (const struct column *c = columns; c->name; c++) {
        buf_addf(&sql, "%s%s", c == columns ? "" : ", ", c->name);
        buf_adds(&marks, c == columns ? "?" : ", ?");
    }
    buf_addf(&sql, ") VALUES (%s)", marks.data);
    buf_release(&marks);
    for (size_t i = 0; i < st->insert_count; i++)
        if (strcmp(st->inserts[i], sql.data) == 0) {
            buf_release(&sql);
            return st->inserts[i];
        }
    GROW(st->inserts, st->insert_count, st->insert_alloc);
    return st->inserts[st->insert_count++] = buf_take(&sql);
}

static int bind_column(sqlite3_stmt *stmt, int i, const struct column *c)
{
    if (c->null)
        return sqlite3_bind_null(stmt, i);
    switch (c->type) {
    case COLUMN_TEXT:
        return sqlite3_bind_text(stmt, i, c->text, -1, SQLITE_TRANSIENT);
    case COLUMN_JSON:
        return bind_json(stmt, i, c->json);
    case COLUMN_INT:
        break;
    }
    return sqlite3_bind_int64(stmt, i, c->n);
}

int state_insert(struct state *st, const char *table, const struct column *columns, struct err *err)
{
    sqlite3_stmt *stmt;
    int rc = SQLITE_OK;

    if (prepare(st, insert_text(st, table, columns), &stmt, err) < 0)
        return -1;
    for (int i = 0; columns[i].name && rc == SQLITE_OK; i++)
        rc = bind_column(stmt, i + 1, &columns[i]);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc != SQLITE_DONE)
        state_sqlite_error(st, "cannot write the state file", err);
    release(st, stmt);
    return rc == SQLITE_DONE ? 0 : -1;
}

int64_t state_last_id(const struct state *st)
{
    return sqlite3_last_insert_rowid(st->db);
}

int state_query(
    struct state *st, struct rows *rows, struct err *err, const char *sql, const char *types, ...)
{
    va_list args;

    va_start(args, types);
    int rc = start(st, sql, types, args, &rows->stmt, err);
    va_end(args);
    rows->state = st;
    rows->rc = SQLITE_ROW;
    return rc;
}

bool rows_next(struct rows *rows)
{
    if (rows->rc == SQLITE_ROW)
        rows->rc = sqlite3_step(rows->stmt);
    return rows->rc == SQLITE_ROW;
}

int rows_end(struct rows *rows, struct err *err)
{
    bool failed = rows->rc != SQLITE_ROW && rows->rc != SQLITE_DONE;
    if (failed)
        state_sqlite_error(rows->state, "cannot read the state file", err);
    release(rows->state, rows->stmt);
    return failed ? -1 : 0;
}

int rows_column(const struct rows *rows, const char *name)
{
    int count = sqlite3_column_count(rows->stmt);

    for (int i = 0; i < count; i++)
        if (strcmp(sqlite3_column_name(rows->stmt, i), name) == 0)
            return i;
    die_of_bug("a query has no column '%s'", name);
}

int64_t rows_int(const struct rows *rows, int column)
{
    return sqlite3_column_int64(rows->stmt, column);
}

double rows_double(const struct rows *rows, int column)
{
    return sqlite3_column_double(rows->stmt, column);
}

const char *rows_text(const struct rows *rows, int column)
{
    return (const char *)sqlite3_column_text(rows->stmt, column);
}

bool rows_is_null(const struct rows *rows, int column)
{
    return sqlite3_column_type(rows->stmt, column) == SQLITE_NULL;
}

json_t *rows_json(const struct rows *rows, int column)
{
    const char *text = rows_text(rows, column);
    return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

static json_t *field_value(const struct rows *rows, int column, const char *kind)
{
    if (rows_is_null(rows, column))
        return json_null();
    if (kind && strcmp(kind, ":json") == 0) {
        json_t *value = rows_json(rows, column);
        return value ? value : json_null();
    }
    if (kind && strcmp(kind, ":bool") == 0)
        return json_boolean(rows_int(rows, column) != 0);
    switch (sqlite3_column_type(rows->stmt, column)) {
    case SQLITE_INTEGER:
        return json_integer(rows_int(rows, column));
    case SQLITE_FLOAT:
        return json_real(rows_double(rows, column));
    default:
        break;
    }
    json_t *text = json_string(rows_text(rows, column));
    return text ? text : json_string("?"); /* bytes that are not UTF-8 */
}

json_t *rows_object(const struct rows *rows)
{
    json_t *o = json_object();

    for (int i = 0; i < sqlite3_column_count(rows->stmt); i++) {
        const char *name = sqlite3_column_name(rows->stmt, i), *kind = strrchr(name, ':');
        size_t len = kind ? (size_t)(kind - name) : strlen(name);
        AUTO_FREE char *field = xstrndup(name, len);
        json_object_set_new(o, field, field_value(rows, i, kind));
    }
    return o;
}

int state_get_int(
    struct state *st, int64_t *ret, struct err *err, const char *sql, const char *types, ...)
{
    struct rows rows = {.state = st, .rc = SQLITE_ROW};
    va_list args;

    va_start(args, types);
    int rc = start(st, sql, types, args, &rows.stmt, err);
    va_end(args);
    if (rc < 0)
        return -1;
    if (rows_next(&rows))
        *ret = rows_int(&rows, 0);
    return rows_end(&rows, err);
}

int state_set_meta(struct state *st, const char *key, const char *value, struct err *err)
{
    return state_run(
        st, err, "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", "ss", key, value);
}

char *state_meta(struct state *st, const char *key)
{
    struct err ignored;
    struct rows rows;
    char *value = NULL;

    if (state_query(st, &rows, &ignored, "SELECT value FROM meta WHERE key = ?", "s", key) < 0)
        return NULL;
    if (rows_next(&rows) && !rows_is_null(&rows, 0))
        value = xstrdup(rows_text(&rows, 0));
    return rows_end(&rows, &ignored) < 0 ? (free(value), NULL) : value;
}
