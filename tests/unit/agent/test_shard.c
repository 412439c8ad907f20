/* The methods of a shard from its preparation to its end, on real servers. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/protocol.h"
#include "recluster/slots.h"
#include "shard_world.h"
#include "watch.h"

/* Gives the server's process. */
static pid_t check_load(const char *dir, int port)
{
    struct stat before, after;
    AUTO_FREE char *conf = shard_path(dir, "redis.conf");

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
    assert_non_null(strchr(text(loaded, "server_version"), '.'));
    assert_true(number(loaded, "load_ms") >= 0);
    assert_false(truth(loaded, "already"));
    json_int_t pid = number(loaded, "pid");
    json_decref(loaded);
    loaded = must(&agent_load_shard, load_params(dir, "b.rdb", KEYS + 1, 0));
    assert_true(truth(loaded, "already"));
    assert_int_equal(number(loaded, "pid"), pid);
    json_decref(loaded);

    /* A server that runs is left as it is. */
    assert_int_equal(stat(conf, &before), 0);
    must_do(&agent_prepare_shard, prepare_params(dir, port));
    assert_int_equal(stat(conf, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    must_fail(&agent_prepare_shard, prepare_params(dir, port + 1), ERR_CHECK, "another port");

    /* Nobody gets in yet. */
    must_fail(&agent_prove_endpoint, prove_params(dir, port, NULL, "primary", json_array()),
        ERR_DENIED, "PING");
    must_fail(&agent_seal_shard, password_params(dir, PASSWORD), ERR_DENIED, "log in");
    return (pid_t)pid;
}

static json_t *status_params(const char *dir, json_t *samples)
{
    json_t *params = dir_params(dir);

    json_object_set_new(params, "samples", samples);
    return params;
}

static json_t *some_samples(void)
{
    return json_pack("[{s:i, s:s, s:s}, {s:i, s:s, s:s}]", "db", 0, "key", "6b65793a30", "kind",
        "string", "db", 3, "key", "612068617368", "kind", "hash");
}

static json_t *wrong_samples(void)
{
    return json_pack("[{s:i, s:s, s:s}]", "db", 1, "key", "6b65793a30", "kind", "string");
}

static void check_open(const char *dir, int port, pid_t pid)
{
    json_t *proven = must(&agent_shard_status, status_params(dir, some_samples()));
    assert_int_equal(number(proven, "samples_ok"), 2);
    json_decref(proven);
    must_fail(&agent_shard_status, status_params(dir, wrong_samples()), ERR_CHECK, "'none'");

    json_t *configured = must(&agent_configure, configure_params(dir));
    assert_int_equal(number(configured, "maxmemory"), (json_int_t)1 << 30);
    assert_int_equal(json_array_size(json_object_get(configured, "warnings")), 0);
    json_decref(configured);
    must_do(&agent_configure, configure_params(dir));
    must_do(&agent_open_shard, password_params(dir, PASSWORD));
    must_do(&agent_open_shard, password_params(dir, PASSWORD));

    json_t *status = must(&agent_shard_status, dir_params(dir));
    assert_true(truth(status, "running"));
    assert_true(truth(status, "open"));
    assert_true(truth(status, "appendonly"));
    assert_false(truth(status, "loading"));
    assert_string_equal(text(status, "role"), "primary");
    assert_int_equal(number(status, "keys"), KEYS + 1);
    assert_int_equal(number(status, "maxmemory"), (json_int_t)1 << 30);
    assert_int_equal(number(status, "pid"), pid);
    json_decref(status);

    proven =
        must(&agent_prove_endpoint, prove_params(dir, port, PASSWORD, "primary", some_samples()));
    assert_int_equal(number(proven, "samples_ok"), 2);
    assert_true(number(proven, "latency_us") > 0);
    json_decref(proven);
    must_fail(&agent_prove_endpoint, prove_params(dir, port, PASSWORD, "replica", json_array()),
        ERR_CHECK, "'master'");
    must_fail(&agent_prove_endpoint, prove_params(dir, port, "wrong", "primary", json_array()),
        ERR_DENIED, "AUTH");
    /* What clients have changed since is no error. */
    proven =
        must(&agent_prove_endpoint, prove_params(dir, port, PASSWORD, "primary", wrong_samples()));
    assert_int_equal(number(proven, "samples_ok"), 0);
    json_decref(proven);
    must_do(&agent_shard_status, status_params(dir, wrong_samples()));
}

static void check_seal(const char *dir)
{
    must_do(&agent_seal_shard, password_params(dir, PASSWORD));
    must_do(&agent_seal_shard, password_params(dir, PASSWORD));
    json_t *status = must(&agent_shard_status, dir_params(dir));
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
}

/* It comes back by its own configuration alone, started from anywhere, with what was written. */
static void check_restart(const char *dir, int port, pid_t pid)
{
    AUTO_FREE char *conf = shard_path(dir, "redis.conf");
    struct stat before, after;
    struct redis *r = client(port, PASSWORD);
    COMMAND(r, "SET", "new", "value");
    redis_close(r);
    assert_int_equal(kill(pid, SIGKILL), 0);
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
}

static void test_single(void **state)
{
    const char *dir = "db-1/shard-1";
    char before[DIGEST_HEX_MAX], after[DIGEST_HEX_MAX];
    int port = free_port();

    (void)state;
    pid_t pid = check_load(dir, port);
    digest_of_file(dir, "incoming/b.rdb", before);
    check_open(dir, port, pid);
    check_seal(dir);
    check_restart(dir, port, pid);
    /* The file that was fetched stands as it came. */
    digest_of_file(dir, "incoming/b.rdb", after);
    assert_string_equal(before, after);
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
    assert_in_range(number(configured, "maxmemory"), 500001, 16 << 20);
    const json_t *warnings = json_object_get(configured, "warnings");
    assert_int_equal(json_array_size(warnings), 2);
    const char *memory = json_string_value(json_array_get(warnings, 0));
    assert_non_null(strstr(memory, "CONFIG SET maxmemory 500000"));
    assert_non_null(strstr(json_string_value(json_array_get(warnings, 1)), "maxclients"));
    json_decref(configured);
    must_do(&agent_open_shard, password_params("s", NULL));
    must_do(&agent_prove_endpoint, prove_params("s", port, NULL, "primary", json_array()));
    must_do(&agent_seal_shard, password_params("s", NULL));
    json_t *status = must(&agent_shard_status, dir_params("s"));
    assert_int_equal(number(status, "keys"), KEYS + 1);
    assert_false(truth(status, "appendonly"));
    json_decref(status);
}

static void test_replica(void **state)
{
    int port = free_port(), replica_port = free_port();

    (void)state;
    must_do(&agent_prepare_shard, prepare_params("p", port));
    must_do(&agent_prepare_shard, replica_params("r", replica_port, port));
    place_backup("p", "b.rdb");
    must_do(&agent_load_shard, load_params("p", "b.rdb", KEYS + 1, 0));
    must_fail(&agent_attach_replica, attach_params("p", port), ERR_PROTOCOL, "is not a replica");

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
    must_do(
        &agent_prove_endpoint, prove_params("r", replica_port, PASSWORD, "replica", json_array()));
}

/* Both load the same stamped file; fields that a key's expiry takes away come over. */
static void test_free_replica(void **state)
{
    int port = free_port(), replica_port = free_port();
    struct redis *r = client(source_port, NULL);
    json_t *facts[2];

    (void)state;
    COMMAND(r, "SET", "soon", "v", "PX", "1");
    COMMAND(r, "DEBUG", "SET-ACTIVE-EXPIRE", "0");
    redis_close(r);
    save_source();
    must_do(&agent_prepare_shard, prepare_params("p", port));
    must_do(&agent_prepare_shard, replica_params("r", replica_port, port));
    for (int i = 0; i < 2; i++) {
        for (int again = 0; again < 2; again++) { /* once more: it is there already */
            json_t *params = fetch_params(i ? "r" : "p", "b.rdb");
            json_object_set_new(params, "stamp", json_true());
            facts[i] = must(&agent_fetch, params);
            assert_int_equal(number(facts[i], "keys"), KEYS + 2);
            assert_int_equal(number(json_object_get(facts[i], "source"), "keys"), KEYS + 2);
            if (!again)
                json_decref(facts[i]);
        }
        must_do(&agent_prepare_shard,
            i ? replica_params("r", replica_port, port) : prepare_params("p", port));
    }
    assert_string_equal(text(facts[0], "repl_id"), text(facts[1], "repl_id"));

    /* The replica first: it finds no primary, and keeps all that is in the file. */
    json_t *loaded = must(&agent_load_shard, load_params("r", "b.rdb", KEYS + 2, 1));
    assert_string_equal(text(loaded, "check"), "exact");
    assert_int_equal(number(loaded, "keys_loaded"), KEYS + 2);
    json_decref(loaded);
    json_t *params = load_params("p", "b.rdb", KEYS + 2, 1);
    json_object_set_new(params, "backlog_bytes", json_integer(4 << 20));
    loaded = must(&agent_load_shard, params);
    assert_int_equal(number(loaded, "keys_expired"), 1);
    json_decref(loaded);

    params = attach_params("r", port);
    json_object_set(params, "repl_id", json_object_get(facts[0], "repl_id"));
    json_t *attached = must(&agent_attach_replica, params);
    assert_int_equal(number(attached, "keys"), KEYS + 1);
    assert_int_equal(number(attached, "sync_full"), 0);
    assert_int_equal(number(attached, "sync_partial"), 1);
    assert_true(truth(attached, "already"));
    json_decref(attached);
    must_do(&agent_load_shard, load_params("r", "b.rdb", KEYS + 2, 1));
    json_decref(facts[0]);
    json_decref(facts[1]);
}

/* A primary whose data is not what was expected lets no replica in, not even for a moment. */
static void test_replicas_wait_for_the_proof(void **state)
{
    int port = free_port(), replica_port = free_port();
    struct buf users = BUF_INIT;

    (void)state;
    must_do(&agent_prepare_shard, prepare_params("p", port));
    must_do(&agent_prepare_shard, replica_params("r", replica_port, port));
    place_backup("p", "b.rdb");
    place_backup("r", "b.rdb");
    must_do(&agent_load_shard, load_params("r", "b.rdb", KEYS + 1, 0));
    must_fail(&agent_load_shard, load_params("p", "b.rdb", KEYS, 0), ERR_CHECK, "loaded 5001");
    read_shard_file("p", "users.acl", &users);
    assert_non_null(strstr(users.data, "user " REPLICATION_USER " off "));
    buf_release(&users);
    json_t *status = must(&agent_shard_status, dir_params("r"));
    assert_int_equal(number(status, "keys"), KEYS + 1);
    assert_false(truth(status, "link_up"));
    json_decref(status);
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

enum { NODES = 4 }; /* three primaries, and a replica of the first */

static void prepare_nodes(const int ports[NODES])
{
    static const char *const ranges[] = {"0-5461", "5462-10922", "10923-16383"};

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
}

static void check_node(const char *dir, int i, int port)
{
    must_do(&agent_configure, configure_params(dir));
    must_do(&agent_open_shard, password_params(dir, PASSWORD));
    /* key:4 is of slot 0..5461, on the first primary and its replica. */
    json_t *samples = i == 0 || i == 3 ? json_pack("[{s:i, s:s, s:s}]", "db", 0, "key",
                                             "6b65793a34", "kind", "string")
                                       : json_array();
    json_t *prove = prove_params(dir, port, PASSWORD, i == 3 ? "replica" : "primary", samples);
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

/* Three primaries and a replica of the first, from written nodes.conf files alone. */
static void test_cluster(void **state)
{
    int ports[NODES];
    int64_t keys[3], sum = 0;

    (void)state;
    for (int i = 0; i < NODES; i++)
        ports[i] = free_port();
    prepare_nodes(ports);
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
        check_node(dir, i, ports[i]);
    }
    await_link("n3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARD_TEST(test_single),
        SHARD_TEST(test_limits),
        SHARD_TEST(test_replica),
        SHARD_TEST(test_free_replica),
        SHARD_TEST(test_replicas_wait_for_the_proof),
        SHARD_TEST(test_replica_of_other_data),
        SHARD_TEST(test_cluster),
    };

    return RUN_SHARD_TESTS(tests);
}
