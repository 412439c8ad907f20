/*
 * Finds servers of the old cluster that still run and stops them on their own machines, over the
 * links of "old_nodes", or of a host with the node's address.
 *
 * The findings are saved with the plan in the state file (as a secret, because they include
 * logins), so exactly the servers that the plan showed are stopped. Each step is an event;
 * "fenced_ms" records the end.
 */

#include "recluster/fence.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "recluster/host_link.h"
#include "recluster/json.h"
#include "recluster/old_cluster.h"
#include "recluster/protocol.h"
#include "recluster/rpc.h"

enum { HELLO_MS = 60 * 1000, LOOK_MS = 60 * 1000, FENCE_MS = 6 * 60 * 1000 };

/* One machine of the old cluster: {"node", "name", "link", "spec", "servers": [{"addr", …}]}. */
struct old_machine {
    json_t *target;
    struct link *link;
    struct fencing *all; /* NULL: only look */
    size_t next;         /* the server to stop */
    struct err error;
};

struct fencing {
    struct state *st;
    struct err fatal; /* the state file could not be written */
};

/* --- which machine --- */

/* `addrs` may be several, joined by commas. */
static bool names(const char *addrs, const char *addr)
{
    size_t len = strlen(addr);

    for (const char *at = addrs; at && (at = strstr(at, addr)); at += len) {
        bool begins = at == addrs || strchr(", ", at[-1]);
        if (begins && (!at[len] || strchr(", ", at[len])))
            return true;
    }
    return false;
}

static const struct ccs_node *node_at(const struct ccs *ccs, const char *addr)
{
    for (size_t n = 0; n < ccs->node_count; n++)
        if (names(ccs->nodes[n].addr, addr) || names(ccs->nodes[n].external_addr, addr))
            return &ccs->nodes[n];
    return NULL;
}

static json_t *target_of_host(const struct hosts *hosts, const struct ccs_node *node)
{
    for (size_t h = 0; node->addr && h < hosts->count; h++) {
        const struct host *host = &hosts->hosts[h];
        if (strcmp(host->addr, node->addr) == 0 || strcmp(host->announced, node->addr) == 0)
            return json_pack(
                "{s:s, s:s, s:O}", "name", host->name, "link", host->link, "spec", host->spec);
    }
    return NULL;
}

/* The entry with the link to the node; NULL: there is none. The caller's. */
static json_t *target_of(const struct hosts *hosts, const struct ccs_node *node)
{
    const struct old_node *known = hosts_old_node(hosts, node->uid);

    if (!known)
        return target_of_host(hosts, node);
    json_t *spec = json_copy(known->spec);
    const char *addr = known->addr ? known->addr : node->addr;
    if (addr)
        json_object_set_new(spec, "addr", json_string(addr));
    AUTO_FREE char *name = xasprintf("node:%s", node->uid);
    return json_pack("{s:s, s:s, s:o}", "name", name, "link", known->link, "spec", spec);
}

static void refuse(json_t *server, const struct err *err)
{
    json_object_set_new(server, "error", err_to_json(err));
}

/* Adds the answer to the machine's list; an error if there is none. */
static void add_server(const struct survey *survey, json_t *machines, json_t *server)
{
    const char *addr = json_text(server, "addr", NULL);
    const struct ccs_node *node = node_at(survey->ccs, addr);
    struct err err = ERR_INIT;

    if (!node) {
        err_set(&err, ERR_NOT_FOUND, "no node of the CCS file has the address %s", addr);
        err_hint(&err, "Stop what listens there by hand.");
        refuse(server, &err);
        return;
    }
    json_t *machine = json_object_get(machines, node->uid);
    if (!machine && (machine = target_of(survey->hosts, node))) {
        json_object_set_new(machine, "servers", json_array());
        json_object_set_new(machine, "node", json_string(node->uid));
        json_object_set_new(machines, node->uid, machine);
    }
    if (machine) {
        json_array_append(json_object_get(machine, "servers"), server);
        return;
    }
    err_set(&err, ERR_NOT_FOUND, "the hosts file doesn't say how node:%s is reached", node->uid);
    err_hint(&err, "Add it: \"old_nodes\": [{\"node\": %s, \"link\": \"ssh\", …}]", node->uid);
    refuse(server, &err);
}

/* --- looking --- */

static void machine_over(struct old_machine *m, const struct err *error)
{
    struct link *link = m->link;

    if (error && m->error.code == ERR_NONE)
        m->error = *error;
    m->link = NULL;
    link_close(link);
}

