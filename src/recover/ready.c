#include "ready.h"

#include <stdlib.h>
#include <string.h>

/*
 * prepare_shard stops servers of the earlier generation. No server of this generation may start
 * before all of them have stopped: a cluster node forgets an address at which it finds another
 * node.
 */
bool waits_for_old_servers(const struct database_run *db, const struct task_kind *kind)
{
    return db->generation > 0 && db->unprepared > 0 && !kind->beside_others;
}

/* The conditions that depend on other tasks. If they hold, the task enters its lane. */
static bool is_due(const struct executor *x, const struct task_run *t)
{
    const struct database_run *db = &x->databases[t->database];

    if (t->state != TASK_PENDING || t->kind->stage > x->hooks->until ||
        waits_for_old_servers(db, t->kind))
        return false;
    for (size_t gate = 0; gate < (size_t)t->gate; gate++)
        if (db->undone[gate] || db->unsure)
            return false;
    for (size_t i = 0; i < t->wait_count; i++) {
        const struct task_run *on = &x->tasks[t->waits_for[i]];
        if (on->state != TASK_DONE || x->shards[on->shard].unsure)
            return false;
    }
    return true;
}

/* The remaining files of a refused database are still checked: one run reports all bad ones. */
static bool is_refused(const struct executor *x, const struct task_run *t)
{
    return x->databases[t->database].refused &&
           (t->kind->stage > STAGE_TRANSFER || x->refused_stopped);
}

bool task_is_ready(const struct executor *x, const struct task_run *t)
{
    return is_due(x, t) && !is_refused(x, t) && (!t->kind->ready || t->kind->ready(x, t));
}

static void consider(struct executor *x, struct task_run *t)
{
    struct host_run *h = &x->hosts[t->host];
    enum lane lane = t->kind->lane;

    if (!x->ready_begun || t->queued || !is_due(x, t))
        return;
    GROW(h->ready[lane], h->ready_count[lane], h->ready_alloc[lane]);
    size_t at = h->ready_count[lane]++;
    for (; at > 0 && h->ready[lane][at - 1] > t;
         at--) /* By address within one array, which is the order of the plan. */
        h->ready[lane][at] = h->ready[lane][at - 1];
    h->ready[lane][at] = t;
    t->queued = true;
}

static void consider_shard(struct executor *x, const struct shard_run *s)
{
    for (struct task_run *t = s->tasks; t; t = t->next_of_shard)
        consider(x, t);
}

static void consider_database(struct executor *x, const struct database_run *db)
{
    for (size_t i = db->first_shard; i < db->first_shard + db->shard_count; i++)
        consider_shard(x, &x->shards[i]);
}

static void consider_waiters(struct executor *x, const struct task_run *t)
{
    for (size_t i = 0; i < t->waiter_count; i++)
        consider(x, &x->tasks[t->waiters[i]]);
}

void ready_begin(struct executor *x)
{
    x->ready_begun = true;
    for (size_t i = 0; i < x->task_count; i++)
        consider(x, &x->tasks[i]);
}

static bool opens_gate(const struct executor *x, const struct task_run *t)
{
    const struct database_run *db = &x->databases[t->database];

    return db->undone[t->gate] == 0 ||
           (db->generation > 0 && t->kind->stage == STAGE_PREPARE && db->unprepared == 0);
}

void task_set_state(struct executor *x, struct task_run *t, enum task_state state)
{
    task_count_state(x, t, state);
    if (state == TASK_PENDING)
        consider(x, t);
    else if (state == TASK_DONE && opens_gate(x, t))
        consider_database(x, &x->databases[t->database]);
    else if (state == TASK_DONE)
        consider_waiters(x, t);
}

void shard_set_unsure(struct executor *x, struct shard_run *s, bool unsure)
{
    struct database_run *db = &x->databases[s->database];
    size_t more = unsure && !s->unsure, less = !unsure && s->unsure;

    db->unsure += more - less;
    x->unsure += more - less;
    s->unsure = unsure;
    if (!less)
        return;
    if (db->unsure == 0)
        consider_database(x, db);
    for (const struct task_run *t = s->tasks; t; t = t->next_of_shard)
        consider_waiters(x, t);
}

struct task_run *ready_next(struct executor *x, struct host_run *h, enum lane lane, size_t *at)
{
    struct task_run **queue = h->ready[lane];
    size_t from = *at;

    while (from < h->ready_count[lane] && !is_due(x, queue[from]))
        queue[from++]->queued = false;
    if (from > *at) {
        memmove(
            queue + *at, queue + from, (h->ready_count[lane] - from) * sizeof(struct task_run *));
        h->ready_count[lane] -= from - *at;
    }
    for (; *at < h->ready_count[lane]; ++*at)
        if (task_is_ready(x, queue[*at]))
            return queue[*at];
    return NULL;
}
