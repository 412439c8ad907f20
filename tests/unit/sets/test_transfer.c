#include "recluster/transfer.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "http_script.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/pull.h"
#include "sample.h"
#include "temp_dir.h"
#include "test.h"

/* A fetch that is killed in the middle, and the next one. */

static struct buf rdb = BUF_INIT, packed = BUF_INIT;

static int make_samples(void **state)
{
    (void)state;
    const char *keys[2001] = {NULL};
    for (size_t i = 0; i < 2000; i++) {
        keys[i] = xasprintf("key-with-a-long-name-%zu-%032zx", i, i * 7919);
    }
    sample_rdb(&rdb, keys, 1700000000);
    sample_gzip(&packed, rdb.data, rdb.len);
    for (size_t i = 0; i < 2000; i++)
        free_ptr(&keys[i]);
    return 0;
}

static int release_samples(void **state)
{
    (void)state;
    buf_release(&rdb);
    buf_release(&packed);
    return 0;
}

static struct store *open_url(const char *url)
{
    struct err err = ERR_INIT;
    json_t *location = json_string(url);
    struct store *s = store_open(location, &err);
    json_decref(location);
    if (!s)
        fail_msg("%s", err.message);
    return s;
}

static int pull_into(const char *url, const char *out, json_t **ret_facts, struct err *err)
{
    struct store *s = open_url(url);
    const struct pull_params params = {
        .store = s, .name = "x.rdb", .out_path = out, .resume = true, .expected_bytes = -1};
    int rc = pull(&params, ret_facts, err);
    store_close(s);
    return rc;
}

static int refuse(void *arg, const json_t *facts, struct err *err)
{
    (void)arg, (void)facts;
    return err_set(err, ERR_CHECK, "not wanted");
}

/* The lower half of the slots into OUT, the upper one into OUT-upper. */
static int cut_checked(const char *url, const char *out,
    int (*check_upper)(void *, const json_t *, struct err *), struct pull_output outputs[2],
    struct err *err)
{
    AUTO_FREE char *upper_out = xasprintf("%s-upper", out);
    struct slots lower, upper;
    struct store *s = open_url(url);
    const struct pull_params params = {
        .store = s, .name = "x.rdb", .stamp = true, .resume = true, .expected_bytes = -1};

    slots_clear(&lower);
    slots_clear(&upper);
    slots_add_range(&lower, 0, SLOT_COUNT / 2 - 1);
    slots_add_range(&upper, SLOT_COUNT / 2, SLOT_COUNT - 1);
    outputs[0] = (struct pull_output){.out_path = out, .keep = &lower};
    outputs[1] = (struct pull_output){.out_path = upper_out, .keep = &upper, .check = check_upper};
    int rc = pull_cut(&params, outputs, 2, err);
    store_close(s);
    return rc;
}

static int cut_into(const char *url, const char *out, json_t **ret_facts, struct err *err)
{
    struct pull_output outputs[2];
    int rc = cut_checked(url, out, NULL, outputs, err);

    for (size_t i = 0; i < 2 && rc == 0; i++)
        assert_ok(outputs[i].failure.code == ERR_NONE ? 0 : -1, outputs[i].failure);
    *ret_facts = outputs[0].facts;
    json_decref(outputs[1].facts);
    return rc;
}

typedef int (*fetch_function)(const char *url, const char *out, json_t **, struct err *);

