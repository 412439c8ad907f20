/* live_ask(): round by round, all servers of a round at the same time. */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/knock.h"
#include "resp.h"
#include "topology.h"

enum { TIMEOUT_MS = 5000, SERVERS_MAX = 5000, LOOKUP_MS = 5000 };

const char live_acl_rules[] =
    "+ping +info +config|get +acl|list +module|list +function|list +cluster|nodes +cluster|info";
const char live_acl_rules_6[] =
    "+ping +info +config|get +acl|list +module|list +cluster|nodes +cluster|info";
const char live_acl_sentinel_rules[] =
    "+ping +info +sentinel|masters +sentinel|replicas +sentinel|sentinels";

struct asking {
    const struct live_params *params;
    struct live *live;
    struct loop *loop;
    /* Named by servers, to be asked in the next round. */
    struct named {
        struct live_address address, by;
    } * named;
    size_t named_count, named_alloc;
};

enum question_kind {
    ASK_LOGIN,
    ASK_INFO,
    ASK_SETTINGS,
    ASK_USERS,
    ASK_MODULES,
    ASK_FUNCTIONS,
    ASK_NODES,
    ASK_CLUSTER_INFO,
    ASK_WATCHES,
    ASK_LISTED,
};

static const struct question {
    const char *argv[4];
    int (*take)(struct live *live, struct live_server *s, const redisReply *reply, struct err *err);
    bool may_be_unknown; /* servers of some versions do not have the command */
} questions[] = {
    [ASK_LOGIN] = {{"AUTH"}, NULL, false},
    [ASK_INFO] = {{"INFO"}, take_info, false},
    [ASK_SETTINGS] = {{"CONFIG", "GET", "*"}, take_settings, false},
    [ASK_USERS] = {{"ACL", "LIST"}, take_users, true},
    [ASK_MODULES] = {{"MODULE", "LIST"}, take_modules, true},
    [ASK_FUNCTIONS] = {{"FUNCTION", "LIST"}, take_functions, true},
    [ASK_NODES] = {{"CLUSTER", "NODES"}, take_nodes, false},
    [ASK_CLUSTER_INFO] = {{"CLUSTER", "INFO"}, take_cluster_info, false},
    [ASK_WATCHES] = {{"SENTINEL", "MASTERS"}, take_watches, false},
    [ASK_LISTED] = {{"SENTINEL"}, NULL, false},
};

/* The conversation with one server. */
struct talk {
    struct asking *asking;
    struct live_server *server;
    struct resp *resp;
    int64_t give_up_at_ms;
    enum question_kind *asked; /* whose answers are still to come, from `at` on */
    size_t at, asked_count, asked_alloc;
    bool with_sentinel_login, received_nothing;
    struct err first_refusal; /* of the usual login */
};

static void add_asked(struct talk *t, enum question_kind kind)
{
    GROW(t->asked, t->asked_count, t->asked_alloc);
    t->asked[t->asked_count++] = kind;
}

static void ask(struct talk *t, enum question_kind kind)
{
    resp_send(t->resp, questions[kind].argv);
    add_asked(t, kind);
}

static void log_in(struct talk *t, const struct live_login *login)
{
    const char *password = secret_reveal(login->password);

    if (!password)
        return;
    const char *argv[4] = {
        "AUTH", login->user ? login->user : password, login->user ? password : NULL, NULL};
    resp_send(t->resp, argv);
    add_asked(t, ASK_LOGIN);
}

/* --- other servers that this one names --- */

static struct live_server *find(const struct live *live, const char *addr, int port)
{
    for (size_t i = 0; i < live->count; i++) {
        struct live_server *s = live->servers[i];
        if (s->port == port &&
            (strcmp(s->addr, addr) == 0 || (s->name && strcmp(s->name, addr) == 0)))
            return s;
    }
    return NULL;
}

static void name_server(struct talk *t, const char *addr, int port)
{
    struct asking *a = t->asking;

    if (!*addr || !is_plain_word(addr) || port <= 0 || port > 65535 || find(a->live, addr, port))
        return;
    for (size_t i = 0; i < a->named_count; i++)
        if (a->named[i].address.port == port && strcmp(a->named[i].address.addr, addr) == 0)
            return;
    GROW(a->named, a->named_count, a->named_alloc);
    a->named[a->named_count++] = (struct named){{addr, port}, {t->server->addr, t->server->port}};
}