static void on_failed(void *arg, const struct err *error)
{
    machine_over(arg, error);
}

static void take_found(json_t *server, const json_t *found)
{
    const json_t *error = json_object_get(found, "error");
    struct err err = ERR_INIT;

    if (error) {
        json_object_set_new(server, "error", json_deep_copy(error));
    } else if (json_is_string(json_object_get(found, "name"))) {
        json_object_set_new(server, "server", json_deep_copy(found));
    } else {
        err_set(&err, ERR_CHECK, "nothing listens at %s on the machine itself",
            json_text(server, "addr", NULL));
        err_hint(&err, "Something forwards connections, such as a container or a firewall's rule: "
                       "stop it by hand.");
        refuse(server, &err);
    }
}

static void on_found(void *ctx, const json_t *result, const struct err *error)
{
    struct old_machine *m = ctx;
    const json_t *found = json_object_get(result, "found");
    json_t *server;
    size_t i;

    json_array_foreach (json_object_get(m->target, "servers"), i, server) {
        if (!error)
            take_found(server, json_array_get(found, i));
    }
    machine_over(m, error);
}

static json_t *listen_of(const json_t *target)
{
    json_t *list = json_array(), *server;
    size_t i;

    json_array_foreach (json_object_get(target, "servers"), i, server) {
        json_array_append_new(list, json_pack("{s:O, s:O}", "addr", json_object_get(server, "addr"),
                                        "port", json_object_get(server, "port")));
    }
    return json_pack("{s:o}", "listen", list);
}

static void fence_next(struct old_machine *m);

static void on_ready(void *arg)
{
    struct old_machine *m = arg;

    if (m->all)
        fence_next(m);
    else
        link_call(m->link, "old_servers", listen_of(m->target), LOOK_MS, on_found, NULL, m);
}

/* Looks at all machines at the same time. An error stays in its machine. */
static int run_machines(
    struct old_machine *machines, size_t count, struct host_links *links, struct err *err)
{
    struct loop *loop = loop_new();

    for (size_t i = 0; i < count; i++) {
        struct old_machine *m = &machines[i];
        const struct host_opening opening = {
            .target = {.host = json_text(m->target, "name", NULL),
                .kind = json_text(m->target, "link", NULL),
                .spec = json_object_get(m->target, "spec")},
            .ready = on_ready,
            .failed = on_failed,
            .arg = m,
        };
        (void)!host_link_open(links, loop, &opening, &m->link, &m->error); /* m->error says it */
    }
    int rc = loop_run(loop, err);
    loop_free(loop);
    return rc;
}

static struct old_machine *make_machines(json_t *targets, struct fencing *all, size_t *ret_count)
{
    struct old_machine *machines = xcalloc(json_array_size(targets) + 1, sizeof(*machines));
    json_t *target;
    size_t i;

    json_array_foreach (targets, i, target) {
        machines[i] = (struct old_machine){.target = target, .all = all, .error = ERR_INIT};
    }
    *ret_count = json_array_size(targets);
    return machines;
}

int fence_look(
    struct survey *survey, const struct survey_request *request, struct state *st, struct err *err)
{
    struct host_links links = {st, request->accept_new_host_keys};
    json_t *by_node = json_object(), *server, *target;
    const char *node;
    size_t i, count;

    json_array_foreach (survey->old->alive, i, server) {
        add_server(survey, by_node, server);
    }
    survey->fence = json_array();
    json_object_foreach (by_node, node, target) {
        json_array_append(survey->fence, target);
    }
    json_decref(by_node);
    AUTO_FREE struct old_machine *machines = make_machines(survey->fence, NULL, &count);
    int rc = run_machines(machines, count, &links, err);
    for (i = 0; i < count && rc == 0; i++) {
        size_t k;
        json_array_foreach (json_object_get(machines[i].target, "servers"), k, server) {
            if (machines[i].error.code != ERR_NONE)
                refuse(server, &machines[i].error);
        }
    }
    return rc;
}

/* --- stopping --- */

static json_t *server_now(const struct old_machine *m)
{
    return json_array_get(json_object_get(m->target, "servers"), m->next);
}

