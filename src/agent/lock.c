/*
 * The methods lock and release: base_dir/lock and base_dir/recovery.json.
 *
 * A flock(2) belongs to the open file, not to the process that asked for it. So the agent opens the
 * file, and a child, which inherits the open file, waits for the lock: when the child has it, the
 * agent has it, for as long as it or one of its children lives.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_dir.h"
#include "process.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "serve.h"

enum {
    HOLDER_MAX = 64 * 1024,
    LOCK_WAIT_MS = 5000, /* the agent of a run that was killed needs a moment to end */
    LOCK_POLL_MS = 50,
};

/* `release` removes the file, so the open file may no longer be the one at `path`. */
static bool is_file_at(int fd, const char *path)
{
    struct stat open_file, at_path;
    return fstat(fd, &open_file) == 0 && lstat(path, &at_path) == 0 &&
           open_file.st_dev == at_path.st_dev && open_file.st_ino == at_path.st_ino;
}

/* O_NOFOLLOW: a link could make us write elsewhere. */
static int open_lock(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        err_sys(err, ERR_IO, "cannot open the lock '%s'", path);
    return fd;
}

static json_t *read_holder(const char *path)
{
    struct buf text = BUF_INIT;
    struct err unread = ERR_INIT;
    json_t *holder = NULL;

    if (file_read(path, HOLDER_MAX, &text, &unread) == 0)
        holder = json_read_quietly(text.data, text.len, 0);
    buf_release(&text);
    return holder;
}

static int refuse_locked(const char *path, const char *base_dir, struct err *err)
{
    json_t *holder = read_holder(path);
    const char *who = json_text(holder, "operator", NULL);
    const char *since = json_text(holder, "since", NULL);

    err_set(err, ERR_LOCKED, "'%s' is locked by %s%s%s", base_dir, who ? who : "another run",
        since ? " since " : "", since ? since : "");
    err_hint(err, "Wait for that run to end, or stop it.");
    json_decref(holder);
    return -1;
}

json_t *lock_holder(const char *base_dir)
{
    AUTO_FREE char *path = path_join(base_dir, "lock");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    json_t *holder = NULL;

    if (fd < 0)
        return NULL;
    if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        holder = read_holder(path);
        if (!json_is_object(holder)) { /* it was locked a moment ago */
            json_decref(holder);
            holder = json_object();
        }
    }
    close(fd);
    return holder;
}

static bool has_open(pid_t pid, const char *path)
{
    AUTO_FREE char *dir = xasprintf("/proc/%d/fd", (int)pid);
    struct err ignored = ERR_INIT;
    bool found = false;
    char **names;
    size_t count;

    if (dir_list(dir, &names, &count, &ignored) < 0)
        return false;
    for (size_t i = 0; i < count && !found; i++) {
        AUTO_FREE char *fd = path_join(dir, names[i]);
        struct stat open_file, at_path;
        found = stat(fd, &open_file) == 0 && lstat(path, &at_path) == 0 &&
                open_file.st_dev == at_path.st_dev && open_file.st_ino == at_path.st_ino;
    }
    strv_free(names, count);
    return found;
}

/* Whether this process wrote the lock. Another one may have its number now. */
static bool is_holder(const struct process *p, const json_t *holder, const char *path)
{
    const json_t *started = json_object_get(holder, "started");

    return json_is_integer(started) ? (uint64_t)json_integer_value(started) == p->started
                                    : has_open(p->pid, path);
}

/* After a network failure an earlier agent of this run may still hold the lock. */
static void end_predecessor(const char *path, const char *recovery, const char *who)
{
    json_t *holder = read_holder(path);
    const char *its_recovery = json_text(holder, "recovery", NULL);
    const char *its_operator = json_text(holder, "operator", NULL);
    pid_t pid = (pid_t)json_int(holder, "agent", 0);

    struct process p;
    if (its_recovery && strcmp(its_recovery, recovery) == 0 && its_operator &&
        strcmp(its_operator, who) == 0 && pid > 1 && pid != getppid() && process_hold(pid, &p)) {
        if (is_holder(&p, holder, path))
            process_signal(&p, SIGKILL);
        process_release(&p);
    }
    json_decref(holder);
}