/* "slave0:ip=10.0.0.2,port=6379,state=online,…" */
static void name_replicas(struct talk *t)
{
    struct arena *arena = &t->asking->live->arena;
    const char *line;

    for (unsigned i = 0; i < SERVERS_MAX; i++) {
        line = info_line(arena, t->server->info, arena_printf(arena, "slave%u", i));
        if (!line)
            return;
        char *rest, *text = arena_strdup(arena, line);
        const char *addr = "", *port = "0";
        for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
            if (strncmp(word, "ip=", 3) == 0)
                addr = word + 3;
            else if (strncmp(word, "port=", 5) == 0)
                port = word + 5;
        }
        name_server(t, addr, atoi(port));
    }
}

static void name_others(struct talk *t)
{
    struct live_server *s = t->server;
    struct live *live = t->asking->live;
    const char *primary = info_line(&live->arena, s->info, "master_host");

    for (size_t i = 0; i < s->node_count; i++)
        if (!s->nodes[i].myself && !s->nodes[i].no_addr && !s->nodes[i].handshaking)
            name_server(t, s->nodes[i].addr, s->nodes[i].port);
    for (size_t i = 0; i < s->watch_count; i++)
        name_server(t, s->watches[i].addr, s->watches[i].port);
    if (s->mode != LIVE_ALONE)
        return;
    if (primary)
        name_server(t, primary, (int)live_info_int(live, s, "master_port", 0));
    name_replicas(t);
}

/* --- the conversation --- */

static void ask_more(struct talk *t)
{
    if (t->server->mode == LIVE_SENTINEL) {
        ask(t, ASK_WATCHES);
        return;
    }
    ask(t, ASK_SETTINGS);
    ask(t, ASK_USERS);
    ask(t, ASK_MODULES);
    ask(t, ASK_FUNCTIONS);
    if (t->server->mode == LIVE_CLUSTER) {
        ask(t, ASK_NODES);
        ask(t, ASK_CLUSTER_INFO);
    }
}

/* The other Sentinels, and the replicas that only Sentinels know of. */
static void ask_for_lists(struct talk *t)
{
    static const char *const lists[] = {"REPLICAS", "SENTINELS"};

    for (size_t i = 0; i < t->server->watch_count; i++)
        for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
            resp_send(t->resp,
                (const char *const[]){"SENTINEL", lists[k], t->server->watches[i].name, NULL});
            add_asked(t, ASK_LISTED);
        }
}

static void add_refused(struct talk *t, const char *command)
{
    struct arena *arena = &t->asking->live->arena;
    struct live_server *s = t->server;
    size_t count = 0;

    while (s->refused && s->refused[count])
        count++;
    const char **list = arena_alloc(arena, (count + 2) * sizeof(*list));
    for (size_t i = 0; i < count; i++)
        list[i] = s->refused[i];
    list[count] = command;
    s->refused = list;
}

