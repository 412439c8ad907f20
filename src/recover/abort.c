/*
 * Undoes a recovery, host by host: stops the shards of all databases that are not open, removes
 * their folders, and removes the record of the recovery if nothing else of it is left there.
 */

#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "moved.h"
#include "recluster/clock.h"
#include "shard_params.h"

enum { CALL_MS = 60 * 1000 };

struct aborting {
    bool *removed;    /* indices into the executor's shards */
    bool open_too;    /* open databases are removed too */
    size_t leftovers; /* by shard */
    struct buf kept;
};

struct undo {
    struct executor *x;
    struct aborting *all;
    struct host_run *host;
    size_t next;      /* next shard */
    size_t next_task; /* of those that may be a Sentinel's */
    int removing;
    size_t next_moved;
    struct moved_run *moved; /* the shard being removed, or NULL */
    bool keeps;              /* a part of the recovery stays on this host */
};

/* "host 'h1', shard 4: …" and a hint, for people. */
static void keep(struct undo *u, const struct shard_run *shard, const struct err *error)
{
    struct buf *kept = &u->all->kept;

    u->keeps = true;
    buf_addf(kept, "%shost '%s'", kept->len ? "\n" : "", u->host->name);
    if (shard)
        buf_addf(kept, ", shard %s", shard->uid);
    buf_addf(kept, ": %s", error->message);
    if (error->hint[0])
        buf_addf(kept, "\n%s", error->hint);
}

static bool has_begun(const struct executor *x, const struct host_run *h)
{
    for (size_t i = 0; i < x->task_count; i++)
        if (&x->hosts[x->tasks[i].host] == h && x->tasks[i].begun)
            return true;
    return false;
}

/* An unreachable host that was lost does not prevent the rest. */
static bool is_only_lost(struct undo *u, const struct err *error)
{
    struct executor *x = u->x;
    const struct moved_run *moved = NULL;
    size_t next = 0;
    struct err ignored = ERR_INIT;

    if (!has_begun(x, u->host))
        moved = moved_left_on(x, u->host, &next);
    return moved && err_code_is_retried(error->code) &&
           moved_is_kept(x, moved, error, &ignored) == 0;
}

static void undo_end(struct undo *u, const struct err *error)
{
    struct link *link = u->host->link;

    if (error && !is_only_lost(u, error))
        keep(u, NULL, error);
    u->host->link = NULL;
    link_close(link);
}

static void undo_next(struct undo *u);

/* A shard that cannot be removed stays; the host's other shards are removed. */
static void on_removed(void *ctx, const json_t *result, const struct err *error)
{
    struct undo *u = ctx;

    (void)result;
    if (error && (error->code == ERR_LINK || err_code_is_retried(error->code))) {
        undo_end(u, error);
        return;
    }
    if (error)
        keep(u, &u->x->shards[u->removing], error);
    else
        u->all->removed[u->removing] = true;
    undo_next(u);
}

/* A shard that is in use by now stays; the abort continues. */
static void on_leftover(void *ctx, const json_t *result, const struct err *error)
{
    struct undo *u = ctx;
    struct executor *x = u->x;
    struct err err = ERR_INIT;
    bool kept = error && error->code == ERR_CHECK;

    (void)result;
    if (error && !kept) {
        undo_end(u, error);
        return;
    }
    u->keeps |= kept;
    u->all->leftovers += !kept;
    if ((kept ? moved_is_kept(x, u->moved, error, &err) : moved_is_removed(x, u->moved, &err)) < 0)
        undo_end(u, &err);
    else
        undo_next(u);
}

static void on_sentinel_removed(void *ctx, const json_t *result, const struct err *error)
{
    struct undo *u = ctx;

    (void)result;
    if (error && (error->code == ERR_LINK || err_code_is_retried(error->code))) {
        undo_end(u, error);
        return;
    }
    if (error)
        keep(u, NULL, error);
    undo_next(u);
}

