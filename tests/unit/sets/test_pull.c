#include "recluster/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "http_script.h"
#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "sample.h"
#include "temp_dir.h"
#include "test.h"

#define CORPUS FIXTURES "/rdb-corpus"

static struct store *open_store(const char *text)
{
    struct err err = ERR_INIT;
    json_t *location = json_string(text);
    struct store *s = store_open(location, &err);
    json_decref(location);
    assert_non_null(s);
    return s;
}

/* Pulls dir/name to out (NULL: only looks). */
static int pull_file(
    const char *dir, const char *name, const char *out, json_t **ret_facts, struct err *err)
{
    struct store *s = open_store(dir);
    const struct pull_params params = {
        .store = s, .name = name, .scan.sha256 = true, .out_path = out, .expected_bytes = -1};
    int rc = pull(&params, ret_facts, err);
    store_close(s);
    return rc;
}

static json_int_t number(const json_t *facts, const char *key)
{
    const json_t *value = json_object_get(facts, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static bool folder_is_empty(const char *dir)
{
    struct err err = ERR_INIT;
    char **names;
    size_t count;
    assert_ok(dir_list(dir, &names, &count, &err), err);
    strv_free(names, count);
    return count == 0;
}

static void read_corpus_file(const char *name, struct buf *b)
{
    struct err err = ERR_INIT;
    AUTO_FREE char *path = path_join(CORPUS, name);
    assert_ok(file_read(path, 1 << 20, b, &err), err);
}

/* --- good files --- */

static const char *const corpus[] = {"multiple_lists_strings.rdb", "empty.rdb", "string_lzf.rdb",
    "100_lists.rdb", "ziplist_v3.rdb", "zset_lp_v11.rdb"};

static void check_good(const char *dir, const char *name, const char *kind, const struct buf *plain)
{
    char *target = temp_dir_make();
    AUTO_FREE char *out = path_join(target, "x.rdb");
    AUTO_FREE char *stored = path_join(dir, name);
    struct err err = ERR_INIT;
    struct stat st;
    char hex[DIGEST_HEX_MAX];
    json_t *facts;

    assert_ok(pull_file(dir, name, out, &facts, &err), err);
    assert_true(temp_file_is(target, "x.rdb", plain->data, plain->len));
    assert_int_equal(stat(stored, &st), 0);
    assert_int_equal(number(facts, "stored_bytes"), st.st_size);
    assert_int_equal(number(facts, "bytes"), plain->len);
    assert_string_equal(json_string_value(json_object_get(facts, "compressed")), kind);
    assert_string_equal(json_string_value(json_object_get(facts, "sha256")),
        digest_of(plain->data, plain->len, hex));
    json_decref(facts);
    assert_int_equal(unlink(out), 0);
    assert_true(folder_is_empty(target));
    temp_dir_remove(target);
}

static void good_files_arrive(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(corpus); i++) {
        struct buf plain = BUF_INIT, packed = BUF_INIT;
        char *dir = temp_dir_make();
        read_corpus_file(corpus[i], &plain);
        check_good(CORPUS, corpus[i], "none", &plain);
        sample_gzip(&packed, plain.data, plain.len);
        temp_file(dir, "x.rdb.gz", packed.data, packed.len);
        check_good(dir, "x.rdb.gz", "gzip", &plain);
        /* The name says nothing about the content. */
        temp_file(dir, "x.rdb", packed.data, packed.len);
        check_good(dir, "x.rdb", "gzip", &plain);
        temp_dir_remove(dir);
        buf_release(&plain);
        buf_release(&packed);
    }
}

/* Cut and stamped on the way: the facts are those of the file that arrives. */
static void a_file_is_changed_on_its_way(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT;
    struct err err = ERR_INIT;
    char *dir = temp_dir_make(), *target = temp_dir_make();
    AUTO_FREE char *out = path_join(target, "x.rdb");
    struct slots half = {{0}};
    json_t *facts, *again;

    slots_add_range(&half, 0, 8191);
    assert_ok(file_read(FIXTURES "/rdb/values.rdb", 1 << 20, &plain, &err), err);
    sample_gzip(&packed, plain.data, plain.len);
    temp_file(dir, "x.rdb.gz", packed.data, packed.len);
    struct store *s = open_store(dir);
    const struct pull_params params = {.store = s,
        .name = "x.rdb.gz",
        .scan.allowed = &half,
        .keep = &half,
        .stamp = true,
        .out_path = out,
        .expected_bytes = -1};
    assert_ok(pull(&params, &facts, &err), err);
    assert_ok(pull_file(target, "x.rdb", NULL, &again, &err), err);
    static const char *const same[] = {"bytes", "keys", "expires", "keys_by_db", "kinds", "slots",
        "aux", "checksum", "rdb_version", "foreign"};
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        assert_true(json_equal(json_object_get(facts, same[i]), json_object_get(again, same[i])));
    const char *id = json_string_value(json_object_get(facts, "repl_id"));
    assert_int_equal(strlen(id), 40);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(again, "aux"), "repl-id")), id);
    const json_t *source = json_object_get(facts, "source");
    assert_int_equal(number(source, "bytes"), plain.len);
    assert_int_equal(number(source, "keys"), number(facts, "keys") + number(source, "left_out"));
    assert_true(number(source, "left_out") > 5 && number(facts, "keys") > 5);
    json_decref(facts);
    json_decref(again);

    /* A damaged source leaves nothing. */
    plain.data[plain.len - 1] ^= 1;
    temp_file(dir, "x.rdb.gz", plain.data, plain.len);
    assert_int_equal(unlink(out), 0);
    assert_int_equal(pull(&params, &facts, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_true(folder_is_empty(target));
    json_decref(facts);
    store_close(s);
    temp_dir_remove(dir);
    temp_dir_remove(target);
    buf_release(&plain);
    buf_release(&packed);
}

struct places {
    const char *part, *kept;
    bool same_file;
};

static int see_places(void *arg, const json_t *facts, struct err *err)
{
    struct places *p = arg;
    struct stat part, kept;

    (void)facts, (void)err;
    assert_int_equal(stat(p->part, &part), 0);
    p->same_file = stat(p->kept, &kept) == 0 && part.st_ino == kept.st_ino;
    return 0;
}

/* Of a plain file, what is kept for a later try is the file itself: nothing is written twice. */
static void a_stamp_stands_behind_the_bytes_that_came(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT, out = BUF_INIT;
    struct err err = ERR_INIT;
    char *dir = temp_dir_make(), *target = temp_dir_make();
    AUTO_FREE char *path = path_join(target, "x.rdb");
    AUTO_FREE char *part = path_join(target, "x.rdb.part");
    AUTO_FREE char *kept = path_join(target, "x.rdb.fetch0");
    char id[64] = "";

    assert_ok(file_read(FIXTURES "/rdb/values.rdb", 1 << 20, &plain, &err), err);
    sample_gzip(&packed, plain.data, plain.len);
    temp_file(dir, "plain", plain.data, plain.len);
    temp_file(dir, "packed", packed.data, packed.len);
    struct store *s = open_store(dir);
    for (int how = 0; how < 4; how++) {
        struct places places = {.part = part, .kept = kept};
        bool is_plain = how & 1, resume = how & 2;
        const struct pull_params params = {.store = s,
            .name = is_plain ? "plain" : "packed",
            .stamp = true,
            .resume = resume,
            .out_path = path,
            .check = see_places,
            .arg = &places,
            .expected_bytes = -1};
        json_t *facts, *again;
        assert_ok(pull(&params, &facts, &err), err);
        assert_int_equal(places.same_file, is_plain && resume);
        assert_ok(pull_file(target, "x.rdb", NULL, &again, &err), err);
        assert_string_equal(json_string_value(json_object_get(again, "checksum")), "ok");
        const char *now = json_string_value(json_object_get(facts, "repl_id"));
        assert_string_equal(
            json_string_value(json_object_get(json_object_get(again, "aux"), "repl-id")), now);
        assert_true(how == 0 || strcmp(id, now) == 0);
        snprintf(id, sizeof(id), "%s", now);
        buf_clear(&out);
        assert_ok(file_read(path, 1 << 20, &out, &err), err);
        assert_memory_equal(out.data, plain.data, plain.len - 9);
        assert_true(out.len > plain.len);
        assert_int_equal(number(facts, "bytes"), out.len);
        assert_int_equal(unlink(path), 0);
        assert_true(folder_is_empty(target));
        json_decref(facts);
        json_decref(again);
    }
    store_close(s);
    temp_dir_remove(dir);
    temp_dir_remove(target);
    buf_release(&plain);
    buf_release(&packed);
    buf_release(&out);
}

static void keys_are_counted(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "b", "c", NULL};
    char *dir = temp_dir_make();
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    json_t *facts;

    sample_rdb(&b, keys, 1700000000);
    temp_file(dir, "x.rdb", b.data, b.len);
    assert_ok(pull_file(dir, "x.rdb", NULL, &facts, &err), err);
    assert_int_equal(number(facts, "keys"), 3);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(facts, "aux"), "ctime")), "1700000000");
    json_decref(facts);
    buf_release(&b);
    temp_dir_remove(dir);
}

