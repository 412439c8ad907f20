#include "record_rdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aof_snapshot.h"
#include "recluster/file.h"
#include "recluster/json.h"

#define FOLDER_PREFIX "recluster-rdb-"

struct record_rdb {
    const json_t *wanted;
    struct server_version version;
    char *folder, *snapshot, *path;
    json_t *location;
    int lock;
};

/* --- the folder --- */

/* The lock of a living process is held. -1: so it is, or it is not a folder of ours. */
static int take_lock(const char *folder)
{
    AUTO_FREE char *path = path_join(folder, "lock");
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool is_ours(const char *folder)
{
    struct stat st;

    return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* The folder is made under another name and gets its name when its lock is held. */
static void remove_dead(const char *spool)
{
    struct err ignored = ERR_INIT;
    char **names;
    size_t count;

    if (dir_list(spool, &names, &count, &ignored) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *folder = path_join(spool, names[i]);
        if (strncmp(names[i], FOLDER_PREFIX, strlen(FOLDER_PREFIX)) != 0 || !is_ours(folder))
            continue;
        int lock = take_lock(folder);
        if (lock < 0)
            continue;
        (void)!dir_remove(folder, &ignored);
        close(lock);
    }
    strv_free(names, count);
}

static int make_folder(struct record_rdb *x, const char *spool, struct err *err)
{
    AUTO_FREE char *made = xasprintf("%s/.recluster-new-rdb-XXXXXX", spool);

    if (!mkdtemp(made)) {
        err_sys(err, ERR_IO, "cannot make a folder in '%s'", spool);
        return err_hint(err, "Name a folder that can be written to: --spool FOLDER");
    }
    x->lock = take_lock(made);
    x->folder = xasprintf("%s/%s%s", spool, FOLDER_PREFIX, strrchr(made, '-') + 1);
    if (x->lock >= 0 && rename(made, x->folder) == 0)
        return 0;
    err_sys(err, ERR_IO, "cannot rename '%s' to '%s'", made, x->folder);
    struct err ignored = ERR_INIT;
    (void)!dir_remove(made, &ignored);
    return -1;
}

/* --- all together --- */

int record_rdb_open(
    const char *spool, const json_t *wanted, struct record_rdb **ret, struct err *err)
{
    struct record_rdb *x = xcalloc(1, sizeof(*x));
    const char *server = json_text(wanted, "server", "");

    x->wanted = wanted;
    x->lock = -1;
    remove_dead(spool);
    if (server_version_ask(server, &x->version, err) < 0) {
        err_hint(err, "The form 'rdb' needs a server program on the machine that writes the files. "
                      "Name it with --server PROGRAM, or leave --form away.");
        record_rdb_close(x);
        return -1;
    }
    if (make_folder(x, spool, err) < 0) {
        record_rdb_close(x);
        return -1;
    }
    AUTO_FREE char *input = path_join(x->folder, "input");
    if (dir_make(input, 0700, err) < 0) {
        record_rdb_close(x);
        return -1;
    }
    x->location = json_string(input);
    x->snapshot = path_join(x->folder, "snapshot");
    x->path = path_join(x->snapshot, AOF_SNAPSHOT_NAME);
    *ret = x;
    return 0;
}

void record_rdb_close(struct record_rdb *x)
{
    struct err ignored = ERR_INIT;

    if (!x)
        return;
    if (x->location)
        (void)!dir_remove(x->folder, &ignored);
    if (x->lock >= 0)
        close(x->lock);
    json_decref(x->location);
    free(x->folder);
    free(x->snapshot);
    free(x->path);
    free(x);
}

const json_t *record_rdb_location(const struct record_rdb *x)
{
    return x->location;
}

const char *record_rdb_path(const struct record_rdb *x)
{
    return x->path;
}

int record_rdb_make(struct record_rdb *x, struct agent_call *call, struct err *err)
{
    const struct aof_server server = {
        .program = json_text(x->wanted, "server", ""),
        .run_as = json_text(x->wanted, "run_as", NULL),
        .modules = json_object_get(x->wanted, "modules"),
        .version = x->version,
    };
    json_t *file = json_pack("{s:s, s:i}", "name", RECORD_RDB_INPUT, "bytes", -1);
    struct aof_input input = {.file = file, .store = store_open(x->location, err)};
    json_t *facts = NULL;

    int rc = input.store ? aof_snapshot(call, &server, &input, x->snapshot, &facts, err) : -1;
    if (rc == 0 && !json_is_null(json_object_get(facts, "dropped")))
        rc = err_set(err, ERR_CORRUPT, "the file '%s' was cut off", RECORD_RDB_INPUT);
    store_close(input.store);
    json_decref(facts);
    json_decref(file);
    return rc < 0 ? err_wrap(err, "the plain RDB file") : 0;
}
