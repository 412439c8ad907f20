/* Errors, buffers, times, numbers, files, secrets. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/err.h"
#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/secret.h"

static void errors_carry_context(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(err_set(&err, ERR_NETWORK, "cannot reach '%s'", "a1"), -1);
    err_hint(&err, "Look at %s.", "it");
    assert_int_equal(err_wrap(&err, "shard '%d'", 4), -1);
    assert_string_equal(err.message, "shard '4': cannot reach 'a1'");
    assert_string_equal(err.hint, "Look at it.");
    assert_int_equal(err.code, ERR_NETWORK);
    err_set(&err, ERR_IO, "again");
    assert_string_equal(err.hint, ""); /* an old hint never stands under a new message */
}

static void errors_are_cut_visibly(void **state)
{
    struct err err = ERR_INIT;
    char *text = xmalloc(3001);

    (void)state;
    memset(text, 'x', 3000);
    text[3000] = '\0';
    err_set(&err, ERR_IO, "%s", text);
    assert_string_equal(err.message + sizeof(err.message) - 4, "...");
    err_wrap(&err, "outer");
    assert_memory_equal(err.message, "outer: x", 8);
    assert_string_equal(err.message + sizeof(err.message) - 4, "...");
    free(text);
}

static void a_full_disk_is_told_apart(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    errno = ENOSPC;
    err_sys(&err, ERR_IO, "cannot write '%s'", "f");
    assert_int_equal(err.code, ERR_SPACE);
    assert_int_equal(err.sys, ENOSPC);
    assert_true(err.hint[0]);
    errno = EACCES;
    err_sys(&err, ERR_IO, "cannot write 'f'");
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.message, "cannot write 'f': Permission denied");
}

static void error_names_go_both_ways(void **state)
{
    (void)state;
    for (int code = ERR_NONE; code <= ERR_BUG; code++)
        assert_int_equal(err_code_by_name(err_code_name((enum err_code)code)), code);
    assert_int_equal(err_code_by_name("from the future"), ERR_FAILED);
    assert_int_equal(err_code_exit_status(ERR_CHECK), 4);
    assert_int_equal(err_code_exit_status(ERR_USAGE), 2);
    assert_int_equal(err_code_exit_status(ERR_LOCKED), 5);
    assert_true(err_code_is_retried(ERR_LINK));
    assert_false(err_code_is_retried(ERR_CORRUPT));
}

static void buffers_are_always_strings(void **state)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    (void)state;
    assert_string_equal(b.data, "");
    buf_clear(&b);
    buf_addf(&b, "%d-%s", 7, "x");
    buf_addc(&b, '!');
    buf_add(&b, "", 0);
    assert_string_equal(b.data, "7-x!");
    buf_consume(&b, 2);
    assert_string_equal(b.data, "x!");
    assert_int_equal(buf_add_limited(&b, "abc", 3, 4, "answer", &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(b.data, "x!");
    assert_int_equal(buf_add_limited(&b, "ab", 2, 4, "answer", &err), 0);
    char *taken = buf_take(&b);
    assert_string_equal(taken, "x!ab");
    assert_int_equal(b.len, 0);
    free(taken);
    taken = buf_take(&b);
    assert_string_equal(taken, "");
    free(taken);
    buf_release(&b);
}

static void times_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2020-11-30T22:36:54Z", 1606775814000},
        {"2020-11-30 22:36:54", 1606775814000},
        {"2020-11-30T22:36:54.250Z", 1606775814250},
        {"2020-12-01T00:36:54+02:00", 1606775814000},
        {"2020-11-30T20:06:54-0230", 1606775814000},
        {"2020-11-30T22:36Z", 1606775760000},
        {"2020-11-30", 1606694400000},
        {"1606775814", 1606775814000},
        {"2020", -1},
        {"yesterday", -1},
        {"2020-13-01", -1},
        {"2020-11-30T22:36:54Zx", -1},
        {"2020-11-30T25:00", -1},
        {"", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        int64_t ms = -1;
        int rc = clock_parse(cases[i].text, &ms, &err);
        assert_int_equal(rc, cases[i].ms < 0 ? -1 : 0);
        assert_int_equal(ms, cases[i].ms);
        if (rc < 0)
            assert_int_equal(err.code, ERR_USAGE);
    }
    char text[CLOCK_TEXT_MAX];
    assert_string_equal(clock_format(1606775814999, text), "2020-11-30T22:36:54Z");
}

static void numbers_are_written_as_people_read_them(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0 B"}, {999, "999 B"}, {1000, "1 KB"}, {1536, "1.5 KB"}, {10240, "10 KB"},
        {1 << 20, "1 MB"}, {64ull << 30, "64 GB"}, {UINT64_MAX, "16 EB"}};
    static const struct {
        int64_t ms;
        const char *text;
    } durations[] = {{0, "0.0 s"}, {421, "0.4 s"}, {9949, "9.9 s"}, {12000, "12 s"},
        {200000, "3 min 20 s"}, {7500000, "2 h 5 min"}, {273600000, "3 d 4 h"}, {86400000, "1 d"},
        {300000, "5 min"}};
    char text[HUMAN_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        assert_string_equal(human_bytes(sizes[i].bytes, text), sizes[i].text);
    for (size_t i = 0; i < ARRAY_SIZE(durations); i++)
        assert_string_equal(human_duration(durations[i].ms, text), durations[i].text);
    assert_string_equal(human_count(0, text), "0");
    assert_string_equal(human_count(1234567, text), "1,234,567");
}