static int journal(const struct old_machine *m, const char *code, const char *severity,
    const char *what, const json_t *detail)
{
    const json_t *at = server_now(m), *server = json_object_get(at, "server");
    const char *unit = json_text(server, "unit", NULL);
    AUTO_FREE char *message = xasprintf("%s at %s:%lld (process %lld%s%s) of the old cluster %s",
        json_text(server, "name", NULL), json_text(at, "addr", NULL), json_int(at, "port", 0),
        json_int(server, "pid", 0), unit ? ", unit " : "", unit ? unit : "", what);
    const struct event event = {.severity = severity,
        .code = code,
        .host = json_text(m->target, "name", NULL),
        .message = message,
        .detail = detail};

    return state_event(m->all->st, &event, &m->all->fatal);
}

static void on_fenced(void *ctx, const json_t *result, const struct err *error)
{
    struct old_machine *m = ctx;
    const char *off = json_text(result, "unit_off", NULL);
    AUTO_FREE char *what =
        error ? xasprintf("could not be stopped: %s", error->message)
              : xasprintf("is stopped%s%s", off ? ", its unit " : "", off ? off : "");

    if (journal(m, error ? "fence-failed" : "fenced", error ? "error" : "warning", what, result) <
        0)
        error = &m->all->fatal;
    m->next++;
    if (error)
        machine_over(m, error);
    else
        fence_next(m);
}

static void fence_next(struct old_machine *m)
{
    const json_t *at = server_now(m);

    if (!at) {
        machine_over(m, NULL);
        return;
    }
    if (journal(m, "fence-begins", "info", "is stopped for good", NULL) < 0) {
        machine_over(m, &m->all->fatal);
        return;
    }
    json_t *params = json_copy(json_object_get(at, "server"));
    json_object_set(params, "addr", json_object_get(at, "addr"));
    json_object_set(params, "port", json_object_get(at, "port"));
    link_call(m->link, "fence", params, FENCE_MS, on_fenced, NULL, m);
}

static bool is_fenced(const json_t *targets, const json_t *address)
{
    const json_t *target, *server;
    size_t i, k;

    json_array_foreach (targets, i, target) {
        json_array_foreach (json_object_get(target, "servers"), k, server) {
            if (json_equal(json_object_get(server, "addr"), json_object_get(address, "addr")) &&
                json_equal(json_object_get(server, "port"), json_object_get(address, "port")))
                return true;
        }
    }
    return false;
}

/* From this machine, where clients may be too. */
static int check_closed(const json_t *targets, const struct ccs *ccs, struct err *err)
{
    struct old_cluster *old = old_cluster_new(ccs, err);
    int rc = old ? old_cluster_ask(old, err) : -1;
    json_t *address;
    size_t i;

    if (rc < 0) {
        old_cluster_free(old);
        return -1;
    }
    old_cluster_judge(old);
    json_array_foreach (old->alive, i, address) {
        if (rc < 0 || !is_fenced(targets, address))
            continue;
        rc = err_set(err, ERR_CHECK, "%s:%lld of the old cluster still accepts connections",
            json_text(address, "addr", NULL), json_int(address, "port", 0));
        err_hint(err,
            "Something starts it again, or answers in its place: stop it by hand, then resume.");
    }
    old_cluster_free(old);
    return rc;
}

static int stop_all(struct state *st, json_t *targets, bool accept_new_keys, struct err *err)
{
    struct host_links links = {st, accept_new_keys};
    struct fencing all = {.st = st, .fatal = ERR_INIT};
    size_t count;
    AUTO_FREE struct old_machine *machines = make_machines(targets, &all, &count);

    if (run_machines(machines, count, &links, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (machines[i].error.code != ERR_NONE) {
            *err = machines[i].error;
            return err_wrap(err, "cannot stop what is left of the old cluster");
        }
    return 0;
}

int fence_run(struct state *st, const struct ccs *ccs, bool accept_new_keys, struct err *err)
{
    AUTO_FREE char *wanted = state_secret(st, "meta", "fence");
    AUTO_FREE char *done = state_meta(st, "fenced_ms");
    AUTO_FREE char *now = NULL;

    if (!wanted || done)
        return 0;
    json_t *targets = json_read_quietly(wanted, strlen(wanted), 0);
    int rc = stop_all(st, targets, accept_new_keys, err);
    if (rc == 0)
        rc = check_closed(targets, ccs, err);
    json_decref(targets);
    if (rc < 0)
        return -1;
    now = xasprintf("%lld", (long long)clock_wall_ms());
    return state_set_meta(st, "fenced_ms", now, err);
}

int fence_save(const struct survey *survey, struct state *st, struct err *err)
{
    if (json_array_size(survey->fence) == 0)
        return 0;
    AUTO_FREE char *text = json_dumps(survey->fence, JSON_COMPACT);
    return state_set_secret(st, "meta", "fence", text, err);
}
