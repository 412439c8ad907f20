#include "shard_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "port.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "serve.h"
#include "watch.h"

static char *root; /* removed at the end */
char *base_dir;
char *source_dir;
int source_port;
unsigned progress_count;

void agent_progress(struct agent_call *call, json_t *params)
{
    assert_null(call);
    assert_non_null(params);
    progress_count++;
    json_decref(params);
}

/* Nothing is relayed here. */
void agent_notify(struct agent_call *call, const char *method, json_t *params)
{
    (void)call;
    (void)params;
    fail_msg("'%s' is told", method);
}

struct agent_channel *agent_channel(struct agent_call *call)
{
    (void)call;
    fail_msg("there is no channel");
    return NULL;
}

/* A port that is free now, with the bus port of a cluster node. */
int free_port(void)
{
    static int next;
    struct err err = ERR_INIT;

    if (!next)
        next = 20000 + getpid() * 97 % 30000; /* programs of tests run side by side */
    for (int i = 0; i < 30000; i++) {
        next = next >= 50000 ? 20000 : next + 1;
        if (port_check(ADDR, next, &err) == 0 && port_check(ADDR, next + 10000, &err) == 0)
            return next;
    }
    fail_msg("no port is free: %s", err.message);
    return 0;
}

/* Adds base_dir and recovery, runs the method, takes over params. */
int call(const struct agent_method *method, json_t *params, json_t **ret, struct err *err)
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

json_t *must(const struct agent_method *method, json_t *params)
{
    struct err err;
    json_t *ret;

    if (call(method, params, &ret, &err) < 0)
        fail_msg("%s: %s", method->name, err.message);
    return ret;
}

void must_do(const struct agent_method *method, json_t *params)
{
    json_decref(must(method, params));
}

/* Fails with the code, and the message has all of `text`. */
void must_fail(
    const struct agent_method *method, json_t *params, enum err_code code, const char *text)
{
    struct err err;

    if (call(method, params, NULL, &err) == 0)
        fail_msg("%s did not fail", method->name);
    if (err.code != code || !strstr(err.message, text))
        fail_msg("%s: got %s '%s', not %s with '%s'", method->name, err_code_name(err.code),
            err.message, err_code_name(code), text);
}

json_int_t number(const json_t *object, const char *name)
{
    assert_true(json_is_integer(json_object_get(object, name)));
    return json_integer_value(json_object_get(object, name));
}

bool truth(const json_t *object, const char *name)
{
    assert_true(json_is_boolean(json_object_get(object, name)));
    return json_is_true(json_object_get(object, name));
}

const char *text(const json_t *object, const char *name)
{
    const char *s = json_string_value(json_object_get(object, name));
    assert_non_null(s);
    return s;
}

char *shard_path(const char *dir, const char *name)
{
    AUTO_FREE char *path = path_join(base_dir, dir);
    return path_join(path, name);
}

void read_shard_file(const char *dir, const char *name, struct buf *ret)
{
    AUTO_FREE char *path = shard_path(dir, name);
    struct err err = ERR_INIT;
    if (file_read(path, 1 << 20, ret, &err) < 0)
        fail_msg("%s", err.message);
}

void digest_of_file(const char *dir, const char *name, char hex[DIGEST_HEX_MAX])
{
    struct buf bytes = BUF_INIT;

    read_shard_file(dir, name, &bytes);
    digest_of(bytes.data, bytes.len, hex);
    buf_release(&bytes);
}

struct redis *client(int port, const char *password)
{
    struct err err = ERR_INIT;
    struct redis *r;

    if (redis_connect_tcp(ADDR, port, 5000, &r, &err) < 0)
        fail_msg("%s", err.message);
    if (password && redis_auth(r, NULL, password, &err) < 0)
        fail_msg("%s", err.message);
    return r;
}

int64_t keys_at(int port, const char *password)
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

void await_keys(int port, int64_t keys)
{
    for (int64_t deadline = clock_mono_ms() + DEADLINE_MS; keys_at(port, PASSWORD) != keys;
         pause_ms(20))
        assert_true(clock_mono_ms() < deadline);
}

