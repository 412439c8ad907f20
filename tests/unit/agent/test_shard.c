/* The methods of a shard, against real servers in a folder of the test's own on loopback addresses.
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../../src/agent/method.h"
#include "../../../src/agent/port.h"
#include "../../../src/agent/redis.h"
#include "../../../src/agent/server.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/protocol.h"
#include "recluster/slots.h"

#define RECOVERY "0123456789abcdef"
#define PASSWORD "client's \"pass\" word"
#define ADDR "127.0.1.71"

enum { DEADLINE_MS = 30000, KEYS = 5000 };

static char *root;     /* removed at the end */
static char *base_dir; /* a path that is long and has a quote, a space and a newline in it */
static char *source_dir;
static int source_port;
static unsigned progress_count;

void agent_progress(struct agent_call *call, json_t *params)
{
    assert_null(call);
    assert_non_null(params);
    progress_count++;
    json_decref(params);
}

/* A port that is free now, with the bus port of a cluster node. */
static int free_port(void)
{
    static int next;
    struct err err = ERR_INIT;

    if (!next)
        next = 20000 + getpid() % 30000;
    for (int i = 0; i < 30000; i++) {
        next = next >= 50000 ? 20000 : next + 1;
        if (port_check(ADDR, next, &err) == 0 && port_check(ADDR, next + 10000, &err) == 0)
            return next;
    }
    fail_msg("no port is free: %s", err.message);
    return 0;
}

/* Adds base_dir and recovery, runs the method, takes over params. */
static int call(const struct agent_method *method, json_t *params, json_t **ret, struct err *err)
{
    json_t *answer = NULL;

    assert_non_null(params);
    json_object_set_new(params, "base_dir", json_string(base_dir));
    if (!json_object_get(params, "recovery"))
        json_object_set_new(params, "recovery", json_string(RECOVERY));
    *err = (struct err)ERR_INIT;
    int rc = method->run(NULL, params, &answer, err);
    json_decref(params);
    assert_int_equal(rc < 0, err->code != ERR_NONE);
    assert_int_equal(rc == 0, json_is_object(answer));
    if (ret)
        *ret = answer;
    else
        json_decref(answer);
    return rc;
}

static json_t *must(const struct agent_method *method, json_t *params)
{
    struct err err;
    json_t *ret;

    if (call(method, params, &ret, &err) < 0)
        fail_msg("%s: %s", method->name, err.message);
    return ret;
}

static void must_do(const struct agent_method *method, json_t *params)
{
    json_decref(must(method, params));
}

/* Fails with the code, and the message has all of `text`. */
static void must_fail(
    const struct agent_method *method, json_t *params, enum err_code code, const char *text)
{
    struct err err;

    if (call(method, params, NULL, &err) == 0)
        fail_msg("%s did not fail", method->name);
    if (err.code != code || !strstr(err.message, text))
        fail_msg("%s: got %s '%s', not %s with '%s'", method->name, err_code_name(err.code),
            err.message, err_code_name(code), text);
}

static json_int_t number(const json_t *object, const char *name)
{
    assert_true(json_is_integer(json_object_get(object, name)));
    return json_integer_value(json_object_get(object, name));
}

static bool truth(const json_t *object, const char *name)
{
    assert_true(json_is_boolean(json_object_get(object, name)));
    return json_is_true(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
    const char *s = json_string_value(json_object_get(object, name));
    assert_non_null(s);
    return s;
}

static char *shard_path(const char *dir, const char *name)
{
    CLEANUP(free_ptr) char *path = path_join(base_dir, dir);
    return path_join(path, name);
}

static void read_shard_file(const char *dir, const char *name, struct buf *ret)
{
    CLEANUP(free_ptr) char *path = shard_path(dir, name);
    struct err err = ERR_INIT;
    if (file_read(path, 1 << 20, ret, &err) < 0)
        fail_msg("%s", err.message);
}

static struct redis *client(int port, const char *password)
{
    struct err err = ERR_INIT;
    struct redis *r;

    if (redis_connect_tcp(ADDR, port, 5000, &r, &err) < 0)
        fail_msg("%s", err.message);
    if (password && redis_auth(r, NULL, password, &err) < 0)
        fail_msg("%s", err.message);
    return r;
}

#define COMMAND(r, ...)                                                                            \
    do {                                                                                           \
        struct err command_err = ERR_INIT;                                                         \
        if (redis_command((r), NULL, &command_err, __VA_ARGS__) < 0)                               \
            fail_msg("%s", command_err.message);                                                   \
    } while (0)

static int64_t keys_at(int port, const char *password)
{
    struct redis *r = client(port, password);
    struct err err = ERR_INIT;
    char *info;

    assert_int_equal(redis_info(r, &info, &err), 0);
    int64_t keys = info_keys(info);
    free(info);
    redis_close(r);
    return keys;
}

static void await_keys(int port, int64_t keys)
{
    for (int64_t deadline = clock_mono_ms() + DEADLINE_MS; keys_at(port, PASSWORD) != keys;
         pause_ms(20))
        assert_true(clock_mono_ms() < deadline);
}

static json_t *prepare_params(const char *dir, int port)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:i}", "dir", dir,
        "server", "redis-server", "addr", ADDR, "port", port, "bus_port", 0, "database", "1",
        "shard", "1", "role", "primary", "recovery_password", "recovery \"pw\"",
        "replication_password", "replication\\pw\n", "repl_backlog_bytes", 2 << 20);
}

