#include "recluster/host_link.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/protocol.h"

enum { HELLO_MS = 20 * 1000, LOCK_MS = 30 * 1000 };

static int accept_key(
    void *arg, const char *host, const char *line, const char *fingerprint, struct err *err)
{
    const struct host_links *links = arg;
    const struct event event = {.severity = "warning", .code = "host-key-accepted", .host = host};

    if (state_begin(links->st, err) < 0)
        return -1;
    if (state_run(links->st, err,
            "INSERT INTO host_key (line, host, fingerprint, accepted_ms) VALUES (?, ?, ?, ?)",
            "sssi", line, host, fingerprint, clock_wall_ms()) < 0 ||
        state_tell(links->st, &event, err, "host '%s': its key %s is new and was accepted", host,
            fingerprint) < 0 ||
        state_commit(links->st, err) < 0) {
        state_rollback(links->st);
        return -1;
    }
    return 0;
}

static int read_keys(struct state *st, const char *host, struct buf *keys, struct err *err)
{
    struct rows rows;

    if (state_query(st, &rows, err, "SELECT line FROM host_key WHERE host = ?", "s", host) < 0)
        return -1;
    while (rows_next(&rows))
        buf_addf(keys, "%s\n", rows_text(&rows, 0));
    return rows_end(&rows, err);
}

/* The calls before a host is ready; freed after the last answer. */
struct conversation {
    struct link *link;
    struct host_opening opening;
};

static void conversation_over(struct conversation *c, const struct err *error)
{
    struct host_opening opening = c->opening;

    free(c);
    if (error)
        opening.failed(opening.arg, error);
    else
        opening.ready(opening.arg);
}

static void on_lock(void *ctx, const json_t *result, const struct err *error)
{
    (void)result;
    conversation_over(ctx, error);
}

static void on_hello(void *ctx, const json_t *result, const struct err *error)
{
    struct conversation *c = ctx;
    const struct host_opening *o = &c->opening;
    AUTO_FREE char *who = operator_name();

    (void)result;
    if (error || !o->recovery)
        conversation_over(c, error);
    else
        link_call(c->link, "lock",
            json_pack("{s:s, s:s, s:s}", "base_dir", o->base_dir, "recovery", o->recovery,
                "operator", who),
            LOCK_MS, on_lock, NULL, c);
}

int host_link_open(struct host_links *links, struct loop *loop, const struct host_opening *opening,
    struct link **ret, struct err *err)
{
    CLEANUP(buf_release) struct buf keys = BUF_INIT;
    const struct link_events events = {opening->failed};
    struct link_target target = opening->target;

    if (read_keys(links->st, target.host, &keys, err) < 0)
        return -1;
    target.host_keys = keys.data;
    target.accept_host_key = links->accept_new_keys ? accept_key : NULL;
    target.accept_arg = links;
    if (link_open(loop, &target, &events, opening->arg, ret, err) < 0)
        return -1;
    struct conversation *c = xmalloc(sizeof(*c));
    *c = (struct conversation){*ret, *opening};
    link_call(*ret, "hello", json_pack("{s:i}", "protocol", PROTOCOL_VERSION), HELLO_MS, on_hello,
        NULL, c);
    return 0;
}

char *operator_name(void)
{
    const struct passwd *me = getpwuid(getuid());
    char host[256] = "?";

    gethostname(host, sizeof(host) - 1);
    return xasprintf("%s@%s pid %d", me ? me->pw_name : "?", host, (int)getpid());
}
