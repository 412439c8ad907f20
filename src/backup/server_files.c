#include "server_files.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lock.h"
#include "recluster/clock.h"
#include "recluster/everywhere.h"
#include "recluster/json.h"

enum {
    ANSWER_MS = 10 * 1000,
    SEAL_MS = CUT_PAUSE_MS,
    LOOK_MS = 200,
    BASE_MS = 24 * 3600 * 1000, /* a base of any size */
    CUTS_MAX = 3,
};

enum step { STEP_NONE, STEP_STARTED, STEP_BASED, STEP_SEALED };

struct server_files {
    const struct backup_params *params;
    const struct backup_shards *shards;
    size_t count;
    struct everywhere *e;
    struct offsets *sources; /* of the servers that make files */
    struct everywhere_answer *answers;
    enum step *steps;
    bool *which; /* who is asked */
    json_t **paths;
};

static const struct live_server *server_of(const struct server_files *f, size_t i)
{
    return f->shards->shards[i].sources[0].server;
}

/* --- one command --- */

static void forget(struct server_files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        json_decref(f->answers[i].reply);
        f->answers[i].reply = NULL;
    }
}

/* Those of `which`; the first error of any of them. */
static int call(struct server_files *f, const char *word, int64_t deadline_ms, struct err *err)
{
    const char *const words[] = {"BACKUP", word, NULL};

    forget(f);
    if (everywhere_call(f->e, words, f->which, deadline_ms, f->answers, err) < 0)
        return -1;
    for (size_t i = 0; i < f->count; i++)
        if (f->which[i] && f->answers[i].error.code != ERR_NONE) {
            *err = f->answers[i].error;
            return err_wrap(err, "BACKUP %s", word);
        }
    return 0;
}

static void choose(struct server_files *f, enum step step)
{
    for (size_t i = 0; i < f->count; i++)
        f->which[i] = f->steps[i] == step;
}

/* A field of the answer to STATUS: a list of names and values. */
static const char *field(const json_t *status, const char *name)
{
    for (size_t i = 0; i + 1 < json_array_size(status); i += 2)
        if (json_is_string(json_array_get(status, i)) &&
            strcmp(json_string_value(json_array_get(status, i)), name) == 0)
            return json_string_value(json_array_get(status, i + 1));
    return NULL;
}

/* --- bases --- */

static int check_idle(struct server_files *f, struct err *err)
{
    choose(f, STEP_NONE);
    if (call(f, "STATUS", ANSWER_MS, err) < 0) {
        if (err->code == ERR_SERVER)
            err_hint(err, "The servers lack this command: it came with Redis 8.10. Leave "
                          "--server-files away.");
        return -1;
    }
    for (size_t i = 0; i < f->count; i++) {
        const char *state = field(f->answers[i].reply, "state");
        if (state && (strcmp(state, "idle") == 0 || strcmp(state, "failed") == 0))
            continue;
        const struct live_server *s = server_of(f, i);
        err_set(err, ERR_LOCKED, "%s:%d has a backup of its own already: its state is '%s'",
            s->addr, s->port, state ? state : "?");
        return err_hint(
            err, "If nobody needs it: redis-cli -h %s -p %d BACKUP CLEANUP", s->addr, s->port);
    }
    return 0;
}

/* Whether another server on that machine makes its base now. */
static bool machine_is_busy(const struct server_files *f, size_t i)
{
    for (size_t k = 0; k < f->count; k++)
        if (f->steps[k] == STEP_STARTED &&
            strcmp(server_of(f, k)->addr, server_of(f, i)->addr) == 0)
            return true;
    return false;
}

/* A lost answer may be that of a backup that has begun; a refused one is none of ours. */
static int start_one(struct server_files *f, size_t i, struct err *err)
{
    memset(f->which, 0, f->count * sizeof(*f->which));
    f->which[i] = true;
    f->steps[i] = STEP_STARTED;
    if (call(f, "START", ANSWER_MS, err) == 0)
        return 0;
    if (err->code == ERR_SERVER || err->code == ERR_DENIED)
        f->steps[i] = STEP_NONE;
    return -1;
}

