#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "read_back.h"
#include "recluster/digest.h"
#include "recluster/file.h"

/* An RDB file without keys, and a command behind it. */
static const char whole[] = "REDIS0010\xff\0\0\0\0\0\0\0\0*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";
enum { WHOLE_BYTES = sizeof(whole) - 1 };

struct place {
    char path[64];
    struct store *store;
    json_t *files;
};

static void write_file(const struct place *p, const char *data, size_t len)
{
    AUTO_FREE char *path = xasprintf("%s/bk.aof", p->path);
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

static void set_up(struct place *p, const char *written)
{
    struct err err = ERR_INIT;
    char sha256[DIGEST_HEX_MAX];

    strcpy(p->path, "/tmp/recluster-read-back-XXXXXX");
    assert_non_null(mkdtemp(p->path));
    json_t *location = json_string(p->path);
    p->store = store_open(location, &err);
    json_decref(location);
    assert_non_null(p->store);
    p->files = json_pack("[{s:s, s:i, s:s}]", "name", "bk.aof", "bytes", WHOLE_BYTES, "sha256",
        digest_of(written, WHOLE_BYTES, sha256));
}

static void tear_down(struct place *p)
{
    AUTO_FREE char *path = xasprintf("%s/bk.aof", p->path);

    unlink(path);
    rmdir(p->path);
    store_close(p->store);
    json_decref(p->files);
}

static void check(struct place *p, enum backup_verify how, const char *message)
{
    const struct backup_params params = {.store = p->store, .verify = how};
    struct err err = ERR_INIT;
    int rc = read_back(&params, p->files, &err);

    if (!message) {
        if (rc < 0)
            fail_msg("%s", err.message);
        return;
    }
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    if (!strstr(err.message, message) || !strstr(err.message, "bk.aof"))
        fail_msg("%s: %s", message, err.message);
}

static void what_was_written_is_there(void **state)
{
    struct place p;

    (void)state;
    set_up(&p, whole);
    write_file(&p, whole, WHOLE_BYTES);
    for (int how = BACKUP_VERIFY_SIZE; how <= BACKUP_VERIFY_FULL; how++)
        check(&p, (enum backup_verify)how, NULL);
    tear_down(&p);
}

static void missing_and_short_files_are_found_by_all(void **state)
{
    struct place p;

    (void)state;
    set_up(&p, whole);
    for (int how = BACKUP_VERIFY_SIZE; how <= BACKUP_VERIFY_FULL; how++)
        check(&p, (enum backup_verify)how, "it is not there");
    write_file(&p, whole, WHOLE_BYTES - 1);
    for (int how = BACKUP_VERIFY_SIZE; how <= BACKUP_VERIFY_FULL; how++)
        check(&p, (enum backup_verify)how, "another size");
    tear_down(&p);
}

static void other_bytes_are_found_by_their_digest(void **state)
{
    char other[WHOLE_BYTES];
    struct place p;

    (void)state;
    set_up(&p, whole);
    memcpy(other, whole, WHOLE_BYTES);
    other[WHOLE_BYTES - 3] = 'H';
    write_file(&p, other, WHOLE_BYTES);
    check(&p, BACKUP_VERIFY_SIZE, NULL);
    check(&p, BACKUP_VERIFY_DIGEST, "SHA-256");
    check(&p, BACKUP_VERIFY_FULL, "SHA-256");
    tear_down(&p);
}

/* The digest is that of what was written, but it was no good file: only a full check sees that. */
static void bad_files_are_found_in_full(void **state)
{
    char other[WHOLE_BYTES];
    struct place p;

    (void)state;
    memcpy(other, whole, WHOLE_BYTES);
    other[WHOLE_BYTES - 1] = 'x';
    set_up(&p, other);
    write_file(&p, other, WHOLE_BYTES);
    check(&p, BACKUP_VERIFY_DIGEST, NULL);
    check(&p, BACKUP_VERIFY_FULL, "corrupt at byte");
    tear_down(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_there),
        cmocka_unit_test(missing_and_short_files_are_found_by_all),
        cmocka_unit_test(other_bytes_are_found_by_their_digest),
        cmocka_unit_test(bad_files_are_found_in_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
