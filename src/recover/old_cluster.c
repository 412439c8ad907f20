/*
 * Is the old cluster really dead? Every address of its nodes, shards and endpoints is tried with a
 * plain TCP connection; one that is accepted counts as alive, whatever speaks there, because two
 * clusters under one set of clients would lose writes. On each node, a Sentinel at the usual port
 * is asked which masters it watches.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"
#include "recluster/clock.h"
#include "sentinel.h"

enum { PROBES_AT_ONCE = 256, PROBE_MS = 1500, SENTINEL_PORT = 26379 };

struct address {
    const char *addr;
    int port;
    const char *what; /* "shard:4", "endpoint:1:1"; NULL: of a Sentinel, if one is there */
};

struct survey_of_addresses {
    struct arena arena;
    struct loop *loop;
    struct address *items;
    size_t count, alloc, next;
    json_t *alive, *sentinels;
};

struct probe {
    struct survey_of_addresses *all;
    const struct address *address;
    int fd;
    int64_t give_up_at_ms;
    size_t sent;
    struct buf reply; /* of a Sentinel */
};

static int by_address(const void *a, const void *b)
{
    const struct address *x = a, *y = b;
    int order = strcmp(x->addr, y->addr);
    return order ? order : x->port - y->port;
}

/* `addrs` may be several, joined by commas. */
static void add(
    struct survey_of_addresses *all, const char *addrs, int port, const char *kind, const char *uid)
{
    if (!addrs || port <= 0 || port > 65535)
        return;
    char *list = arena_strdup(&all->arena, addrs), *rest;
    for (char *addr = strtok_r(list, ", ", &rest); addr; addr = strtok_r(NULL, ", ", &rest)) {
        GROW(all->items, all->count, all->alloc);
        all->items[all->count++] = (struct address){
            addr, port, kind ? arena_printf(&all->arena, "%s:%s", kind, uid) : NULL};
    }
}

static void collect(struct survey_of_addresses *all, const struct ccs *ccs)
{
    for (size_t i = 0; i < ccs->shard_count; i++) {
        const struct ccs_shard *s = &ccs->shards[i];
        const struct ccs_node *node = s->node_uid ? ccs_node(ccs, s->node_uid) : NULL;
        if (node)
            add(all, node->addr, s->port, "shard", s->uid);
    }
    for (size_t i = 0; i < ccs->endpoint_count; i++) {
        const struct ccs_endpoint *e = &ccs->endpoints[i];
        add(all, e->addr, e->port, "endpoint", e->uid);
        /* Any node's proxy may serve it. */
        for (size_t n = 0; n < ccs->node_count; n++) {
            add(all, ccs->nodes[n].addr, e->port, "endpoint", e->uid);
            add(all, ccs->nodes[n].external_addr, e->port, "endpoint", e->uid);
        }
    }
    for (size_t n = 0; n < ccs->node_count; n++)
        add(all, ccs->nodes[n].addr, SENTINEL_PORT, NULL, NULL);
    if (!all->count)
        return;
    qsort(all->items, all->count, sizeof(*all->items), by_address);
    size_t kept = 1;
    for (size_t i = 1; i < all->count; i++)
        if (by_address(&all->items[i], &all->items[kept - 1]) != 0)
            all->items[kept++] = all->items[i];
    all->count = kept;
}

static void start_next(struct survey_of_addresses *all);

/* Connecting to a port of the ephemeral range on this machine can meet itself. */
static bool is_self(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_len = sizeof(here), there_len = sizeof(there);

    return getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_len) == 0 && here_len == there_len &&
           memcmp(&here, &there, here_len) == 0;
}

static void add_watched(void *arg, const char *master, const char *ip, int port)
{
    const struct probe *p = arg;
    const struct address key = {ip, port, NULL};
    CLEANUP(free_ptr) char *watches = xasprintf("%s:%d", ip, port);

    if (!bsearch(&key, p->all->items, p->all->count, sizeof(key), by_address))
        return;
    json_t *found = json_pack("{s:s, s:i, s:s, s:s}", "addr", p->address->addr, "port",
        p->address->port, "master", master, "watches", watches);
    if (found) /* else the name is not UTF-8: no CCS has such */
        json_array_append_new(p->all->sentinels, found);
}

/* Asks for its masters; whatever else listens there is left alone. */
static enum job_step ask_sentinel(struct probe *p, struct wait *wait)
{
    static const char question[] = "*2\r\n$8\r\nSENTINEL\r\n$7\r\nmasters\r\n";
    size_t len = sizeof(question) - 1;

    while (p->sent < len) {
        ssize_t n = send(p->fd, question + p->sent, len - p->sent, MSG_NOSIGNAL);
        if (n <= 0)
            return JOB_DONE;
        p->sent += (size_t)n;
    }
    for (;;) {
        char part[4096];
        ssize_t n = recv(p->fd, part, sizeof(part), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN) || p->reply.len > SENTINEL_REPLY_MAX)
            return JOB_DONE;
        if (n < 0)
            break;
        buf_add(&p->reply, part, (size_t)n);
    }
    if (sentinel_masters(p->reply.data, p->reply.len, add_watched, p) != SENTINEL_INCOMPLETE)
        return JOB_DONE;
    wait_fd(wait, p->fd, POLLIN);
    wait_until(wait, p->give_up_at_ms);
    return JOB_WAIT;
}

