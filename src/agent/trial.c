#include "trial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/crc64.h"
#include "recluster/file.h"
#include "scratch.h"
#include "server.h"
#include "server_conf.h"
#include "server_log.h"
#include "trial_settings.h"
#include "watch.h"

enum {
    START_MS = 5000,
    ANSWER_MS = 5000,
    TYPE_NAME_LEN = 9,
    TYPES_MAX = 64,
    LOG_MAX = 8192,
    LOOK_MS = 10
};

/* --- a folder of its own --- */

struct place {
    char *path;
    int before; /* the previous working folder */
};

static int enter(struct place *p, struct err *err)
{
    const char *tmp = getenv("TMPDIR");

    p->before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    p->path = path_join(tmp && *tmp == '/' ? tmp : "/tmp", "recluster-trial-XXXXXX");
    if (p->before >= 0 && mkdtemp(p->path) && chdir(p->path) == 0)
        return 0;
    err_sys(err, ERR_IO, "cannot make a folder in '%s'", tmp ? tmp : "/tmp");
    return err_hint(err, "Set TMPDIR to a folder that can be written to.");
}

static void leave(struct place *p)
{
    struct err ignored = ERR_INIT;

    if (p->before < 0 || fchdir(p->before) < 0)
        (void)!chdir("/");
    if (p->before >= 0)
        close(p->before);
    if (p->path)
        (void)!dir_remove(p->path, &ignored);
    free(p->path);
}

/* --- a node of a cluster --- */

/* Ports of 127.0.0.1 that are free at this moment. */
static int free_ports(int ports[2], struct err *err)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fds[2] = {-1, -1}, rc = 0;

    for (size_t i = 0; i < 2 && rc == 0; i++) {
        struct sockaddr_in got = addr;
        socklen_t len = sizeof(got);
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0 || bind(fds[i], (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
            getsockname(fds[i], (struct sockaddr *)&got, &len) < 0)
            rc = err_sys(err, ERR_NETWORK, "cannot take a port of 127.0.0.1");
        ports[i] = ntohs(got.sin_port);
    }
    for (size_t i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return rc;
}

/* The node itself, another primary and a replica of the node, in lines like those of a recovery. */
static const char own_id[] = "a111111111111111111111111111111111111111";
static const char other_id[] = "b222222222222222222222222222222222222222";
static const char replica_id[] = "c333333333333333333333333333333333333333";

static int write_nodes_conf(const int ports[2], struct err *err)
{
    AUTO_FREE char *text = xasprintf("%s 127.0.0.1:%d@%d myself,master - 0 0 1 connected 0-8191\n"
                                     "%s 127.0.0.1:1@1 master - 0 0 2 connected 8192-16383\n"
                                     "%s 127.0.0.1:2@2 slave %s 0 0 1 connected\n"
                                     "vars currentEpoch 2 lastVoteEpoch 0\n",
        own_id, ports[0], ports[1], other_id, replica_id, own_id);

    return file_write_atomic("nodes.conf", text, strlen(text), 0600, err);
}

static bool has_line(const char *nodes, const char *id, const char *flags, const char *primary,
    const char *epoch, const char *slots)
{
    const char *line = strstr(nodes, id);
    char got_flags[64], got_primary[64], got_epoch[32], got_slots[32] = "";

    while (line && line != nodes && line[-1] != '\n')
        line = strstr(line + 1, id);
    if (!line || sscanf(line, "%*s %*s %63s %63s %*s %*s %31s %*s%31[^\n]", got_flags, got_primary,
                     got_epoch, got_slots) < 3)
        return false;
    return strncmp(got_flags, flags, strlen(flags)) == 0 && strcmp(got_primary, primary) == 0 &&
           strcmp(got_epoch, epoch) == 0 && strcmp(got_slots, slots) == 0;
}

static int takes_nodes_conf(struct redis *r, bool *ret, struct err *err)
{
    AUTO_FREE char *nodes = NULL;

    if (redis_text(r, &nodes, (const char *const[]){"CLUSTER", "NODES", NULL}, err) < 0)
        return -1;
    *ret = has_line(nodes, own_id, "myself,master", "-", "1", " 0-8191") &&
           has_line(nodes, other_id, "master", "-", "2", " 8192-16383") &&
           has_line(nodes, replica_id, "slave", own_id, "1", "");
    return 0;
}

static int has_setting(struct redis *r, const char *name, bool *ret, struct err *err)
{
    redisReply *reply;

    if (redis_command(r, &reply, err, "CONFIG", "GET", name) < 0)
        return -1;
    *ret = reply->elements > 0;
    freeReplyObject(reply);
    return 0;
}

/* Reads MODULE LIST: [name, "vectorset", ver, 1, …] for each module. */
static int modules_of(struct redis *r, json_t **ret, struct err *err)
{
    redisReply *reply;

    if (redis_command(r, &reply, err, "MODULE", "LIST") < 0)
        return -1;
    *ret = json_array();
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *module = reply->element[i];
        for (size_t k = 0; k + 1 < module->elements; k += 2)
            if (module->element[k]->str && strcmp(module->element[k]->str, "name") == 0 &&
                module->element[k + 1]->str)
                json_array_append_new(*ret, json_string(module->element[k + 1]->str));
    }
    freeReplyObject(reply);
    return 0;
}