static bool begins(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

/*
 * The server refuses. A login that it does not need is none: servers without passwords refuse AUTH,
 * Sentinels too.
 */
static int take_refusal(struct talk *t, enum question_kind kind, const char *text, struct err *err)
{
    const struct question *q = &questions[kind];
    const char *command =
        q->argv[1] ? arena_printf(&t->asking->live->arena, "%s %s", q->argv[0], q->argv[1])
                   : q->argv[0];

    if (kind == ASK_LOGIN &&
        (strstr(text, "no password is set") || strstr(text, "without any password configured")))
        return 0;
    if (kind == ASK_LOGIN) {
        err_set(
            err, ERR_DENIED, "the server refuses the login: %.*s", (int)strcspn(text, " "), text);
        return err_hint(err, "Check --user and the password.");
    }
    if (begins(text, "NOAUTH")) {
        err_set(err, ERR_DENIED, "the server wants a login");
        return err_hint(err, "Give a user and a password: --user NAME --password FILE");
    }
    if (begins(text, "NOPERM")) {
        err_set(err, ERR_DENIED, "the server refuses the command %s to this user", command);
        return err_hint(err, "What the user needs: recluster capture --acl");
    }
    if (begins(text, "LOADING") || begins(text, "BUSY") || begins(text, "MASTERDOWN"))
        return err_set(err, ERR_BUSY, "%s: the server answers '%s'", command, text);
    if (q->may_be_unknown || kind == ASK_SETTINGS) {
        add_refused(t, command);
        return 0;
    }
    return err_set(err, ERR_SERVER, "%s: the server answers '%s'", command, text);
}

/* User default needs no login if it has no password; then AUTH with a password alone is refused. */
static void take_login(struct talk *t)
{
    const struct live_params *params = t->asking->params;
    const struct live_login *login =
        t->with_sentinel_login ? &params->sentinel_login : &params->login;

    t->server->demands_login = true;
    if (!login->user)
        t->server->own_password =
            arena_strdup(&t->asking->live->arena, secret_reveal(login->password));
}

static int take(struct talk *t, const redisReply *reply, struct err *err)
{
    struct live *live = t->asking->live;
    enum question_kind kind = t->asked[t->at++];

    if (reply->type == REDIS_REPLY_ERROR)
        return take_refusal(t, kind, reply->str, err);
    if (questions[kind].take && questions[kind].take(live, t->server, reply, err) < 0)
        return -1;
    switch (kind) {
    case ASK_INFO:
        ask_more(t);
        return 0;
    case ASK_WATCHES:
        ask_for_lists(t);
        return 0;
    case ASK_LISTED: {
        struct live_address *listed;
        size_t count;
        if (take_listed(live, reply, &listed, &count, err) < 0)
            return -1;
        for (size_t i = 0; i < count; i++)
            name_server(t, listed[i].addr, listed[i].port);
        return 0;
    }
    case ASK_LOGIN:
        take_login(t);
        return 0;
    case ASK_SETTINGS:
    case ASK_USERS:
    case ASK_MODULES:
    case ASK_FUNCTIONS:
    case ASK_NODES:
    case ASK_CLUSTER_INFO:
        break;
    }
    return 0;
}

static enum job_step talk_step(void *arg, struct wait *wait, struct err *err)
{
    struct talk *t = arg;

    while (t->at < t->asked_count) {
        redisReply *reply;
        switch (resp_next(t->resp, &reply, wait, err)) {
        case RESP_FAILED:
            return JOB_FAIL;
        case RESP_WAIT:
            if (clock_mono_ms() >= t->give_up_at_ms) {
                err_set(err, ERR_TIMEOUT, "the server does not answer in time");
                return JOB_FAIL;
            }
            wait_until(wait, t->give_up_at_ms);
            return JOB_WAIT;
        case RESP_REPLY:
            break;
        }
        t->received_nothing = false;
        int rc = take(t, reply, err);
        freeReplyObject(reply);
        if (rc < 0)
            return JOB_FAIL;
    }
    return JOB_DONE;
}

/* Sentinels may have another login, or none, which shows when they refuse the usual one. */
static bool try_as_sentinel(struct talk *t, const struct err *err);

static void talk_done(void *arg, const struct err *err)
{
    struct talk *t = arg;
    struct live_server *s = t->server;

    resp_close(t->resp);
    t->resp = NULL;
    if (try_as_sentinel(t, err))
        return;
    if (err->code != ERR_NONE) {
        s->error = t->with_sentinel_login && !s->answered ? t->first_refusal : *err;
        if (err->code == ERR_NETWORK && t->received_nothing && !t->asking->params->tls)
            err_hint(&s->error, "It may want TLS: --tls, or --tls-ca FILE.");
        if (!strstr(s->error.message, s->addr))
            err_wrap(&s->error, "%s:%d", s->addr, s->port);
    }
    if (s->answered)
        name_others(t);
    free(t->asked);
    free(t);
}

static const struct job_ops talk_ops = {"asking a server", talk_step, talk_done};

static int start_talk(struct talk *t, const struct live_login *login, struct err *err)
{
    const struct live_params *params = t->asking->params;
    const struct tcp_params tcp = {t->server->addr, t->server->port, params->tls, t->server->name};

    t->at = t->asked_count = 0;
    t->received_nothing = true;
    t->give_up_at_ms = clock_mono_ms() + (params->timeout_ms ? params->timeout_ms : TIMEOUT_MS);
    if (resp_open(&tcp, &t->resp, err) < 0)
        return -1;
    log_in(t, login);
    ask(t, ASK_INFO);
    loop_add(t->asking->loop, &talk_ops, t);
    return 0;
}

static bool try_as_sentinel(struct talk *t, const struct err *err)
{
    struct err failure = ERR_INIT;
    const struct live_params *params = t->asking->params;

    if (err->code != ERR_DENIED || t->with_sentinel_login || t->server->answered ||
        (!params->sentinel_login.password && !params->login.password))
        return false;
    t->with_sentinel_login = true;
    t->first_refusal = *err;
    return start_talk(t, &params->sentinel_login, &failure) == 0;
}

static void begin(struct asking *a, struct live_server *server)
{
    struct talk *t = xcalloc(1, sizeof(*t));

    t->asking = a;
    t->server = server;
    if (start_talk(t, &a->params->login, &server->error) < 0)
        free(t);
}

/* --- rounds --- */

static bool is_ip(const char *text)
{
    unsigned char any[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, any) == 1 || inet_pton(AF_INET6, text, any) == 1;
}

/* A new entry, unless the server is there already. */
static struct live_server *add_server(
    struct asking *a, const char *addr, const char *name, int port)
{
    struct live *live = a->live;

    if (find(live, addr, port))
        return NULL;
    struct live_server *s = arena_alloc(&live->arena, sizeof(*s));
    s->addr = arena_strdup(&live->arena, addr);
    s->name = arena_strdup(&live->arena, name);
    s->port = port;
    s->epoch = -1;
    GROW(live->servers, live->count, live->alloc);
    live->servers[live->count++] = s;
    return s;
}

/* Takes the servers that were named; names are looked up, all at the same time. */
static int add_named(struct asking *a, bool seeds, struct err *err)
{
    struct lookup *lookups = xcalloc(a->named_count + 1, sizeof(*lookups));
    size_t count = 0;
    int rc;

    for (size_t i = 0; i < a->named_count; i++)
        if (!is_ip(a->named[i].address.addr))
            lookups[count++].name = a->named[i].address.addr;
    rc = lookup_all(lookups, count, LOOKUP_MS, err);
    size_t at = 0;
    for (size_t i = 0; i < a->named_count && rc == 0; i++) {
        const struct live_address *x = &a->named[i].address;
        const struct lookup *l = is_ip(x->addr) ? NULL : &lookups[at++];
        const char *addr = !l ? x->addr : l->addr_count ? l->addrs[0] : x->addr;
        struct live_server *s = add_server(a, addr, l ? x->addr : NULL, x->port);
        if (!s)
            continue;
        s->seed = seeds;
        if (l && !l->addr_count)
            err_set(&s->error, ERR_NETWORK, "the name '%s' %s", x->addr,
                l->answer == LOOKUP_NONE ? "does not exist" : "could not be looked up in time");
        else if (!seeds && a->params->found)
            a->params->found(a->params->arg, x, &a->named[i].by);
    }
    for (size_t i = 0; i < count; i++)
        strv_free(lookups[i].addrs, lookups[i].addr_count);
    free(lookups);
    a->named_count = 0;
    return rc;
}

static int ask_all(struct asking *a, struct err *err)
{
    size_t first = 0;

    for (size_t i = 0; i < a->params->seed_count; i++) {
        GROW(a->named, a->named_count, a->named_alloc);
        a->named[a->named_count++] = (struct named){.address = a->params->seeds[i]};
    }
    for (bool seeds = true; a->named_count; seeds = false) {
        if (add_named(a, seeds, err) < 0)
            return -1;
        if (a->live->count > SERVERS_MAX)
            return err_set(err, ERR_LIMIT, "servers name more than %d others", SERVERS_MAX);
        for (; first < a->live->count; first++)
            if (a->live->servers[first]->error.code == ERR_NONE)
                begin(a, a->live->servers[first]);
        if (loop_run(a->loop, err) < 0)
            return -1;
    }
    return 0;
}

static int check_seeds(const struct live *live, struct err *err)
{
    bool any = false;

    for (size_t i = 0; i < live->count; i++) {
        const struct live_server *s = live->servers[i];
        any |= s->seed && live_is_whole(s);
        if (s->seed && s->error.code == ERR_DENIED) {
            *err = s->error;
            return -1;
        }
    }
    if (any)
        return 0;
    *err = live->servers[0]->error;
    return err_wrap(
        err, live->servers[0]->answered ? "no server answers everything" : "no server answers");
}

int live_ask(const struct live_params *params, struct live **ret, struct err *err)
{
    struct live *live = xcalloc(1, sizeof(*live));
    struct asking a = {.params = params, .live = live, .loop = loop_new()};

    arena_init(&live->arena);
    live->asked_ms = clock_wall_ms();
    int rc = params->seed_count ? ask_all(&a, err)
                                : err_set(err, ERR_USAGE, "no address of a server is given");
    if (rc == 0)
        rc = check_seeds(live, err);
    if (rc == 0)
        topology_find(live);
    loop_free(a.loop);
    free(a.named);
    if (rc < 0) {
        live_free(live);
        return -1;
    }
    *ret = live;
    return 0;
}

void live_free(struct live *live)
{
    if (!live)
        return;
    free(live->servers);
    free(live->notes);
    arena_release(&live->arena);
    free(live);
}
