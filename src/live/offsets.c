#include "recluster/offsets.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "recluster/clock.h"
#include "resp.h"

struct line { /* the connection to one primary */
    struct offsets *offsets;
    const struct live_server *server; /* owned by the arena */
    struct resp *resp;                /* NULL: not connected */
    bool cluster;
    struct offset_reading *reading;
    size_t expected, received; /* answers of this reading */
    size_t login;              /* how many of them, at the front, are of a login */
    size_t info_at;            /* which of them is that of INFO; that of CLUSTER NODES follows */
    bool paused;               /* a pause may have been set and not ended */
    int64_t give_up_at_ms;
};

struct offsets {
    struct arena arena, scratch;
    struct live_params params;
    struct loop *loop;
    struct line *lines;
    size_t count;
};

struct offsets *offsets_open(
    const struct live_params *params, const struct live_server *const *primaries, size_t count)
{
    struct offsets *o = xcalloc(1, sizeof(*o));

    arena_init(&o->arena);
    arena_init(&o->scratch);
    o->params = *params;
    o->loop = loop_new();
    o->lines = xcalloc(count + 1, sizeof(*o->lines));
    o->count = count;
    for (size_t i = 0; i < count; i++) {
        struct live_server *copy = arena_alloc(&o->arena, sizeof(*copy));
        copy->addr = arena_strdup(&o->arena, primaries[i]->addr);
        copy->name = arena_strdup(&o->arena, primaries[i]->name);
        copy->port = primaries[i]->port;
        o->lines[i] = (struct line){
            .offsets = o, .server = copy, .cluster = primaries[i]->mode == LIVE_CLUSTER};
    }
    return o;
}

void offsets_close(struct offsets *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->count; i++)
        resp_close(o->lines[i].resp);
    free(o->lines);
    loop_free(o->loop);
    arena_release(&o->scratch);
    arena_release(&o->arena);
    free(o);
}

/* --- what is asked --- */

#define SEND(line, ...) send_words((line), (const char *const[]){__VA_ARGS__, NULL})

static void send_words(struct line *l, const char *const *words)
{
    resp_send(l->resp, words);
    l->expected++;
}

static int connect_line(struct line *l, struct err *err)
{
    const struct live_params *params = &l->offsets->params;
    const char *password = secret_reveal(params->login.password);
    const struct tcp_params tcp = {l->server->addr, l->server->port, params->tls, l->server->name};

    l->login = 0;
    if (l->resp)
        return 0;
    if (resp_open(&tcp, &l->resp, err) < 0)
        return -1;
    if (password && params->login.user)
        SEND(l, "AUTH", params->login.user, password);
    else if (password)
        SEND(l, "AUTH", password);
    l->login = l->expected;
    return 0;
}

static void ask(struct line *l, enum offsets_ask what, int64_t pause_ms)
{
    char text[32];

    if (what == OFFSETS_PAUSE) {
        snprintf(text, sizeof(text), "%" PRId64, pause_ms);
        SEND(l, "CLIENT", "PAUSE", text, "WRITE");
        l->paused = true;
    }
    l->info_at = l->expected;
    SEND(l, "INFO", "replication");
    if (l->cluster)
        SEND(l, "CLUSTER", "NODES");
    if (what == OFFSETS_RESUME)
        SEND(l, "CLIENT", "UNPAUSE");
}

/* --- what is answered --- */

static int take_replication(struct line *l, const char *text, struct err *err)
{
    struct arena *arena = &l->offsets->scratch;
    const char *role = info_line(arena, text, "role"),
               *id = info_line(arena, text, "master_replid");
    const char *offset = info_line(arena, text, "master_repl_offset");
    const char *backlog = info_line(arena, text, "repl_backlog_active");

    if (!role || !id || strlen(id) != REPL_ID_HEX || !offset || !backlog)
        return err_set(err, ERR_PROTOCOL, "INFO replication has another form than expected");
    l->reading->primary = strcmp(role, "master") == 0;
    l->reading->backlog = strcmp(backlog, "1") == 0;
    memcpy(l->reading->place.id, id, REPL_ID_HEX + 1);
    l->reading->place.offset = strtoll(offset, NULL, 10);
    return 0;
}

/* "<id> <address> <flags> <primary> <ping> <pong> <epoch> <link> <slots>" without ping and pong. */
static void digest_line(struct arena *arena, const char *line, char *ret)
{
    char *text = arena_strdup(arena, line), *rest;
    struct digest *d = digest_new();
    size_t at = 0;

    for (char *word = strtok_r(text, " \r", &rest); word; word = strtok_r(NULL, " \r", &rest), at++)
        if (at != 4 && at != 5)
            digest_add(d, word, strlen(word) + 1);
    digest_end(d, ret);
}