static void sizes_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        int64_t bytes; /* -1: refused */
    } cases[] = {{"64G", 64ll << 30}, {"1.5GB", 3ll << 29}, {"512 mb", 512ll << 20}, {"7", 7},
        {"2KiB", 2048}, {"100B", 100}, {"-1", -1}, {"64X", -1}, {"", -1}, {"G", -1}, {"1e30", -1},
        {"64G!", -1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        uint64_t bytes = (uint64_t)-1;
        assert_int_equal(
            human_parse_bytes(cases[i].text, &bytes, &err), cases[i].bytes < 0 ? -1 : 0);
        assert_int_equal((int64_t)bytes, cases[i].bytes);
    }
}

static void typos_find_what_was_meant(void **state)
{
    static const char *const words[] = {"inspect", "plan", "recover", "status", NULL};

    (void)state;
    assert_int_equal(human_distance("kitten", "sitting"), 3);
    assert_string_equal(human_nearest("recvoer", words), "recover");
    assert_string_equal(human_nearest("insp", words), "inspect");
    assert_string_equal(human_nearest("PLAN", words), "plan");
    assert_null(human_nearest("frobnicate", words));
}

static char *make_folder(void)
{
    char template[] = "/tmp/recluster-base-XXXXXX";
    assert_non_null(mkdtemp(template));
    return xstrdup(template);
}

