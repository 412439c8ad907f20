#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/file.h"
#include "segments.h"

#define SELECT_0 "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
#define SELECT_3 "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
#define DEL "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"
#define LEN(text) ((int64_t)sizeof(text) - 1)

static const struct repl_place start = {"0123456789012345678901234567890123456789", 1000};
static const struct repl_place other = {"abcdefabcdefabcdefabcdefabcdefabcdefabcd", 1000};

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/recluster-segments-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    return dir_remove(folder, &err);
}

static struct segments *open_them(void)
{
    struct err err = ERR_INIT;
    struct segments *s;

    if (segments_open(folder, &s, &err) < 0)
        fail_msg("%s", err.message);
    return s;
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct err err = ERR_INIT;                                                                 \
        if ((call) < 0)                                                                            \
            fail_msg("%s", err.message);                                                           \
    } while (0)

static void check_first(const struct segments *s, int64_t first, int64_t last, const char *bytes)
{
    CLEANUP(buf_release) struct buf read = BUF_INIT;
    const struct segment *segment = segments_first(s);

    assert_non_null(segment);
    assert_int_equal(segment->first, first);
    assert_int_equal(segment->last, last);
    OK(file_read(segment->path, 10000, &read, &err));
    assert_string_equal(read.data, bytes);
}

static void check_end(const struct segments *s, const struct repl_place *at, int64_t db)
{
    struct repl_place found;
    int64_t found_db;

    assert_true(segments_continue(s, &found, &found_db));
    assert_string_equal(found.id, at->id);
    assert_int_equal(found.offset, at->offset);
    assert_int_equal(found_db, db);
}

static struct repl_place after(const struct repl_place *place, int64_t bytes)
{
    struct repl_place moved = *place;

    moved.offset += bytes;
    return moved;
}

static void whole_commands_are_closed(void **state)
{
    struct segments *s = open_them();
    struct repl_place none;
    int64_t db;

    (void)state;
    assert_false(segments_continue(s, &none, &db));
    OK(segments_begin(s, &start, 0, &err));
    OK(segments_cut(s, &err));
    assert_null(segments_first(s));
    OK(segments_begin(s, &start, 0, &err));
    OK(segments_add(s, DEL SELECT_3 DEL "*2\r\n$3", LEN(DEL SELECT_3 DEL "*2\r\n$3"), &err));
    OK(segments_cut(s, &err));
    check_first(s, 1000, 1000 + LEN(DEL SELECT_3 DEL), SELECT_0 DEL SELECT_3 DEL);
    struct repl_place at = after(&start, LEN(DEL SELECT_3 DEL "*2\r\n$3"));
    check_end(s, &at, 3);
    OK(segments_drop(s, &err));
    /* Nothing whole yet: it stays open. */
    OK(segments_cut(s, &err));
    assert_null(segments_first(s));
    OK(segments_add(s, "\r\nDEL\r\n$1\r\nk\r\n" MULTI, LEN("\r\nDEL\r\n$1\r\nk\r\n" MULTI), &err));
    OK(segments_cut(s, &err));
    check_first(s, 1000 + LEN(DEL SELECT_3 DEL), 1000 + LEN(DEL SELECT_3 DEL DEL), SELECT_3 DEL);
    OK(segments_drop(s, &err));
    OK(segments_add(s, DEL EXEC, LEN(DEL EXEC), &err));
    OK(segments_cut(s, &err));
    check_first(s, 1000 + LEN(DEL SELECT_3 DEL DEL),
        1000 + LEN(DEL SELECT_3 DEL DEL MULTI DEL EXEC), SELECT_3 MULTI DEL EXEC);
    segments_close(s);
}

static void everything_is_there_after_a_crash(void **state)
{
    struct segments *s = open_them();

    (void)state;
    OK(segments_begin(s, &start, 3, &err));
    OK(segments_add(s, DEL, LEN(DEL), &err));
    OK(segments_cut(s, &err));
    OK(segments_add(s, SELECT_0 DEL MULTI DEL, LEN(SELECT_0 DEL MULTI DEL), &err));
    segments_close(s); /* as if it were killed */
    s = open_them();
    struct repl_place at = after(&start, LEN(DEL SELECT_0 DEL));
    check_end(s, &at, 0);
    check_first(s, 1000, 1000 + LEN(DEL), SELECT_3 DEL);
    OK(segments_drop(s, &err));
    check_first(s, 1000 + LEN(DEL), at.offset, SELECT_3 SELECT_0 DEL);
    segments_close(s);
    /* Only closed ones: the database is known all the same. */
    s = open_them();
    check_end(s, &at, 0);
    segments_close(s);
}

static void a_part_that_is_damaged_is_cut_there(void **state)
{
    struct segments *s = open_them();
    AUTO_FREE char *path = xasprintf("%s/%s-1000.part", folder, start.id);

    (void)state;
    segments_close(s);
    static const char *const texts[] = {
        SELECT_3 DEL "\0\0\0\0", SELECT_3, "*2\r\n$6\r\nSEL", "", "garbage", SELECT_3 DEL DEL "x"};
    static const int64_t lengths[] = {LEN(SELECT_3 DEL "\0\0\0\0"), LEN(SELECT_3),
        LEN("*2\r\n$6\r\nSEL"), 0, 7, LEN(SELECT_3 DEL DEL "x")};
    static const int64_t kept[] = {LEN(DEL), 0, 0, 0, 0, LEN(DEL DEL)};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        OK(file_write_atomic(path, texts[i], (size_t)lengths[i], 0600, &err));
        s = open_them();
        if (kept[i]) {
            assert_int_equal(segments_first(s)->last, 1000 + kept[i]);
            assert_int_equal(segments_waiting_bytes(s), kept[i]);
            OK(segments_drop(s, &err));
        }
        assert_null(segments_first(s));
        /* With nothing but a SELECT, the place is known. */
        struct repl_place at = after(&start, kept[i]);
        if (i == 0 || i == 1 || i == 5)
            check_end(s, &at, 3);
        segments_close(s);
    }
}

static void a_failover_begins_another_segment(void **state)
{
    struct segments *s = open_them();

    (void)state;
    OK(segments_begin(s, &start, 3, &err));
    OK(segments_add(s, DEL, LEN(DEL), &err));
    struct repl_place there = after(&other, LEN(DEL));
    OK(segments_begin(s, &there, 0, &err));
    check_first(s, 1000, 1000 + LEN(DEL), SELECT_3 DEL);
    OK(segments_drop(s, &err));
    OK(segments_add(s, DEL, LEN(DEL), &err));
    OK(segments_cut(s, &err));
    check_first(s, 1000 + LEN(DEL), 1000 + LEN(DEL DEL), SELECT_3 DEL);
    assert_string_equal(segments_first(s)->id, other.id);
    segments_close(s);
}

static void one_process_uses_a_folder(void **state)
{
    struct segments *s = open_them(), *second;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(segments_open(folder, &second, &err), -1);
    assert_int_equal(err.code, ERR_LOCKED);
    segments_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_commands_are_closed, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(
            everything_is_there_after_a_crash, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(
            a_part_that_is_damaged_is_cut_there, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(
            a_failover_begins_another_segment, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(one_process_uses_a_folder, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
