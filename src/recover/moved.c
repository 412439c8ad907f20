/* What shards left on a host that was lost, once it is back. */

#include <stdlib.h>

#include "internal.h"
#include "recluster/clock.h"

/* The next one from *next on; NULL: there is none. */
struct moved_run *moved_left_on(struct executor *x, const struct host_run *h, size_t *next)
{
    while (*next < x->moved_count) {
        struct moved_run *m = &x->moved[(*next)++];
        if (&x->hosts[m->host] == h && !m->removed)
            return m;
    }
    return NULL;
}

json_t *moved_params(const struct executor *x, const struct moved_run *moved)
{
    return json_pack("{s:s, s:s, s:s}", "base_dir", x->hosts[moved->host].base_dir, "recovery",
        x->recovery, "dir", moved->dir);
}

static int tell(struct executor *x, const struct moved_run *moved, const char *severity,
    const char *code, const char *message, struct err *err)
{
    const struct event event = {
        .severity = severity,
        .code = code,
        .database = x->databases[moved->database].uid,
        .shard = moved->shard,
        .host = x->hosts[moved->host].name,
        .message = message,
    };

    return state_event(x->st, &event, err);
}

int journal_moved_removed(struct executor *x, struct moved_run *moved, struct err *err)
{
    CLEANUP(free_ptr)
    char *message = xasprintf("what shard %s left on %s before that was lost is removed",
        moved->shard, x->hosts[moved->host].name);

    if (state_begin(x->st, err) < 0)
        return -1;
    if (state_run(x->st, err, "UPDATE moved SET removed_ms = ? WHERE moved_id = ?", "ii",
            clock_wall_ms(), moved->id) < 0 ||
        tell(x, moved, NULL, "leftover-removed", message, err) < 0 ||
        state_commit(x->st, err) < 0) {
        state_rollback(x->st);
        return -1;
    }
    moved->removed = true;
    return 0;
}

int journal_moved_kept(
    struct executor *x, const struct moved_run *moved, const struct err *why, struct err *err)
{
    CLEANUP(free_ptr)
    char *message = xasprintf("what shard %s left on %s before that was lost is still there: %s",
        moved->shard, x->hosts[moved->host].name, why->message);

    return tell(x, moved, "warning", "leftover-kept", message, err);
}