/* --- bad files --- */

/* The pull fails, an old file at the target stays as it was, and nothing else is left there. */
static void check_bad(
    const char *dir, const char *name, enum err_code code, const char *message, bool facts_expected)
{
    char *target = temp_dir_make();
    AUTO_FREE char *out = path_join(target, "x.rdb");
    struct err err;
    json_t *facts;

    assert_error(pull_file(dir, name, out, &facts, &err), err, code, message);
    assert_non_null(strstr(err.message, name));
    assert_int_equal(facts != NULL, facts_expected);
    json_decref(facts);
    assert_true(folder_is_empty(target));
    temp_file(target, "x.rdb", "old", 3);
    assert_int_equal(pull_file(dir, name, out, &facts, &err), -1);
    json_decref(facts);
    assert_true(temp_file_is(target, "x.rdb", "old", 3));
    assert_int_equal(unlink(out), 0);
    assert_true(folder_is_empty(target));
    temp_dir_remove(target);
}

static void bad_files_do_not_arrive(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT;
    char *dir = temp_dir_make();

    read_corpus_file("multiple_lists_strings.rdb", &plain);
    sample_gzip(&packed, plain.data, plain.len);
    temp_file(dir, "cut.rdb", plain.data, plain.len - 1);
    temp_file(dir, "half.rdb", plain.data, plain.len / 2);
    temp_file(dir, "cut.rdb.gz", packed.data, packed.len - 1);
    temp_file(dir, "half.rdb.gz", packed.data, packed.len / 2);
    buf_addc(&packed, 'x');
    temp_file(dir, "more.rdb.gz", packed.data, packed.len);
    packed.data[packed.len - 6] ^= 1;
    temp_file(dir, "sum.rdb.gz", packed.data, packed.len - 1);
    buf_addc(&plain, 'x');
    temp_file(dir, "more.rdb", plain.data, plain.len);
    plain.data[plain.len - 20] ^= 1;
    temp_file(dir, "flip.rdb", plain.data, plain.len - 1);
    buf_clear(&packed);
    sample_gzip(&packed, plain.data, plain.len - 3);
    temp_file(dir, "inside.rdb.gz", packed.data, packed.len);
    temp_file(dir, "empty.rdb", "", 0);
    temp_file(dir, "page.rdb", "<html>Please log in, whoever you are", 36);
    temp_file(dir, "text.rdb", "this is not a backup file at all", 32);
    temp_file(dir, "x.rdb.zst", "\x28\xb5\x2f\xfd 0123456789 0123456789", 26);

    check_bad(dir, "cut.rdb", ERR_CORRUPT, "", true);
    check_bad(dir, "half.rdb", ERR_CORRUPT, "", true);
    check_bad(dir, "cut.rdb.gz", ERR_CORRUPT, "cut off", true);
    check_bad(dir, "half.rdb.gz", ERR_CORRUPT, "cut off", true);
    check_bad(dir, "more.rdb.gz", ERR_CORRUPT, "follows the gzip data", true);
    check_bad(dir, "sum.rdb.gz", ERR_CORRUPT, "checksum", true);
    check_bad(dir, "more.rdb", ERR_CORRUPT, "", true);
    check_bad(dir, "flip.rdb", ERR_CORRUPT, "", true);
    check_bad(dir, "inside.rdb.gz", ERR_CORRUPT, "", true);
    check_bad(dir, "empty.rdb", ERR_CORRUPT, "empty", false);
    check_bad(dir, "page.rdb", ERR_CORRUPT, "web page", true);
    check_bad(dir, "text.rdb", ERR_CORRUPT, "", true);
    check_bad(dir, "x.rdb.zst", ERR_CORRUPT, "zstd", true);
    check_bad(dir, "absent.rdb", ERR_NOT_FOUND, "", false);
    check_bad(CORPUS, "invalid_chksum_v8.rdb", ERR_CORRUPT, "", true);
    temp_dir_remove(dir);
    buf_release(&plain);
    buf_release(&packed);
}

