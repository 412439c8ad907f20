/* What a recovery teaches about the times of later ones. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/file.h"
#include "recluster/state.h"
#include "recluster/survey.h"

static const int64_t MB = 1000 * 1000;

/* A shard that was fetched and loaded. */
struct shard {
    const char *host;
    int64_t bytes, fetched_from_ms, fetched_ms, load_ms;
    int attempts;
};

static int setup(void **state)
{
    char template[] = "/tmp/recluster-rates-XXXXXX";
    char *dir = xstrdup(mkdtemp(template));

    setenv("XDG_STATE_HOME", dir, 1);
    *state = dir;
    return 0;
}

static int teardown(void **state)
{
    struct err err = ERR_INIT;
    int rc = dir_remove(*state, &err);

    free(*state);
    return rc;
}

static void learn(const struct shard *shards, size_t count)
{
    struct err err = ERR_INIT;
    struct state *st = NULL;

    assert_int_equal(state_open("", STATE_MEMORY, &st, &err), 0);
    assert_int_equal(state_run(st, &err, "PRAGMA foreign_keys = OFF", ""), 0);
    for (size_t i = 0; i < count; i++) {
        const struct shard *s = &shards[i];
        AUTO_FREE char *uid = xasprintf("shard:%zu", i);
        AUTO_FREE char *facts = xasprintf("{\"bytes\": %lld}", (long long)s->bytes);
        AUTO_FREE char *loaded = xasprintf("{\"load_ms\": %lld}", (long long)s->load_ms);
        const struct column placement[] = {COL_TEXT("shard_uid", uid),
            COL_TEXT("database_uid", "db:1"), COL_INT("position", (int64_t)i),
            COL_TEXT("role", "primary"), COL_TEXT("host", s->host), COL_TEXT("addr", "127.0.0.1"),
            COL_INT("port", 1), COL_INT("bus_port", 2), COL_TEXT("dir", "/"),
            COL_TEXT("slots", "[]"), COL_INT("memory", 0), COL_INT("file_bytes", s->bytes),
            COL_TEXT("facts", facts), COL_TEXT("loaded", loaded), COL_END};
        const struct column task[] = {COL_TEXT("kind", "fetch"), COL_INT("stage", 2),
            COL_INT("gate", 1), COL_TEXT("host", s->host), COL_TEXT("shard_uid", uid),
            COL_TEXT("state", "done"), COL_INT("attempts", s->attempts ? s->attempts : 1),
            COL_INT("started_ms", s->fetched_from_ms),
            COL_INT("ended_ms", s->fetched_from_ms + s->fetched_ms), COL_END};
        assert_int_equal(state_insert(st, "placement", placement, &err), 0);
        assert_int_equal(state_insert(st, "task", task, &err), 0);
    }
    if (rates_learn(st, &err) < 0)
        fail_msg("%s", err.message);
    state_close(st);
}

static void assert_rates(double transfer_mb, double load_mb)
{
    struct plan_rates rates;

    rates_read(&rates);
    assert_string_equal(rates.source, "stored");
    if (fabs(rates.transfer / 1e6 - transfer_mb) > 1 || fabs(rates.load / 1e6 - load_mb) > 1)
        fail_msg("%.1f and %.1f MB/s instead of %.1f and %.1f", rates.transfer / 1e6,
            rates.load / 1e6, transfer_mb, load_mb);
}

static void assert_nothing_is_known(void)
{
    struct plan_rates rates;

    rates_read(&rates);
    assert_string_equal(rates.source, "defaults");
    assert_true(rates.load == plan_default_rates.load);
}

static void a_rehearsal_of_little_data_teaches_nothing(void **state)
{
    struct shard shards[20];

    (void)state;
    for (int i = 0; i < 20; i++)
        shards[i] =
            (struct shard){.host = "a", .bytes = 40 * MB, .fetched_ms = 3000, .load_ms = 3000};
    learn(shards, 20);
    assert_nothing_is_known();
}

static void only_large_shards_count(void **state)
{
    const struct shard shards[] = {
        {.host = "a", .bytes = 2000 * MB, .fetched_ms = 20000, .load_ms = 10000},
        {.host = "b", .bytes = 20 * MB, .fetched_ms = 10000, .load_ms = 5000},
    };

    (void)state;
    learn(shards, 2);
    assert_rates(100, 200);
}

/* Two at once, a pause of an hour, one more. */
static void the_time_between_two_runs_does_not_count(void **state)
{
    const struct shard shards[] = {
        {.host = "a",
            .bytes = 500 * MB,
            .fetched_from_ms = 0,
            .fetched_ms = 10000,
            .load_ms = 5000},
        {.host = "a",
            .bytes = 500 * MB,
            .fetched_from_ms = 1000,
            .fetched_ms = 9000,
            .load_ms = 5000},
        {.host = "a",
            .bytes = 500 * MB,
            .fetched_from_ms = 3600000,
            .fetched_ms = 5000,
            .load_ms = 5000},
        {.host = "a",
            .bytes = 900 * MB,
            .fetched_from_ms = 3700000,
            .fetched_ms = 10,
            .load_ms = 9000,
            .attempts = 2},
    };

    (void)state;
    learn(shards, 4);
    assert_rates(100, 100);
}

static void a_larger_recovery_counts_more(void **state)
{
    const struct shard small = {
        .host = "a", .bytes = 300 * MB, .fetched_ms = 30000, .load_ms = 30000};
    const struct shard large = {
        .host = "a", .bytes = 30000 * MB, .fetched_ms = 300000, .load_ms = 100000};

    (void)state;
    learn(&small, 1);
    assert_rates(10, 10);
    learn(&large, 1);
    assert_rates(30150. / 315, 30150. / 115);
    learn(&small, 1);
    assert_rates((30150. / 2 + 300) / (315. / 2 + 30), (30150. / 2 + 300) / (115. / 2 + 30));
}

/* From before it was known how much they were measured with. */
static void rates_of_unknown_amounts_are_not_believed(void **state)
{
    static const char text[] = "{\"transfer\": 23e6, \"load\": 12e6}";
    AUTO_FREE char *dir = path_join(*state, "recluster");
    AUTO_FREE char *path = path_join(dir, "rates.json");
    const struct shard shard = {
        .host = "a", .bytes = 2000 * MB, .fetched_ms = 20000, .load_ms = 10000};
    struct err err = ERR_INIT;

    assert_int_equal(dir_make(dir, 0700, &err), 0);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, &err), 0);
    assert_nothing_is_known();
    learn(&shard, 1);
    assert_rates(100, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_rehearsal_of_little_data_teaches_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(only_large_shards_count, setup, teardown),
        cmocka_unit_test_setup_teardown(the_time_between_two_runs_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_larger_recovery_counts_more, setup, teardown),
        cmocka_unit_test_setup_teardown(rates_of_unknown_amounts_are_not_believed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
