#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check_text.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/report.h"
#include "recovery.h"

static json_t *status_of(struct state *st, const char *path)
{
    struct err err = ERR_INIT;
    json_t *status = NULL;

    if (report_status_json(st, path, &status, &err) < 0)
        fail_msg("%s", err.message);
    return status;
}

static json_t *report_of(struct state *st)
{
    struct err err = ERR_INIT;
    json_t *report = NULL;

    if (report_json(st, "/nowhere/r.state", &report, &err) < 0)
        fail_msg("%s", err.message);
    return report;
}

static void test_status_json(void **arg)
{
    static const struct expected fields[] = {
        {"state", "\"done\""},
        {"rpo_s", "7200"},
        {"rto_s", "15"},
        {"rto_ms", "15400"},
        {"interrupted", "false"},
        {"errors", "[]"},
        {"tasks/done", "20"},
        {"tasks/failed", "0"},
        {"tasks/total", "20"},
        {"stages/1",
            "{\"stage\": \"transfer\", \"done\": 4, \"failed\": 0, \"running\": 0, \"pending\": 0,"
            " \"total\": 4, \"started_ms\": 1769864400700, \"ended_ms\": 1769864405000,"
            " \"bytes_done\": null, \"bytes_total\": null, \"planned_s\": 4.0}"},
        {"databases/0/uid", "\"1\""},
        {"databases/0/label", "\"db:1\""},
        {"databases/0/state", "\"done\""},
        {"databases/0/rpo_s", "3600"},
        {"databases/0/endpoints", "[{\"addr\": \"10.0.0.11\", \"port\": 12000}, {\"addr\": "
                                  "\"10.0.0.12\", \"port\": 12000}]"},
        {"databases/0/shards/2", "{\"uid\": \"3\", \"label\": \"shard:3\", \"role\": \"replica\", "
                                 "\"host\": \"b1\", \"addr\":"
                                 " \"10.0.0.12\", \"port\": 12001, \"state\": \"in-step\", "
                                 "\"keys\": 997, \"stage\": \"open\", \"progress\": null}"},
        {"databases/1/endpoints", "[{\"addr\": \"10.0.0.13\", \"port\": 13000}]"},
        {"databases/2/state", "\"skipped\""},
        {"databases/2/reason", "\"memcached can't be recovered\""},
        {"databases/2/rpo_s", "null"},
        {"next", "\"recluster report --state /nowhere/r.state --html report.html\""},
    };
    struct state *st = recovery_new("done");
    json_t *status = status_of(st, "/nowhere/r.state");

    (void)arg;
    check_fields(status, fields, sizeof(fields) / sizeof(*fields));
    json_decref(status);
    state_close(st);
}

static void test_status_of_planned(void **arg)
{
    static const struct expected fields[] = {
        {"state", "\"planned\""},
        {"databases", "[]"},
        {"rpo_s", "null"},
        {"rto_s", "null"},
        {"next", "\"recluster recover --state r.state\""},
    };
    struct state *st = recovery_new(NULL);
    json_t *status = status_of(st, "r.state");
    struct buf out = BUF_INIT;

    (void)arg;
    check_fields(status, fields, sizeof(fields) / sizeof(*fields));
    report_status_text(status, false, &out);
    check_text(out.data);
    assert_has(out.data, "Planned");
    buf_release(&out);
    json_decref(status);
    state_close(st);
}

static void break_shard_2(struct state *st)
{
    recovery_sql(st,
        "UPDATE task SET state = 'failed', error = '{\"name\": \"network\", \"message\":"
        " \"host ''b1'' was lost\\n\\u001b[2J\", \"hint\": \"Look after <b1>.\"}'"
        " WHERE shard_uid = '2' AND kind = 'load_shard'");
    recovery_sql(st, "UPDATE task SET state = 'pending', started_ms = NULL, ended_ms = NULL"
                     " WHERE stage = 4 AND database_uid = '1'");
    recovery_sql(
        st, "UPDATE target SET state = 'failed', opened_ms = NULL WHERE database_uid = '1'");
    recovery_sql(st, "UPDATE placement SET state = 'failed', loaded = NULL, keys = NULL"
                     " WHERE shard_uid = '2'");
}

