#include "host_link.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"

static int accept_key(
    void *arg, const char *host, const char *line, const char *fingerprint, struct err *err)
{
    const struct host_links *links = arg;
    CLEANUP(free_ptr)
    char *message = xasprintf("host '%s': its key %s is new and was accepted", host, fingerprint);
    const struct event event = {
        .severity = "warning", .code = "host-key-accepted", .host = host, .message = message};

    if (state_begin(links->st, err) < 0)
        return -1;
    if (state_run(links->st, err,
            "INSERT INTO host_key (line, host, fingerprint, accepted_ms) VALUES (?, ?, ?, ?)",
            "sssi", line, host, fingerprint, clock_wall_ms()) < 0 ||
        state_event(links->st, &event, err) < 0 || state_commit(links->st, err) < 0) {
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

int host_link_open(struct host_links *links, struct loop *loop, const struct link_target *target,
    const struct link_events *events, void *arg, struct link **ret, struct err *err)
{
    CLEANUP(buf_release) struct buf keys = BUF_INIT;
    struct link_target full = *target;

    if (read_keys(links->st, target->host, &keys, err) < 0)
        return -1;
    full.host_keys = keys.data;
    full.accept_host_key = links->accept_new_keys ? accept_key : NULL;
    full.accept_arg = links;
    return link_open(loop, &full, events, arg, ret, err);
}

char *operator_name(void)
{
    const struct passwd *me = getpwuid(getuid());
    char host[256] = "?";

    gethostname(host, sizeof(host) - 1);
    return xasprintf("%s@%s pid %d", me ? me->pw_name : "?", host, (int)getpid());
}
