#include "recluster/old_cluster.h"
#include "recluster/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/knock.h"
#include "recluster/loop.h"
#include "sentinel.h"

enum { LOOKUP_MS = 5000, FIRST_LOOK_MS = 1500, SENTINEL_MS = 1500, SENTINEL_PORT = 26379 };

struct address {
    const char *addr;
    int port;
    const char *what; /* "shard:4", "endpoint:1:1"; NULL: the port of a possible Sentinel */
    bool of_node;
    enum knock_answer answer;
    const char *seen_from; /* the host that asks; NULL: this machine */
};

struct name {
    const char *name;
    int port;
    const char *what;
};

struct old_addresses {
    struct arena arena;
    struct address *items;
    size_t count, alloc;
    struct name *names;
    size_t name_count, name_alloc;
    json_t *node_addrs; /* a set of keys */
};

/* --- which addresses --- */

static int by_address(const void *a, const void *b)
{
    const struct address *x = a, *y = b;
    int order = strcmp(x->addr, y->addr);
    return order ? order : x->port - y->port;
}

static bool is_ip(const char *text)
{
    struct in6_addr any;
    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

static void add_address(struct old_addresses *all, const char *addr, int port, const char *what)
{
    GROW(all->items, all->count, all->alloc);
    all->items[all->count++] = (struct address){.addr = addr,
        .port = port,
        .what = what,
        .of_node = json_object_get(all->node_addrs, addr) != NULL};
}

/* `words`: addresses or names, separated by commas; names are looked up first. */
static void add(
    struct old_addresses *all, const char *words, int port, const char *kind, const char *uid)
{
    if (!words || port <= 0 || port > 65535)
        return;
    char *list = arena_strdup(&all->arena, words), *rest;
    const char *what = kind ? arena_printf(&all->arena, "%s:%s", kind, uid) : NULL;
    for (char *word = strtok_r(list, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest)) {
        if (is_ip(word)) {
            add_address(all, word, port, what);
            continue;
        }
        GROW(all->names, all->name_count, all->name_alloc);
        all->names[all->name_count++] = (struct name){word, port, what};
    }
}

static void collect(struct old_addresses *all, const struct ccs *ccs)
{
    for (size_t i = 0; i < ccs->shard_count; i++) {
        const struct ccs_shard *s = &ccs->shards[i];
        const struct ccs_node *node = s->node_uid ? ccs_node(ccs, s->node_uid) : NULL;
        if (node)
            add(all, node->addr, s->port, "shard", s->uid);
        if (node)
            add(all, node->addr, s->other_port, "shard", s->uid);
    }
    for (size_t i = 0; i < ccs->endpoint_count; i++) {
        const struct ccs_endpoint *e = &ccs->endpoints[i];
        add(all, e->addr, e->port, "endpoint", e->uid);
        add(all, e->dns_name, e->port, "endpoint", e->uid);
        /* The proxy of any node may serve the endpoint. */
        for (size_t n = 0; n < ccs->node_count; n++) {
            add(all, ccs->nodes[n].addr, e->port, "endpoint", e->uid);
            add(all, ccs->nodes[n].external_addr, e->port, "endpoint", e->uid);
        }
    }
    for (size_t n = 0; n < ccs->node_count; n++)
        add(all, ccs->nodes[n].addr, SENTINEL_PORT, NULL, NULL);
}

static void remove_duplicates(struct old_addresses *all)
{
    size_t kept = 0;

    if (all->count)
        qsort(all->items, all->count, sizeof(*all->items), by_address);
    for (size_t i = 0; i < all->count; i++)
        if (!kept || by_address(&all->items[i], &all->items[kept - 1]) != 0)
            all->items[kept++] = all->items[i];
    all->count = kept;
}

static void take_names(struct old_cluster *old, const struct lookup *lookups)
{
    struct old_addresses *all = old->addresses;

    for (size_t i = 0; i < all->name_count; i++) {
        const struct lookup *l = &lookups[i];
        const struct name *n = &all->names[i];
        for (size_t k = 0; k < l->addr_count; k++)
            add_address(all, arena_strdup(&all->arena, l->addrs[k]), n->port, n->what);
        json_t *unasked =
            l->answer == LOOKUP_FOUND || !n->what
                ? NULL
                : json_pack("{s:s, s:s, s:s}", "name", n->name, "what", n->what, "why",
                      l->answer == LOOKUP_NONE ? "no such name"
                                               : "its lookup was not answered in time");
        if (unasked)
            json_array_append_new(old->unasked, unasked);
    }
}

static int look_up_names(struct old_cluster *old, struct err *err)
{
    struct old_addresses *all = old->addresses;
    struct lookup *lookups = xcalloc(all->name_count + 1, sizeof(*lookups));

    for (size_t i = 0; i < all->name_count; i++)
        lookups[i].name = all->names[i].name;
    int rc = lookup_all(lookups, all->name_count, LOOKUP_MS, err);
    if (rc == 0)
        take_names(old, lookups);
    for (size_t i = 0; i < all->name_count; i++)
        strv_free(lookups[i].addrs, lookups[i].addr_count);
    free(lookups);
    return rc;
}

struct old_cluster *old_cluster_new(const struct ccs *ccs, struct err *err)
{
    struct old_cluster *old = xcalloc(1, sizeof(*old));

    old->addresses = xcalloc(1, sizeof(*old->addresses));
    arena_init(&old->addresses->arena);
    old->addresses->node_addrs = json_object();
    old->alive = json_array();
    old->ccs = ccs;
    old->silent = json_array();
    old->silent_nodes = json_array();
    old->unasked = json_array();
    old->sentinels = json_array();
    for (size_t n = 0; n < ccs->node_count; n++) {
        if (ccs->nodes[n].addr)
            json_object_set_new(old->addresses->node_addrs, ccs->nodes[n].addr, json_true());
        if (ccs->nodes[n].external_addr)
            json_object_set_new(
                old->addresses->node_addrs, ccs->nodes[n].external_addr, json_true());
    }
    collect(old->addresses, ccs);
    if (look_up_names(old, err) < 0) {
        old_cluster_free(old);
        return NULL;
    }
    remove_duplicates(old->addresses);
    old->asked = old->addresses->count;
    for (size_t i = 0; i < old->addresses->count; i++)
        old->foreign += !old->addresses->items[i].of_node;
    return old;
}

void old_cluster_free(struct old_cluster *old)
{
    if (!old)
        return;
    arena_release(&old->addresses->arena);
    json_decref(old->addresses->node_addrs);
    free(old->addresses->items);
    free(old->addresses->names);
    free(old->addresses);
    json_decref(old->alive);
    json_decref(old->silent);
    json_decref(old->silent_nodes);
    json_decref(old->unasked);
    json_decref(old->sentinels);
    free(old);
}

/* --- Sentinels --- */

struct asking {
    struct old_cluster *old;
    struct address *address;
    int fd;
    bool connected, over;
    int64_t give_up_at_ms;
    size_t sent;
    struct buf reply;
};

static void add_watched(void *arg, const char *master, const char *ip, int port)
{
    const struct asking *p = arg;
    const struct address key = {.addr = ip, .port = port};
    AUTO_FREE char *watches = xasprintf("%s:%d", ip, port);

    if (!bsearch(&key, p->old->addresses->items, p->old->addresses->count, sizeof(key), by_address))
        return;
    json_t *found = json_pack("{s:s, s:i, s:s, s:s}", "addr", p->address->addr, "port",
        p->address->port, "master", master, "watches", watches);
    if (found) /* a name that is not UTF-8 is in no CCS file */
        json_array_append_new(p->old->sentinels, found);
}

/* The first step reports the connection; until then the port counts as silent. */
static bool is_connected(struct asking *p, struct wait *wait)
{
    int failure = 0;
    socklen_t len = sizeof(failure);

    p->address->answer = KNOCK_SILENT;
    if (!wait_revents(wait, p->fd)) {
        wait_fd(wait, p->fd, POLLOUT);
        wait_until(wait, p->give_up_at_ms);
        return false;
    }
    p->connected = getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &failure, &len) == 0 && failure == 0;
    p->over = !p->connected;
    if (p->connected || failure == ECONNREFUSED)
        p->address->answer = p->connected ? KNOCK_OPEN : KNOCK_REFUSED;
    return p->connected;
}