static int ask_server(struct redis *r, json_t *result, struct err *err)
{
    json_t *modules;

    if (modules_of(r, &modules, err) < 0)
        return -1;
    json_object_set_new(result, "modules", modules);
    return 0;
}

static int ask_cluster(struct redis *r, json_t *result, struct err *err)
{
    bool nodes_conf, databases;

    if (takes_nodes_conf(r, &nodes_conf, err) < 0 ||
        has_setting(r, "cluster-databases", &databases, err) < 0)
        return -1;
    json_object_set_new(result, "nodes_conf", json_boolean(nodes_conf));
    json_object_set_new(result, "cluster_databases", json_boolean(databases));
    return 0;
}

/* Before 7.0 the port of a node's bus cannot be chosen. */
static int add_cluster(const struct trial_params *params, struct buf *conf, struct err *err)
{
    int ports[2];

    if (!server_version_at_least(params->version, 7, 0)) {
        buf_adds(conf, "port 0\n");
        return 0;
    }
    if (free_ports(ports, err) < 0 || write_nodes_conf(ports, err) < 0)
        return -1;
    buf_addf(conf,
        "bind 127.0.0.1\nport %d\ncluster-port %d\n"
        "cluster-enabled yes\ncluster-config-file nodes.conf\n",
        ports[0], ports[1]);
    return 0;
}

static int try_wanted(
    const struct trial_params *params, struct redis *r, json_t *result, struct err *err)
{
    json_t *taken;

    if (trial_settings(r, params->version, params->wanted, &taken, err) < 0)
        return -1;
    json_object_set_new(result, "wanted", taken);
    return 0;
}

static int try_server(const struct trial_params *params, json_t *result, struct err *err)
{
    CLEANUP(buf_release) struct buf conf = BUF_INIT;
    const struct scratch_program program = {params->server, params->run_as, true};
    struct scratch s = SCRATCH_INIT;
    char password[33];

    if (random_word(password, sizeof(password), err) < 0)
        return -1;
    scratch_conf(&conf);
    server_conf_add_modules(params->modules, &conf);
    buf_addf(&conf, "requirepass %s\n", password);
    if (add_cluster(params, &conf, err) < 0)
        return -1;
    int rc = scratch_start(&s, &program, &conf, START_MS, ANSWER_MS, err);
    if (rc == 0)
        rc = redis_auth(s.redis, NULL, password, err);
    if (rc == 0)
        rc = ask_server(s.redis, result, err);
    if (rc == 0 && server_version_at_least(params->version, 7, 0))
        rc = ask_cluster(s.redis, result, err);
    if (rc == 0 && json_object_size(params->wanted))
        rc = try_wanted(params, s.redis, result, err);
    scratch_stop(&s);
    return rc;
}

