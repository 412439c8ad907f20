/* The methods of a shard where something is in the way: wrong data, taken places, a kill. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "shard_world.h"
#include "watch.h"

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
    AUTO_FREE char *dump = shard_path("s", "dump.rdb");
    AUTO_FREE char *folder = path_join(base_dir, "s");
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
    AUTO_FREE char *file = shard_path("s", "incoming/b.rdb");
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
    AUTO_FREE char *folder = path_join(base_dir, "d/s");
    AUTO_FREE char *record = path_join(folder, "shard.json");
    AUTO_FREE char *stray = path_join(folder, "notes.txt");
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

static void test_fetch(void **state)
{
    int port = free_port();
    AUTO_FREE char *file = shard_path("s", "incoming/b.rdb");
    AUTO_FREE char *incoming = shard_path("s", "incoming");
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
    AUTO_FREE char *source = path_join(source_dir, "dump.rdb");
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
    must_do(&agent_prove_endpoint, prove_params("s", port, NULL, "primary", samples));
}

/* Half of the keys each: together they are those of the file, none twice. */
static void test_fetch_cut(void **state)
{
    static const char *const halves[] = {"[[0, 8191]]", "[[8192, 16383]]"};
    struct redis *r = client(source_port, NULL);
    json_int_t sum = 0;

    (void)state;
    COMMAND(r, "SELECT", "3");
    COMMAND(r, "FLUSHDB");
    redis_close(r);
    save_source();
    for (int i = 0; i < 2; i++) {
        const char *dir = i ? "b" : "a";
        int port = free_port();
        must_do(&agent_prepare_shard, prepare_params(dir, port));
        json_t *params = fetch_params(dir, "b.rdb");
        json_object_set_new(params, "slots", json_loads(halves[i], 0, NULL));
        json_object_set_new(params, "cut", json_true());
        json_t *facts = must(&agent_fetch, params);
        json_int_t keys = number(facts, "keys");
        const json_t *source = json_object_get(facts, "source");
        assert_int_equal(number(source, "keys"), KEYS);
        assert_int_equal(number(source, "left_out"), KEYS - keys);
        json_decref(facts);
        must_do(&agent_load_shard, load_params(dir, "b.rdb", keys, 0));
        sum += keys;
    }
    assert_int_equal(sum, KEYS);
    /* What lies there was not made for these slots, or by nobody knows whom: it comes anew. */
    must_do(&agent_prepare_shard, prepare_params("c", free_port()));
    place_backup("c", "b.rdb");
    json_t *params = fetch_params("c", "b.rdb");
    json_object_set_new(params, "stamp", json_true());
    json_t *facts = must(&agent_fetch, params);
    assert_int_equal(strlen(text(facts, "repl_id")), 40);
    json_decref(facts);
}

static json_t *part_of(const char *dir, const char *slots)
{
    return json_pack("{s:s, s:o}", "dir", dir, "slots", json_loads(slots, 0, NULL));
}

static json_t *answer_of(const json_t *answer, size_t i, const char *name)
{
    return json_object_get(json_array_get(json_object_get(answer, "shards"), i), name);
}