static void test_status_of_partly(void **arg)
{
    static const struct expected fields[] = {
        {"errors", "[{\"host\": \"b1\", \"database\": \"db:1\", \"shard\": \"shard:2\", \"task\":"
                   " \"load_shard\", \"message\": \"host 'b1' was lost\\n\\u001b[2J\", \"hint\":"
                   " \"Look after <b1>.\"}]"},
        {"tasks/failed", "1"},
        {"databases/0/endpoints", "[]"},
        {"databases/0/shards/1/stage", "\"transfer\""},
        {"databases/1/endpoints/0/port", "13000"},
        {"next", "\"recluster recover --state r.state\""},
    };
    struct state *st = recovery_new("partly");
    struct buf out = BUF_INIT;

    (void)arg;
    break_shard_2(st);
    json_t *status = status_of(st, "r.state");
    check_fields(status, fields, sizeof(fields) / sizeof(*fields));
    report_status_text(status, false, &out);
    check_text(out.data);
    assert_has(out.data, "Partly recovered");
    assert_has(out.data, "db:1, shard:2, host 'b1', task load_shard: host 'b1' was lost");
    assert_has(out.data, "Look after <b1>.");
    assert_has(out.data, "fix the errors above");
    buf_release(&out);
    json_decref(status);
    state_close(st);
}

static void test_status_without_failed_task(void **arg)
{
    struct state *st = recovery_new("failed");

    (void)arg;
    recovery_sql(st, "INSERT INTO event (at_ms, severity, code, message) VALUES"
                     " (1, 'error', 'refused', 'the old cluster is alive')");
    json_t *status = status_of(st, "r.state");
    assert_json(at(status, "errors/0/message"), "\"the old cluster is alive\"");
    assert_json(at(status, "next"), "\"recluster recover --state r.state\"");
    json_decref(status);
    state_close(st);
}

static void test_status_interrupted(void **arg)
{
    struct state *st = recovery_new("running");
    struct buf out = BUF_INIT;

    (void)arg;
    recovery_sql(st, "DELETE FROM meta WHERE key = 'ended_ms'");
    json_t *status = status_of(st, "r.state");
    assert_json(at(status, "interrupted"), "true");
    assert_json(at(status, "ended_ms"), "null");
    assert_true(json_integer_value(at(status, "rto_ms")) > 15400);
    report_status_text(status, false, &out);
    check_text(out.data);
    assert_has(out.data, "Interrupted");
    buf_release(&out);
    json_decref(status);
    state_close(st);
}

/* Who holds the run lock is at work, but for this process at the end of its own recovery. */
static void test_status_while_locked(void **arg)
{
    char dir[] = "/tmp/recluster-report-XXXXXX";
    struct state *rows = recovery_new("done"), *locked;
    struct err err = ERR_INIT;
    char path[64], want[128];

    (void)arg;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/state", dir);
    if (state_open(path, STATE_CREATE, &locked, &err) < 0)
        fail_msg("%s", err.message);
    json_t *status = status_of(rows, path);
    assert_has(json_string_value(at(status, "next")), "recluster report --state ");
    json_decref(status);
    recovery_sql(rows, "UPDATE meta SET value = 'running' WHERE key = 'state'");
    status = status_of(rows, path);
    snprintf(want, sizeof(want), "recluster status --state %s", path);
    assert_string_equal(json_string_value(at(status, "next")), want);
    assert_int_equal(json_integer_value(at(status, "pid")), getpid());
    assert_json(at(status, "interrupted"), "false");
    json_decref(status);
    state_close(locked);
    state_close(rows);
    assert_int_equal(dir_remove(dir, &err), 0);
}

static void test_next_is_quoted(void **arg)
{
    static const struct {
        const char *path, *quoted;
    } cases[] = {
        {"a/b.state", "a/b.state"},
        {"my state", "'my state'"},
        {"it's", "'it'\\''s'"},
        {"$(reboot)", "'$(reboot)'"},
        {"caf\xC3\xA9", "'caf\xC3\xA9'"},
        {"a\nb'\\", "$'a\\012b\\'\\\\'"},
        {"bad\xFF", "$'bad\\377'"},
    };
    struct state *st = recovery_new(NULL);

    (void)arg;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        json_t *status = status_of(st, cases[i].path);
        char want[128];
        snprintf(want, sizeof(want), "recluster recover --state %s", cases[i].quoted);
        assert_string_equal(json_string_value(at(status, "next")), want);
        json_decref(status);
    }
    state_close(st);
}