/* A process that fetches until so many bytes are kept, then is killed. */
static void fetch_and_kill(fetch_function fetch, const char *url, const char *out, off_t bytes)
{
    AUTO_FREE char *kept = xasprintf("%s.fetch0", out);
    int64_t deadline_ms = clock_mono_ms() + 20000;
    struct stat st = {.st_size = 0};
    pid_t child = fork();

    if (child == 0) {
        struct err err = ERR_INIT;
        json_t *facts;
        _exit(fetch(url, out, &facts, &err) < 0 ? 1 : 0);
    }
    while (stat(kept, &st) < 0 || st.st_size < bytes) {
        assert_true(clock_mono_ms() < deadline_ms);
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(st.st_size, bytes);
}

static char *head(const char *status, size_t total, size_t from, size_t to, const char *etag)
{
    bool part = strncmp(status, "206", 3) == 0;
    AUTO_FREE char *range =
        part ? xasprintf("Content-Range: bytes %zu-%zu/%zu\r\n", from, to - 1, total) : xstrdup("");
    return xasprintf(
        "HTTP/1.1 %s\r\nETag: \"%s\"\r\nContent-Length: %zu\r\n%sConnection: close\r\n", status,
        etag, to - from, range);
}

/* The first fetch gets the first bytes; the next one's answers are of an object with this ETag. */
static void check_resume(const struct buf *object, const char *etag, bool same)
{
    char *dir = temp_dir_make();
    size_t n = object->len / 2;
    AUTO_FREE char *out = path_join(dir, "x.rdb");
    AUTO_FREE char *kept = xasprintf("%s.fetch0", out);
    AUTO_FREE char *note = xasprintf("%s.fetch0.json", out);
    AUTO_FREE char *cut = head("200 OK", object->len, 0, object->len, "one");
    AUTO_FREE char *look = head("206 Partial Content", object->len, 0, 1, etag);
    AUTO_FREE char *rest = head("206 Partial Content", object->len, n, object->len, etag);
    AUTO_FREE char *all = head("200 OK", object->len, 0, object->len, etag);
    const struct scripted_reply replies[] = {{cut, object->data, n, 1}, {look, object->data, 1, 0},
        {same ? rest : all, object->data + (same ? n : 0), object->len - (same ? n : 0), 0}};
    struct http_script *script = http_script_start(replies, ARRAY_SIZE(replies));
    struct err err = ERR_INIT;
    json_t *facts;

    fetch_and_kill(pull_into, http_script_url(script), out, (off_t)n);
    assert_ok(pull_into(http_script_url(script), out, &facts, &err), err);
    assert_true(temp_file_is(dir, "x.rdb", rdb.data, rdb.len));
    assert_int_equal(json_integer_value(json_object_get(facts, "keys")), 2000);
    assert_int_equal(json_integer_value(json_object_get(facts, "stored_bytes")), object->len);
    assert_false(file_exists(kept));
    assert_false(file_exists(note));
    AUTO_FREE char *range = xasprintf("Range: bytes=%zu-\r\n", n);
    assert_int_equal(strstr(http_script_request(script, 2), range) != NULL, same);
    json_decref(facts);
    http_script_end(script);
    temp_dir_remove(dir);
}

static void a_plain_file_goes_on(void **state)
{
    (void)state;
    check_resume(&rdb, "one", true);
}

static void a_compressed_file_goes_on(void **state)
{
    (void)state;
    check_resume(&packed, "one", true);
}

static void a_changed_object_begins_anew(void **state)
{
    (void)state;
    check_resume(&rdb, "two", false);
}

/* The kept bytes were damaged meanwhile: they are found out, and all is fetched again. */
static void bad_kept_bytes_start_again(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    size_t n = rdb.len / 2;
    AUTO_FREE char *out = path_join(dir, "x.rdb");
    AUTO_FREE char *kept = xasprintf("%s.fetch0", out);
    AUTO_FREE char *cut = head("200 OK", rdb.len, 0, rdb.len, "one");
    AUTO_FREE char *look = head("206 Partial Content", rdb.len, 0, 1, "one");
    const struct scripted_reply replies[] = {
        {cut, rdb.data, n, 1}, {look, rdb.data, 1, 0}, {cut, rdb.data, rdb.len, 0}};
    struct http_script *script = http_script_start(replies, ARRAY_SIZE(replies));
    struct err err = ERR_INIT;
    json_t *facts;

    fetch_and_kill(pull_into, http_script_url(script), out, (off_t)n);
    FILE *f = fopen(kept, "r+");
    assert_non_null(f);
    fputc('#', f);
    fclose(f);
    assert_ok(pull_into(http_script_url(script), out, &facts, &err), err);
    assert_true(temp_file_is(dir, "x.rdb", rdb.data, rdb.len));
    json_decref(facts);
    http_script_end(script);
    temp_dir_remove(dir);
}

/* Answers to one pull, in order: each may be cut. */
static void check_answers(const struct scripted_reply *replies, size_t count, enum err_code code)
{
    char *dir = temp_dir_make();
    AUTO_FREE char *out = path_join(dir, "x.rdb");
    struct http_script *script = http_script_start(replies, count);
    struct err err = ERR_INIT;
    json_t *facts;

    if (code == ERR_NONE) {
        assert_ok(pull_into(http_script_url(script), out, &facts, &err), err);
        assert_true(temp_file_is(dir, "x.rdb", rdb.data, rdb.len));
    } else {
        assert_error(
            pull_into(http_script_url(script), out, &facts, &err), err, code, "'x.rdb' in");
        assert_false(file_exists(out));
    }
    assert_int_equal(http_script_served(script), count);
    json_decref(facts);
    http_script_end(script);
    temp_dir_remove(dir);
}

static void changed_meanwhile_begins_anew_once(void **state)
{
    (void)state;
    size_t n = rdb.len / 2;
    AUTO_FREE char *one = head("200 OK", rdb.len, 0, rdb.len, "one");
    AUTO_FREE char *two = head("200 OK", rdb.len, 0, rdb.len, "two");
    AUTO_FREE char *rest_of_two = head("206 Partial Content", rdb.len, n, rdb.len, "two");
    AUTO_FREE char *rest_of_three = head("206 Partial Content", rdb.len, n, rdb.len, "3");
    const struct scripted_reply settles[] = {{one, rdb.data, n, 0},
        {rest_of_two, rdb.data + n, rdb.len - n, 0}, {two, rdb.data, rdb.len, 0}};
    const struct scripted_reply goes_on[] = {{one, rdb.data, n, 0},
        {rest_of_two, rdb.data + n, rdb.len - n, 0}, {two, rdb.data, n, 0},
        {rest_of_three, rdb.data + n, rdb.len - n, 0}};

    check_answers(settles, ARRAY_SIZE(settles), ERR_NONE);
    check_answers(goes_on, ARRAY_SIZE(goes_on), ERR_CHANGED);
}

static void without_a_validator_it_begins_anew_once(void **state)
{
    (void)state;
    size_t n = rdb.len / 2;
    AUTO_FREE char *plain =
        xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n", rdb.len);
    const struct scripted_reply cut_once[] = {
        {plain, rdb.data, n, 0}, {plain, rdb.data, rdb.len, 0}};
    const struct scripted_reply cut_twice[] = {{plain, rdb.data, n, 0}, {plain, rdb.data, n, 0}};

    check_answers(cut_once, ARRAY_SIZE(cut_once), ERR_NONE);
    char *dir = temp_dir_make();
    AUTO_FREE char *out = path_join(dir, "x.rdb");
    struct http_script *script = http_script_start(cut_twice, ARRAY_SIZE(cut_twice));
    struct err err = ERR_INIT;
    json_t *facts;
    assert_error(pull_into(http_script_url(script), out, &facts, &err), err, ERR_NETWORK,
        "neither ETag nor date");
    json_decref(facts);
    http_script_end(script);
    temp_dir_remove(dir);
}

/* What is wrong for good is not kept; what may pass is. */
static void only_what_may_pass_is_kept(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    AUTO_FREE char *out = path_join(dir, "out.rdb");
    AUTO_FREE char *kept = xasprintf("%s.fetch0", out);
    struct err err;
    json_t *facts;

    temp_file(dir, "x.rdb", rdb.data, rdb.len - 20);
    assert_error(pull_into(dir, out, &facts, &err), err, ERR_CORRUPT, "x.rdb");
    assert_false(file_exists(kept));
    assert_false(file_exists(out));
    json_decref(facts);
    temp_dir_remove(dir);
}

static void assert_same_file(const char *dir, const char *name, const char *other)
{
    AUTO_FREE char *path = path_join(dir, other);
    CLEANUP(buf_release) struct buf want = BUF_INIT;
    struct err err = ERR_INIT;

    assert_ok(file_read(path, 16 << 20, &want, &err), err);
    assert_true(want.len > 0);
    assert_true(temp_file_is(dir, name, want.data, want.len));
}

/* One pass for two files, killed in its middle: the bytes that have come serve both. */
static void a_cut_goes_on_for_all_its_files(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    size_t n = packed.len / 2;
    AUTO_FREE char *out = path_join(dir, "out");
    AUTO_FREE char *whole = path_join(dir, "undisturbed");
    AUTO_FREE char *kept = xasprintf("%s.fetch0", out);
    AUTO_FREE char *all = head("200 OK", packed.len, 0, packed.len, "one");
    AUTO_FREE char *look = head("206 Partial Content", packed.len, 0, 1, "one");
    AUTO_FREE char *rest = head("206 Partial Content", packed.len, n, packed.len, "one");
    const struct scripted_reply replies[] = {{all, packed.data, n, 1}, {look, packed.data, 1, 0},
        {rest, packed.data + n, packed.len - n, 0}};
    struct http_script *script = http_script_start(replies, ARRAY_SIZE(replies));
    struct err err = ERR_INIT;
    json_t *facts;

    fetch_and_kill(cut_into, http_script_url(script), out, (off_t)n);
    assert_false(file_exists(out));
    assert_ok(cut_into(http_script_url(script), out, &facts, &err), err);
    json_t *source = json_object_get(facts, "source");
    assert_int_equal(json_integer_value(json_object_get(source, "keys")), 2000);
    assert_false(file_exists(kept));
    json_decref(facts);
    temp_file(dir, "x.rdb", packed.data, packed.len);
    assert_ok(cut_into(dir, whole, &facts, &err), err);
    json_decref(facts);
    assert_same_file(dir, "out", "undisturbed");
    assert_same_file(dir, "out-upper", "undisturbed-upper");
    http_script_end(script);
    temp_dir_remove(dir);
}

/* The other is there, what was there before stays, and nothing else is left. */
static void a_cut_file_is_refused_alone(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    AUTO_FREE char *out = path_join(dir, "out");
    struct pull_output outputs[2];
    struct err err = ERR_INIT;
    char **names;
    size_t n;

    temp_file(dir, "x.rdb", rdb.data, rdb.len);
    temp_file(dir, "out-upper", "before", 6);
    assert_ok(cut_checked(dir, out, refuse, outputs, &err), err);
    assert_int_equal(outputs[0].failure.code, ERR_NONE);
    assert_int_equal(outputs[1].failure.code, ERR_CHECK);
    assert_non_null(strstr(outputs[1].failure.message, "not wanted"));
    json_int_t keys[2];
    for (size_t i = 0; i < 2; i++) {
        keys[i] = json_integer_value(json_object_get(outputs[i].facts, "keys"));
        json_decref(outputs[i].facts);
    }
    assert_true(keys[0] > 0 && keys[1] > 0);
    assert_int_equal(keys[0] + keys[1], 2000);
    assert_true(temp_file_is(dir, "out-upper", "before", 6));
    assert_ok(dir_list(dir, &names, &n, &err), err);
    assert_int_equal(n, 3);
    strv_free(names, n);
    temp_dir_remove(dir);
}

static void the_digest_is_checked(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    char hex[DIGEST_HEX_MAX];
    struct store *s = open_url(dir);
    struct err err = ERR_INIT;
    json_t *facts;
    struct pull_params params = {
        .store = s, .name = "x.rdb.gz", .expected_bytes = -1, .sha256 = hex};

    temp_file(dir, "x.rdb.gz", packed.data, packed.len);
    digest_of(packed.data, packed.len, hex);
    assert_ok(pull(&params, &facts, &err), err);
    json_decref(facts);
    hex[0] = hex[0] == '0' ? '1' : '0';
    assert_error(pull(&params, &facts, &err), err, ERR_CORRUPT, "SHA-256");
    json_decref(facts);
    store_close(s);
    temp_dir_remove(dir);
}

static int count(void *arg, const void *data, size_t len, struct err *err)
{
    size_t *n = arg;

    (void)data, (void)err;
    *n += len;
    return 0;
}

static void the_rate_is_kept(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct store *s = open_url(dir);
    struct rate *rate = rate_new((int64_t)packed.len * 4);
    struct err err = ERR_INIT;
    size_t n = 0;

    temp_file(dir, "x.rdb.gz", packed.data, packed.len);
    store_limit_rate(s, rate);
    int64_t began_ms = clock_mono_ms();
    for (int i = 0; i < 2; i++)
        assert_ok(
            store_read(s, &(struct store_range){"x.rdb.gz", 0, -1}, count, &n, NULL, &err), err);
    int64_t took_ms = clock_mono_ms() - began_ms;
    assert_int_equal(n, 2 * packed.len);
    assert_in_range(took_ms, 300, 1500); /* 500, less the burst */
    store_close(s);
    rate_free(rate);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_file_goes_on),
        cmocka_unit_test(a_compressed_file_goes_on),
        cmocka_unit_test(a_changed_object_begins_anew),
        cmocka_unit_test(bad_kept_bytes_start_again),
        cmocka_unit_test(changed_meanwhile_begins_anew_once),
        cmocka_unit_test(without_a_validator_it_begins_anew_once),
        cmocka_unit_test(only_what_may_pass_is_kept),
        cmocka_unit_test(a_cut_goes_on_for_all_its_files),
        cmocka_unit_test(a_cut_file_is_refused_alone),
        cmocka_unit_test(the_digest_is_checked),
        cmocka_unit_test(the_rate_is_kept),
    };
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, make_samples, release_samples);
}
