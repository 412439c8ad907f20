#ifndef RECLUSTER_LINK_H
#define RECLUSTER_LINK_H

/*
 * A link: the connection to the agent of one host, and calls over it.
 *
 *     link_open(loop, &target, &events, arg, &link, err)
 *     link_call(link, "probe", params, 30000, on_answer, NULL, ctx)    // any number at a time
 *     … loop_run() …
 *     link_close(link)
 *
 * Kinds ("link" of hosts.json), and the keys of the host's entry that each kind reads:
 *
 *     local     runs `agent` of this program as a child
 *     ssh       addr, port (22), user, identity, passphrase, password, known_hosts: see below
 *     command   command: a program with arguments that gives a shell on the host; {addr}, {name} or
 *               {user} as an argument is replaced by the host's value
 *
 * ssh and command send the program to <base_dir>/agent if it is not there yet (program.h). A link
 * carries the agent's standard input and output. The standard error of a local agent is ours. The
 * standard error of other agents appears in the error when the link is lost.
 *
 * ssh. The host's key must be in known_hosts (by default ~/.ssh/known_hosts and
 * /etc/ssh/ssh_known_hosts) or in `host_keys`. An unknown key is passed to accept_host_key();
 * without that function it is refused. A key that differs from the known one is always refused.
 * Logins are tried in this order: the identity, the keys of ssh-agent, the usual files of ~/.ssh
 * (if the entry names no identity), the password.
 *
 * Each side sends something every LINK_ALIVE_MS. If nothing arrives for LINK_SILENCE_MS, the link
 * is lost. The timeout of a call starts when the link is open.
 *
 * When a link is lost, every open call ends with ERR_LINK, and then events.lost is called once.
 * After that, only link_close() may be called. If a link cannot be opened for a permanent reason (a
 * refused key, another architecture), the error has the code of that reason. A call without an
 * answer in time ends with ERR_TIMEOUT; a late answer is dropped.
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
    const char *host_keys; /* ssh: more known keys, as lines of known_hosts; or NULL */
    int64_t silence_ms;    /* 0: LINK_SILENCE_MS */

    /*
     * Called with the key of a host whose key is not known. `line` is the line for known_hosts,
     * without its line end. 0 accepts the key. NULL: unknown keys are refused.
     */
    int (*accept_host_key)(
        void *arg, const char *host, const char *line, const char *fingerprint, struct err *err);
    void *accept_arg;
};

struct link_events {
    void (*lost)(void *arg, const struct err *err);
};

/* Exactly one of result and err is not NULL. Both are borrowed: json_incref() a result you keep. */
typedef void (*link_answer)(void *ctx, const json_t *result, const struct err *err);
typedef void (*link_progress)(void *ctx, const json_t *params);

int link_open(struct loop *loop, const struct link_target *target, const struct link_events *events,
    void *arg, struct link **ret, struct err *err) MUST_CHECK;

/*
 * Takes over params. on_progress may be NULL. on_answer is called exactly once, after this returns.
 * Returns the call's number. Seven parameters: nearly every call needs all of them.
 */
uint64_t link_call(struct link *link, const char *method, json_t *params, int64_t timeout_ms,
    link_answer on_answer, link_progress on_progress, void *ctx);

/*
 * Notifications about an open call, in both directions; their "id" is the number of the call:
 *
 *     link_listen(link, call, &listener)     // right after link_call()
 *     if (link_backlog(link) < LINK_BACKLOG)
 *         link_tell(link, "data", params, data, len)
 *
 * Notifications are queued. Stop sending at LINK_BACKLOG; `room` is called when there is space
 * again, and must do no more than wake a job. Neither function is called after the call's
 * on_answer.
 */
struct link_listener {
    void (*notice)(void *ctx, const struct rpc_message *m); /* all but "progress"; m is borrowed */
    void (*room)(void *ctx);                                /* may be NULL */
    void *ctx;
};
enum { LINK_BACKLOG = 512 * 1024 };

void link_listen(struct link *link, uint64_t call, const struct link_listener *listener);
/* Takes over params. data_len: up to RPC_DATA_MAX, 0: no bytes. Dropped if the link is lost. */
void link_tell(
    struct link *link, const char *method, json_t *params, const void *data, size_t data_len);
size_t link_backlog(const struct link *link); /* bytes in the queue */

/* Ends the agent; open calls end with ERR_CANCELLED. May be NULL. */
void link_close(struct link *link);

#endif