static void expected_size_is_checked(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT;
    struct err err = ERR_INIT;
    json_t *facts;
    struct store *s = open_store(CORPUS);
    struct pull_params params = {.store = s, .name = "100_lists.rdb"};

    read_corpus_file("100_lists.rdb", &plain);
    params.expected_bytes = (int64_t)plain.len;
    assert_ok(pull(&params, &facts, &err), err);
    json_decref(facts);
    params.expected_bytes++;
    assert_error(pull(&params, &facts, &err), err, ERR_CORRUPT, "instead of");
    json_decref(facts);
    store_close(s);
    buf_release(&plain);
}

static void target_folder_must_be_there(void **state)
{
    (void)state;
    struct err err;
    json_t *facts;
    assert_error(pull_file(CORPUS, "empty.rdb", "/nowhere/at/all/x", &facts, &err), err, ERR_IO,
        "/nowhere/at/all/x.part");
    assert_null(facts);
}

/* --- over the network --- */

/* A file with one string of len bytes that don't compress. */
static void big_rdb(struct buf *out, size_t len)
{
    unsigned char head[] = {0xfe, 0, 0, 1, 'k', 0x80, (unsigned char)(len >> 24),
        (unsigned char)(len >> 16), (unsigned char)(len >> 8), (unsigned char)len};
    buf_adds(out, "REDIS0010");
    buf_add(out, head, sizeof(head));
    sample_noise(out, len);
    buf_add(out, "\xff\0\0\0\0\0\0\0\0", 9);
}