static void test_report_json(void **arg)
{
    static const struct expected fields[] = {
        {"status/state", "\"done\""},
        {"cluster/name", "\"prod <east>\""},
        {"plan/hash", "\"0123456789abcdef0123456789abcdef\""},
        {"findings/1/keys", "[\"bdb:1\"]"},
        {"databases/0/rpo_s", "3600"},
        {"databases/0/rto_s", "15"},
        {"databases/0/opened_ms", "1769864415000"},
        {"databases/0/location", "\"https://backup.example.com/shop\""},
        {"databases/2/skipped", "\"memcached can't be recovered\""},
        {"proof/0/label", "\"shard:1\""},
        {"proof/0/file", "\"a.rdb.gz\""},
        {"proof/0/file_bytes", "1048576"},
        {"proof/0/bytes", "3000000"},
        {"proof/0/keys_in_file", "1000"},
        {"proof/0/keys_loaded", "997"},
        {"proof/0/keys_expired", "3"},
        {"proof/0/expired", "3"},
        {"proof/0/checksum", "\"ok\""},
        {"proof/0/sha256", "\"aabbccddeeff00112233\""},
        {"proof/0/slots", "[[0, 8191]]"},
        {"proof/0/proven", "true"},
        {"proof/0/sync", "null"},
        {"proof/0/times/1/kind", "\"fetch\""},
        {"proof/0/times/1/stage", "\"transfer\""},
        {"proof/0/times/1/ended_ms", "1769864403000"},
        {"proof/2/sync", "\"partial\""},
        {"proof/3/sync", "\"full\""},
        {"proof/3/proven", "true"},
        {"events/0/code", "\"recovery-started\""},
        {"events/1/detail", "{\"password\": \"********\"}"},
    };
    struct state *st = recovery_new("done");
    json_t *report = report_of(st);

    (void)arg;
    check_fields(report, fields, sizeof(fields) / sizeof(*fields));
    json_decref(report);
    state_close(st);
}

static void test_lost_keys_are_no_proof(void **arg)
{
    struct state *st = recovery_new("partly");
    struct buf out = BUF_INIT;

    (void)arg;
    recovery_sql(st, "UPDATE placement SET loaded = '{\"keys_loaded\": 996, \"keys_expired\": 3}'"
                     " WHERE shard_uid = '1'");
    json_t *report = report_of(st);
    assert_json(at(report, "proof/0/proven"), "false");
    report_text(report, false, &out);
    assert_has(out.data, "differs");
    buf_clear(&out);
    report_html(report, &out);
    assert_has(out.data, "<span class=\"badge bad\">differs</span>");
    buf_release(&out);
    json_decref(report);
    state_close(st);
}

static void test_report_text(void **arg)
{
    struct state *st = recovery_new("done");
    json_t *report = report_of(st);
    struct buf out = BUF_INIT;

    (void)arg;
    report_text(report, false, &out);
    check_text(out.data);
    assert_has(out.data, "Recovered: every database is proven and open.");
    assert_has(out.data, "10.0.0.11:12000, 10.0.0.12:12000");
    assert_has(out.data, "from          https://backup.example.com/shop");
    assert_has(out.data, "what was written in the last 1 h before");
    assert_has(out.data, "memcached can't be recovered");
    assert_has(out.data, "1 attached without copying data, 1 by a full copy");
    assert_has(out.data, "Checksums of files: 2 right, 1 absent, 0 not read yet.");
    assert_has(out.data, "transparent huge pages are on");
    buf_clear(&out);
    report_text(report, true, &out);
    assert_has(out.data, "\033[32mRecovered");
    buf_release(&out);
    json_decref(report);
    state_close(st);
}

