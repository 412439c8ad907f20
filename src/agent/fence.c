/*
 * old_servers, fence: finds and stops processes of the old cluster on this machine.
 *
 * Only a server of a known kind is stopped: the process that listens at an address of the CCS file
 * on this machine and has one of the known names. The plan shows it first, and it is checked again
 * right before it is stopped. A systemd unit is stopped and masked only if nothing but such servers
 * runs in it.
 */

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "listener.h"
#include "machine.h"
#include "method.h"
#include "port.h"
#include "process.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/rpc.h"
#include "server.h"
#include "watch.h"

enum {
    LISTEN_MAX = 10000,
    STOP_MS = 5 * 60 * 1000, /* a server may save its data before it ends */
    LOOK_MS = 50,
    STAYS_CLOSED_MS = 1500, /* a supervisor restarts servers at once */
    SYSTEMCTL_MS = 30 * 1000,
    SYSTEMCTL_TEXT = 4096,
};

/* Servers and proxies of an old cluster, with names cut as the kernel cuts them. */
static const char *const old_programs[] = {"redis-server", "redis-sentinel", "valkey-server",
    "valkey-sentinel", "keydb-server", "dmcproxy", "redis-cluster-p", "predixy", "nutcracker"};

/* The supervisor of Redis Enterprise starts and stops all processes of a node, and nothing else. */
static const char ENTERPRISE_UNIT[] = "rlec_supervisor.service";

struct old_server {
    struct listener process;
    char *unit; /* NULL: none */
};

static bool is_old_program(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(old_programs); i++) {
        size_t len = strlen(old_programs[i]);
        if (strncmp(name, old_programs[i], len) == 0 && (!name[len] || name[len] == '-'))
            return true;
    }
    return false;
}

static bool belongs(pid_t pid, const char *name)
{
    (void)pid;
    return is_old_program(name);
}

static int resolve(const char *addr, struct addrinfo **ret, struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};

    if (getaddrinfo(addr, NULL, &hints, ret) != 0)
        return err_set(err, ERR_CHECK, "'%s' is not an IP address", addr);
    if (port_addr_is_local(*ret))
        return 0;
    freeaddrinfo(*ret);
    err_set(err, ERR_CHECK, "the machine that was reached does not have the address %s", addr);
    return err_hint(err, "Correct how the node is reached: \"old_nodes\" of the hosts file.");
}

static int check_program(const struct old_server *s, const char *addr, int port, struct err *err)
{
    if (!is_old_program(s->process.name)) {
        err_set(err, ERR_CHECK,
            "what listens at %s:%d is '%s' (process %d), not a server of Redis or Valkey", addr,
            port, s->process.name, (int)s->process.pid);
        return err_hint(err,
            "It is left alone. If it does not belong to the old cluster, confirm that this "
            "one is dead: --old-cluster-is-dead NAME.");
    }
    if (!s->unit || strcmp(s->unit, ENTERPRISE_UNIT) == 0 || unit_each(s->unit, belongs))
        return 0;
    err_set(err, ERR_CHECK, "'%s' (process %d) runs in the unit '%s', with other programs",
        s->process.name, (int)s->process.pid, s->unit);
    return err_hint(err, "Stop it by hand, and keep it from starting again.");
}

/* *ret_closed: nothing listens there. Otherwise *ret is the caller's. */
static int find_server(
    const char *addr, int port, struct old_server *ret, bool *ret_closed, struct err *err)
{
    struct old_server found = {.unit = NULL};
    struct addrinfo *addrs;

    if (resolve(addr, &addrs, err) < 0)
        return -1;
    unsigned long inode = machine_listening("", addrs, port);
    freeaddrinfo(addrs);
    *ret_closed = inode == 0;
    if (*ret_closed)
        return 0;
    if (!listener_find(inode, &found.process)) {
        err_set(err, ERR_DENIED, "the process that listens at %s:%d can't be seen", addr, port);
        return err_hint(err, "Log in as root, or as the user that it runs as.");
    }
    found.unit = unit_of(found.process.pid);
    if (check_program(&found, addr, port, err) < 0) {
        free(found.unit);
        return -1;
    }
    *ret = found;
    return 0;
}

/* --- old_servers --- */

static json_t *describe(const char *addr, int port)
{
    struct old_server s;
    struct err err = ERR_INIT;
    bool closed;

    if (find_server(addr, port, &s, &closed, &err) < 0)
        return json_pack("{s:o}", "error", err_to_json(&err));
    if (closed)
        return json_pack("{s:b}", "closed", 1);
    json_t *found = json_pack("{s:i, s:I, s:s, s:s?}", "pid", (int)s.process.pid, "started",
        (json_int_t)s.process.started, "name", s.process.name, "unit", s.unit);
    free(s.unit);
    /* A name that is not UTF-8 is not a known name. */
    return found ? found : json_pack("{s:b}", "closed", 0);
}

static int run_look(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const json_t *list = json_object_get(params, "listen"), *item;
    json_t *found = json_array();
    size_t i;

    (void)call;
    if (json_array_size(list) > LISTEN_MAX) {
        json_decref(found);
        return err_set(err, ERR_LIMIT, "more than %d addresses", LISTEN_MAX);
    }
    json_array_foreach (list, i, item) {
        const char *addr;
        json_int_t port;
        if (param_string(item, "addr", &addr, err) < 0 || param_int(item, "port", &port, err) < 0) {
            json_decref(found);
            return -1;
        }
        json_array_append_new(found, describe(addr, (int)port));
    }
    *ret = json_pack("{s:o}", "found", found);
    return 0;
}

