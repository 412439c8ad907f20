/* start_sentinel with real Sentinels: what it starts, asks, keeps and refuses. */

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/file.h"
#include "shard_world.h"
#include "watch.h"

/* Of a Sentinel that watches the source. */
static json_t *sentinel_params(const char *dir, int port)
{
    json_t *params = prepare_params(dir, port);

    json_object_set_new(params, "watch",
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "name", "orders", "addr", ADDR, "port",
            source_port, "quorum", 1, "down_after_ms", 1234, "failover_timeout_ms", 0,
            "parallel_syncs", 2));
    return params;
}

/* The line of redis.conf that begins so, without its end. The caller frees it. */
static char *conf_line(const char *dir, const char *begin)
{
    CLEANUP(buf_release) struct buf conf = BUF_INIT;

    read_shard_file(dir, "redis.conf", &conf);
    const char *line = strstr(conf.data, begin);
    assert_non_null(line);
    return xstrndup(line, strcspn(line, "\n"));
}

static void kill_server(const char *dir)
{
    CLEANUP(buf_release) struct buf pid = BUF_INIT;

    read_shard_file(dir, "redis.pid", &pid);
    pid_t p = (pid_t)strtol(pid.data, NULL, 10);
    assert_true(p > 1);
    assert_int_equal(kill(p, SIGKILL), 0);
    for (int64_t deadline = clock_mono_ms() + 10000; kill(p, 0) == 0 && clock_mono_ms() < deadline;)
        pause_ms(10);
}

static void test_start(void **state)
{
    int port = free_port();

    (void)state;
    json_t *said = must(&agent_start_sentinel, sentinel_params("db-1/sentinel", port));
    assert_false(truth(said, "already"));
    assert_int_equal(number(json_object_get(said, "primary"), "port"), source_port);
    assert_int_equal(number(said, "replicas"), 0);
    assert_int_equal(number(said, "sentinels"), 0);
    assert_int_equal(number(said, "quorum"), 1);
    json_decref(said);
    AUTO_FREE char *id = conf_line("db-1/sentinel", "sentinel myid");
    AUTO_FREE char *down = conf_line("db-1/sentinel", "sentinel down-after-milliseconds");
    assert_string_equal(down, "sentinel down-after-milliseconds orders 1234");

    said = must(&agent_start_sentinel, sentinel_params("db-1/sentinel", port));
    assert_true(truth(said, "already") && truth(said, "quorum_ok"));
    assert_memory_equal(text(said, "said"), "OK 1 usable", strlen("OK 1 usable"));
    json_decref(said);

    /* It keeps what it wrote into its own file. */
    kill_server("db-1/sentinel");
    said = must(&agent_start_sentinel, sentinel_params("db-1/sentinel", port));
    assert_false(truth(said, "already"));
    json_decref(said);
    AUTO_FREE char *again = conf_line("db-1/sentinel", "sentinel myid");
    assert_string_equal(again, id);

    AUTO_FREE char *folder = path_join(base_dir, "db-1/sentinel");
    must_do(&agent_remove_shard, dir_params("db-1/sentinel"));
    assert_false(file_exists(folder));
    must_do(&agent_remove_shard, dir_params("db-1/sentinel"));
    said = must(&agent_start_sentinel, sentinel_params("db-1/sentinel", port));
    json_decref(said);
    must_do(&agent_remove_shard, dir_params("db-1/sentinel"));
}

static void test_no_quorum(void **state)
{
    int port = free_port();
    json_t *params = sentinel_params("s", port);

    (void)state;
    json_object_set_new(json_object_get(params, "watch"), "quorum", json_integer(2));
    json_t *said = must(&agent_start_sentinel, params);
    assert_false(truth(said, "quorum_ok"));
    assert_non_null(strstr(text(said, "said"), "NOQUORUM"));
    json_decref(said);
    must_do(&agent_remove_shard, dir_params("s"));
}

static void test_refusals(void **state)
{
    (void)state;
    must_fail(&agent_start_sentinel, sentinel_params("s", source_port), ERR_CHECK,
        "is taken by redis-server (process ");
    json_t *params = sentinel_params("s", free_port());
    json_object_del(params, "watch");
    must_fail(&agent_start_sentinel, params, ERR_PROTOCOL, "'watch'");
    params = sentinel_params("s", free_port());
    json_object_set_new(params, "recovery", json_string("another"));
    must_fail(&agent_start_sentinel, params, ERR_CHECK, "another recovery");
    must_do(&agent_prepare_shard, prepare_params("s", free_port()));
    must_fail(&agent_start_sentinel, sentinel_params("s", free_port()), ERR_CHECK,
        "is the folder of a shard");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARD_TEST(test_start),
        SHARD_TEST(test_no_quorum),
        SHARD_TEST(test_refusals),
    };
    return RUN_SHARD_TESTS(tests);
}
