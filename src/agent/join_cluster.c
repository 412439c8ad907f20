#include "join_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "method.h"
#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/slots.h"
#include "server.h"
#include "watch.h"

enum {
    MEET_MS = 60 * 1000,
    POLL_MS = 50,
    SLOTS_PER_COMMAND = 24,
    NODE_ID_DIGITS = 40,
    NODES_CONF_MAX = 64 << 20
};

/* A line of CLUSTER NODES: <id> <addr>:<port>@… <flags> <primary> <3 numbers> <link> [slots…] */
struct node_line {
    char id[NODE_ID_DIGITS + 1];
    char at[128], flags[128];
    const char *slots; /* to the end of the line */
};

static bool read_line(const char *line, struct node_line *ret)
{
    int behind = 0;

    if (sscanf(line, "%40s %127s %127s %*s %*s %*s %*s %*s%n", ret->id, ret->at, ret->flags,
            &behind) != 3 ||
        !behind)
        return false;
    ret->slots = line + behind;
    return true;
}

/* The first line for which `wanted` is true; false: none. */
static bool find_line(const char *nodes, bool (*wanted)(const struct node_line *, const void *),
    const void *arg, struct node_line *ret)
{
    for (const char *line = nodes; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (read_line(line, ret) && wanted(ret, arg))
            return true;
    }
    return false;
}

static bool is_myself(const struct node_line *line, const void *arg)
{
    (void)arg;
    return strstr(line->flags, "myself") != NULL;
}

/* Valid only when the address has answered: until then the server uses a temporary id. */
static bool is_met(const struct node_line *line, const void *arg)
{
    const char *at = arg;
    return strncmp(line->at, at, strlen(at)) == 0 && !strstr(line->flags, "handshake");
}

static int cluster_nodes(struct redis *r, char **ret, struct err *err)
{
    return redis_text(r, ret, (const char *const[]){"CLUSTER", "NODES", NULL}, err);
}

/* "[93-<-id]": a slot that is being migrated; there should be none. */
static int owned_slots(const char *nodes, struct slots *ret, struct err *err)
{
    struct node_line line;

    slots_clear(ret);
    if (!find_line(nodes, is_myself, NULL, &line))
        return err_set(err, ERR_SERVER, "CLUSTER NODES does not name the server itself");
    const char *p = line.slots;
    while (*p == ' ') {
        size_t len = strcspn(++p, " \n");
        AUTO_FREE char *range = xstrndup(p, len);
        if (range[0] == '[')
            return err_set(err, ERR_CHECK,
                "the server holds keys of a slot that belongs to another: %s", range);
        if (len && slots_parse(range, ret, err) < 0)
            return -1;
        p += len;
    }
    return 0;
}

static int add_slots(struct redis *r, struct slots *missing, struct err *err)
{
    char text[SLOTS_PER_COMMAND][8];
    const char *argv[SLOTS_PER_COMMAND + 3] = {"CLUSTER", "ADDSLOTS"};

    for (unsigned slot = 0; slot < SLOT_COUNT;) {
        size_t count = 0;
        for (; slot < SLOT_COUNT && count < SLOTS_PER_COMMAND; slot++)
            if (slots_has(missing, slot)) {
                snprintf(text[count], sizeof(text[count]), "%u", slot);
                argv[2 + count] = text[count];
                count++;
            }
        argv[2 + count] = NULL;
        if (count && redis_command_argv(r, NULL, argv, NULL, err) < 0)
            return -1;
    }
    return 0;
}

/* A server without nodes.conf has already taken the slots of its keys. */
static int take_slots(struct redis *r, const struct slots *wanted, struct err *err)
{
    AUTO_FREE char *nodes = NULL;
    struct slots owned, missing = *wanted;

    if (cluster_nodes(r, &nodes, err) < 0 || owned_slots(nodes, &owned, err) < 0)
        return -1;
    if (!slots_contain(wanted, &owned))
        return err_set(err, ERR_CHECK, "the server has slots that do not belong to its shard");
    slots_subtract(&missing, &owned);
    return add_slots(r, &missing, err);
}

/* A node accepts an epoch only while it knows no other node. Clusters resolve equal epochs. */
static int set_epoch(struct redis *r, json_int_t epoch, struct err *err)
{
    AUTO_FREE char *text = xasprintf("%" JSON_INTEGER_FORMAT, epoch);
    AUTO_FREE char *info = NULL;

    if (redis_text(r, &info, (const char *const[]){"CLUSTER", "INFO", NULL}, err) < 0)
        return -1;
    if (info_int(info, "cluster_my_epoch", 0) != 0 || info_int(info, "cluster_known_nodes", 1) > 1)
        return 0;
    return redis_command(r, NULL, err, "CLUSTER", "SET-CONFIG-EPOCH", text);
}

/* Sends CLUSTER MEET, or sets *ret_id (40 digits) if the server knows the other one already. */
static int meet(
    struct redis *r, const json_t *other, char ret_id[NODE_ID_DIGITS + 1], struct err *err)
{
    AUTO_FREE char *nodes = NULL;
    struct node_line line;
    const char *addr;
    json_int_t port, bus_port;

    if (param_string(other, "addr", &addr, err) < 0 || param_int(other, "port", &port, err) < 0 ||
        param_int(other, "bus_port", &bus_port, err) < 0 || cluster_nodes(r, &nodes, err) < 0)
        return -1;
    AUTO_FREE char *at = xasprintf("%s:%" JSON_INTEGER_FORMAT "@", addr, port);
    *ret_id = '\0';
    if (find_line(nodes, is_met, at, &line)) {
        memcpy(ret_id, line.id, sizeof(line.id));
        return 0;
    }
    AUTO_FREE char *port_text = xasprintf("%" JSON_INTEGER_FORMAT, port);
    AUTO_FREE char *bus_text = xasprintf("%" JSON_INTEGER_FORMAT, bus_port);
    return redis_command(r, NULL, err, "CLUSTER", "MEET", addr, port_text, bus_text);
}