/* --- fence --- */

static int systemctl(const char *verb, const char *unit, int timeout_ms, struct err *err)
{
    const char *const argv[] = {"systemctl", verb, "--", unit, NULL};
    struct buf output = BUF_INIT;
    int rc = child_run(argv, timeout_ms, SYSTEMCTL_TEXT, &output, err);

    buf_release(&output);
    return rc < 0 ? err_wrap(err, "systemctl %s %s", verb, unit) : 0;
}

/* A unit whose file is in /etc cannot be masked, so it is disabled. */
static int stop_unit(const char *unit, const char **ret_off, struct err *err)
{
    struct err unmasked = ERR_INIT;

    *ret_off = "masked";
    if (systemctl("mask", unit, SYSTEMCTL_MS, &unmasked) < 0) {
        *ret_off = "disabled";
        if (systemctl("disable", unit, SYSTEMCTL_MS, err) < 0) {
            *err = unmasked;
            return err_hint(err, "Log in as a user who may do that, or stop it by hand.");
        }
    }
    return systemctl("stop", unit, STOP_MS, err);
}

/* *ret is the process that was seen, not another one with its number. False: it has ended. */
static bool hold(const struct listener *seen, struct process *ret)
{
    if (!process_hold(seen->pid, ret))
        return false;
    if (ret->started == seen->started)
        return true;
    process_release(ret);
    return false;
}

static int stop_process(const struct listener *seen, const struct process *p, struct err *err)
{
    if (process_signal(p, SIGTERM) == 0)
        return 0;
    err_sys(err, ERR_DENIED, "cannot stop '%s' (process %d)", seen->name, (int)seen->pid);
    return err_hint(err, "Log in as root, or as the user that it runs as.");
}

/* Never SIGKILL: the server may be saving data that is newer than any backup. */
static int await_end(const struct listener *seen, const struct process *p, struct err *err)
{
    if (process_ends_within(p, STOP_MS))
        return 0;
    err_set(err, ERR_TIMEOUT, "'%s' (process %d) was told to stop but still runs after %d s",
        seen->name, (int)seen->pid, STOP_MS / 1000);
    return err_hint(err, "Look at its log: it may be saving its data.");
}

static int await_closed(const char *addr, int port, struct err *err)
{
    int64_t until = clock_mono_ms() + STAYS_CLOSED_MS;
    struct addrinfo *addrs;
    struct listener again;
    unsigned long inode = 0;

    if (resolve(addr, &addrs, err) < 0)
        return -1;
    while (clock_mono_ms() < until && !inode) {
        pause_ms(LOOK_MS);
        inode = machine_listening("", addrs, port);
    }
    freeaddrinfo(addrs);
    if (!inode)
        return 0;
    bool seen = listener_find(inode, &again);
    err_set(err, ERR_FAILED, "%s:%d is served again, by '%s' (process %d)", addr, port,
        seen ? again.name : "?", seen ? (int)again.pid : 0);
    return err_hint(err, "Something starts it again: stop that first (ps -o ppid,unit,args %d).",
        seen ? (int)again.pid : 0);
}

/* ERR_CHANGED if another server took the place of the planned one. */
static int check_same(const struct old_server *s, const json_t *params, struct err *err)
{
    const char *unit = json_text(params, "unit", NULL), *name;
    json_int_t pid, started;

    if (param_int(params, "pid", &pid, err) < 0 ||
        param_int(params, "started", &started, err) < 0 ||
        param_string(params, "name", &name, err) < 0)
        return -1;
    bool same_unit = unit && s->unit ? strcmp(unit, s->unit) == 0 : !unit && !s->unit;
    if (s->process.pid == (pid_t)pid && s->process.started == (uint64_t)started &&
        strcmp(s->process.name, name) == 0 && same_unit)
        return 0;
    err_set(err, ERR_CHANGED, "'%s' (process %d) listens there now, not process %d as planned",
        s->process.name, (int)s->process.pid, (int)pid);
    return err_hint(err, "Start again: a new plan shows it before it is stopped.");
}

static int stop(
    const struct old_server *s, const char *addr, int port, json_t **ret, struct err *err)
{
    const char *off = NULL;

    struct process p;
    bool runs = hold(&s->process, &p);
    int rc = s->unit ? stop_unit(s->unit, &off, err)
             : runs  ? stop_process(&s->process, &p, err)
                     : 0;
    if (rc == 0 && runs)
        rc = await_end(&s->process, &p, err);
    if (runs)
        process_release(&p);
    if (rc < 0 || await_closed(addr, port, err) < 0)
        return -1;
    *ret = json_pack("{s:b, s:s?}", "was_running", 1, "unit_off", off);
    return 0;
}

static int run_fence(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct old_server s = {.unit = NULL};
    const char *addr;
    json_int_t port;
    bool closed;

    (void)call;
    if (param_string(params, "addr", &addr, err) < 0 || param_int(params, "port", &port, err) < 0 ||
        find_server(addr, (int)port, &s, &closed, err) < 0)
        return -1;
    int rc = 0;
    if (closed)
        *ret = json_pack("{s:b, s:n}", "was_running", 0, "unit_off");
    else if (check_same(&s, params, err) < 0 || stop(&s, addr, (int)port, ret, err) < 0)
        rc = -1;
    free(s.unit);
    return rc;
}

const struct agent_method agent_old_servers = {.name = "old_servers", .run = run_look};
const struct agent_method agent_fence = {.name = "fence", .run = run_fence};
