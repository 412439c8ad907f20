#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lines.h"
#include "recluster/file.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/recluster-lines-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    return dir_remove(folder, &err);
}

static void write_lines(const char *text)
{
    AUTO_FREE char *path = xasprintf("%s/lines.json", folder);
    struct err err = ERR_INIT;

    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, &err), 0);
}

/* The names that two streams get, of the slots below `edge` and of the others. */
static int name_two(unsigned edge, const char *first, const char *second,
    char (*ret)[MANIFEST_WORD_MAX], struct err *err)
{
    struct slots low, high;
    const struct slots *const slots[] = {&low, &high};

    slots_clear(&low);
    slots_clear(&high);
    slots_add_range(&low, 0, edge - 1);
    slots_add_range(&high, edge, 16383);
    manifest_word(first, ret[0]);
    manifest_word(second, ret[1]);
    return lines_name(folder, slots, 2, ret, err);
}

#define CHECK(edge, first, second, expected_first, expected_second)                                \
    do {                                                                                           \
        char names[2][MANIFEST_WORD_MAX];                                                          \
        struct err err = ERR_INIT;                                                                 \
        if (name_two(edge, first, second, names, &err) < 0)                                        \
            fail_msg("%s", err.message);                                                           \
        assert_string_equal(names[0], expected_first);                                             \
        assert_string_equal(names[1], expected_second);                                            \
    } while (0)

static void streams_keep_their_names(void **state)
{
    (void)state;
    CHECK(8192, "1", "2", "1", "2");
    CHECK(8192, "7", "2", "1", "2"); /* a failover of the first */
    CHECK(8192, "2", "1", "1", "2"); /* both, and the uids changed places */
    CHECK(9000, "7", "8", "1", "2"); /* slots have moved */
}

static void names_are_safe_and_different(void **state)
{
    (void)state;
    write_lines("[{\"name\": \"../../x\", \"slots\": [[0, 16383]]}]");
    CHECK(8192, "1", "a/b", "_._.._x", "a_b");
}

static void damage_is_named(void **state)
{
    char names[2][MANIFEST_WORD_MAX];
    struct err err = ERR_INIT;

    (void)state;
    write_lines("[{\"name\"");
    assert_int_equal(name_two(8192, "1", "2", names, &err), -1);
    assert_non_null(strstr(err.message, "lines.json"));
    write_lines("[1, {}, {\"name\": 3, \"slots\": \"x\"}]");
    CHECK(8192, "1", "2", "1", "2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(streams_keep_their_names, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(names_are_safe_and_different, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(damage_is_named, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