static int start_some(struct server_files *f, struct err *err)
{
    size_t running = 0;

    for (size_t i = 0; i < f->count; i++)
        running += f->steps[i] == STEP_STARTED;
    for (size_t i = 0; i < f->count && running < f->params->forks; i++) {
        if (f->steps[i] != STEP_NONE || machine_is_busy(f, i))
            continue;
        if (start_one(f, i, err) < 0)
            return -1;
        running++;
    }
    return 0;
}

/* 1: all bases are there; 0: not yet. */
static int look(struct server_files *f, struct err *err)
{
    size_t based = 0;

    choose(f, STEP_STARTED);
    if (call(f, "STATUS", ANSWER_MS, err) < 0)
        return -1;
    for (size_t i = 0; i < f->count; i++) {
        const char *state = f->which[i] ? field(f->answers[i].reply, "state") : NULL;
        const char *why = f->which[i] ? field(f->answers[i].reply, "error") : NULL;
        if (state && strcmp(state, "incrementing") == 0)
            f->steps[i] = STEP_BASED;
        if (state && strcmp(state, "failed") == 0)
            return err_set(err, ERR_SERVER, "%s:%d could not make its base: %s",
                server_of(f, i)->addr, server_of(f, i)->port, why ? why : "?");
        based += f->steps[i] == STEP_BASED;
    }
    return based == f->count;
}

static void tell_progress(const struct server_files *f)
{
    struct backup_progress now = {.shards = f->count};

    for (size_t i = 0; i < f->count; i++)
        now.based += f->steps[i] >= STEP_BASED;
    if (f->params->progress)
        f->params->progress(f->params->arg, &now);
}

/* Waits for a moment. -1: the run is to stop. */
static int pause_a_moment(const struct server_files *f, struct err *err)
{
    struct pollfd stop = {f->params->stop_fd, POLLIN, 0};

    if (f->params->lock)
        backup_lock_renew(f->params->lock);
    return poll(&stop, 1, LOOK_MS) > 0 ? err_set(err, ERR_CANCELLED, "interrupted") : 0;
}

static int make_bases(struct server_files *f, struct err *err)
{
    int64_t give_up_at_ms = clock_mono_ms() + BASE_MS;

    for (;;) {
        if (start_some(f, err) < 0 || pause_a_moment(f, err) < 0)
            return -1;
        int rc = look(f, err);
        tell_progress(f);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        if (clock_mono_ms() >= give_up_at_ms)
            return err_set(err, ERR_TIMEOUT, "the servers did not make their bases in a day");
    }
}

/* --- the cut --- */

/* Each server has all that its primary had in the first reading, and then is sealed. */
static int seal(void *arg, const struct offset_reading *first, struct err *err)
{
    struct server_files *f = arg;
    struct offset_reading *own = xcalloc(f->count + 1, sizeof(*own));

    int rc = offsets_read(f->sources, OFFSETS_ASK, 0, CUT_PAUSE_MS / 2, own, err);
    for (size_t i = 0; rc == 0 && i < f->count; i++) {
        if (own[i].error.code != ERR_NONE) {
            *err = own[i].error;
            rc = -1;
        } else if (strcmp(own[i].place.id, first[i].place.id) != 0 ||
                   own[i].place.offset != first[i].place.offset) {
            rc = err_set(err, ERR_BUSY, "%s:%d does not have all that its primary has",
                server_of(f, i)->addr, server_of(f, i)->port);
        }
    }
    free(own);
    if (rc < 0)
        return -1;
    choose(f, STEP_BASED);
    for (size_t i = 0; i < f->count; i++)
        f->steps[i] = STEP_SEALED;
    /* One that is not sealed makes all useless: the second reading cannot tell. */
    struct err failure = ERR_INIT;
    if (call(f, "SEAL", SEAL_MS, &failure) < 0) {
        *err = failure;
        err->code = ERR_CHANGED;
        return -1;
    }
    return 0;
}

static int find_cut(struct server_files *f, struct cut *ret, struct err *err)
{
    const struct live_server **primaries = xcalloc(f->count, sizeof(*primaries));
    const struct cut_step step = {seal, f};

    for (size_t i = 0; i < f->count; i++)
        primaries[i] = f->shards->shards[i].primary;
    struct offsets *o = offsets_open(f->params->ask, primaries, f->count);
    int rc = cut_find_with(o, f->count, &step, f->params->patience_ms, ret, err);
    offsets_close(o);
    free(primaries);
    return rc;
}