/* `who`: NULL for a caller that does not resume a run. */
static int wait_for_lock(int fd, const char *path, const char *base_dir, const char *recovery,
    const char *who, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + LOCK_WAIT_MS;

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_sys(err, ERR_IO, "cannot lock '%s'", path);
        if (who)
            end_predecessor(path, recovery, who);
        if (clock_mono_ms() >= deadline_ms)
            return refuse_locked(path, base_dir, err);
        poll(NULL, 0, LOCK_POLL_MS);
    }
    if (is_file_at(fd, path))
        return 0;
    return err_set(err, ERR_BUSY, "another run has just released the lock '%s'", path);
}

/* Writes recovery.json unless this recovery has written it before. */
static int claim(const char *base_dir, const char *recovery, const char *who, const char *now,
    bool made_base_dir, struct err *err)
{
    struct base_dir found = BASE_DIR_INIT;

    if (base_dir_look(base_dir, &found, err) < 0)
        return -1;
    int rc = base_dir_check(&found, base_dir, recovery, err);
    if (rc == 0 && found.state != BASE_DIR_RECOVERY) {
        AUTO_FREE char *path = path_join(base_dir, "recovery.json");
        json_t *record = json_pack("{s:s, s:s, s:s, s:b}", "recovery", recovery, "operator", who,
            "since", now, "made_base_dir", made_base_dir);
        AUTO_FREE char *text = json_dumps(record, JSON_INDENT(1));
        rc = file_write_atomic(path, text, strlen(text), 0600, err);
        json_decref(record);
    }
    base_dir_release(&found);
    return rc;
}

static int write_holder(int fd, const char *path, const char *recovery, const char *who,
    const char *now, struct err *err)
{
    json_t *holder = json_pack("{s:s, s:s, s:s, s:i}", "operator", who, "recovery", recovery,
        "since", now, "agent", (int)getppid());
    uint64_t started;

    if (process_started(getppid(), &started))
        json_object_set_new(holder, "started", json_integer((json_int_t)started));
    AUTO_FREE char *text = json_dumps(holder, JSON_COMPACT);

    json_decref(holder);
    if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return err_sys(err, ERR_IO, "cannot write the lock '%s'", path);
    return file_write_all(fd, text, strlen(text), path, err);
}

struct lock_params {
    const char *base_dir, *recovery, *who;
};

static int read_params(const json_t *params, struct lock_params *ret, struct err *err)
{
    if (param_string(params, "base_dir", &ret->base_dir, err) < 0 ||
        param_string(params, "recovery", &ret->recovery, err) < 0)
        return -1;
    return param_string(params, "operator", &ret->who, err);
}

/* In a child of the agent. */
static int take_lock(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const struct host_lock *lock = agent_host_lock(call);
    struct lock_params p;
    char now[CLOCK_TEXT_MAX];

    (void)ret;
    if (read_params(params, &p, err) < 0)
        return -1;
    AUTO_FREE char *path = path_join(p.base_dir, "lock");
    if (wait_for_lock(lock->fd, path, p.base_dir, p.recovery, p.who, err) < 0)
        return -1;
    clock_format(clock_wall_ms(), now);
    if (claim(p.base_dir, p.recovery, p.who, now, lock->made_base_dir, err) == 0 &&
        write_holder(lock->fd, path, p.recovery, p.who, now, err) == 0)
        return 0;
    flock(lock->fd, LOCK_UN);
    return -1;
}

