/* The state file: durability, locks, queries, events. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/file.h"
#include "recluster/state.h"

struct folder {
    char *dir, *path;
};

static int setup(void **state)
{
    char template[] = "/tmp/recluster-state-XXXXXX";
    struct folder *f = xcalloc(1, sizeof(*f));

    f->dir = xstrdup(mkdtemp(template));
    f->path = path_join(f->dir, "st'ate");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct folder *f = *state;
    struct err err = ERR_INIT;
    int rc = dir_remove(f->dir, &err);

    free(f->dir);
    free(f->path);
    free(f);
    return rc;
}

static struct state *must_open(const char *path, enum state_mode mode)
{
    struct err err = ERR_INIT;
    struct state *st = NULL;

    if (state_open(path, mode, &st, &err) < 0)
        fail_msg("%s", err.message);
    return st;
}

static void the_file_is_private_and_kept(void **state)
{
    const struct folder *f = *state;
    struct err err = ERR_INIT;
    struct stat info;
    struct state *st = must_open(f->path, STATE_CREATE);

    assert_int_equal(state_set_meta(st, "recovery", "abc", &err), 0);
    state_close(st);
    assert_int_equal(stat(f->path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    st = must_open(f->path, STATE_READ);
    AUTO_FREE char *value = state_meta(st, "recovery");
    assert_string_equal(value, "abc");
    assert_null(state_meta(st, "no such thing"));
    assert_int_equal(state_set_meta(st, "recovery", "x", &err), -1);
    state_close(st);
}

static void only_one_run_holds_it(void **state)
{
    const struct folder *f = *state;
    struct err err = ERR_INIT;
    struct state *st = must_open(f->path, STATE_CREATE), *other = NULL;

    assert_int_equal(state_lock_holder(f->path), (int)getpid());
    assert_int_equal(state_open(f->path, STATE_EXISTING, &other, &err), -1);
    assert_int_equal(err.code, ERR_LOCKED);
    AUTO_FREE char *pid = xasprintf("process %d", (int)getpid());
    assert_non_null(strstr(err.message, pid));
    other = must_open(f->path, STATE_READ); /* looking is always allowed */
    state_close(other);
    state_close(st);
    assert_int_equal(state_lock_holder(f->path), 0);
    state_close(must_open(f->path, STATE_EXISTING));
}