static ino_t inode_of(const char *dir)
{
    AUTO_FREE char *path = shard_path(dir, "incoming/b.rdb");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

/* The lower half for two shards, the upper one for a third, another is not even prepared. */
static json_t *fetch_together(void)
{
    json_t *params = fetch_params("a", "b.rdb");

    json_object_set_new(params, "slots", json_loads("[[0, 8191]]", 0, NULL));
    json_object_set_new(params, "cut", json_true());
    json_object_set_new(params, "stamp", json_true());
    json_object_set_new(params, "take", json_loads("[[0, 16383]]", 0, NULL));
    json_object_set_new(
        params, "more", json_pack("[{s:s, s:i, s:[]}]", "name", "none.rdb", "bytes", -1, "take"));
    json_object_set_new(params, "with",
        json_pack("[o, o, o]", part_of("b", "[[8192, 16383]]"), part_of("c", "[[0, 8191]]"),
            part_of("nowhere", "[[0, 1]]")));
    return must(&agent_fetch, params);
}

/* A file that nobody needs is not asked for; one shard's failure is not the others'. */
static void test_fetch_together(void **state)
{
    static const char *const dirs[] = {"a", "b", "c"};
    json_int_t keys[3];
    char before[3][DIGEST_HEX_MAX], after[DIGEST_HEX_MAX];

    (void)state;
    save_source();
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        must_do(&agent_prepare_shard, prepare_params(dirs[i], free_port()));
    json_t *answer = fetch_together();
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        const json_t *facts = answer_of(answer, i, "facts");
        keys[i] = number(facts, "keys");
        assert_int_equal(strlen(text(facts, "repl_id")), 40);
        digest_of_file(dirs[i], "incoming/b.rdb", before[i]);
    }
    assert_true(keys[0] > 0 && keys[1] > 0);
    assert_int_equal(keys[0], keys[2]);
    assert_int_equal(inode_of("a"), inode_of("c"));
    assert_int_equal(number(json_object_get(answer_of(answer, 0, "facts"), "source"), "keys"),
        keys[0] + keys[1]);
    assert_string_equal(text(answer_of(answer, 3, "error"), "name"), err_code_name(ERR_NOT_FOUND));
    json_decref(answer);

    /* What is there is looked at again, what is missing or bad comes anew, the same as before. */
    AUTO_FREE char *path = shard_path("b", "incoming/b.rdb");
    assert_int_equal(truncate(path, 100), 0);
    answer = fetch_together();
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        assert_int_equal(number(answer_of(answer, i, "facts"), "keys"), keys[i]);
        digest_of_file(dirs[i], "incoming/b.rdb", after);
        assert_string_equal(after, before[i]);
        must_do(&agent_load_shard, load_params(dirs[i], "b.rdb", keys[i], 0));
    }
    json_decref(answer);

    /* A file that is refused for one shard: only its keys are outside of database 0. */
    struct redis *r = client(source_port, NULL);
    COMMAND(r, "SELECT", "3");
    COMMAND(r, "SET", "{b}other", "1"); /* slot 3300 */
    redis_close(r);
    save_source();
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        AUTO_FREE char *old = shard_path(dirs[i], "incoming/b.rdb");
        assert_int_equal(unlink(old), 0);
    }
    json_t *params = fetch_params("a", "b.rdb");
    json_object_set_new(params, "slots", json_loads("[[0, 8191]]", 0, NULL));
    json_object_set_new(params, "cut", json_true());
    json_object_set_new(params, "databases", json_integer(1));
    json_object_set_new(params, "with", json_pack("[o]", part_of("b", "[[8192, 16383]]")));
    answer = must(&agent_fetch, params);
    assert_non_null(strstr(text(answer_of(answer, 0, "error"), "message"), "database 3"));
    assert_int_equal(number(answer_of(answer, 1, "facts"), "keys"), keys[1]);
    static const char *const refused[] = {
        "incoming/b.rdb", "incoming/b.rdb.part", "incoming/b.rdb.fetch0"};
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        AUTO_FREE char *gone = shard_path("a", refused[i]);
        assert_false(file_exists(gone));
    }
    json_decref(answer);
}

/* What is whole but not fit for the shard gets no final name either. */
static void test_fetch_refusals(void **state)
{
    static const struct {
        const char *name, *value; /* JSON */
        enum err_code code;
        const char *text;
    } cases[] = {
        {"databases", "1", ERR_CHECK, "1 keys are in database 3"},
        {"rdb_version_max", "9", ERR_CHECK, "the server of this host loads up to 9"},
        {"slots", "[[0, 100]]", ERR_CHECK, "belong to slots of other shards"},
        {"bytes", "12", ERR_CORRUPT, "instead of 12"},
        {"name", "\"none.rdb\"", ERR_NOT_FOUND, "none.rdb"},
        {"as", "\"../b.rdb\"", ERR_PROTOCOL, "incoming/"},
        {"as", "\".b\"", ERR_PROTOCOL, "incoming/"},
    };
    AUTO_FREE char *incoming = shard_path("s", "incoming");
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
        must_do(&agent_prove_endpoint, prove_params(dir, port, PASSWORD, "primary", json_array()));
        assert_int_equal(keys_at(port, PASSWORD), KEYS + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARD_TEST(test_expired),
        SHARD_TEST(test_wrong_counts),
        SHARD_TEST(test_aside),
        SHARD_TEST(test_corrupt_file),
        SHARD_TEST(test_refusals),
        SHARD_TEST(test_stop_and_remove),
        SHARD_TEST(test_fetch),
        SHARD_TEST(test_fetch_cut),
        SHARD_TEST(test_fetch_together),
        SHARD_TEST(test_fetch_refusals),
        SHARD_TEST(test_killed),
    };

    return RUN_SHARD_TESTS(tests);
}
