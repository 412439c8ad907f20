#include "moved.h"

#include <stdlib.h>

#include "recluster/clock.h"

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

static struct event moved_event(
    const struct executor *x, const struct moved_run *moved, const char *severity, const char *code)
{
    return (struct event){
        .severity = severity,
        .code = code,
        .database = x->databases[moved->database].uid,
        .shard = moved->shard,
        .host = x->hosts[moved->host].name,
    };
}

int moved_is_removed(struct executor *x, struct moved_run *moved, struct err *err)
{
    const struct event event = moved_event(x, moved, "info", "leftover-removed");

    if (state_begin(x->st, err) < 0)
        return -1;
    if (state_run(x->st, err, "UPDATE moved SET removed_ms = ? WHERE moved_id = ?", "ii",
            clock_wall_ms(), moved->id) < 0 ||
        state_tell(x->st, &event, err,
            "the leftovers of shard %s on %s, which was lost, are removed", event.shard,
            event.host) < 0 ||
        state_commit(x->st, err) < 0) {
        state_rollback(x->st);
        return -1;
    }
    moved->removed = true;
    return 0;
}

int moved_is_kept(
    struct executor *x, const struct moved_run *moved, const struct err *why, struct err *err)
{
    const struct event event = moved_event(x, moved, "warning", "leftover-kept");

    return state_tell(x->st, &event, err,
        "the leftovers of shard %s on %s, which was lost, are still there: %s", event.shard,
        event.host, why->message);
}