/* First, so that no Sentinel takes the end of a server for a failure. False: none is left. */
static bool remove_sentinel(struct undo *u)
{
    struct executor *x = u->x;

    while (u->next_task < x->task_count) {
        const struct task_run *t = &x->tasks[u->next_task++];
        if (t->kind != &task_start_sentinel || &x->hosts[t->host] != u->host || !t->begun)
            continue;
        if (!u->all->open_too) {
            u->keeps = true;
            continue;
        }
        json_t *params = shard_params(x, &x->shards[t->shard]);
        json_object_set_new(params, "base_dir", json_string(u->host->base_dir));
        json_object_set(params, "dir", json_object_get(t->params, "dir"));
        link_call(u->host->link, "remove_shard", params, CALL_MS, on_sentinel_removed, NULL, u);
        return true;
    }
    return false;
}

static void on_released(void *ctx, const json_t *result, const struct err *error)
{
    (void)result;
    undo_end(ctx, error);
}

static void undo_next(struct undo *u)
{
    struct executor *x = u->x;

    if (remove_sentinel(u))
        return;
    while (u->next < x->shard_count) {
        struct shard_run *s = &x->shards[u->next++];
        if (&x->hosts[s->host] != u->host)
            continue;
        if (x->databases[s->database].in_use && !u->all->open_too) {
            u->keeps = true;
            continue;
        }
        u->removing = (int)(s - x->shards);
        json_t *params = shard_params(x, s);
        json_object_set_new(params, "sealed", json_boolean(u->all->open_too));
        link_call(u->host->link, "remove_shard", params, CALL_MS, on_removed, NULL, u);
        return;
    }
    u->moved = moved_left_on(x, u->host, &u->next_moved);
    if (u->moved)
        link_call(u->host->link, "remove_shard", moved_params(x, u->moved), CALL_MS, on_leftover,
            NULL, u);
    else if (u->keeps)
        undo_end(u, NULL);
    else
        link_call(u->host->link, "release",
            json_pack("{s:s, s:s}", "base_dir", u->host->base_dir, "recovery", x->recovery),
            CALL_MS, on_released, NULL, u);
}

static void on_ready(void *arg)
{
    undo_next(arg);
}

static void on_failed(void *arg, const struct err *err)
{
    undo_end(arg, err);
}

static bool may_have_parts(struct executor *x, const struct host_run *h)
{
    size_t next = 0;
    return has_begun(x, h) || moved_left_on(x, h, &next);
}

static int undo_hosts(struct executor *x, struct aborting *all, struct err *err)
{
    struct undo *undos = xcalloc(x->host_count, sizeof(*undos));

    x->loop = loop_new();
    for (size_t i = 0; i < x->host_count; i++) {
        struct host_run *h = &x->hosts[i];
        const struct host_opening opening = {
            .target = {.host = h->name, .kind = h->link_kind, .spec = h->spec},
            .base_dir = h->base_dir,
            .recovery = x->recovery,
            .ready = on_ready,
            .failed = on_failed,
            .arg = &undos[i],
        };
        undos[i] = (struct undo){.x = x, .host = h, .all = all};
        if (may_have_parts(x, h) &&
            host_link_open(&x->links, x->loop, &opening, &h->link, &h->error) < 0)
            undo_end(&undos[i], &h->error);
    }
    int rc = loop_run(x->loop, err);
    loop_free(x->loop);
    free(undos);
    return rc;
}

/* A host that was never connected has nothing of its shards. */
static bool is_gone(const struct executor *x, const struct aborting *all, size_t shard)
{
    bool open = x->databases[x->shards[shard].database].in_use;

    return all->removed[shard] || (!open && !has_begun(x, &x->hosts[x->shards[shard].host]));
}

static bool is_fully_removed(
    const struct executor *x, const struct aborting *all, const struct database_run *db)
{
    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        if (!is_gone(x, all, i))
            return false;
    return true;
}