static char *head_of_answer(size_t from, size_t total)
{
    if (!from)
        return xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nETag: \"a\"\r\n", total);
    return xasprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n"
                     "Content-Length: %zu\r\nETag: \"a\"\r\n",
        from, total - 1, total, total - from);
}

struct told {
    int calls;
    int64_t done, total;
};

static void on_progress(void *arg, int64_t done_bytes, int64_t total_bytes)
{
    struct told *t = arg;
    assert_true(done_bytes >= t->done);
    *t = (struct told){t->calls + 1, done_bytes, total_bytes};
}

/* The line is cut in the middle of the gzip data; what arrives is whole all the same. */
static void pull_goes_on_after_a_cut(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT, packed = BUF_INIT;
    struct err err = ERR_INIT;
    struct told told = {0};
    json_t *facts;

    big_rdb(&plain, 3 << 20);
    sample_gzip(&packed, plain.data, plain.len);
    size_t middle = packed.len / 2 + 1;
    AUTO_FREE char *first = head_of_answer(0, packed.len);
    AUTO_FREE char *second = head_of_answer(middle, packed.len);
    const struct scripted_reply replies[] = {
        {first, packed.data, middle, 0}, {second, packed.data + middle, packed.len - middle, 0}};
    struct http_script *script = http_script_start(replies, 2);
    char *target = temp_dir_make();
    AUTO_FREE char *out = path_join(target, "x.rdb");
    struct store *s = open_store(http_script_url(script));
    const struct pull_params params = {.store = s,
        .name = "x.rdb.gz",
        .out_path = out,
        .expected_bytes = (int64_t)packed.len,
        .progress = on_progress,
        .arg = &told};

    assert_ok(pull(&params, &facts, &err), err);
    assert_int_equal(http_script_served(script), 2);
    assert_true(temp_file_is(target, "x.rdb", plain.data, plain.len));
    assert_int_equal(number(facts, "stored_bytes"), packed.len);
    assert_true(told.calls >= 1);
    assert_int_equal(told.done, packed.len);
    assert_int_equal(told.total, packed.len);
    json_decref(facts);
    store_close(s);
    http_script_end(script);
    temp_dir_remove(target);
    buf_release(&plain);
    buf_release(&packed);
}