static void files_are_replaced_whole(void **state)
{
    struct err err = ERR_INIT;
    AUTO_FREE char *dir = make_folder();
    AUTO_FREE char *path = path_join(dir, "a 'file'");
    AUTO_FREE char *tmp = xasprintf("%s.tmp", path);
    struct buf b = BUF_INIT;
    struct stat st;

    (void)state;
    assert_int_equal(file_write_atomic(path, "one", 3, 0600, &err), 0);
    /* The leftover of a crash is no hindrance. */
    assert_int_equal(file_write_atomic(tmp, "half", 4, 0400, &err), 0);
    assert_int_equal(file_write_atomic(path, "second", 6, 0600, &err), 0);
    assert_int_equal(file_read(path, 100, &b, &err), 0);
    assert_string_equal(b.data, "second");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(file_exists(tmp));
    assert_int_equal(file_read(path, 3, &b, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    buf_release(&b);
    assert_int_equal(dir_remove(dir, &err), 0);
    assert_false(file_exists(dir));
    assert_int_equal(file_read(path, 3, &b, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void a_long_file_keeps_no_more_room_than_it_needs(void **state)
{
    enum { BYTES = 9 << 20, TIMES = 3, BLOCK_BYTES = 64 << 10 };
    struct err err = ERR_INIT;
    AUTO_FREE char *dir = make_folder();
    AUTO_FREE char *path = path_join(dir, "long");
    AUTO_FREE char *piece = xmalloc(BYTES);
    struct buf b = BUF_INIT;
    struct stat st;
    int64_t at = 0;

    (void)state;
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    for (int i = 0; i < TIMES; i++) {
        memset(piece, 'a' + i, BYTES);
        assert_int_equal(file_append(fd, &at, piece, BYTES, path, &err), 0);
        assert_int_equal(at, (i + 1) * BYTES);
    }
    file_trim(fd);
    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    assert_int_equal(st.st_size, TIMES * BYTES);
    assert_in_range(st.st_blocks * 512, 0, TIMES * BYTES + BLOCK_BYTES);
    assert_int_equal(file_read(path, TIMES * BYTES, &b, &err), 0);
    for (int i = 0; i < TIMES; i++) {
        memset(piece, 'a' + i, BYTES);
        assert_memory_equal(b.data + (size_t)i * BYTES, piece, BYTES);
    }
    buf_release(&b);
    assert_int_equal(dir_remove(dir, &err), 0);
}

static void folders_are_removed_without_following_links(void **state)
{
    struct err err = ERR_INIT;
    AUTO_FREE char *keep = make_folder();
    AUTO_FREE char *dir = make_folder();
    AUTO_FREE char *kept = path_join(keep, "precious");
    AUTO_FREE char *deep = path_join(dir, "a/b/c");
    AUTO_FREE char *link = path_join(deep, "link");
    char **names;
    size_t count;

    (void)state;
    assert_int_equal(file_write_atomic(kept, "x", 1, 0600, &err), 0);
    assert_int_equal(dir_make(deep, 0700, &err), 0);
    assert_int_equal(dir_make(deep, 0700, &err), 0);
    assert_int_equal(symlink(keep, link), 0);
    assert_int_equal(dir_list(dir, &names, &count, &err), 0);
    assert_int_equal(count, 1);
    strv_free(names, count);
    assert_int_equal(dir_remove(dir, &err), 0);
    assert_int_equal(dir_remove(dir, &err), 0);
    assert_true(file_exists(kept));
    assert_int_equal(dir_remove(keep, &err), 0);
}

static void names_become_safe_path_parts(void **state)
{
    static const struct {
        const char *name, *part;
    } cases[] = {{"4", "4"}, {"../x", "%2E.%2Fx"}, {"a b'\"$(x)\n", "a%20b%27%22%24%28x%29%0A"},
        {"", "%"}, {".", "%2E"}, {"bk2020-1_of_3.rdb", "bk2020-1_of_3.rdb"},
        {"\xc3\xa9", "%C3%A9"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *part = path_component(cases[i].name);
        assert_string_equal(part, cases[i].part);
    }
    AUTO_FREE char *joined = path_join("/a//", "b");
    assert_string_equal(joined, "/a/b");
    AUTO_FREE char *root = path_join("/", "b");
    assert_string_equal(root, "/b");
}

static void digests_and_randomness(void **state)
{
    char hex[DIGEST_HEX_MAX];
    struct digest *d = digest_new();

    (void)state;
    assert_string_equal(digest_of("abc", 3, hex),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_add(d, "a", 1);
    digest_add(d, "bc", 2);
    digest_end(d, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    AUTO_FREE char *one = random_hex(16);
    AUTO_FREE char *two = random_hex(16);
    assert_int_equal(strlen(one), 32);
    assert_string_not_equal(one, two);
}

static void secrets_come_from_three_places(void **state)
{
    struct err err = ERR_INIT;
    AUTO_FREE char *dir = make_folder();
    AUTO_FREE char *path = path_join(dir, "secret");
    json_t *forms = json_pack("[s, {s:s}, {s:s}, {s:s}, i]", "plain", "env",
        "RECLUSTER_TEST_SECRET", "file", path, "envv", "x", 7);
    static const char *const plain[] = {"plain", "from env", "from file", NULL, NULL};

    (void)state;
    setenv("RECLUSTER_TEST_SECRET", "from env", 1);
    assert_int_equal(file_write_atomic(path, "from file\n", 10, 0600, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
        struct secret *s = secret_from_json(json_array_get(forms, i), "password", &err);
        if (plain[i])
            assert_string_equal(secret_reveal(s), plain[i]);
        else
            assert_null(s);
        secret_free(s);
    }
    unsetenv("RECLUSTER_TEST_SECRET");
    assert_null(secret_from_json(json_array_get(forms, 1), "password", &err));
    assert_non_null(strstr(err.message, "RECLUSTER_TEST_SECRET"));
    json_decref(forms);
    assert_int_equal(dir_remove(dir, &err), 0);
}

static void secrets_are_masked_by_their_names(void **state)
{
    json_t *location = json_pack("{s:s, s:s, s:{s:s}, s:[s], s:s, s:s}", "type", "s3",
        "secret_access_key", "CANARY", "inner", "authentication_redis_pass", "CANARY", "list",
        "ftp://u:CANARY@host/x", "hash_slots_policy", "16k", "private_key_id", "id");
    json_t *masked = secret_mask_json(location);
    AUTO_FREE char *text = json_dumps(masked, 0);
    AUTO_FREE char *url = secret_mask_url("https://u:p@ss@host/a@b?c=d:e@f");
    AUTO_FREE char *plain = secret_mask_url("http://host/a:b@c");
    AUTO_FREE char *query = secret_mask_url("https://host/x?X-Amz-Signature=CANARY");
    AUTO_FREE char *bucket = secret_mask_url("s3://bucket/x?region=r1");

    (void)state;
    assert_null(strstr(text, "CANARY"));
    assert_non_null(strstr(text, "16k"));
    assert_non_null(strstr(text, "\"id\""));
    assert_string_equal(url, "https://u:" SECRET_MASK "@host/a@b?" SECRET_MASK);
    assert_string_equal(plain, "http://host/a:b@c");
    assert_string_equal(query, "https://host/x?" SECRET_MASK);
    assert_string_equal(bucket, "s3://bucket/x?region=r1");
    json_decref(location);
    json_decref(masked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_carry_context),
        cmocka_unit_test(errors_are_cut_visibly),
        cmocka_unit_test(a_full_disk_is_told_apart),
        cmocka_unit_test(error_names_go_both_ways),
        cmocka_unit_test(buffers_are_always_strings),
        cmocka_unit_test(times_are_read_as_people_write_them),
        cmocka_unit_test(numbers_are_written_as_people_read_them),
        cmocka_unit_test(sizes_are_read_as_people_write_them),
        cmocka_unit_test(typos_find_what_was_meant),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(a_long_file_keeps_no_more_room_than_it_needs),
        cmocka_unit_test(folders_are_removed_without_following_links),
        cmocka_unit_test(names_become_safe_path_parts),
        cmocka_unit_test(digests_and_randomness),
        cmocka_unit_test(secrets_come_from_three_places),
        cmocka_unit_test(secrets_are_masked_by_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
