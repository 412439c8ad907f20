#ifndef RECLUSTER_LINK_H
#define RECLUSTER_LINK_H

/*
 * A link: how the agent of one host is reached, and calls over it.
 *
 *     link_open(loop, &target, &events, arg, &link, err)
 *     link_call(link, "probe", params, 30000, on_answer, ctx)      // any number at the same time
 *     … loop_run() …
 *     link_close(link)
 *
 * Kinds, "link" of hosts.json, and the keys that each reads of the host's entry:
 *
 *     local     this program's own `agent` as a child
 *     ssh       addr, port (22), user, identity, passphrase, password, known_hosts: see below
 *     command   command: a program and its arguments that give a shell on the host; an argument
 *               that is {addr}, {name} or {user} is replaced by that
 *
 * On the last two the program travels: if <base_dir>/agent lacks it, it is sent there (program.h).
 * A link carries the agent's standard input and output; what a local agent prints on standard error
 * goes to ours, what another prints there stands in the error when the link is lost.
 *
 * ssh: the host's key must stand in known_hosts (~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts if
 * the entry names none) or in `host_keys`. One that is nowhere known is refused, or, if there is
 * accept_host_key(), given to it; one that differs from what is known is refused always. Logins are
 * tried in this order: the identity, the keys of ssh-agent, the usual files of ~/.ssh (if the entry
 * names no identity), the password.
 *
 * Both sides say something every LINK_ALIVE_MS; where nothing comes for LINK_SILENCE_MS the link is
 * lost. The timeout of a call counts from when the link is open.
 *
 * When a link is lost, every open call ends with ERR_LINK, then events.lost is called once; the
 * link is then only good for link_close(). A link that could not be opened for a reason that will
 * not go away (a refused key, another architecture) says so with the code of that reason. A call
 * that gets no answer in time ends with ERR_TIMEOUT; a late answer is dropped.
 */

#include <jansson.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/loop.h"

struct link;
struct rpc_message;

enum { LINK_ALIVE_MS = 10 * 1000, LINK_SILENCE_MS = 30 * 1000 };

struct link_target {
    const char *host;      /* name, for messages */
    const char *kind;      /* "local", "ssh", "command" */
    const char *program;   /* local: path of this program; NULL: the running one */
    const json_t *spec;    /* the host's entry of hosts.json; borrowed until the link is closed */
    const char *host_keys; /* ssh: keys that are known beside the files, in their form; or NULL */
    int64_t silence_ms;    /* 0: LINK_SILENCE_MS */

    /*
     * A host of which no key is known shows this one, given as a line for known_hosts without its
     * end: 0 goes on. NULL: refused.
     */
    int (*accept_host_key)(
        void *arg, const char *host, const char *line, const char *fingerprint, struct err *err);
    void *accept_arg;
};

struct link_events {
    void (*lost)(void *arg, const struct err *err);
};

/* Exactly one of result and err is not NULL; both are borrowed: json_incref() what you keep. */
typedef void (*link_answer)(void *ctx, const json_t *result, const struct err *err);
typedef void (*link_progress)(void *ctx, const json_t *params);

int link_open(struct loop *loop, const struct link_target *target, const struct link_events *events,
    void *arg, struct link **ret, struct err *err) MUST_CHECK;

/*
 * Takes over params. on_progress may be NULL. on_answer is called exactly once, never from in here.
 * Returns the call's number.
 */
uint64_t link_call(struct link *link, const char *method, json_t *params, int64_t timeout_ms,
    link_answer on_answer, link_progress on_progress, void *ctx);

/*
 * More talk about an open call, both ways, by notifications that have its number as "id":
 *
 *     link_listen(link, call, &listener)     // right after link_call()
 *     if (link_backlog(link) < LINK_BACKLOG)
 *         link_tell(link, "data", params, data, len)
 *
 * What is told is queued: whoever tells much stops at LINK_BACKLOG and goes on when `room` is
 * called, which must not do more than wake a job. Neither is called after the call's on_answer.
 */
struct link_listener {
    void (*notice)(void *ctx, const struct rpc_message *m); /* any but "progress"; m is borrowed */
    void (*room)(void *ctx);                                /* may be NULL */
    void *ctx;
};
enum { LINK_BACKLOG = 512 * 1024 };

void link_listen(struct link *link, uint64_t call, const struct link_listener *listener);
/* Takes over params; data_len up to RPC_DATA_MAX, 0: no bytes. Dropped where the link is lost. */
void link_tell(
    struct link *link, const char *method, json_t *params, const void *data, size_t data_len);
size_t link_backlog(const struct link *link); /* bytes that wait to be written */

/* Ends the agent; open calls end with ERR_CANCELLED. NULL is fine. */
void link_close(struct link *link);

#endif