/* --- settings that only count at a start --- */

static int starts_with(
    const struct trial_params *params, const json_t *settings, bool *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf conf = BUF_INIT;
    const struct scratch_program program = {params->server, params->run_as, true};
    struct scratch s = SCRATCH_INIT;
    struct err failure = ERR_INIT;
    const char *name;
    json_t *value;

    scratch_conf(&conf);
    server_conf_add_modules(params->modules, &conf);
    buf_adds(&conf, "port 0\n");
    json_object_foreach ((json_t *)(uintptr_t)settings, name, value) {
        server_conf_add_setting(name, json_string_value(value), &conf);
    }
    *ret = scratch_start(&s, &program, &conf, START_MS, ANSWER_MS, &failure) == 0;
    scratch_stop(&s);
    if (*ret || failure.code == ERR_CORRUPT) /* it has ended */
        return 0;
    *err = failure;
    return -1;
}

/* Moves those with which the server does not start to "refused". */
static int try_each(const struct trial_params *params, json_t *taken, struct err *err)
{
    json_t *at_start = json_object_get(taken, "at_start"), *value;
    const char *name;
    void *next;

    json_object_foreach_safe(at_start, next, name, value)
    {
        json_t *one = json_pack("{s:O}", name, value);
        bool starts;
        int rc = starts_with(params, one, &starts, err);
        json_decref(one);
        if (rc < 0)
            return -1;
        if (starts)
            continue;
        json_object_set_new(json_object_get(taken, "refused"), name,
            json_string("this server does not start with its value"));
        json_object_del(at_start, name);
    }
    return 0;
}

/* Databases often have the same settings, which are tried once. */
static int try_starts(const struct trial_params *params, const json_t *wanted, struct err *err)
{
    const json_t *last = NULL;
    const char *label;
    json_t *taken;

    json_object_foreach ((json_t *)(uintptr_t)wanted, label, taken) {
        const json_t *at_start = json_object_get(taken, "at_start");
        bool starts = true;
        if (!json_object_size(at_start) || (last && json_equal(last, at_start)))
            continue;
        if (starts_with(params, at_start, &starts, err) < 0 ||
            (!starts && try_each(params, taken, err) < 0))
            return -1;
        if (starts)
            last = at_start;
    }
    return 0;
}

/* --- types of modules --- */

/* The id of a type: its name in 6 bits a character, then 10 bits of the version of its encoding. */
static bool type_id(const char *name, uint64_t *ret)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    if (strlen(name) != TYPE_NAME_LEN)
        return false;
    *ret = 0;
    for (size_t i = 0; i < TYPE_NAME_LEN; i++) {
        const char *at = strchr(set, name[i]);
        if (!at)
            return false;
        *ret = *ret << 6 | (uint64_t)(at - set);
    }
    *ret <<= 10;
    return true;
}

/* The payload of RESTORE for an empty value of that type. */
static size_t empty_value(uint64_t id, unsigned char value[32])
{
    enum { MODULE_2 = 7, LENGTH_OF_64_BITS = 0x81, END_OF_VALUE = 0, RDB_VERSION = 9 };
    size_t len = 0;

    value[len++] = MODULE_2;
    value[len++] = LENGTH_OF_64_BITS;
    for (int shift = 56; shift >= 0; shift -= 8)
        value[len++] = (unsigned char)(id >> shift);
    value[len++] = END_OF_VALUE;
    value[len++] = RDB_VERSION;
    value[len++] = 0;
    uint64_t crc = crc64(0, value, len);
    for (int shift = 0; shift < 64; shift += 8)
        value[len++] = (unsigned char)(crc >> shift);
    return len;
}