static void other_files_are_refused(void **state)
{
    const struct folder *f = *state;
    struct err err = ERR_INIT;
    struct state *st = NULL;
    sqlite3 *db;

    assert_int_equal(state_open(f->path, STATE_EXISTING, &st, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(
        file_write_atomic(f->path, "no database at all, just some text", 34, 0600, &err), 0);
    assert_int_equal(state_open(f->path, STATE_READ, &st, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    unlink(f->path);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE mine (x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(state_open(f->path, STATE_EXISTING, &st, &err), -1);
    assert_non_null(strstr(err.message, "not a state file of recluster"));
}

static void it_comes_into_being_whole(void **state)
{
    const struct folder *f = *state;
    struct err err = ERR_INIT;
    struct state *st = must_open(NULL, STATE_MEMORY);
    char **names;
    size_t count;

    assert_int_equal(state_set_meta(st, "recovery", "abc", &err), 0);
    assert_int_equal(state_save_as(st, f->path, &err), 0);
    assert_int_equal(state_save_as(st, f->path, &err), -1);
    assert_int_equal(err.code, ERR_CHECK);
    state_close(st);
    assert_int_equal(dir_list(f->dir, &names, &count, &err), 0);
    assert_int_equal(count, 1);
    strv_free(names, count);
    st = must_open(f->path, STATE_EXISTING);
    AUTO_FREE char *value = state_meta(st, "recovery");
    assert_string_equal(value, "abc");
    state_close(st);
}

static void bytes_are_text_where_they_can_be(void **state)
{
    struct err err = ERR_INIT;
    struct rows rows;
    struct state *st = must_open(NULL, STATE_MEMORY);
    static const struct {
        const char *data;
        size_t len;
        const char *type;
    } cases[] = {{"plain 'quoted'", 14, "text"}, {"\xc3\xa9", 2, "text"}, {"\xff\xfe", 2, "blob"},
        {"a\0b", 3, "blob"}, {"", 0, "text"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(
            state_run(st, &err, "INSERT INTO ccs_entry (db, key, kind) VALUES (0, ?, 'string')",
                "b", (const void *)cases[i].data, cases[i].len),
            0);
    assert_int_equal(
        state_query(st, &rows, &err,
            "SELECT typeof(key), length(CAST(key AS BLOB)) FROM ccs_entry ORDER BY entry_id", ""),
        0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_true(rows_next(&rows));
        assert_string_equal(rows_text(&rows, 0), cases[i].type);
        assert_int_equal(rows_int(&rows, 1), cases[i].len);
    }
    assert_false(rows_next(&rows));
    assert_int_equal(rows_end(&rows, &err), 0);
    state_close(st);
}

static void queries_may_be_nested(void **state)
{
    struct err err = ERR_INIT;
    struct state *st = must_open(NULL, STATE_MEMORY);
    struct rows outer, inner;
    int seen = 0;
    static const char sql[] = "SELECT key FROM meta ORDER BY key";

    (void)state;
    assert_int_equal(state_set_meta(st, "a", "1", &err), 0);
    assert_int_equal(state_set_meta(st, "b", "2", &err), 0);
    assert_int_equal(state_query(st, &outer, &err, sql, ""), 0);
    while (rows_next(&outer)) {
        assert_int_equal(state_query(st, &inner, &err, sql, ""), 0);
        while (rows_next(&inner))
            seen++;
        assert_int_equal(rows_end(&inner, &err), 0);
    }
    assert_int_equal(rows_end(&outer, &err), 0);
    assert_int_equal(seen, 9); /* a, b, schema_version, three times each */
    state_close(st);
}

static void count_event(void *arg, const json_t *event)
{
    int *count = arg;
    (*count)++;
    assert_string_equal(json_string_value(json_object_get(event, "event")), "code");
}

static void events_are_told_when_they_are_committed(void **state)
{
    struct err err = ERR_INIT;
    struct state *st = must_open(NULL, STATE_MEMORY);
    const struct event event = {.code = "code", .message = "it's so", .host = "a1"};
    int64_t rows;
    int told = 0;

    (void)state;
    state_on_event(st, count_event, &told);
    assert_int_equal(state_begin(st, &err), 0);
    assert_int_equal(state_begin(st, &err), 0);
    assert_int_equal(state_event(st, &event, &err), 0);
    assert_int_equal(state_commit(st, &err), 0);
    assert_int_equal(told, 0); /* the outer transaction is still open */
    assert_int_equal(state_commit(st, &err), 0);
    assert_int_equal(told, 1);
    assert_int_equal(state_begin(st, &err), 0);
    assert_int_equal(state_event(st, &event, &err), 0);
    state_rollback(st);
    assert_int_equal(state_event(st, &event, &err), 0);
    assert_int_equal(told, 2);
    assert_int_equal(state_get_int(st, &rows, &err, "SELECT COUNT(*) FROM event", ""), 0);
    assert_int_equal(rows, 2);
    state_close(st);
}

static void die_at_the_second(void)
{
    static int commits;

    if (++commits == 2)
        kill(getpid(), SIGKILL);
}

static void what_is_committed_survives_kill(void **state)
{
    const struct folder *f = *state;
    struct err err = ERR_INIT;
    int status;

    state_close(must_open(f->path, STATE_CREATE));
    pid_t pid = fork();
    if (pid == 0) {
        state_test_on_commit = die_at_the_second;
        struct state *st;
        if (state_open(f->path, STATE_EXISTING, &st, &err) < 0)
            _exit(1);
        for (int i = 0; i < 5; i++) {
            char value[2] = {(char)('1' + i), '\0'};
            if (state_begin(st, &err) < 0 || state_set_meta(st, "n", value, &err) < 0 ||
                state_commit(st, &err) < 0)
                _exit(1);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    struct state *st = must_open(f->path, STATE_EXISTING); /* the lock ended with the process */
    AUTO_FREE char *value = state_meta(st, "n");
    assert_string_equal(value, "2");
    state_close(st);
}

/* --- earlier versions --- */

static void add_columns(struct state *st, const char *table, struct buf *out)
{
    struct err err = ERR_INIT;
    struct rows rows;

    assert_int_equal(state_query(st, &rows, &err,
                         "SELECT name, type FROM pragma_table_info(?) ORDER BY name", "s", table),
        0);
    while (rows_next(&rows))
        buf_addf(out, "%s.%s %s\n", table, rows_text(&rows, 0), rows_text(&rows, 1));
    assert_int_equal(rows_end(&rows, &err), 0);
}

/* All tables and columns, sorted. The caller frees it. */
static char *shape_of(struct state *st)
{
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT;
    char *tables[100];
    size_t count = 0;
    struct rows rows;

    assert_int_equal(state_query(st, &rows, &err,
                         "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name", ""),
        0);
    while (rows_next(&rows) && count < 100)
        tables[count++] = xstrdup(rows_text(&rows, 0));
    assert_int_equal(rows_end(&rows, &err), 0);
    for (size_t i = 0; i < count; i++) {
        add_columns(st, tables[i], &out);
        free(tables[i]);
    }
    return buf_take(&out);
}

static void make_version_1(const char *path)
{
    struct buf sql = BUF_INIT;
    struct err err = ERR_INIT;
    sqlite3 *db;

    assert_int_equal(file_read(FIXTURES "/state/version-1.sql", 1 << 24, &sql, &err), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql.data, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    buf_release(&sql);
}

static int64_t count_of(struct state *st)
{
    struct err err = ERR_INIT;
    int64_t n = -1;

    assert_int_equal(state_get_int(st, &n, &err,
                         "SELECT (SELECT count(*) FROM task WHERE state = 'done') * 10000 + "
                         "(SELECT count(*) FROM ccs_entry) + (SELECT count(*) FROM event)",
                         ""),
        0);
    return n;
}

static void a_file_of_the_first_version_is_migrated(void **state)
{
    const struct folder *f = *state;
    struct state *fresh = must_open(NULL, STATE_MEMORY);
    struct buf before = BUF_INIT, after = BUF_INIT;
    AUTO_FREE char *wanted = shape_of(fresh);
    struct err err = ERR_INIT;

    make_version_1(f->path);
    assert_int_equal(file_read(f->path, 1 << 24, &before, &err), 0);

    /* Looked at: as a new one is, and not a byte of it changes. */
    struct state *st = must_open(f->path, STATE_READ);
    AUTO_FREE char *seen = shape_of(st);
    int64_t rows = count_of(st);
    assert_string_equal(seen, wanted);
    assert_true(rows > 10000);
    state_close(st);
    assert_int_equal(file_read(f->path, 1 << 24, &after, &err), 0);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);

    /* Gone on with: the file itself, once. */
    for (int i = 0; i < 2; i++) {
        int64_t version;
        st = must_open(f->path, STATE_EXISTING);
        AUTO_FREE char *now = shape_of(st);
        assert_string_equal(now, wanted);
        assert_int_equal(count_of(st), rows);
        assert_int_equal(state_get_int(st, &version, &err, "PRAGMA user_version", ""), 0);
        assert_int_equal(version, STATE_SCHEMA_VERSION);
        state_close(st);
    }
    state_close(fresh);
    buf_release(&before);
    buf_release(&after);
}

static void a_later_version_is_refused(void **state)
{
    const struct folder *f = *state;
    struct err err = ERR_INIT;
    struct state *st = must_open(f->path, STATE_CREATE);

    assert_int_equal(state_run(st, &err, "PRAGMA user_version = 1000", ""), 0);
    state_close(st);
    assert_int_equal(state_open(f->path, STATE_READ, &st, &err), -1);
    assert_int_equal(err.code, ERR_CHECK);
    assert_non_null(strstr(err.message, "version 1000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_file_is_private_and_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(only_one_run_holds_it, setup, teardown),
        cmocka_unit_test_setup_teardown(other_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(it_comes_into_being_whole, setup, teardown),
        cmocka_unit_test(bytes_are_text_where_they_can_be),
        cmocka_unit_test(queries_may_be_nested),
        cmocka_unit_test(events_are_told_when_they_are_committed),
        cmocka_unit_test_setup_teardown(what_is_committed_survives_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_of_the_first_version_is_migrated, setup, teardown),
        cmocka_unit_test_setup_teardown(a_later_version_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
