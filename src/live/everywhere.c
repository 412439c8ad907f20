#include "recluster/everywhere.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "resp.h"

struct asked {
    struct everywhere *e;
    char *addr, *name;
    int port;
    struct resp *resp; /* NULL: not connected */
    struct everywhere_answer *answer;
    size_t logins; /* answers of a login that come first */
    int64_t give_up_at_ms;
};

struct everywhere {
    struct live_params params;
    struct loop *loop;
    struct asked *servers;
    size_t count;
};

struct everywhere *everywhere_open(
    const struct live_params *params, const struct live_server *const *servers, size_t count)
{
    struct everywhere *e = xcalloc(1, sizeof(*e));

    e->params = *params;
    e->loop = loop_new();
    e->count = count;
    e->servers = xcalloc(count + 1, sizeof(*e->servers));
    for (size_t i = 0; i < count; i++)
        e->servers[i] = (struct asked){.e = e,
            .addr = xstrdup(servers[i]->addr),
            .name = servers[i]->name ? xstrdup(servers[i]->name) : NULL,
            .port = servers[i]->port};
    return e;
}

void everywhere_close(struct everywhere *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->count; i++) {
        resp_close(e->servers[i].resp);
        free(e->servers[i].addr);
        free(e->servers[i].name);
    }
    free(e->servers);
    loop_free(e->loop);
    free(e);
}

/* --- one server --- */

static int connect_server(struct asked *s, struct err *err)
{
    const struct live_login *login = &s->e->params.login;
    const char *password = secret_reveal(login->password);
    const struct tcp_params tcp = {s->addr, s->port, s->e->params.tls, s->name};

    s->logins = 0;
    if (s->resp)
        return 0;
    if (resp_open(&tcp, &s->resp, err) < 0)
        return -1;
    if (!password)
        return 0;
    s->logins = 1;
    if (login->user)
        resp_send(s->resp, (const char *const[]){"AUTH", login->user, password, NULL});
    else
        resp_send(s->resp, (const char *const[]){"AUTH", password, NULL});
    return 0;
}

static json_t *json_of(const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return json_stringn(reply->str, reply->len); /* NULL: not UTF-8 */
    case REDIS_REPLY_INTEGER:
        return json_integer(reply->integer);
    case REDIS_REPLY_ARRAY:
        break;
    default:
        return NULL;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < reply->elements; i++) {
        json_t *item = json_of(reply->element[i]);
        json_array_append_new(list, item ? item : json_null());
    }
    return list;
}

static int take(struct asked *s, const redisReply *reply, struct err *err)
{
    bool login = s->logins > 0;

    s->logins -= login;
    if (reply->type != REDIS_REPLY_ERROR) {
        if (!login)
            s->answer->reply = json_of(reply);
        return 0;
    }
    if (login &&
        (strstr(reply->str, "no password is set") || strstr(reply->str, "without any password")))
        return 0;
    bool denied = login || strncmp(reply->str, "NOPERM", strlen("NOPERM")) == 0;
    return err_set(err, denied ? ERR_DENIED : ERR_SERVER, "the server answers '%s'", reply->str);
}

static enum job_step server_step(void *arg, struct wait *wait, struct err *err)
{
    struct asked *s = arg;

    for (;;) {
        redisReply *reply;
        switch (resp_next(s->resp, &reply, wait, err)) {
        case RESP_FAILED:
            return JOB_FAIL;
        case RESP_WAIT:
            if (clock_mono_ms() < s->give_up_at_ms) {
                wait_until(wait, s->give_up_at_ms);
                return JOB_WAIT;
            }
            err_set(err, ERR_TIMEOUT, "the server does not answer in time");
            return JOB_FAIL;
        case RESP_REPLY:
            break;
        }
        bool last = !s->logins;
        int rc = take(s, reply, err);
        freeReplyObject(reply);
        if (rc < 0)
            return JOB_FAIL;
        if (last)
            return JOB_DONE;
    }
}

/* A refused command leaves the connection as it was; all else ends it. */
static void fail(struct asked *s, const struct err *err)
{
    s->answer->error = *err;
    err_wrap(&s->answer->error, "%s:%d", s->addr, s->port);
    if (err->code == ERR_SERVER)
        return;
    resp_close(s->resp);
    s->resp = NULL;
}

static void server_done(void *arg, const struct err *err)
{
    struct asked *s = arg;

    resp_forget(s->resp);
    if (err->code != ERR_NONE)
        fail(s, err);
}

static const struct job_ops server_ops = {"asking a server", server_step, server_done};

/* --- all of them --- */

int everywhere_call(struct everywhere *e, const char *const *words, const bool *which,
    int64_t deadline_ms, struct everywhere_answer *ret, struct err *err)
{
    int64_t give_up_at_ms = clock_mono_ms() + deadline_ms;

    for (size_t i = 0; i < e->count; i++) {
        struct asked *s = &e->servers[i];
        struct err failure = ERR_INIT;
        if (which && !which[i])
            continue;
        ret[i] = (struct everywhere_answer){.error = ERR_INIT};
        s->answer = &ret[i];
        s->give_up_at_ms = give_up_at_ms;
        if (connect_server(s, &failure) < 0) {
            fail(s, &failure);
            continue;
        }
        resp_send(s->resp, words);
        loop_add(e->loop, &server_ops, s);
    }
    return loop_run(e->loop, err);
}