static json_t *load_params(const char *dir, const char *as, json_int_t keys, json_int_t expires)
{
    return json_pack(
        "{s:s, s:s?, s:I, s:I}", "dir", dir, "as", as, "keys", keys, "expires", expires);
}

static json_t *configure_params(const char *dir)
{
    return json_pack("{s:s, s:I, s:s, s:i, s:s, s:b, s:s, s:i}", "dir", dir, "maxmemory",
        (json_int_t)1 << 30, "maxmemory_policy", "allkeys-lru", "maxclients", 321, "save",
        "3600 1 300 100", "appendonly", 1, "appendfsync", "always", "cluster_node_timeout_ms",
        4000);
}

static json_t *dir_params(const char *dir)
{
    return json_pack("{s:s}", "dir", dir);
}

static json_t *password_params(const char *dir, const char *password)
{
    return json_pack("{s:s, s:s?}", "dir", dir, "password", password);
}

static json_t *prove_params(int port, const char *password, const char *role, json_t *samples)
{
    return json_pack("{s:s, s:i, s:s?, s:s, s:b, s:o}", "addr", ADDR, "port", port, "password",
        password, "role", role, "cluster", 0, "samples", samples);
}

/* Has the source server save what it holds, as the verified file of a shard. */
static void place_backup(const char *dir, const char *as)
{
    struct redis *r = client(source_port, NULL);
    struct buf bytes = BUF_INIT;
    struct err err = ERR_INIT;
    CLEANUP(free_ptr) char *from = path_join(source_dir, "dump.rdb");
    CLEANUP(free_ptr) char *incoming = shard_path(dir, "incoming");
    CLEANUP(free_ptr) char *to = path_join(incoming, as);

    COMMAND(r, "SAVE");
    redis_close(r);
    assert_int_equal(file_read(from, 64 << 20, &bytes, &err), 0);
    assert_int_equal(file_write_atomic(to, bytes.data, bytes.len, 0600, &err), 0);
    buf_release(&bytes);
}

static void fill_source(void)
{
    struct redis *r = client(source_port, NULL);

    COMMAND(r, "FLUSHALL");
    COMMAND(r, "DEBUG", "POPULATE", "5000", "key", "100");
    COMMAND(r, "SELECT", "3");
    COMMAND(r, "HSET", "a hash", "f", "v");
    redis_close(r);
}

static void end_servers_below(const char *path)
{
    char **names;
    size_t count;
    struct err err = ERR_INIT;

    if (dir_list(path, &names, &count, &err) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(free_ptr) char *child = path_join(path, names[i]);
        struct stat st;
        if (strcmp(names[i], "redis.conf") == 0 && chdir(path) == 0) {
            struct shard shard = {.record = json_pack("{s:s}", "server", "redis-server")};
            pid_t pid = server_pid(&shard);
            if (pid)
                kill(pid, SIGKILL);
            while (server_pid(&shard))
                pause_ms(10);
            json_decref(shard.record);
        } else if (lstat(child, &st) == 0 && S_ISDIR(st.st_mode)) {
            end_servers_below(child);
        }
    }
    strv_free(names, count);
}

/* Each test has its own base_dir. */
static int setup(void **state)
{
    struct err err = ERR_INIT;
    char template[] = "/tmp/recluster-shard-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(template));
    root = xstrdup(template);
    base_dir = xasprintf("%s/a \"long\"\npath %0100d", root, 0);
    source_dir = path_join(root, "source");
    assert_int_equal(dir_make(base_dir, 0700, &err), 0);
    assert_int_equal(dir_make(source_dir, 0700, &err), 0);
    CLEANUP(free_ptr) char *recovery = path_join(base_dir, "recovery.json");
    const char *owner = "{\"recovery\": \"" RECOVERY "\"}";
    assert_int_equal(file_write_atomic(recovery, owner, strlen(owner), 0600, &err), 0);

    source_port = free_port();
    CLEANUP(free_ptr) char *conf = path_join(source_dir, "redis.conf");
    CLEANUP(free_ptr)
    char *settings = xasprintf("dir %s\nbind %s\nport %d\ndaemonize yes\nsave \"\"\nprotected-mode "
                               "no\nlogfile server.log\n"
                               "enable-debug-command yes\n",
        source_dir, ADDR, source_port);
    assert_int_equal(file_write_atomic(conf, settings, strlen(settings), 0600, &err), 0);
    struct buf said = BUF_INIT;
    if (child_run((const char *const[]){"redis-server", conf, NULL}, 5000, 4096, &said, &err) < 0)
        fail_msg("%s", err.message);
    buf_release(&said);
    for (int64_t deadline = clock_mono_ms() + DEADLINE_MS; clock_mono_ms() < deadline;
         pause_ms(10)) {
        struct redis *r;
        if (redis_connect_tcp(ADDR, source_port, 1000, &r, &err) == 0) {
            redis_close(r);
            break;
        }
    }
    fill_source();
    return 0;
}