/* In the log: "no matching module 'x'" before 7.0, "no matching module type 'x'" since. */
static bool log_says_no_type(const char *name)
{
    AUTO_FREE char *quoted = xasprintf("'%s'", name);
    AUTO_FREE char *tail = server_log_tail(LOG_MAX);

    for (const char *at = strstr(tail, "no matching module"); at;
         at = strstr(at + 1, "no matching module"))
        if (strstr(at, quoted) && strstr(at, quoted) < at + strcspn(at, "\n"))
            return true;
    return false;
}

/* The connection closes shortly before the process is gone. */
static bool ended_within(struct scratch *s)
{
    int64_t deadline = clock_mono_ms() + ANSWER_MS;

    while (!scratch_has_ended(s)) {
        if (clock_mono_ms() > deadline)
            return false;
        pause_ms(LOOK_MS);
    }
    return true;
}

/*
 * A module refuses an empty value or ends the server; both show that the type is known. 1: known;
 * 0: unknown; -1: the server could not be asked.
 */
static int has_type(struct scratch *s, const char *name, struct err *err)
{
    unsigned char value[32];
    struct err refused = ERR_INIT;
    uint64_t id;

    if (!type_id(name, &id))
        return 0;
    size_t len = empty_value(id, value);
    const char *const argv[] = {"RESTORE", "t", "0", (const char *)value, "REPLACE", NULL};
    if (redis_command_argv(s->redis, NULL, argv, (const size_t[]){7, 1, 1, len, 7}, &refused) == 0)
        return 1;
    if (log_says_no_type(name))
        return 0;
    if (refused.code == ERR_SERVER || ended_within(s))
        return 1;
    *err = refused;
    return -1;
}

static int try_type(
    const struct trial_params *params, const char *name, json_t *types, struct err *err)
{
    CLEANUP(buf_release) struct buf conf = BUF_INIT;
    const struct scratch_program program = {params->server, params->run_as, true};
    struct scratch s = SCRATCH_INIT;

    scratch_conf(&conf);
    server_conf_add_modules(params->modules, &conf);
    buf_adds(&conf,
        "port 0\nloglevel verbose\n"); /* RESTORE tells about a missing type only in the log */
    (void)unlink("server.log");
    int rc = scratch_start(&s, &program, &conf, START_MS, ANSWER_MS, err);
    int has = rc == 0 ? has_type(&s, name, err) : -1;
    scratch_stop(&s);
    if (has >= 0)
        json_object_set_new(types, name, json_boolean(has));
    return has < 0 ? -1 : 0;
}

static int try_types(const struct trial_params *params, json_t *types, struct err *err)
{
    const json_t *type;
    size_t i;

    if (json_array_size(params->types) > TYPES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d types of modules", TYPES_MAX);
    json_array_foreach (params->types, i, type) {
        const char *name = json_string_value(type);
        if (name && !json_object_get(types, name) && try_type(params, name, types, err) < 0)
            return -1;
    }
    return 0;
}

/* --- both --- */

int trial_run(const struct trial_params *params, json_t **ret, struct err *err)
{
    struct place place = {.before = -1};
    json_t *result = json_object(), *types = json_object();

    int rc = enter(&place, err);
    if (rc == 0)
        rc = try_server(params, result, err);
    if (rc == 0)
        rc = try_starts(params, json_object_get(result, "wanted"), err);
    if (rc == 0)
        rc = try_types(params, types, err);
    leave(&place);
    json_object_set_new(result, "types", types);
    if (rc == 0)
        *ret = result;
    else
        json_decref(result);
    return rc;
}

int trial_types(const struct trial_params *params, json_t **ret, struct err *err)
{
    struct place place = {.before = -1};
    json_t *types = json_object();

    int rc = enter(&place, err);
    if (rc == 0)
        rc = try_types(params, types, err);
    leave(&place);
    if (rc == 0)
        *ret = types;
    else
        json_decref(types);
    return rc;
}
