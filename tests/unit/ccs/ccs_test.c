#include "ccs_test.h"

#include <isa-l/igzip_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/file.h"

char *make_dir(void)
{
    char *dir = xstrdup("/tmp/test-ccs-XXXXXX");

    assert_non_null(mkdtemp(dir));
    return dir;
}

void drop_dir(char *dir)
{
    struct err err = ERR_INIT;

    assert_int_equal(dir_remove(dir, &err), 0);
    free(dir);
}

char *write_file(const char *dir, const char *name, const void *data, size_t len)
{
    struct err err = ERR_INIT;
    char *path = path_join(dir, name);

    assert_int_equal(file_write_atomic(path, data, len, 0600, &err), 0);
    return path;
}

void *gzip(const void *data, size_t len, size_t *ret_len)
{
    struct isal_zstream *z = xcalloc(1, sizeof(*z));
    size_t room = len + len / 8 + 1024;
    unsigned char *out = xmalloc(room), *in = xmemdup(data, len);

    isal_deflate_stateless_init(z);
    z->gzip_flag = IGZIP_GZIP;
    z->end_of_stream = 1;
    z->next_in = in;
    z->avail_in = (uint32_t)len;
    z->next_out = out;
    z->avail_out = (uint32_t)room;
    assert_int_equal(isal_deflate_stateless(z), COMP_OK);
    *ret_len = z->total_out;
    free(in);
    free(z);
    return out;
}

static struct state *new_state(void)
{
    struct err err = ERR_INIT;
    struct state *st;

    if (state_open("", STATE_MEMORY, &st, &err) < 0)
        fail_msg("%s", err.message);
    return st;
}

struct state *import_file(const char *path)
{
    struct state *st = new_state();
    struct err err = ERR_INIT;

    if (ccs_import(path, NULL, st, &err) < 0)
        fail_msg("%s (%s)", err.message, err.hint);
    return st;
}

struct state *import_json(const char *text)
{
    char *dir = make_dir();
    char *path = write_file(dir, "ccs.json", text, strlen(text));
    struct state *st = import_file(path);

    free(path);
    drop_dir(dir);
    return st;
}

void assert_refused(const char *path, enum err_code code, const char *words)
{
    struct state *st = new_state();
    struct err err = ERR_INIT;

    assert_int_equal(ccs_import(path, NULL, st, &err), -1);
    if (!strstr(err.message, words) && !strstr(err.hint, words))
        fail_msg("no '%s' in: %s (%s)", words, err.message, err.hint);
    assert_string_equal(err_code_name(err.code), err_code_name(code));
    assert_non_null(strstr(err.message, path));
    assert_true(err.hint[0] || code == ERR_CORRUPT || code == ERR_LIMIT || code == ERR_NOT_FOUND);

    /* Nothing is left in the state. */
    char *rows =
        query(st, "SELECT (SELECT count(*) FROM ccs_entry) + (SELECT count(*) FROM finding)"
                  " + (SELECT count(*) FROM cluster)");
    assert_string_equal(rows, "0");
    free(rows);
    state_close(st);
}

char *query(struct state *st, const char *sql)
{
    struct err err = ERR_INIT;
    struct rows rows;

    assert_int_equal(state_query(st, &rows, &err, sql, ""), 0);
    char *text = rows_next(&rows) && rows_text(&rows, 0) ? xstrdup(rows_text(&rows, 0)) : NULL;
    assert_int_equal(rows_end(&rows, &err), 0);
    return text;
}

static void add_rows(struct state *st, const char *table, const char *sql, struct buf *out)
{
    struct err err = ERR_INIT;
    struct rows rows;

    assert_int_equal(state_query(st, &rows, &err, sql, ""), 0);
    while (rows_next(&rows)) {
        buf_addf(out, "%s:", table);
        for (int i = 0; i < sqlite3_column_count(rows.stmt); i++)
            buf_addf(out, " [%s]", rows_text(&rows, i) ? rows_text(&rows, i) : "null");
        buf_addc(out, '\n');
    }
    assert_int_equal(rows_end(&rows, &err), 0);
}

char *typed_rows(struct state *st)
{
    struct buf out = BUF_INIT;

    add_rows(st, "cluster", "SELECT name, rack_aware FROM cluster", &out);
    add_rows(st, "node", "SELECT * FROM node ORDER BY uid", &out);
    add_rows(st, "database", "SELECT * FROM database ORDER BY uid", &out);
    add_rows(st, "shard", "SELECT * FROM shard ORDER BY uid", &out);
    add_rows(st, "endpoint", "SELECT * FROM endpoint ORDER BY uid", &out);
    add_rows(st, "proxy", "SELECT * FROM proxy ORDER BY uid", &out);
    add_rows(st, "user", "SELECT * FROM user ORDER BY uid", &out);
    return buf_take(&out);
}

struct ccs *load(struct state *st)
{
    struct err err = ERR_INIT;
    struct ccs *ccs = ccs_load(st, &err);

    if (!ccs)
        fail_msg("%s", err.message);
    return ccs;
}

static bool has_keys(const struct ccs_finding *finding, const char *keys)
{
    struct buf joined = BUF_INIT;

    for (size_t i = 0; finding->keys[i]; i++)
        buf_addf(&joined, "%s%s", i ? " " : "", finding->keys[i]);
    bool same = strcmp(joined.data, keys) == 0;
    buf_release(&joined);
    return same;
}

const struct ccs_finding *find_finding(const struct ccs *ccs, const char *code, const char *keys)
{
    for (size_t i = 0; i < ccs->finding_count; i++)
        if (strcmp(ccs->findings[i].code, code) == 0 &&
            (!keys || has_keys(&ccs->findings[i], keys)))
            return &ccs->findings[i];
    return NULL;
}

void assert_finding(const struct ccs *ccs, const char *code, const char *keys)
{
    if (find_finding(ccs, code, keys))
        return;
    for (size_t i = 0; i < ccs->finding_count; i++) {
        print_message("%s:", ccs->findings[i].code);
        for (size_t k = 0; ccs->findings[i].keys[k]; k++)
            print_message(" %s", ccs->findings[i].keys[k]);
        print_message(": %s\n", ccs->findings[i].message);
    }
    fail_msg("no finding '%s' about '%s'", code, keys ? keys : "anything");
}