/* Asks a Sentinel for its primaries; another server there is ignored. */
static enum job_step asking_step(void *arg, struct wait *wait, struct err *err)
{
    struct asking *p = arg;
    static const char question[] = "*2\r\n$8\r\nSENTINEL\r\n$7\r\nmasters\r\n";
    size_t len = sizeof(question) - 1;

    (void)err;
    if (clock_mono_ms() >= p->give_up_at_ms)
        return JOB_DONE;
    if (!p->connected && !is_connected(p, wait))
        return p->over ? JOB_DONE : JOB_WAIT;
    while (p->sent < len) {
        ssize_t n = send(p->fd, question + p->sent, len - p->sent, MSG_NOSIGNAL);
        if (n <= 0 && errno != EAGAIN)
            return JOB_DONE;
        if (n <= 0) {
            wait_fd(wait, p->fd, POLLOUT);
            wait_until(wait, p->give_up_at_ms);
            return JOB_WAIT;
        }
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

static void asking_done(void *arg, const struct err *err)
{
    struct asking *p = arg;

    (void)err;
    close(p->fd);
    buf_release(&p->reply);
    free(p);
}

static const struct job_ops asking_ops = {"old Sentinel", asking_step, asking_done};

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

static int ask_sentinels(struct old_cluster *old, struct err *err)
{
    struct loop *loop = loop_new();

    for (size_t i = 0; i < old->addresses->count; i++) {
        struct address *a = &old->addresses->items[i];
        int fd = a->what ? -1 : connect_to(a);
        if (fd < 0)
            continue;
        struct asking *p = xmalloc(sizeof(*p));
        *p = (struct asking){.old = old,
            .address = a,
            .fd = fd,
            .give_up_at_ms = clock_mono_ms() + SENTINEL_MS,
            .reply = BUF_INIT};
        loop_add(loop, &asking_ops, p);
    }
    int rc = loop_run(loop, err);
    loop_free(loop);
    return rc;
}

/* --- asking --- */

/* Asks again those whose answer is `wanted`. A Sentinel is asked in its own protocol. */
static int knock_round(
    struct old_addresses *all, enum knock_answer wanted, int timeout_ms, struct err *err)
{
    struct knock *knocks = xcalloc(all->count + 1, sizeof(*knocks));
    size_t count = 0, at = 0;

    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].what && all->items[i].answer == wanted)
            knocks[count++] = (struct knock){all->items[i].addr, all->items[i].port, wanted};
    int rc = knock_all(knocks, count, timeout_ms, err);
    for (size_t i = 0; i < all->count && rc == 0; i++)
        if (all->items[i].what && all->items[i].answer == wanted)
            all->items[i].answer = knocks[at++].answer;
    free(knocks);
    return rc;
}