static int take_own_line(struct line *l, const char *text, struct err *err)
{
    struct arena *arena = &l->offsets->scratch;
    struct live_node node;

    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        const char *line = arena_memdup(arena, at, strcspn(at, "\n"));
        if (!strstr(line, "myself") || !node_parse(arena, line, &node) || !node.myself)
            continue;
        l->reading->slots = node.slots;
        l->reading->moves_slots = node.moves_slots;
        l->reading->fails = node.fails || node.suspected;
        digest_line(arena, line, l->reading->node);
        return 0;
    }
    return err_set(err, ERR_PROTOCOL, "CLUSTER NODES does not have the server itself");
}

static int take_refusal(const struct line *l, const char *text, struct err *err)
{
    size_t at = l->received - 1;

    if (at < l->login &&
        (strstr(text, "no password is set") || strstr(text, "without any password")))
        return 0;
    if (at < l->login)
        return err_set(err, ERR_DENIED, "the server refuses the login: %s", text);
    if (strncmp(text, "NOPERM", 6) == 0) {
        err_set(err, ERR_DENIED, "the server refuses a command to this user: %s", text);
        return err_hint(err, "What the user needs: recluster backup --acl");
    }
    return err_set(err, ERR_BUSY, "the server answers '%s'", text);
}

static int take(struct line *l, const redisReply *reply, struct err *err)
{
    size_t at = l->received++;

    if (reply->type == REDIS_REPLY_ERROR)
        return take_refusal(l, reply->str, err);
    if (at != l->info_at && !(l->cluster && at == l->info_at + 1))
        return 0;
    if (reply->type != REDIS_REPLY_STRING)
        return err_set(err, ERR_PROTOCOL, "the server answers with another type than expected");
    return at == l->info_at ? take_replication(l, reply->str, err)
                            : take_own_line(l, reply->str, err);
}

static enum job_step line_step(void *arg, struct wait *wait, struct err *err)
{
    struct line *l = arg;

    while (l->received < l->expected) {
        redisReply *reply;
        switch (resp_next(l->resp, &reply, wait, err)) {
        case RESP_FAILED:
            return JOB_FAIL;
        case RESP_WAIT:
            if (clock_mono_ms() >= l->give_up_at_ms) {
                err_set(err, ERR_TIMEOUT, "the server does not answer in time");
                return JOB_FAIL;
            }
            wait_until(wait, l->give_up_at_ms);
            return JOB_WAIT;
        case RESP_REPLY:
            break;
        }
        int rc = take(l, reply, err);
        freeReplyObject(reply);
        if (rc < 0)
            return JOB_FAIL;
    }
    return JOB_DONE;
}

static void fail(struct line *l, const struct err *err)
{
    l->reading->error = *err;
    err_wrap(&l->reading->error, "%s:%d", l->server->addr, l->server->port);
    resp_close(l->resp);
    l->resp = NULL;
}

static void line_done(void *arg, const struct err *err)
{
    struct line *l = arg;

    resp_forget(l->resp);
    if (err->code != ERR_NONE)
        fail(l, err);
}

static const struct job_ops line_ops = {"reading an offset", line_step, line_done};

int offsets_read(struct offsets *o, enum offsets_ask ask_what, int64_t pause_ms,
    int64_t deadline_ms, struct offset_reading *ret, struct err *err)
{
    int64_t give_up_at_ms = clock_mono_ms() + deadline_ms;

    arena_clear(&o->scratch);
    for (size_t i = 0; i < o->count; i++) {
        struct line *l = &o->lines[i];
        struct err failure = ERR_INIT;
        ret[i] = (struct offset_reading){.primary = false};
        if (!l->cluster)
            slots_fill(&ret[i].slots);
        l->reading = &ret[i];
        l->expected = l->received = 0;
        l->give_up_at_ms = give_up_at_ms;
        if (connect_line(l, &failure) < 0) {
            fail(l, &failure);
            continue;
        }
        ask(l, ask_what, pause_ms);
        loop_add(o->loop, &line_ops, l);
    }
    if (loop_run(o->loop, err) < 0)
        return -1;
    for (size_t i = 0; i < o->count; i++)
        if (ask_what == OFFSETS_RESUME && ret[i].error.code == ERR_NONE)
            o->lines[i].paused = false;
    return 0;
}

void offsets_end_pause(struct offsets *o, int64_t deadline_ms)
{
    struct offset_reading *ignored = xcalloc(o->count + 1, sizeof(*ignored));
    struct err err = ERR_INIT;
    int64_t give_up_at_ms = clock_mono_ms() + deadline_ms;

    for (size_t i = 0; i < o->count; i++) {
        struct line *l = &o->lines[i];
        /* One that did not answer has lost its connection: its pause ends by itself. */
        if (!l->paused || !l->resp)
            continue;
        l->reading = &ignored[i];
        l->expected = l->received = l->login = 0;
        l->info_at = SIZE_MAX - 1; /* nothing is asked */
        l->give_up_at_ms = give_up_at_ms;
        SEND(l, "CLIENT", "UNPAUSE");
        loop_add(o->loop, &line_ops, l);
    }
    if (loop_run(o->loop, &err) == 0)
        for (size_t i = 0; i < o->count; i++)
            o->lines[i].paused = false;
    free(ignored);
}