/* In the agent: opens the lock, so that the agent itself holds it. */
static int lock_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct host_lock *lock = agent_host_lock(call);
    struct base_dir found = BASE_DIR_INIT;
    struct lock_params p;

    (void)ret;
    if (read_params(params, &p, err) < 0 || base_dir_check_owners(p.base_dir, err) < 0 ||
        base_dir_look(p.base_dir, &found, err) < 0)
        return -1;
    /* A folder of another recovery is refused later, when the lock tells who holds it. */
    bool absent = found.state == BASE_DIR_ABSENT;
    int rc = base_dir_check(&found, p.base_dir, NULL, err);
    base_dir_release(&found);
    /* Servers with "run_as" run as another user, who must be able to pass the folders above. */
    AUTO_FREE char *above = path_dir(p.base_dir);
    if (rc < 0 || dir_make(above, 0711, err) < 0 || dir_make(p.base_dir, 0700, err) < 0)
        return -1;
    AUTO_FREE char *path = path_join(p.base_dir, "lock");
    if (lock->fd < 0 || !is_file_at(lock->fd, path)) {
        int fd = open_lock(path, err);
        if (fd < 0)
            return -1;
        if (lock->fd >= 0)
            close(lock->fd);
        *lock = (struct host_lock){.fd = fd, .made_base_dir = absent};
    }
    agent_continue(call, take_lock);
    return 0;
}

const struct agent_method agent_lock = {.name = "lock", .in_agent = true, .run = lock_run};

/* Removes empty folders, from the bottom up. Others stay. */
static void remove_empty(const char *path)
{
    struct err err = ERR_INIT;
    struct stat st;
    char **names;
    size_t count;

    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || dir_list(path, &names, &count, &err) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *child = path_join(path, names[i]);
        remove_empty(child);
    }
    strv_free(names, count);
    rmdir(path);
}

static int remove_file(const char *dir, const char *name, struct err *err)
{
    AUTO_FREE char *path = path_join(dir, name);
    if (unlink(path) < 0 && errno != ENOENT)
        return err_sys(err, ERR_IO, "cannot remove '%s'", path);
    return 0;
}

/* The caller holds the lock. recovery.json and then the lock go last, so a rerun can finish. */
static int remove_claim(const char *base_dir, const struct base_dir *found, struct err *err)
{
    char **names;
    size_t count;

    if (dir_list(base_dir, &names, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count && found->state == BASE_DIR_RECOVERY; i++) {
        AUTO_FREE char *path = path_join(base_dir, names[i]);
        if (strcmp(names[i], "agent") != 0)
            remove_empty(path);
    }
    strv_free(names, count);
    bool made = json_flag(found->record, "made_base_dir");
    if (remove_file(base_dir, "prepared.json", err) < 0 ||
        remove_file(base_dir, "fast_load.json", err) < 0 ||
        remove_file(base_dir, "recovery.json", err) < 0 || dir_sync(base_dir, err) < 0 ||
        remove_file(base_dir, "lock", err) < 0)
        return -1;
    if (made)
        rmdir(base_dir); /* fails if agent/ or anything else is in it */
    return 0;
}

static int release_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const char *recovery = json_text(params, "recovery", NULL);
    const struct host_lock *held = agent_host_lock(call);
    struct base_dir found = BASE_DIR_INIT;
    const char *base_dir;
    int fd = -1;

    (void)ret;
    if (param_string(params, "base_dir", &base_dir, err) < 0 ||
        base_dir_look(base_dir, &found, err) < 0)
        return -1;
    AUTO_FREE char *path = path_join(base_dir, "lock");
    int rc = 0;
    if (found.state == BASE_DIR_RECOVERY)
        rc = base_dir_check(&found, base_dir, recovery, err);
    else if (found.state != BASE_DIR_EMPTY || !file_exists(path))
        goto out; /* released before, or never claimed */
    if (rc < 0)
        goto out;
    if (held->fd < 0 || !is_file_at(held->fd, path)) {
        rc = fd = open_lock(path, err);
        if (fd < 0)
            goto out;
    }
    rc = wait_for_lock(fd >= 0 ? fd : held->fd, path, base_dir, NULL, NULL, err);
    if (rc == 0)
        rc = remove_claim(base_dir, &found, err);
out:
    if (fd >= 0)
        close(fd);
    base_dir_release(&found);
    return rc;
}

const struct agent_method agent_release = {.name = "release", .run = release_run};