static enum job_step probe_step(void *arg, struct wait *wait, struct err *err)
{
    struct probe *p = arg;
    int failure = 0;
    socklen_t len = sizeof(failure);

    (void)err;
    if (wait->timed_out)
        return JOB_DONE;
    if (!wait_revents(wait, p->fd)) {
        wait_fd(wait, p->fd, POLLOUT);
        wait_until(wait, p->give_up_at_ms);
        return JOB_WAIT;
    }
    if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0 || failure != 0 ||
        is_self(p->fd))
        return JOB_DONE;
    if (!p->address->what)
        return ask_sentinel(p, wait);
    json_array_append_new(p->all->alive, json_pack("{s:s, s:i, s:s}", "addr", p->address->addr,
                                             "port", p->address->port, "what", p->address->what));
    return JOB_DONE;
}

static void probe_done(void *arg, const struct err *err)
{
    struct probe *p = arg;
    struct survey_of_addresses *all = p->all;

    (void)err;
    close(p->fd);
    buf_release(&p->reply);
    free(p);
    start_next(all);
}

static const struct job_ops probe_ops = {"old cluster probe", probe_step, probe_done};

/* Numeric addresses only: a name may long lead elsewhere, and resolving one can hang. */
static int connect_to(const struct address *address)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;
    char port[16];

    snprintf(port, sizeof(port), "%d", address->port);
    if (getaddrinfo(address->addr, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) < 0 && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static void start_next(struct survey_of_addresses *all)
{
    while (all->next < all->count) {
        const struct address *address = &all->items[all->next++];
        int fd = connect_to(address);
        if (fd < 0)
            continue;
        struct probe *p = xmalloc(sizeof(*p));
        *p = (struct probe){.all = all,
            .address = address,
            .fd = fd,
            .give_up_at_ms = clock_mono_ms() + PROBE_MS,
            .reply = BUF_INIT};
        loop_add(all->loop, &probe_ops, p);
        return;
    }
}

int old_cluster_probe(
    const struct ccs *ccs, json_t **ret_alive, json_t **ret_sentinels, struct err *err)
{
    struct survey_of_addresses all = {
        .loop = loop_new(), .alive = json_array(), .sentinels = json_array()};

    collect(&all, ccs);
    for (int i = 0; i < PROBES_AT_ONCE; i++)
        start_next(&all);
    int rc = loop_run(all.loop, err);
    loop_free(all.loop);
    free(all.items);
    arena_release(&all.arena);
    if (rc == 0) {
        *ret_alive = all.alive;
        *ret_sentinels = all.sentinels;
    } else {
        json_decref(all.alive);
        json_decref(all.sentinels);
    }
    return rc;
}

static int is_ours(struct state *st, const json_t *address, int64_t *ret, struct err *err)
{
    return state_get_int(st, 0, ret, err,
        "SELECT COUNT(*) FROM (SELECT addr, port FROM placement UNION ALL SELECT addr, port FROM "
        "moved) WHERE addr = ? AND port = ?",
        "si", json_string_value(json_object_get(address, "addr")),
        (int64_t)json_integer_value(json_object_get(address, "port")));
}

static int refuse_if_alive(struct state *st, const json_t *alive, struct err *err)
{
    size_t i;
    const json_t *address;

    json_array_foreach (alive, i, address) {
        int64_t ours;
        if (is_ours(st, address, &ours, err) < 0)
            return -1;
        if (ours)
            continue;
        err_set(err, ERR_CHECK, "the old cluster is alive: %s:%lld (%s) accepts connections",
            json_string_value(json_object_get(address, "addr")),
            json_integer_value(json_object_get(address, "port")),
            json_string_value(json_object_get(address, "what")));
        return err_hint(err, "Stop it; or, if that is something else, type the old cluster's name: "
                             "--old-cluster-is-dead NAME");
    }
    return 0;
}

int old_cluster_wrong_name(const char *typed, const char *name, struct err *err)
{
    err_set(err, ERR_USAGE, "--old-cluster-is-dead '%s' is not the name of this cluster", typed);
    return err_hint(err, "Its name is '%s'; type it if you are sure that it is dead.", name);
}

int old_cluster_check_again(
    struct state *st, const struct ccs *ccs, const char *typed, struct err *err)
{
    CLEANUP(free_ptr) char *said = state_meta(st, "old_cluster_is_dead");
    const char *name = ccs->cluster_name ? ccs->cluster_name : "";
    json_t *alive, *sentinels;

    if (typed && strcmp(typed, name) != 0)
        return old_cluster_wrong_name(typed, name, err);
    if (typed || said)
        return 0;
    if (old_cluster_probe(ccs, &alive, &sentinels, err) < 0)
        return -1;
    int rc = refuse_if_alive(st, alive, err);
    json_decref(alive);
    json_decref(sentinels);
    return rc;
}