static void check_page(const char *page)
{
    static const char *const forbidden[] = {
        CANARY, "<b>\"", "<script", "href=", "src=", "url(", "@import", "\033", "\xE2\x80\xAE"};

    for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++)
        if (strstr(page, forbidden[i]))
            fail_msg("'%s' in the page", forbidden[i]);
}

static void test_page(void **arg)
{
    static const char *const parts[] = {
        "Recovered: every database is proven and open.",
        "prod &lt;east&gt;",
        "&lt;b&gt;&quot;shop&quot; &amp; &#39;cart&#39; ",
        "recovery &lt;started&gt;",
        "slots &lt;5461&gt; of db:1",
        "<rect class=\"load\"",
        "<g fill=\"var(--s1)\"><title>shard:2: slots 8192-16383</title><rect x=\"8192\"",
        "4 GB of 8 GB memory planned",
        "prefers-color-scheme:dark",
        "</html>",
    };
    struct state *st = recovery_new("done");
    json_t *report = report_of(st);
    struct buf out = BUF_INIT;

    (void)arg;
    report_html(report, &out);
    check_page(out.data);
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        assert_has(out.data, parts[i]);
    buf_release(&out);
    json_decref(report);
    state_close(st);
}

static void test_page_shows_missing_slots(void **arg)
{
    struct state *st = recovery_new("done");
    struct buf out = BUF_INIT;

    (void)arg;
    recovery_sql(st, "UPDATE placement SET slots = '8192-16000,16002-16383' WHERE shard_uid = '2'");
    json_t *report = report_of(st);
    report_html(report, &out);
    assert_has(out.data, "without a shard: 16001</b>");
    buf_release(&out);
    json_decref(report);
    state_close(st);
}

static void test_page_of_nothing(void **arg)
{
    struct state *st = recovery_new(NULL);
    json_t *report = report_of(st);
    struct buf out = BUF_INIT;

    (void)arg;
    json_object_set_new(report, "plan", json_null());
    report_html(report, &out);
    check_page(out.data);
    assert_has(out.data, "recluster recover --state /nowhere/r.state");
    assert_null(strstr(out.data, "id=\"timeline\""));
    buf_clear(&out);
    report_text(report, false, &out);
    check_text(out.data);
    buf_release(&out);
    json_decref(report);
    state_close(st);
}

/* Many shards, many tasks: what is read stays short, what counts is still there. */
static void test_big_recovery(void **arg)
{
    struct state *st = recovery_new("partly");
    struct buf out = BUF_INIT;

    (void)arg;
    recovery_sql(st,
        "WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 20099)"
        " INSERT INTO placement (shard_uid, database_uid, position, role, host, addr, port, "
        "bus_port,"
        " dir, slots, memory, state) SELECT i, '1', i, 'primary', 'a1', '10.0.0.11', 12000, 0, 'd',"
        " '', 1, CASE i WHEN 20099 THEN 'failed' ELSE 'planned' END FROM n");
    recovery_sql(st,
        "INSERT INTO task (kind, stage, gate, shard_uid, database_uid, state, started_ms)"
        " SELECT 'fetch', 2, 2, shard_uid, '1', 'running', 1769864402000 FROM placement");
    int64_t before_ms = clock_mono_ms();
    json_t *report = report_of(st);
    report_text(report, false, &out);
    check_text(out.data);
    assert_in_range(count_lines(out.data), 20, 150);
    assert_has(out.data, "and 19985 more (see --json)");
    buf_clear(&out);
    report_html(report, &out);
    assert_in_range(out.len, 10000, 2000000);
    assert_in_range(clock_mono_ms() - before_ms, 0, 20000);
    buf_release(&out);
    json_decref(report);
    state_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_json),
        cmocka_unit_test(test_status_of_planned),
        cmocka_unit_test(test_status_of_partly),
        cmocka_unit_test(test_status_without_failed_task),
        cmocka_unit_test(test_status_interrupted),
        cmocka_unit_test(test_status_while_locked),
        cmocka_unit_test(test_next_is_quoted),
        cmocka_unit_test(test_report_json),
        cmocka_unit_test(test_lost_keys_are_no_proof),
        cmocka_unit_test(test_report_text),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_page_shows_missing_slots),
        cmocka_unit_test(test_page_of_nothing),
        cmocka_unit_test(test_big_recovery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