static void wait_until_larger(const char *path, off_t bytes)
{
    struct stat st;
    int64_t deadline_ms = clock_mono_ms() + 20000;
    while (stat(path, &st) < 0 || st.st_size < bytes) {
        assert_true(clock_mono_ms() < deadline_ms);
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
}

static void killed_pull_leaves_no_file(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT;
    struct err err = ERR_INIT;
    json_t *facts;
    char *target = temp_dir_make();
    AUTO_FREE char *out = path_join(target, "x.rdb");
    AUTO_FREE char *part = path_join(target, "x.rdb.part");

    big_rdb(&plain, 3 << 20);
    AUTO_FREE char *head = head_of_answer(0, plain.len);
    const struct scripted_reply replies[] = {
        {head, plain.data, 5 << 19, 1}, /* then silence */
        {head, plain.data, plain.len, 0},
    };
    struct http_script *script = http_script_start(replies, 1);
    pid_t child = fork();
    if (child == 0) {
        struct err child_err = ERR_INIT;
        _exit(pull_file(http_script_url(script), "x", out, &facts, &child_err) ? 1 : 0);
    }
    wait_until_larger(part, 1 << 20);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_false(file_exists(out));
    assert_true(file_exists(part));
    http_script_end(script);

    /* The next one starts anew over the leftover. */
    script = http_script_start(replies + 1, 1);
    assert_ok(pull_file(http_script_url(script), "x", out, &facts, &err), err);
    assert_true(temp_file_is(target, "x.rdb", plain.data, plain.len));
    assert_false(file_exists(part));
    json_decref(facts);
    http_script_end(script);
    temp_dir_remove(target);
    buf_release(&plain);
}

static void full_disk_is_told(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT;
    struct err err;
    json_t *facts;
    char *dir = temp_dir_make();
    AUTO_FREE char *small = path_join(dir, "small");
    AUTO_FREE char *out = path_join(small, "x.rdb");

    assert_int_equal(mkdir(small, 0700), 0);
    if (mount("none", small, "tmpfs", MS_NODEV | MS_NOSUID, "size=2m") < 0) {
        print_message("a small tmpfs cannot be mounted here: %s\n", strerror(errno));
        temp_dir_remove(dir);
        skip();
    }
    big_rdb(&plain, 3 << 20);
    temp_file(dir, "x.rdb", plain.data, plain.len);
    int rc = pull_file(dir, "x.rdb", out, &facts, &err);
    bool left = !folder_is_empty(small);
    assert_int_equal(umount(small), 0);
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, ERR_SPACE);
    assert_non_null(strstr(err.message, out));
    assert_false(left);
    json_decref(facts);
    temp_dir_remove(dir);
    buf_release(&plain);
}