/* First: an interrupted abort must not leave a database that counts as open. */
static int record_intent(struct executor *x, struct err *err)
{
    const struct event event = {.severity = "warning",
        .code = "abort-begun",
        .message = "what the recovery made is being removed, open databases too"};

    if (state_begin(x->st, err) < 0)
        return -1;
    for (size_t i = 0; i < x->database_count; i++)
        if (x->databases[i].in_use &&
            state_run(x->st, err, "UPDATE target SET state = 'failed' WHERE database_uid = ?", "s",
                x->databases[i].uid) < 0)
            return -1;
    if (state_set_meta(x->st, "state", "partly", err) < 0 || state_event(x->st, &event, err) < 0)
        return -1;
    return state_commit(x->st, err);
}

static int record(struct executor *x, const struct aborting *all, size_t open, struct err *err)
{
    const struct event event = {.severity = all->kept.len ? "warning" : "info",
        .code = "recovery-aborted",
        .message = all->kept.len ? all->kept.data : "what the recovery made is removed"};

    if (state_begin(x->st, err) < 0)
        return -1;
    for (size_t i = 0; i < x->shard_count; i++)
        if (is_gone(x, all, i) && journal_shard_reset(x, (int)i, "aborted", err) < 0)
            return -1;
    for (size_t i = 0; i < x->database_count; i++)
        if (all->open_too && is_fully_removed(x, all, &x->databases[i]) &&
            state_run(x->st, err,
                "UPDATE target SET state = 'planned', opened_ms = NULL WHERE database_uid = ? AND "
                "state != 'skipped'",
                "s", x->databases[i].uid) < 0)
            return -1;
    if (state_set_meta(x->st, "state", open || all->kept.len ? "partly" : "planned", err) < 0 ||
        state_event(x->st, &event, err) < 0)
        return -1;
    return state_commit(x->st, err);
}

/* "'h2', 'h3'": hosts with parts that could not be removed. */
static char *hosts_away(struct executor *x)
{
    struct buf names = BUF_INIT;

    for (size_t i = 0; i < x->host_count; i++) {
        size_t next = 0;
        if (moved_left_on(x, &x->hosts[i], &next))
            buf_addf(&names, "%s'%s'", names.len ? ", " : "", x->hosts[i].name);
    }
    if (names.len)
        return buf_take(&names);
    buf_release(&names);
    return NULL;
}

static int check_name(const struct executor *x, const char *typed, struct err *err)
{
    const char *name = x->ccs->cluster_name;

    if (!name || !*name)
        name = x->recovery;
    if (!typed || strcmp(typed, name) == 0)
        return 0;
    err_set(err, ERR_USAGE, "--open-databases '%s' is not the name of this cluster", typed);
    return err_hint(err,
        "Its name is '%s'. Type it to stop and remove the databases that clients use, with their data.",
        name);
}

int recover_abort(struct state *st, const char *name, struct recover_undone *ret, struct err *err)
{
    struct executor x = {.st = st, .links = {.st = st}};
    struct aborting all = {.removed = NULL, .open_too = name != NULL};
    int rc = -1;

    *ret = (struct recover_undone){0};
    if (executor_load(&x, err) < 0 || check_name(&x, name, err) < 0)
        goto out;
    for (size_t i = 0; i < x.database_count && !name; i++)
        ret->open += x.databases[i].in_use;
    all.removed = xcalloc(x.shard_count + 1, sizeof(*all.removed));
    if (all.open_too && record_intent(&x, err) < 0) {
        state_rollback(st);
        goto out;
    }
    if (undo_hosts(&x, &all, err) < 0)
        goto out;
    rc = record(&x, &all, ret->open, err);
    if (rc < 0) {
        state_rollback(st);
        goto out;
    }
    ret->away = hosts_away(&x);
    for (size_t i = 0; i < x.shard_count; i++)
        ret->removed += all.removed[i];
    ret->leftovers = all.leftovers;
    if (all.kept.len)
        ret->kept = buf_take(&all.kept);
out:
    free(all.removed);
    buf_release(&all.kept);
    executor_release(&x);
    return rc;
}
