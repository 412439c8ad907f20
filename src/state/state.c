#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "recluster/file.h"
#include "recluster/out_file.h"
#include "recluster/shell_quote.h"

enum { STATE_APPLICATION_ID = 0x7265636c /* "recl" */, STATE_BUSY_MS = 10000 };

static const char *const schema_lines[] = {
#include "schema.inc"
};

static int create_schema(struct state *st, struct err *err)
{
    CLEANUP(buf_release) struct buf sql = BUF_INIT;
    int rc = -1;

    for (size_t i = 0; i < ARRAY_SIZE(schema_lines); i++)
        buf_addf(&sql, "%s\n", schema_lines[i]);
    buf_addf(&sql, "PRAGMA application_id = %d;", STATE_APPLICATION_ID);
    if (state_begin(st, err) < 0)
        return -1;
    if (state_exec(st, sql.data, err) == 0 && state_schema_mark(st, err) == 0)
        rc = state_commit(st, err);
    if (rc < 0)
        state_rollback(st);
    return rc;
}

/* From now on reads come from a copy, which may be changed. */
static int copy_to_memory(struct state *st, struct err *err)
{
    sqlite3 *copy = NULL;

    if (sqlite3_open(":memory:", &copy) != SQLITE_OK) {
        sqlite3_close(copy);
        return err_set(err, ERR_STATE_FILE, "cannot copy the state file '%s'", st->path);
    }
    sqlite3_backup *backup = sqlite3_backup_init(copy, "main", st->db, "main");
    int rc = backup ? sqlite3_backup_step(backup, -1) : SQLITE_ERROR;
    if (backup)
        sqlite3_backup_finish(backup);
    if (rc != SQLITE_DONE) {
        sqlite3_close(copy);
        return state_sqlite_error(st, "cannot copy the state file", err);
    }
    state_forget_statements(st);
    sqlite3_close(st->db);
    st->db = copy;
    return 0;
}

static int check_schema(struct state *st, enum state_mode mode, struct err *err)
{
    int64_t id = 0, version = 0;

    if (state_get_int(st, &id, err, "PRAGMA application_id", "") < 0)
        return -1;
    if (id != STATE_APPLICATION_ID) {
        err_set(err, ERR_CHECK, "'%s' is a database, but not a state file of recluster", st->path);
        return err_hint(err, "Name the state file that `recover` was started with.");
    }
    if (state_schema_version(st, &version, err) < 0)
        return -1;
    if (version == STATE_SCHEMA_VERSION)
        return 0;
    if (version < 1 || version > STATE_SCHEMA_VERSION) {
        err_set(err, ERR_CHECK,
            "the state file '%s' has schema version %lld, this program knows those up to %d",
            st->path, (long long)version, STATE_SCHEMA_VERSION);
        return err_hint(err, "Use the recluster that wrote it last, or a newer one.");
    }
    if (mode == STATE_READ && copy_to_memory(st, err) < 0)
        return -1;
    return state_migrate(st, version, err);
}

/* If others may rename files in the folder, they could replace the state file. */
static int state_check_folder(const char *path, struct err *err)
{
    AUTO_FREE char *dir = path_dir(path);
    struct stat st;

    if (stat(dir, &st) < 0)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_STATE_FILE,
            "cannot look at the folder of the state file, '%s'", dir);
    if (!(st.st_mode & S_IWOTH) || (st.st_mode & S_ISVTX))
        return 0;
    err_set(err, ERR_CHECK, "everybody may write to '%s', the folder of the state file", dir);
    return err_hint(err, "Keep the state file, which holds passwords, in a folder of your own.");
}

static int check_file(const char *path, enum state_mode mode, struct err *err)
{
    if (mode == STATE_CREATE) {
        /* SQLite gives its side files the mode of this file. */
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            return err_sys(err, ERR_STATE_FILE, "cannot create the state file '%s'", path);
        close(fd);
    } else if (!file_exists(path)) {
        AUTO_FREE char *word = shell_word(path);
        err_set(err, ERR_NOT_FOUND, "there is no state file '%s'", path);
        return err_hint(err, "Begin with: recluster recover CCS --hosts HOSTS --state %s", word);
    }
    return 0;
}

int state_open(const char *path, enum state_mode mode, struct state **ret, struct err *err)
{
    struct state *st = xcalloc(1, sizeof(*st));
    int flags = mode == STATE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;

    st->lock_fd = -1;
    st->path = xstrdup(mode == STATE_MEMORY ? "" : path);
    st->pending_events = json_array();
    if (mode == STATE_MEMORY) {
        path = ":memory:";
    } else {
        if (check_file(path, mode, err) < 0)
            goto fail;
        if (mode != STATE_READ &&
            (state_check_folder(path, err) < 0 || (st->lock_fd = state_lock_take(path, err)) < 0))
            goto fail;
    }
    if (sqlite3_open_v2(path, &st->db, flags, NULL) != SQLITE_OK) {
        state_sqlite_error(st, "cannot open the state file", err);
        goto fail;
    }
    sqlite3_extended_result_codes(st->db, 1);
    sqlite3_busy_timeout(st->db, STATE_BUSY_MS);
    if (state_exec(st, "PRAGMA foreign_keys = ON", err) < 0)
        goto fail;
    bool fresh = mode == STATE_MEMORY || mode == STATE_CREATE;
    if (mode != STATE_READ && mode != STATE_MEMORY &&
        state_exec(st, "PRAGMA synchronous = FULL", err) < 0)
        goto fail;
    if (!fresh && check_schema(st, mode, err) < 0)
        goto fail;
    /* Only when it is known to be a state file. */
    if (mode != STATE_READ && mode != STATE_MEMORY &&
        state_exec(st, "PRAGMA journal_mode = WAL", err) < 0)
        goto fail;
    if (fresh && create_schema(st, err) < 0)
        goto fail;
    *ret = st;
    return 0;
fail:
    state_close(st);
    return -1;
}

void state_close(struct state *st)
{
    if (!st)
        return;
    state_forget_statements(st);
    sqlite3_close(st->db);
    json_decref(st->pending_events);
    free(st->path);
    /* Last: until then the file is incomplete. */
    if (st->lock_fd >= 0)
        close(st->lock_fd);
    free(st);
}

const char *state_path(const struct state *st)
{
    return st->path;
}

int state_save_as(struct state *st, const char *path, struct err *err)
{
    AUTO_FREE char *word = shell_word(path);
    struct out_file out = OUT_FILE_INIT;
    int rc = state_check_folder(path, err);

    if (rc == 0)
        rc = out_file_open(&out, path, 0600, err);
    /* SQLite accepts an empty file as a new database. */
    if (rc == 0)
        rc = state_run(st, err, "VACUUM INTO ?", "s", out.working);
    if (rc == 0)
        rc = out_file_commit(&out, OUT_FILE_NEW, err);
    if (rc < 0)
        err_wrap(err, "cannot create the state file");
    if (rc < 0 && err->code == ERR_CHECK && file_exists(path))
        err_hint(err,
            "Resume that recovery with: recluster recover --state %s; or name another file.", word);
    out_file_release(&out);
    return rc;
}
