#include "cut.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"

enum {
    FREE_TRIES = 3, /* without a pause */
    FREE_MS = 2000, /* for a reading without a pause */
    PAUSED_MS = CUT_PAUSE_MS / 2,
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 2000,
};

struct finding {
    struct offsets *o;
    size_t count;
    const struct cut_step *step; /* NULL: none */
    bool stepped;                /* it has succeeded */
    struct offset_reading *first, *second;
    struct err reason; /* why the last try failed */
    bool open_slots;   /* as it was seen last: then nothing is paused */
    int64_t paused_ms;
};

/* --- one reading --- */

/* Whether these offsets can mean anything. -1: not now. */
static int check_reading(struct finding *f, const struct offset_reading *readings)
{
    struct slots seen;

    f->open_slots = false;
    slots_clear(&seen);
    for (size_t i = 0; i < f->count; i++)
        f->open_slots |= readings[i].moves_slots;
    for (size_t i = 0; i < f->count; i++) {
        const struct offset_reading *r = &readings[i];
        if (r->error.code != ERR_NONE) {
            f->reason = r->error;
            return -1;
        }
        if (!r->primary)
            return err_set(&f->reason, ERR_CHANGED, "a primary has become a replica");
        if (!r->backlog)
            return err_set(&f->reason, ERR_CHECK, "a primary has no replication backlog");
        if (r->fails)
            return err_set(&f->reason, ERR_BUSY, "a node is marked as failing");
        if (r->moves_slots)
            return err_set(&f->reason, ERR_BUSY, "slots are being moved");
        if (f->count > 1 && slots_overlap(&seen, &r->slots))
            return err_set(&f->reason, ERR_BUSY, "two primaries claim the same slots");
        slots_union(&seen, &r->slots);
    }
    return 0;
}

static int check_equal(struct finding *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct offset_reading *a = &f->first[i], *b = &f->second[i];
        if (strcmp(a->place.id, b->place.id) != 0 || strcmp(a->node, b->node) != 0)
            return err_set(&f->reason, ERR_BUSY, "the cluster was being changed");
        if (a->place.offset != b->place.offset)
            return err_set(&f->reason, ERR_BUSY, "keys were written between the readings");
    }
    return 0;
}

/* --- a try --- */

/* What has to happen between the readings. -1: not now. */
static int take_step(struct finding *f)
{
    if (!f->step)
        return 0;
    if (check_reading(f, f->first) < 0 || f->step->run(f->step->arg, f->first, &f->reason) < 0)
        return -1;
    f->stepped = true;
    return 0;
}

/* 1: both were read; 0: not now. */
static int read_free(struct finding *f, int64_t *ret_time_ms, struct err *err)
{
    if (offsets_read(f->o, OFFSETS_ASK, 0, FREE_MS, f->first, err) < 0)
        return -1;
    *ret_time_ms = clock_wall_ms();
    if (take_step(f) < 0)
        return 0;
    return offsets_read(f->o, OFFSETS_ASK, 0, FREE_MS, f->second, err) < 0 ? -1 : 1;
}

static int read_paused(struct finding *f, int64_t *ret_time_ms, struct err *err)
{
    int64_t begun_ms = clock_mono_ms();

    int rc = offsets_read(f->o, OFFSETS_PAUSE, CUT_PAUSE_MS, PAUSED_MS, f->first, err);
    *ret_time_ms = clock_wall_ms();
    bool stepped = rc == 0 && take_step(f) == 0;
    if (stepped)
        rc = offsets_read(f->o, OFFSETS_RESUME, 0, PAUSED_MS, f->second, err);
    offsets_end_pause(f->o, PAUSED_MS);
    f->paused_ms += clock_mono_ms() - begun_ms;
    return rc < 0 ? -1 : stepped;
}

/* 1: found; 0: not this time. */
static int try_once(struct finding *f, bool paused, struct cut *ret, struct err *err)
{
    int rc = paused ? read_paused(f, &ret->time_ms, err) : read_free(f, &ret->time_ms, err);

    if (rc <= 0)
        return rc;
    if (check_reading(f, f->first) < 0 || check_reading(f, f->second) < 0 || check_equal(f) < 0) {
        if (f->stepped)
            f->reason.code = ERR_CHANGED;
        return 0;
    }
    for (size_t i = 0; i < f->count; i++)
        ret->shards[i] = (struct cut_shard){f->second[i].place, f->second[i].slots};
    return 1;
}

/* What no further try would change. */
static bool is_final(const struct err *reason)
{
    return reason->code == ERR_CHANGED || reason->code == ERR_CHECK || reason->code == ERR_DENIED;
}

static int find(struct finding *f, int64_t give_up_at_ms, struct cut *ret, struct err *err)
{
    int pause_ms = BACKOFF_MS;

    for (ret->tries = 1;; ret->tries++) {
        bool paused = (f->step || ret->tries > FREE_TRIES) && !f->open_slots;
        int rc = try_once(f, paused, ret, err);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        if (is_final(&f->reason) || clock_mono_ms() >= give_up_at_ms) {
            *err = f->reason;
            return -1;
        }
        if (ret->tries < FREE_TRIES)
            continue;
        poll(NULL, 0, pause_ms);
        pause_ms = pause_ms < BACKOFF_MAX_MS / 2 ? 2 * pause_ms : BACKOFF_MAX_MS;
    }
}

int cut_find(
    struct offsets *o, size_t count, int64_t give_up_after_ms, struct cut *ret, struct err *err)
{
    return cut_find_with(o, count, NULL, give_up_after_ms, ret, err);
}

int cut_find_with(struct offsets *o, size_t count, const struct cut_step *step,
    int64_t give_up_after_ms, struct cut *ret, struct err *err)
{
    struct finding f = {
        .o = o,
        .count = count,
        .step = step,
        .first = xcalloc(count + 1, sizeof(*f.first)),
        .second = xcalloc(count + 1, sizeof(*f.second)),
    };

    int rc = find(&f, clock_mono_ms() + give_up_after_ms, ret, err);
    ret->paused_ms = f.paused_ms;
    free(f.first);
    free(f.second);
    return rc < 0 ? err_wrap(err, "no cut over all shards was found") : 0;
}