static int teardown(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    end_servers_below(root);
    assert_int_equal(chdir("/"), 0);
    if (dir_remove(root, &err) < 0)
        fail_msg("%s", err.message);
    free(root);
    free(base_dir);
    free(source_dir);
    return 0;
}

static void test_single(void **state)
{
    int port = free_port();
    struct stat before, after;
    CLEANUP(free_ptr) char *conf = shard_path("db-1/shard-1", "redis.conf");
    CLEANUP(free_ptr) char *dump = shard_path("db-1/shard-1", "dump.rdb");
    const char *dir = "db-1/shard-1";

    (void)state;
    json_t *status = must(&agent_shard_status, dir_params(dir));
    assert_false(truth(status, "running"));
    assert_false(truth(status, "prepared"));
    json_decref(status);
    must_fail(&agent_load_shard, load_params(dir, "b.rdb", 1, 0), ERR_NOT_FOUND, "not prepared");

    must_do(&agent_prepare_shard, prepare_params(dir, port));
    must_do(&agent_prepare_shard, prepare_params(dir, port));
    assert_int_equal(stat(conf, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0600);
    must_fail(&agent_load_shard, load_params(dir, "b.rdb", 1, 0), ERR_NOT_FOUND, "b.rdb");
    place_backup(dir, "b.rdb");

    json_t *loaded = must(&agent_load_shard, load_params(dir, "b.rdb", KEYS + 1, 0));
    assert_int_equal(number(loaded, "keys_loaded"), KEYS + 1);
    assert_int_equal(number(loaded, "keys_expired"), 0);
    assert_int_equal(number(json_object_get(loaded, "keys_by_db"), "0"), KEYS);
    assert_int_equal(number(json_object_get(loaded, "keys_by_db"), "3"), 1);
    assert_string_equal(text(loaded, "server_version"), "7.0.15");
    assert_true(number(loaded, "load_ms") >= 0);
    assert_false(truth(loaded, "already"));
    json_int_t pid = number(loaded, "pid");
    json_decref(loaded);
    loaded = must(&agent_load_shard, load_params(dir, "b.rdb", KEYS + 1, 0));
    assert_true(truth(loaded, "already"));
    assert_int_equal(number(loaded, "pid"), pid);
    json_decref(loaded);

    /* A server that runs is left as it is. */
    must_do(&agent_prepare_shard, prepare_params(dir, port));
    assert_int_equal(stat(conf, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    must_fail(&agent_prepare_shard, prepare_params(dir, port + 1), ERR_CHECK, "another port");

    /* Nobody gets in yet. */
    must_fail(&agent_prove_endpoint, prove_params(port, NULL, "primary", json_array()), ERR_DENIED,
        "PING");
    must_fail(&agent_seal_shard, password_params(dir, PASSWORD), ERR_DENIED, "log in");

    json_t *configured = must(&agent_configure, configure_params(dir));
    assert_int_equal(number(configured, "maxmemory"), (json_int_t)1 << 30);
    assert_int_equal(json_array_size(json_object_get(configured, "warnings")), 0);
    json_decref(configured);
    must_do(&agent_configure, configure_params(dir));
    must_do(&agent_open_shard, password_params(dir, PASSWORD));
    must_do(&agent_open_shard, password_params(dir, PASSWORD));

    status = must(&agent_shard_status, dir_params(dir));
    assert_true(truth(status, "running"));
    assert_true(truth(status, "open"));
    assert_true(truth(status, "appendonly"));
    assert_false(truth(status, "loading"));
    assert_string_equal(text(status, "role"), "primary");
    assert_int_equal(number(status, "keys"), KEYS + 1);
    assert_int_equal(number(status, "maxmemory"), (json_int_t)1 << 30);
    assert_int_equal(number(status, "pid"), pid);
    json_decref(status);

    json_t *samples = json_pack("[{s:i, s:s, s:s}, {s:i, s:s, s:s}]", "db", 0, "key", "6b65793a30",
        "kind", "string", "db", 3, "key", "612068617368", "kind", "hash");
    json_t *proven = must(&agent_prove_endpoint, prove_params(port, PASSWORD, "primary", samples));
    assert_int_equal(number(proven, "samples_ok"), 2);
    assert_true(number(proven, "latency_us") > 0);
    json_decref(proven);
    must_fail(&agent_prove_endpoint, prove_params(port, PASSWORD, "replica", json_array()),
        ERR_CHECK, "'master'");
    must_fail(&agent_prove_endpoint, prove_params(port, "wrong", "primary", json_array()),
        ERR_DENIED, "AUTH");
    samples = json_pack("[{s:i, s:s, s:s}]", "db", 1, "key", "6b65793a30", "kind", "string");
    must_fail(&agent_prove_endpoint, prove_params(port, PASSWORD, "primary", samples), ERR_CHECK,
        "'none'");

    must_do(&agent_seal_shard, password_params(dir, PASSWORD));
    must_do(&agent_seal_shard, password_params(dir, PASSWORD));
    status = must(&agent_shard_status, dir_params(dir));
    assert_true(truth(status, "running"));
    assert_true(truth(status, "sealed"));
    assert_null(json_object_get(status, "keys"));
    json_decref(status);
    status = must(&agent_shard_status, password_params(dir, PASSWORD));
    assert_int_equal(number(status, "keys"), KEYS + 1);
    json_decref(status);
    struct buf record = BUF_INIT, users = BUF_INIT;
    read_shard_file(dir, "shard.json", &record);
    assert_null(strstr(record.data, "pw"));
    read_shard_file(dir, "users.acl", &users);
    assert_null(strstr(users.data, "user " RECOVERY_USER " "));
    assert_non_null(strstr(users.data, "user default on"));
    buf_release(&record);
    buf_release(&users);

    must_fail(&agent_stop_shard, dir_params(dir), ERR_CHECK, "in use");
    must_fail(&agent_remove_shard, dir_params(dir), ERR_CHECK, "in use");

    /* It comes back by its own configuration alone, started from anywhere, with what was written.
     */
    struct redis *r = client(port, PASSWORD);
    COMMAND(r, "SET", "new", "value");
    redis_close(r);
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
    struct shard shard = {.record = json_pack("{s:s}", "server", "redis-server")};
    while (server_pid(&shard))
        pause_ms(10);
    assert_int_equal(stat(conf, &before), 0);
    must_do(&agent_prepare_shard, prepare_params(dir, port));
    assert_int_equal(stat(conf, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(chdir("/"), 0);
    struct buf said = BUF_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(
        child_run((const char *const[]){"redis-server", conf, NULL}, 5000, 4096, &said, &err), 0);
    buf_release(&said);
    assert_int_equal(chdir(base_dir), 0);
    assert_int_equal(chdir(dir), 0);
    struct redis *socket;
    if (server_connect_default(&shard, PASSWORD, &socket, &err) < 0)
        fail_msg("%s", err.message);
    redis_close(socket);
    await_keys(port, KEYS + 2);
    json_decref(shard.record);
    /* The file that was fetched stands as it came. */
    assert_int_equal(stat(dump, &before), 0);
    assert_int_equal(stat("incoming/b.rdb", &after), 0);
    assert_true(after.st_size > 0);
}

/* No persistence, no password, limits that the data is over. */
static void test_limits(void **state)
{
    int port = free_port();

    (void)state;
    must_do(&agent_prepare_shard, prepare_params("s", port));
    place_backup("s", "b.rdb");
    must_do(&agent_load_shard, load_params("s", "b.rdb", KEYS + 1, 0));
    json_t *params = configure_params("s");
    json_object_set_new(params, "maxmemory", json_integer(500000));
    json_object_set_new(params, "maxclients", json_integer(5000000000));
    json_object_set_new(params, "appendonly", json_false());
    json_object_set_new(params, "save", json_string(""));
    json_t *configured = must(&agent_configure, params);
    assert_int_equal(number(configured, "maxmemory"), 0);
    const json_t *warnings = json_object_get(configured, "warnings");
    assert_int_equal(json_array_size(warnings), 2);
    const char *memory = json_string_value(json_array_get(warnings, 0));
    assert_non_null(strstr(memory, "CONFIG SET maxmemory 500000"));
    assert_non_null(strstr(json_string_value(json_array_get(warnings, 1)), "maxclients"));
    json_decref(configured);
    must_do(&agent_open_shard, password_params("s", NULL));
    must_do(&agent_prove_endpoint, prove_params(port, NULL, "primary", json_array()));
    must_do(&agent_seal_shard, password_params("s", NULL));
    json_t *status = must(&agent_shard_status, dir_params("s"));
    assert_int_equal(number(status, "keys"), KEYS + 1);
    assert_false(truth(status, "appendonly"));
    json_decref(status);
}

static json_t *replica_params(const char *dir, int port, int primary_port)
{
    json_t *params = prepare_params(dir, port);

    json_object_set_new(params, "role", json_string("replica"));
    json_object_set_new(params, "shard", json_string("2"));
    json_object_set_new(
        params, "primary", json_pack("{s:s, s:i}", "addr", ADDR, "port", primary_port));
    return params;
}

static json_t *attach_params(const char *dir, int primary_port)
{
    return json_pack("{s:s, s:{s:s, s:i}, s:i, s:i}", "dir", dir, "primary", "addr", ADDR, "port",
        primary_port, "keys", KEYS + 1, "expires", 0);
}

static void await_link(const char *dir)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;

    for (bool up = false; !up; pause_ms(20)) {
        json_t *status = must(&agent_shard_status, password_params(dir, PASSWORD));
        up = truth(status, "link_up");
        json_decref(status);
        assert_true(clock_mono_ms() < deadline);
    }
}

static void test_replica(void **state)
{
    int port = free_port(), replica_port = free_port();

    (void)state;
    must_do(&agent_prepare_shard, prepare_params("p", port));
    must_do(&agent_prepare_shard, replica_params("r", replica_port, port));
    place_backup("p", "b.rdb");
    must_do(&agent_load_shard, load_params("p", "b.rdb", KEYS + 1, 0));
    must_fail(&agent_load_shard, load_params("r", NULL, -1, 0), ERR_PROTOCOL, "is a replica");
    must_fail(&agent_attach_replica, attach_params("p", port), ERR_PROTOCOL, "is no replica");

    json_t *attached = must(&agent_attach_replica, attach_params("r", port));
    assert_int_equal(number(attached, "keys"), KEYS + 1);
    assert_int_equal(number(json_object_get(attached, "keys_by_db"), "3"), 1);
    assert_int_equal(number(attached, "sync_full"), 1);
    assert_false(truth(attached, "already"));
    json_decref(attached);
    attached = must(&agent_attach_replica, attach_params("r", port));
    assert_true(truth(attached, "already"));
    json_decref(attached);
    must_fail(&agent_attach_replica, attach_params("r", source_port), ERR_CHECK, "is a replica of");

    must_do(&agent_configure, configure_params("p"));
    must_do(&agent_configure, configure_params("r"));
    must_do(&agent_open_shard, password_params("p", PASSWORD));
    must_do(&agent_open_shard, password_params("r", PASSWORD));
    must_do(&agent_seal_shard, password_params("p", PASSWORD));
    must_do(&agent_seal_shard, password_params("r", PASSWORD));

    /* Replication has a user of its own, which stays. */
    struct redis *r = client(port, PASSWORD);
    COMMAND(r, "CLIENT", "KILL", "TYPE", "replica");
    COMMAND(r, "SET", "new", "value");
    redis_close(r);
    await_link("r");
    for (int64_t deadline = clock_mono_ms() + DEADLINE_MS;
         keys_at(replica_port, PASSWORD) != KEYS + 2; pause_ms(20))
        assert_true(clock_mono_ms() < deadline);
    must_do(&agent_prove_endpoint, prove_params(replica_port, PASSWORD, "replica", json_array()));
}

static void test_replica_of_other_data(void **state)
{
    int port = free_port(), replica_port = free_port();

    (void)state;
    must_do(&agent_prepare_shard, prepare_params("p", port));
    must_do(&agent_prepare_shard, replica_params("r", replica_port, port));
    must_do(&agent_load_shard, load_params("p", NULL, -1, 0));
    must_fail(&agent_attach_replica, attach_params("r", port), ERR_CHECK, "has 0 keys, the backup");
}

/* One of three thirds of the slots. */
static void fill_third(unsigned third)
{
    struct redis *r = client(source_port, NULL);

    COMMAND(r, "FLUSHALL");
    for (unsigned i = 0; i < 3000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key:%u", i);
        unsigned slot = slot_of_key(key, strlen(key));
        if (slot * 3 / SLOT_COUNT == third)
            COMMAND(r, "SET", key, "value");
    }
    redis_close(r);
}

/* Three primaries and a replica of the first, from written nodes.conf files alone. */
static void test_cluster(void **state)
{
    enum { NODES = 4 };
    static const char *const ranges[] = {"0-5461", "5462-10922", "10923-16383"};
    int ports[NODES];
    int64_t keys[3], sum = 0;

    (void)state;
    for (int i = 0; i < NODES; i++)
        ports[i] = free_port();
    for (int i = 0; i < NODES; i++) {
        struct buf nodes = BUF_INIT;
        for (int n = 0; n < NODES; n++)
            buf_addf(&nodes, "%040d %s:%d@%d %s%s 0 0 %d connected%s%s\n", n + 1, ADDR, ports[n],
                ports[n] + 10000, n == i ? "myself," : "",
                n == 3 ? "slave 0000000000000000000000000000000000000001" : "master -",
                n == 3 ? 1 : n + 1, n == 3 ? "" : " ", n == 3 ? "" : ranges[n]);
        buf_adds(&nodes, "vars currentEpoch 3 lastVoteEpoch 0\n");
        char dir[16];
        snprintf(dir, sizeof(dir), "n%d", i);
        json_t *params =
            i == 3 ? replica_params(dir, ports[i], ports[0]) : prepare_params(dir, ports[i]);
        json_object_del(params, "primary");
        json_object_set_new(params, "bus_port", json_integer(ports[i] + 10000));
        json_object_set_new(params, "nodes_conf", json_string(nodes.data));
        buf_release(&nodes);
        must_do(&agent_prepare_shard, params);
    }
    for (unsigned i = 0; i < 3; i++) {
        char dir[16];
        snprintf(dir, sizeof(dir), "n%u", i);
        fill_third(i);
        place_backup(dir, "b.rdb");
        keys[i] = keys_at(source_port, NULL);
        sum += keys[i];
        must_do(&agent_load_shard, load_params(dir, "b.rdb", keys[i], 0));
    }
    assert_int_equal(sum, 3000);
    json_t *params = attach_params("n3", ports[0]);
    json_object_set_new(params, "keys", json_integer(keys[0]));
    json_t *attached = must(&agent_attach_replica, params);
    assert_int_equal(number(attached, "keys"), keys[0]);
    json_decref(attached);
    for (int i = 0; i < NODES; i++) {
        char dir[16];
        snprintf(dir, sizeof(dir), "n%d", i);
        must_do(&agent_configure, configure_params(dir));
        must_do(&agent_open_shard, password_params(dir, PASSWORD));
        /* key:4 is of slot 0..5461, on the first primary and its replica. */
        json_t *samples = i == 0 || i == 3 ? json_pack("[{s:i, s:s, s:s}]", "db", 0, "key",
                                                 "6b65793a34", "kind", "string")
                                           : json_array();
        json_t *prove = prove_params(ports[i], PASSWORD, i == 3 ? "replica" : "primary", samples);
        json_object_set_new(prove, "cluster", json_true());
        must_do(&agent_prove_endpoint, prove);
        json_t *status = must(&agent_shard_status, dir_params(dir));
        assert_string_equal(text(status, "cluster_state"), "ok");
        assert_int_equal(number(status, "slots_ok"), SLOT_COUNT);
        assert_int_equal(number(status, "known_nodes"), NODES);
        assert_string_equal(text(status, "role"), i == 3 ? "replica" : "primary");
        json_decref(status);
        struct buf conf = BUF_INIT;
        read_shard_file(dir, "redis.conf", &conf);
        assert_non_null(strstr(conf.data, "\ncluster-node-timeout 4000\n"));
        assert_null(strstr(conf.data, "cluster-replica-no-failover yes"));
        buf_release(&conf);
        must_do(&agent_seal_shard, password_params(dir, PASSWORD));
    }
    await_link("n3");
}

static void test_expired(void **state)
{
    int port = free_port();
    struct redis *r = client(source_port, NULL);

    (void)state;
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof(key), "soon:%d", i);
        COMMAND(r, "SET", key, "v", "PX", i < 50 ? "400" : "2000");
        COMMAND(r, "DEBUG", "SET-ACTIVE-EXPIRE", "0");
    }
    redis_close(r);
    must_do(&agent_prepare_shard, prepare_params("s", port));
    place_backup("s", "b.rdb");
    pause_ms(500); /* the time that passes is what is tested */
    json_t *loaded = must(&agent_load_shard, load_params("s", "b.rdb", KEYS + 101, 100));
    json_int_t expired = number(loaded, "keys_expired");
    assert_true(expired >= 50 && expired <= 100);
    assert_int_equal(number(loaded, "keys_loaded"), KEYS + 101 - expired);
    json_decref(loaded);
    pause_ms(1600);
    /* A rerun counts those that went since. */
    must_do(&agent_load_shard, load_params("s", "b.rdb", KEYS + 101, 100));
}

static void test_wrong_counts(void **state)
{
    int port = free_port();

    (void)state;
    must_do(&agent_prepare_shard, prepare_params("s", port));
    place_backup("s", "b.rdb");
    must_fail(
        &agent_load_shard, load_params("s", "b.rdb", KEYS + 2, 0), ERR_CHECK, "loaded 5001 keys");
    json_t *status = must(&agent_shard_status, dir_params("s"));
    assert_false(truth(status, "running"));
    assert_non_null(strstr(text(status, "log"), "bye bye"));
    json_decref(status);
    /* The file is untouched, and loads. */
    must_do(&agent_load_shard, load_params("s", "b.rdb", KEYS + 1, 0));
}

/* A dump.rdb that is not the fetched file is moved aside, never loaded, never removed. */
static void test_aside(void **state)
{
    int port = free_port();
    struct err err = ERR_INIT;
    char **names;
    size_t count, aside = 0;

    (void)state;
    must_do(&agent_prepare_shard, prepare_params("s", port));
    place_backup("s", "b.rdb");
    CLEANUP(free_ptr) char *dump = shard_path("s", "dump.rdb");
    CLEANUP(free_ptr) char *folder = path_join(base_dir, "s");
    assert_int_equal(file_write_atomic(dump, "other", 5, 0600, &err), 0);
    must_do(&agent_load_shard, load_params("s", "b.rdb", KEYS + 1, 0));
    assert_int_equal(dir_list(folder, &names, &count, &err), 0);
    for (size_t i = 0; i < count; i++)
        aside += strncmp(names[i], "dump.rdb.aside-", 15) == 0;
    assert_int_equal(aside, 1);
    strv_free(names, count);
}

static void test_corrupt_file(void **state)
{
    int port = free_port();
    struct err err = ERR_INIT;

    (void)state;
    must_do(&agent_prepare_shard, prepare_params("s", port));
    CLEANUP(free_ptr) char *file = shard_path("s", "incoming/b.rdb");
    assert_int_equal(file_write_atomic(file, "REDIS0099\xfe", 10, 0600, &err), 0);
    must_fail(
        &agent_load_shard, load_params("s", "b.rdb", 1, 0), ERR_SERVER, "RDB format version 99");
}

static void test_refusals(void **state)
{
    int port = free_port();

    (void)state;
    must_fail(&agent_prepare_shard, prepare_params("s", source_port), ERR_CHECK,
        "is taken by redis-server (process ");
    json_t *params = prepare_params("s", port);
    json_object_set_new(params, "addr", json_string("192.0.2.1"));
    must_fail(&agent_prepare_shard, params, ERR_CHECK, "not this host's");
    params = prepare_params("s", port);
    json_object_set_new(params, "server", json_string("/bin/echo"));
    must_fail(&agent_prepare_shard, params, ERR_UNSUPPORTED, "neither a Redis nor a Valkey");
    params = prepare_params("s", port);
    json_object_set_new(params, "recovery", json_string("another"));
    must_fail(&agent_prepare_shard, params, ERR_CHECK, "another recovery");
    static const char *const dirs[] = {
        "", "..", "a/../b", "/etc", "a//b", "agent", "agent/x", ".x", "a/"};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        must_fail(&agent_remove_shard, dir_params(dirs[i]), ERR_PROTOCOL, "folder of a shard");
    params = load_params("s", "../b", 1, 0);
    must_fail(&agent_load_shard, params, ERR_PROTOCOL, "file in incoming/");
    /* What could not be prepared is not half there for the other methods. */
    must_fail(&agent_open_shard, password_params("s", NULL), ERR_NOT_FOUND, "not prepared");
    must_do(&agent_prepare_shard, prepare_params("s", port));
    must_fail(&agent_open_shard, password_params("s", NULL), ERR_NOT_FOUND, "no server runs");
    must_fail(&agent_configure, configure_params("s"), ERR_NOT_FOUND, "no server runs");
}

static void test_stop_and_remove(void **state)
{
    int port = free_port();
    CLEANUP(free_ptr) char *folder = path_join(base_dir, "d/s");
    CLEANUP(free_ptr) char *record = path_join(folder, "shard.json");
    CLEANUP(free_ptr) char *stray = path_join(folder, "notes.txt");
    struct err err = ERR_INIT;

    (void)state;
    must_do(&agent_remove_shard, dir_params("d/s"));
    must_do(&agent_prepare_shard, prepare_params("d/s", port));
    must_do(&agent_load_shard, load_params("d/s", NULL, -1, 0));
    json_t *stopped = must(&agent_stop_shard, dir_params("d/s"));
    assert_true(truth(stopped, "was_running"));
    json_decref(stopped);
    stopped = must(&agent_stop_shard, dir_params("d/s"));
    assert_false(truth(stopped, "was_running"));
    json_decref(stopped);
    must_do(&agent_load_shard, load_params("d/s", NULL, -1, 0));
    must_do(&agent_remove_shard, dir_params("d/s"));
    assert_false(file_exists(folder));
    must_do(&agent_remove_shard, dir_params("d/s"));
    assert_int_equal(port_check(ADDR, port, &err), 0);

    /* Cut short in prepare_shard: there is no record yet. */
    must_do(&agent_prepare_shard, prepare_params("d/s", port));
    assert_int_equal(unlink(record), 0);
    assert_int_equal(file_write_atomic(stray, "x", 1, 0600, &err), 0);
    must_fail(&agent_remove_shard, dir_params("d/s"), ERR_CHECK, "notes.txt");
    assert_int_equal(unlink(stray), 0);
    must_do(&agent_remove_shard, dir_params("d/s"));
    assert_false(file_exists(folder));

    /* A server that hangs is ended all the same. */
    must_do(&agent_prepare_shard, prepare_params("d/s", port));
    json_t *loaded = must(&agent_load_shard, load_params("d/s", NULL, -1, 0));
    pid_t pid = (pid_t)number(loaded, "pid");
    json_decref(loaded);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    must_do(&agent_stop_shard, dir_params("d/s"));
    json_t *status = must(&agent_shard_status, dir_params("d/s"));
    assert_false(truth(status, "running"));
    json_decref(status);
}

static json_t *fetch_params(const char *dir, const char *as)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:n, s:b, s:i, s:b, s:i, s:i}", "dir", dir,
        "location", source_dir, "name", "dump.rdb", "bytes", -1, "as", as, "slots", "only_db0", 0,
        "rdb_version_max", 10, "valkey_ok", 0, "samples", 5, "seed", 7);
}