/*
 * Ends what was begun; a server that does not answer keeps its files. One that was to be sealed may not
 * have been: those that are sealed refuse ABORT.
 */
static void clean(struct server_files *f)
{
    struct err ignored = ERR_INIT;

    for (size_t i = 0; i < f->count; i++)
        f->which[i] = f->steps[i] != STEP_NONE;
    (void)!call(f, "ABORT", ANSWER_MS, &ignored);
    for (size_t i = 0; i < f->count; i++) {
        f->which[i] = f->steps[i] != STEP_NONE;
        f->steps[i] = STEP_NONE;
    }
    (void)!call(f, "CLEANUP", ANSWER_MS, &ignored);
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), tail = strlen(end);
    return len >= tail && strcmp(text + len - tail, end) == 0;
}

/* Of the answer to LIST, beside the manifest. */
static int take_paths(struct server_files *f, struct err *err)
{
    choose(f, STEP_SEALED);
    if (call(f, "LIST", ANSWER_MS, err) < 0)
        return -1;
    for (size_t i = 0; i < f->count; i++) {
        const json_t *list = f->answers[i].reply, *path;
        const char *base = NULL, *incr = NULL;
        size_t k;
        json_array_foreach (list, k, path) {
            const char *text = json_string_value(path);
            base = text && ends_with(text, ".base.rdb") ? text : base;
            incr = text && ends_with(text, ".incr.aof") ? text : incr;
        }
        if (!base || !incr || *base != '/' || *incr != '/')
            return err_set(err, ERR_PROTOCOL,
                "%s:%d does not name one base and one file of what came after it (BACKUP LIST)",
                server_of(f, i)->addr, server_of(f, i)->port);
        f->paths[i] = json_pack("[s, s]", base, incr);
    }
    return 0;
}

/* --- all together --- */

static struct server_files *files_new(
    const struct backup_params *params, const struct backup_shards *shards)
{
    struct server_files *f = xcalloc(1, sizeof(*f));
    const struct live_server **servers = xcalloc(shards->count, sizeof(*servers));

    f->params = params;
    f->shards = shards;
    f->count = shards->count;
    for (size_t i = 0; i < f->count; i++)
        servers[i] = server_of(f, i);
    f->e = everywhere_open(params->ask, servers, f->count);
    f->sources = offsets_open(params->ask, servers, f->count);
    f->answers = xcalloc(f->count + 1, sizeof(*f->answers));
    f->steps = xcalloc(f->count + 1, sizeof(*f->steps));
    f->which = xcalloc(f->count + 1, sizeof(*f->which));
    f->paths = xcalloc(f->count + 1, sizeof(json_t *));
    free(servers);
    return f;
}

void server_files_clean(struct server_files *f)
{
    if (!f)
        return;
    clean(f);
    forget(f);
    for (size_t i = 0; i < f->count; i++)
        json_decref(f->paths[i]);
    everywhere_close(f->e);
    offsets_close(f->sources);
    free(f->answers);
    free(f->steps);
    free(f->which);
    free(f->paths);
    free(f);
}

int server_files_seal(const struct backup_params *params, const struct backup_shards *shards,
    struct cut *ret_cut, struct server_files **ret, struct err *err)
{
    struct server_files *f = files_new(params, shards);
    int rc = check_idle(f, err);

    for (int tries = 1; rc == 0; tries++) {
        rc = make_bases(f, err);
        if (rc < 0)
            break;
        rc = find_cut(f, ret_cut, err);
        if (rc == 0 || err->code != ERR_CHANGED || tries == CUTS_MAX)
            break;
        clean(f); /* keys were written while the servers were sealed */
        *err = (struct err)ERR_INIT;
        rc = 0;
    }
    if (rc == 0)
        rc = take_paths(f, err);
    if (rc < 0) {
        server_files_clean(f);
        return -1;
    }
    *ret = f;
    return 0;
}

const json_t *server_files_of(const struct server_files *f, size_t shard)
{
    return f->paths[shard];
}
