#include "lock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/host_link.h"
#include "recluster/json.h"

enum {
    LOCK_BYTES_MAX = 16 << 20,
    HOST_BYTES = 256,
    BOOT_ID_BYTES = 64,
    ID_BYTES = 8,
    TRIES = 3,
    PAUSE_MIN_MS = 100,
    PAUSE_STEP_MS = 4,
};

struct backup_lock {
    struct store *store;
    char *name;
    json_t *document;
    int64_t renewed_ms; /* monotonic */
};

static char *boot_id(void)
{
    struct buf text = BUF_INIT;
    struct err ignored = ERR_INIT;

    if (file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_BYTES, &text, &ignored) < 0)
        buf_clear(&text);
    text.data[strcspn(text.data, "\n")] = '\0';
    return buf_take(&text);
}

static int write_lock(struct backup_lock *lock, struct err *err)
{
    char now[CLOCK_TEXT_MAX];

    json_object_set_new(lock->document, "renewed", json_string(clock_format(clock_wall_ms(), now)));
    AUTO_FREE char *text = json_dumps(lock->document, JSON_INDENT(1));
    struct store_writer *w = store_write_begin(lock->store, lock->name, err);
    if (!w)
        return -1;
    if (store_write(w, text, strlen(text), err) < 0) {
        store_write_abort(w);
        return -1;
    }
    lock->renewed_ms = clock_mono_ms();
    return store_write_commit(w, err);
}

/* --- the locks of others --- */

static bool is_lock(const char *name)
{
    size_t len = strlen(name), prefix = strlen(LOCK_PREFIX);
    return len > prefix + 5 && strncmp(name, LOCK_PREFIX, prefix) == 0 &&
           strcmp(name + len - 5, ".lock") == 0;
}

static int add_text(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, LOCK_BYTES_MAX, "the lock", err);
}

/* NULL: it is gone by now, or cannot be read. */
static json_t *read_lock(struct store *store, const char *name)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    struct err ignored = ERR_INIT;

    if (store_read(store, &(struct store_range){name, 0, -1}, add_text, &text, NULL, &ignored) < 0)
        return NULL;
    return json_read(text.data, text.len, 0, "the lock", &ignored);
}

static int64_t time_of(const json_t *lock, const char *field)
{
    struct err ignored = ERR_INIT;
    const char *text = json_text(lock, field, NULL);
    int64_t ms;

    return text && clock_parse(text, &ms, &ignored) == 0 ? ms : 0;
}

static bool is_dead(const json_t *other, const json_t *ours)
{
    bool here = json_equal(json_object_get(other, "host"), json_object_get(ours, "host")) &&
                json_equal(json_object_get(other, "boot_id"), json_object_get(ours, "boot_id"));
    pid_t pid = (pid_t)json_int(other, "pid", 0);

    if (here && pid > 0 && kill(pid, 0) < 0 && errno == ESRCH)
        return true;
    return clock_wall_ms() - time_of(other, "renewed") > LOCK_DEAD_MS;
}

/* What a backup may have written: a lock that names anything else was not written by one. */
static bool is_of_backup(const char *name)
{
    return strncmp(name, "bk", 2) == 0 && !strchr(name, '/');
}

static void sweep_set(struct store *store, const struct store_list *list, const json_t *set)
{
    const char *manifest = json_text(set, "manifest", NULL);
    const json_t *file;
    struct err ignored = ERR_INIT;
    size_t i;

    if (!manifest || store_list_find(list, manifest))
        return;
    json_array_foreach (json_object_get(set, "files"), i, file) {
        const char *name = json_string_value(file);
        if (name && is_of_backup(name) && store_list_find(list, name))
            (void)!store_remove(store, name, &ignored);
    }
}

static void sweep(
    struct store *store, const struct store_list *list, const char *name, const json_t *lock)
{
    const json_t *set;
    struct err ignored = ERR_INIT;
    size_t i;

    json_array_foreach (json_object_get(lock, "sets"), i, set) {
        sweep_set(store, list, set);
    }
    (void)!store_remove(store, name, &ignored);
}

static int check_other(
    struct backup_lock *ours, const struct store_list *list, const char *name, struct err *err)
{
    json_t *other = read_lock(ours->store, name);
    int rc = 0;

    if (other && is_dead(other, ours->document)) {
        sweep(ours->store, list, name, other);
    } else if (other) {
        err_set(err, ERR_LOCKED, "another backup is writing to '%s': %s, since %s",
            store_label(ours->store), json_text(other, "owner", "?"),
            json_text(other, "begun", "?"));
        rc = err_hint(err,
            "Wait until it has ended. If it was killed on another machine, its lock '%s' counts for "
            "%d minutes.",
            name, LOCK_DEAD_MS / 60000);
    }
    json_decref(other);
    return rc;
}

static int check_others(struct backup_lock *ours, struct err *err)
{
    struct store_list list = STORE_LIST_INIT;

    if (store_list(ours->store, &list, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < list.count; i++)
        if (is_lock(list.entries[i].name) && strcmp(list.entries[i].name, ours->name) != 0)
            rc = check_other(ours, &list, list.entries[i].name, err);
    store_list_release(&list);
    return rc;
}

/* --- ours --- */

static int take_once(
    struct store *store, const json_t *sets, struct backup_lock **ret, struct err *err)
{
    struct backup_lock *lock = xcalloc(1, sizeof(*lock));
    AUTO_FREE char *id = random_hex(ID_BYTES);
    AUTO_FREE char *boot = boot_id();
    AUTO_FREE char *owner = operator_name();
    char host[HOST_BYTES] = "", now[CLOCK_TEXT_MAX];

    gethostname(host, sizeof(host) - 1);
    lock->store = store;
    lock->name = xasprintf(LOCK_PREFIX "%s.lock", id);
    lock->document =
        json_pack("{s:s, s:s, s:s, s:i, s:s, s:O}", "owner", owner, "host", host, "boot_id", boot,
            "pid", (int)getpid(), "begun", clock_format(clock_wall_ms(), now), "sets", sets);
    if (write_lock(lock, err) < 0) {
        err_wrap(err, "cannot write to '%s'", store_label(store));
    } else if (check_others(lock, err) == 0) {
        *ret = lock;
        return 0;
    }
    backup_lock_release(lock);
    return -1;
}

/* Two that begin together both step back: they try again after pauses of different lengths. */
int backup_lock_take(
    struct store *store, const json_t *sets, struct backup_lock **ret, struct err *err)
{
    for (int tries = 1;; tries++) {
        *err = (struct err)ERR_INIT;
        if (take_once(store, sets, ret, err) == 0)
            return 0;
        if (err->code != ERR_LOCKED || tries == TRIES)
            return -1;
        AUTO_FREE char *dice = random_hex(1);
        poll(NULL, 0, PAUSE_MIN_MS + (int)strtol(dice, NULL, 16) * PAUSE_STEP_MS);
    }
}

int64_t backup_lock_due_ms(const struct backup_lock *lock)
{
    return lock->renewed_ms + LOCK_RENEW_MS;
}

void backup_lock_renew(struct backup_lock *lock)
{
    struct err ignored = ERR_INIT;

    if (clock_mono_ms() < backup_lock_due_ms(lock))
        return;
    lock->renewed_ms = clock_mono_ms();
    (void)!write_lock(lock, &ignored);
}

void backup_lock_release(struct backup_lock *lock)
{
    struct err ignored = ERR_INIT;

    if (!lock)
        return;
    (void)!store_remove(lock->store, lock->name, &ignored);
    free(lock->name);
    json_decref(lock->document);
    free(lock);
}