int old_cluster_ask(struct old_cluster *old, struct err *err)
{
    if (knock_round(old->addresses, KNOCK_UNASKED, FIRST_LOOK_MS, err) < 0 ||
        knock_round(old->addresses, KNOCK_SILENT, KNOCK_MS, err) < 0)
        return -1;
    return ask_sentinels(old, err);
}

json_t *old_cluster_questions(const struct old_cluster *old)
{
    json_t *list = json_array();

    for (size_t i = 0; i < old->addresses->count; i++) {
        const struct address *a = &old->addresses->items[i];
        if (a->what)
            json_array_append_new(list, json_pack("{s:s, s:i}", "addr", a->addr, "port", a->port));
    }
    return json_pack("{s:o}", "addresses", list);
}

/* An open port counts wherever it is seen. "refused" is proof too: the machine itself answers. */
void old_cluster_take(struct old_cluster *old, const char *host, const json_t *answers)
{
    for (size_t i = 0, k = 0; i < old->addresses->count; i++) {
        struct address *a = &old->addresses->items[i];
        const char *word = a->what ? json_string_value(json_array_get(answers, k++)) : NULL;
        bool open = word && strcmp(word, knock_answer_name(KNOCK_OPEN)) == 0;
        bool refused = word && strcmp(word, knock_answer_name(KNOCK_REFUSED)) == 0;
        if (a->answer == KNOCK_OPEN || (!open && !(refused && a->answer != KNOCK_REFUSED)))
            continue;
        a->answer = open ? KNOCK_OPEN : KNOCK_REFUSED;
        a->seen_from = arena_strdup(&old->addresses->arena, host);
    }
}