json_t *prepare_params(const char *dir, int port)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:i}", "dir", dir,
        "server", "redis-server", "addr", ADDR, "port", port, "bus_port", 0, "database", "1",
        "shard", "1", "role", "primary", "recovery_password", "recovery \"pw\"",
        "replication_password", "replication\\pw\n", "repl_backlog_bytes", 2 << 20);
}

json_t *load_params(const char *dir, const char *as, json_int_t keys, json_int_t expires)
{
    return json_pack(
        "{s:s, s:s?, s:I, s:I}", "dir", dir, "as", as, "keys", keys, "expires", expires);
}

json_t *configure_params(const char *dir)
{
    return json_pack("{s:s, s:I, s:s, s:i, s:s, s:b, s:s, s:i}", "dir", dir, "maxmemory",
        (json_int_t)1 << 30, "maxmemory_policy", "allkeys-lru", "maxclients", 321, "save",
        "3600 1 300 100", "appendonly", 1, "appendfsync", "always", "cluster_node_timeout_ms",
        4000);
}

json_t *dir_params(const char *dir)
{
    return json_pack("{s:s}", "dir", dir);
}

json_t *password_params(const char *dir, const char *password)
{
    return json_pack("{s:s, s:s?}", "dir", dir, "password", password);
}

/* Loads whatever RDB version the server of this machine writes. */
json_t *fetch_params(const char *dir, const char *as)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:n, s:i, s:b, s:i, s:i}", "dir", dir, "location",
        source_dir, "name", "dump.rdb", "bytes", -1, "as", as, "slots", "rdb_version_max", 99,
        "valkey_ok", 0, "samples", 5, "seed", 7);
}

void save_source(void)
{
    struct redis *r = client(source_port, NULL);
    COMMAND(r, "SAVE");
    redis_close(r);
}

json_t *prove_params(
    const char *dir, int port, const char *password, const char *role, json_t *samples)
{
    json_t *params = password_params(dir, password), *more;

    more = json_pack("{s:s, s:i, s:s, s:b, s:o}", "addr", ADDR, "port", port, "role", role,
        "cluster", 0, "samples", samples);
    json_object_update(params, more);
    json_decref(more);
    return params;
}

/* Has the source server save what it holds, as the verified file of a shard. */
void place_backup(const char *dir, const char *as)
{
    struct redis *r = client(source_port, NULL);
    struct buf bytes = BUF_INIT;
    struct err err = ERR_INIT;
    AUTO_FREE char *from = path_join(source_dir, "dump.rdb");
    AUTO_FREE char *incoming = shard_path(dir, "incoming");
    AUTO_FREE char *to = path_join(incoming, as);

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
        AUTO_FREE char *child = path_join(path, names[i]);
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

int setup(void **state)
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
    AUTO_FREE char *recovery = path_join(base_dir, "recovery.json");
    const char *owner = "{\"recovery\": \"" RECOVERY "\"}";
    assert_int_equal(file_write_atomic(recovery, owner, strlen(owner), 0600, &err), 0);

    source_port = free_port();
    AUTO_FREE char *conf = path_join(source_dir, "redis.conf");
    AUTO_FREE char *settings =
        xasprintf("dir %s\nbind %s\nport %d\ndaemonize yes\nsave \"\"\nprotected-mode "
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

int teardown(void **state)
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

json_t *replica_params(const char *dir, int port, int primary_port)
{
    json_t *params = prepare_params(dir, port);

    json_object_set_new(params, "role", json_string("replica"));
    json_object_set_new(params, "shard", json_string("2"));
    json_object_set_new(
        params, "primary", json_pack("{s:s, s:i}", "addr", ADDR, "port", primary_port));
    return params;
}

json_t *attach_params(const char *dir, int primary_port)
{
    return json_pack("{s:s, s:{s:s, s:i}, s:i, s:i}", "dir", dir, "primary", "addr", ADDR, "port",
        primary_port, "keys", KEYS + 1, "expires", 0);
}

void await_link(const char *dir)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;

    for (bool up = false; !up; pause_ms(20)) {
        json_t *status = must(&agent_shard_status, password_params(dir, PASSWORD));
        up = truth(status, "link_up");
        json_decref(status);
        assert_true(clock_mono_ms() < deadline);
    }
}