/* 256 MiB of zeros in a sparse file. */
static void memory_is_bounded(void **state)
{
    (void)state;
    static const char head[] = "REDIS0010\xfe\0\0\x01k\x80\x10\0\0\0";
    const off_t zeros = 256 << 20;
    char *dir = temp_dir_make();
    AUTO_FREE char *path = path_join(dir, "x.rdb");
    int status;

    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, head, sizeof(head) - 1), sizeof(head) - 1);
    assert_int_equal(pwrite(fd, "\xff\0\0\0\0\0\0\0\0", 9, (off_t)sizeof(head) - 1 + zeros), 9);
    close(fd);
    pid_t child = fork();
    if (child == 0) {
        struct err err = ERR_INIT;
        struct rusage before, after;
        json_t *facts;
        getrusage(RUSAGE_SELF, &before);
        if (pull_file(dir, "x.rdb", NULL, &facts, &err) < 0)
            _exit(2);
        getrusage(RUSAGE_SELF, &after);
        _exit(after.ru_maxrss - before.ru_maxrss < 32 << 10 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    temp_dir_remove(dir);
}

/* --- files that need a second look --- */

static void add_string(struct buf *file, const char *key)
{
    buf_addc(file, 0);
    buf_addc(file, (char)strlen(key));
    buf_adds(file, key);
    buf_add(file, "\x01v", 2);
}

static void keys_twice_are_named(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct buf file = BUF_INIT, packed = BUF_INIT;
    struct err err = ERR_INIT;
    json_t *facts;

    buf_adds(&file, "REDIS0009");
    add_string(&file, "a");
    add_string(&file, "b");
    add_string(&file, "a");
    buf_add(&file, "\xff\0\0\0\0\0\0\0\0", 9);
    sample_gzip(&packed, file.data, file.len);
    temp_file(dir, "x.rdb.gz", packed.data, packed.len);
    AUTO_FREE char *out = path_join(dir, "out");
    assert_error(pull_file(dir, "x.rdb.gz", out, &facts, &err), err, ERR_CORRUPT,
        "'a' of database 0 is there twice: at offset 9 and at offset 19");
    assert_false(file_exists(out));
    json_decref(facts);
    temp_dir_remove(dir);
    buf_release(&file);
    buf_release(&packed);
}

/* Hints of 2^33 keys reach nobody; the keys do. */
static void false_hints_are_put_right(void **state)
{
    static const char text[] = "REDIS0009\xfe\x00\xfb\x81\0\0\0\x02\0\0\0\0\x81\0\0\0\x02\0\0\0\0"
                               "\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
    (void)state;
    for (int stamp = 0; stamp < 2; stamp++) {
        char *dir = temp_dir_make();
        AUTO_FREE char *out = path_join(dir, "out");
        struct buf got = BUF_INIT;
        struct err err = ERR_INIT;
        json_t *facts;
        temp_file(dir, "x.rdb", text, sizeof(text) - 1);
        struct store *s = open_store(dir);
        const struct pull_params params = {
            .store = s, .name = "x.rdb", .out_path = out, .expected_bytes = -1, .stamp = stamp};
        assert_ok(pull(&params, &facts, &err), err);
        assert_int_equal(number(facts, "keys"), 1);
        assert_null(json_object_get(facts, "notes"));
        json_decref(facts);
        assert_ok(file_read(out, 1000, &got, &err), err);
        assert_null(memmem(got.data, got.len, "\x81\0\0\0\x02", 5));
        assert_non_null(memmem(got.data, got.len, "\x01k\x01v", 4));
        store_close(s);
        temp_dir_remove(dir);
        buf_release(&got);
    }
}

/* What stood behind the end is not behind the new one. */
static void a_stamped_file_ends_with_its_end(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    AUTO_FREE char *out = path_join(dir, "out");
    struct buf file = BUF_INIT, got = BUF_INIT;
    struct err err = ERR_INIT;
    json_t *facts;

    read_corpus_file("string_lzf.rdb", &file);
    for (int i = 0; i < 300; i++)
        buf_addc(&file, '\n');
    temp_file(dir, "x.rdb", file.data, file.len);
    struct store *s = open_store(dir);
    const struct pull_params params = {
        .store = s, .name = "x.rdb", .out_path = out, .expected_bytes = -1, .stamp = true};
    assert_ok(pull(&params, &facts, &err), err);
    assert_ok(file_read(out, 1 << 20, &got, &err), err);
    assert_int_equal(got.len, number(facts, "bytes"));
    json_decref(facts);
    assert_ok(pull_file(dir, "out", NULL, &facts, &err), err);
    assert_string_equal(json_string_value(json_object_get(facts, "checksum")), "ok");
    json_decref(facts);
    store_close(s);
    temp_dir_remove(dir);
    buf_release(&file);
    buf_release(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_arrive),
        cmocka_unit_test(a_file_is_changed_on_its_way),
        cmocka_unit_test(a_stamp_stands_behind_the_bytes_that_came),
        cmocka_unit_test(keys_are_counted),
        cmocka_unit_test(bad_files_do_not_arrive),
        cmocka_unit_test(expected_size_is_checked),
        cmocka_unit_test(target_folder_must_be_there),
        cmocka_unit_test(pull_goes_on_after_a_cut),
        cmocka_unit_test(killed_pull_leaves_no_file),
        cmocka_unit_test(full_disk_is_told),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(keys_twice_are_named),
        cmocka_unit_test(false_hints_are_put_right),
        cmocka_unit_test(a_stamped_file_ends_with_its_end),
    };
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