static void save_source(void)
{
    struct redis *r = client(source_port, NULL);
    COMMAND(r, "SAVE");
    redis_close(r);
}

static void test_fetch(void **state)
{
    int port = free_port();
    CLEANUP(free_ptr) char *file = shard_path("s", "incoming/b.rdb");
    CLEANUP(free_ptr) char *incoming = shard_path("s", "incoming");
    struct stat first, second;
    struct err err = ERR_INIT;
    char **names;
    size_t count;

    (void)state;
    save_source();
    must_fail(&agent_fetch, fetch_params("s", "b.rdb"), ERR_NOT_FOUND, "not prepared");
    must_do(&agent_prepare_shard, prepare_params("s", port));
    progress_count = 0;
    json_t *facts = must(&agent_fetch, fetch_params("s", "b.rdb"));
    assert_int_equal(number(facts, "keys"), KEYS + 1);
    assert_string_equal(text(facts, "checksum"), "ok");
    assert_true(progress_count > 0);
    json_t *samples = json_incref(json_object_get(facts, "samples"));
    assert_int_equal(json_array_size(samples), 5);
    json_decref(facts);

    /* What is there and good stays, also when its source has gone bad. */
    assert_int_equal(stat(file, &first), 0);
    CLEANUP(free_ptr) char *source = path_join(source_dir, "dump.rdb");
    assert_int_equal(truncate(source, 100), 0);
    must_do(&agent_fetch, fetch_params("s", "b.rdb"));
    assert_int_equal(stat(file, &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    must_fail(&agent_fetch, fetch_params("s", "c.rdb"), ERR_CORRUPT, "dump.rdb");
    assert_int_equal(dir_list(incoming, &names, &count, &err), 0);
    assert_int_equal(count, 1);
    strv_free(names, count);

    /* A bad one is moved aside, and comes again. */
    save_source();
    assert_int_equal(truncate(file, 100), 0);
    must_do(&agent_fetch, fetch_params("s", "b.rdb"));
    assert_int_equal(dir_list(incoming, &names, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(strncmp(names[1], "b.rdb.bad-", 10), 0);
    strv_free(names, count);

    must_do(&agent_load_shard, load_params("s", "b.rdb", KEYS + 1, 0));
    must_do(&agent_open_shard, password_params("s", NULL));
    must_do(&agent_prove_endpoint, prove_params(port, NULL, "primary", samples));
}

/* What is whole but not fit for the shard gets no final name either. */
static void test_fetch_refusals(void **state)
{
    static const struct {
        const char *name, *value; /* JSON */
        enum err_code code;
        const char *text;
    } cases[] = {
        {"only_db0", "true", ERR_CHECK, "1 keys are in database 3"},
        {"rdb_version_max", "9", ERR_CHECK, "RDB version is 10"},
        {"slots", "[[0, 100]]", ERR_CHECK, "of slots of other shards"},
        {"bytes", "12", ERR_CORRUPT, "instead of 12"},
        {"name", "\"none.rdb\"", ERR_NOT_FOUND, "none.rdb"},
        {"as", "\"../b.rdb\"", ERR_PROTOCOL, "incoming/"},
        {"as", "\".b\"", ERR_PROTOCOL, "incoming/"},
    };
    CLEANUP(free_ptr) char *incoming = shard_path("s", "incoming");
    struct err err = ERR_INIT;
    char **names;
    size_t count;

    (void)state;
    save_source();
    must_do(&agent_prepare_shard, prepare_params("s", free_port()));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *params = fetch_params("s", "b.rdb");
        json_object_set_new(
            params, cases[i].name, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        must_fail(&agent_fetch, params, cases[i].code, cases[i].text);
        assert_int_equal(dir_list(incoming, &names, &count, &err), 0);
        assert_int_equal(count, 0);
        strv_free(names, count);
    }
}

/* Runs the method in a child, as the agent does, and kills that after some time. */
static void run_killed(const struct agent_method *method, json_t *params, int after_ms)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct err err = ERR_INIT;
        json_t *ret;
        json_object_set_new(params, "base_dir", json_string(base_dir));
        json_object_set_new(params, "recovery", json_string(RECOVERY));
        _exit(method->run(NULL, params, &ret, &err) < 0);
    }
    json_decref(params);
    pause_ms(after_ms);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_killed(void **state)
{
    (void)state;
    for (int after_ms = 0; after_ms < 60; after_ms += 6) {
        char dir[32];
        int port = free_port();
        snprintf(dir, sizeof(dir), "s%d", after_ms);
        run_killed(&agent_prepare_shard, prepare_params(dir, port), after_ms / 4);
        must_do(&agent_prepare_shard, prepare_params(dir, port));
        place_backup(dir, "b.rdb");
        run_killed(&agent_load_shard, load_params(dir, "b.rdb", KEYS + 1, 0), after_ms);
        must_do(&agent_prepare_shard, prepare_params(dir, port));
        must_do(&agent_load_shard, load_params(dir, "b.rdb", KEYS + 1, 0));
        run_killed(&agent_configure, configure_params(dir), after_ms);
        must_do(&agent_configure, configure_params(dir));
        run_killed(&agent_open_shard, password_params(dir, PASSWORD), after_ms / 8);
        must_do(&agent_open_shard, password_params(dir, PASSWORD));
        run_killed(&agent_seal_shard, password_params(dir, PASSWORD), after_ms / 8);
        must_do(&agent_seal_shard, password_params(dir, PASSWORD));
        must_do(&agent_prove_endpoint, prove_params(port, PASSWORD, "primary", json_array()));
        assert_int_equal(keys_at(port, PASSWORD), KEYS + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_single),
        TEST(test_limits),
        TEST(test_replica),
        TEST(test_replica_of_other_data),
        TEST(test_cluster),
        TEST(test_expired),
        TEST(test_wrong_counts),
        TEST(test_aside),
        TEST(test_corrupt_file),
        TEST(test_refusals),
        TEST(test_stop_and_remove),
        TEST(test_fetch),
        TEST(test_fetch_refusals),
        TEST(test_killed),
    };

    if (access("/usr/bin/redis-server", X_OK) < 0) {
        puts("skipped: /usr/bin/redis-server is not there");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