/* Any answer, even "refused", shows that the machine can be reached. */
static bool node_is_silent(const struct old_cluster *old, const struct ccs_node *node)
{
    bool silent = false;

    for (size_t i = 0; i < old->addresses->count; i++) {
        const struct address *a = &old->addresses->items[i];
        bool its = (node->addr && strcmp(a->addr, node->addr) == 0) ||
                   (node->external_addr && strcmp(a->addr, node->external_addr) == 0);
        if (its && a->answer != KNOCK_SILENT && a->answer != KNOCK_UNASKED)
            return false;
        silent |= its;
    }
    return silent;
}

bool old_cluster_is_silent(const struct old_cluster *old)
{
    size_t nodes = old->ccs->node_count;

    return nodes ? json_array_size(old->silent_nodes) * 2 > nodes
                 : json_array_size(old->silent) * 2 > old->asked;
}

void old_cluster_judge(struct old_cluster *old)
{
    for (size_t n = 0; n < old->ccs->node_count; n++)
        if (node_is_silent(old, &old->ccs->nodes[n]))
            json_array_append_new(old->silent_nodes, json_string(old->ccs->nodes[n].uid));
    for (size_t i = 0; i < old->addresses->count; i++) {
        const struct address *a = &old->addresses->items[i];
        if (!a->what || a->answer == KNOCK_REFUSED)
            continue;
        json_t *found = json_pack("{s:s, s:i, s:s, s:s*}", "addr", a->addr, "port", a->port, "what",
            a->what, "seen_from", a->seen_from);
        json_array_append_new(a->answer == KNOCK_OPEN ? old->alive : old->silent, found);
    }
}

/* --- a run that resumes --- */

static int is_ours(struct state *st, const json_t *address, int64_t *ret, struct err *err)
{
    return state_get_int(st, ret, err,
        "SELECT COUNT(*) FROM (SELECT addr, port FROM placement UNION ALL SELECT addr, port FROM "
        "moved) WHERE addr = ? AND port = ?",
        "si", json_text(address, "addr", NULL), (int64_t)json_int(address, "port", 0));
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
            json_text(address, "addr", NULL), json_int(address, "port", 0),
            json_text(address, "what", NULL));
        return err_hint(err, "Stop it. If it is something else, confirm it with the old cluster's "
                             "name: --old-cluster-is-dead NAME");
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
    AUTO_FREE char *said = state_meta(st, "old_cluster_is_dead");
    const char *name = ccs->cluster_name ? ccs->cluster_name : "";

    if (typed && strcmp(typed, name) != 0)
        return old_cluster_wrong_name(typed, name, err);
    if (typed || said)
        return 0;
    struct old_cluster *old = old_cluster_new(ccs, err);
    if (!old)
        return -1;
    int rc = old_cluster_ask(old, err);
    if (rc == 0) {
        old_cluster_judge(old);
        rc = refuse_if_alive(st, old->alive, err);
    }
    if (rc == 0 && old_cluster_is_silent(old)) {
        err_set(err, ERR_CHECK,
            "a majority of the old cluster's nodes does not answer: they may be off, or only "
            "not reachable from here");
        rc = err_hint(err,
            "If you are sure that it is dead, type its name: --old-cluster-is-dead '%s'", name);
    }
    old_cluster_free(old);
    return rc;
}