int join_as_primary(struct redis *r, const json_t *cluster, struct err *err)
{
    const json_t *other = json_object_get(cluster, "meet");
    char id[NODE_ID_DIGITS + 1];
    struct slots slots;
    json_int_t epoch;

    slots_clear(&slots);
    if (param_int(cluster, "epoch", &epoch, err) < 0 ||
        slots_from_json(json_object_get(cluster, "slots"), &slots, err) < 0 ||
        take_slots(r, &slots, err) < 0 || set_epoch(r, epoch, err) < 0)
        return -1;
    return other ? meet(r, other, id, err) : 0;
}

int join_as_replica(struct redis *r, const json_t *primary, struct err *err)
{
    int64_t deadline = clock_mono_ms() + MEET_MS;
    AUTO_FREE char *info = NULL;
    char id[NODE_ID_DIGITS + 1];

    if (redis_info(r, &info, err) < 0)
        return -1;
    if (info_is(info, "role", "slave"))
        return 0;
    for (;; pause_ms(POLL_MS)) {
        if (meet(r, primary, id, err) < 0)
            return -1;
        if (*id)
            return redis_command(r, NULL, err, "CLUSTER", "REPLICATE", id);
        if (clock_mono_ms() > deadline)
            return err_set(
                err, ERR_TIMEOUT, "the server of the replica cannot meet that of its primary");
    }
}

static bool is_gone_replica(const struct node_line *line, const void *arg)
{
    const json_t *place;
    size_t i;

    if (!strstr(line->flags, "slave") || strstr(line->flags, "myself"))
        return false;
    json_array_foreach ((const json_t *)arg, i, place) {
        AUTO_FREE char *at = xasprintf("%s:%" JSON_INTEGER_FORMAT "@",
            json_text(place, "addr", NULL), json_int(place, "port", 0));
        if (strncmp(line->at, at, strlen(at)) == 0)
            return true;
    }
    return false;
}

int forget_replicas(
    struct redis *r, const json_t *places, json_int_t *ret_forgotten, struct err *err)
{
    *ret_forgotten = 0;
    for (;;) {
        AUTO_FREE char *nodes = NULL;
        struct node_line line;
        if (cluster_nodes(r, &nodes, err) < 0)
            return -1;
        if (!find_line(nodes, is_gone_replica, places, &line))
            return 0;
        if (redis_command(r, NULL, err, "CLUSTER", "FORGET", line.id) < 0)
            return -1;
        (*ret_forgotten)++;
    }
}

/* Among "slave,fail?,nofailover". */
static bool has_flag(const char *flags, const char *flag)
{
    size_t len = strlen(flag);

    for (const char *at = flags; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, flag, len) == 0 && (at[len] == ',' || !at[len]))
            return true;
    }
    return false;
}

/*
 * <id> <addr>:<port>@<bus>[,name] <flags> <primary> <ping> <pong> <epoch> <link> …; `pong` tells
 * that the node has answered.
 */
static bool is_heard(const char *line)
{
    char flags[128], link[32];
    long long pong = 0;

    if (sscanf(line, "%*s %*s %127s %*s %*s %lld %*s %31s", flags, &pong, link) != 3)
        return false;
    return has_flag(flags, "myself") ||
           (pong > 0 && strcmp(link, "connected") == 0 && !has_flag(flags, "fail") &&
               !has_flag(flags, "fail?") && !has_flag(flags, "handshake"));
}

/* "10.0.0.1:6379@16379,name"; an IPv6 address has colons too. */
static json_t *place_of(const char *at)
{
    AUTO_FREE char *text = xstrdup(at);
    char *bus = strchr(text, '@'), *port;

    if (bus)
        *bus++ = '\0';
    port = strrchr(text, ':');
    if (!bus || !port)
        return NULL;
    *port++ = '\0';
    return json_pack("{s:s, s:i, s:i}", "addr", text, "port", atoi(port), "bus_port", atoi(bus));
}

int nodes_unheard(struct redis *r, json_t **ret, struct err *err)
{
    AUTO_FREE char *nodes = NULL;
    struct node_line parsed;

    if (cluster_nodes(r, &nodes, err) < 0)
        return -1;
    *ret = json_array();
    for (const char *line = nodes; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!read_line(line, &parsed) || is_heard(line))
            continue;
        json_t *place = place_of(parsed.at);
        if (place)
            json_array_append_new(*ret, place);
    }
    return 0;
}

int nodes_forget_heard(struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    CLEANUP(buf_release) struct buf out = BUF_INIT;
    struct err absent = ERR_INIT;

    if (file_read("nodes.conf", NODES_CONF_MAX, &text, &absent) < 0) {
        if (absent.code == ERR_NOT_FOUND)
            return 0;
        *err = absent;
        return -1;
    }
    for (const char *line = text.data, *end; line && *line; line = *end ? end + 1 : end) {
        int before = 0, behind = 0;
        end = line + strcspn(line, "\n");
        AUTO_FREE char *one = xstrndup(line, (size_t)(end - line));
        /* a "vars …" line has fewer fields */
        if (sscanf(one, "%*40[0-9a-f] %*s %*s %*s%n %*d %*d%n", &before, &behind) == 0 && behind)
            buf_addf(&out, "%.*s 0 0%s\n", before, one, one + behind);
        else
            buf_addf(&out, "%s\n", one);
    }
    return file_write_atomic("nodes.conf", out.data ? out.data : "", out.len, 0600, err);
}
