/* What a server says of its end. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server_log.h"

#define AT "12:M 30 Nov 2026 13:00:00.000 "
#define START AT "# oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n"
#define TWICE AT "# RDB has duplicated key 'a\x01' in DB 0\n"
#define CRASH                                                                                      \
    AT "# ------------------------------------------------\n" AT                                   \
       "# !!! Software Failure. Press left mouse button to continue\n" AT                          \
       "# Guru Meditation: Duplicated key found in RDB file #rdb.c:3000\n"

static void write_log(const char *text)
{
    FILE *f = fopen("server.log", "w");
    assert_non_null(f);
    fputs(text, f);
    int rc = fclose(f);
    assert_int_equal(rc, 0);
}

static void the_first_cause_since_the_last_start_is_told(void **state)
{
    static const struct {
        const char *log, *cause, *advice;
    } cases[] = {
        {"", NULL, NULL},
        {START AT "* Loading RDB produced by version 7.0.15\n", NULL, NULL},
        {START TWICE CRASH, "RDB has duplicated key 'a?' in DB 0", "a key twice"},
        {START TWICE CRASH START, NULL, NULL},
        {START TWICE START AT "# Can't handle RDB format version 12\n" AT "# Fatal error loading",
            "Can't handle RDB format version 12", "newer server"},
        {START AT "# Internal error in RDB reading offset 0, function at rdb.c:1 -> The RDB file "
                  "contains module data for the module 'm' that is not terminated by the proper "
                  "module value EOF marker\n",
            "Internal error in RDB reading offset 0, function at rdb.c:1 -> The RDB file contains "
            "module data for the module 'm' that is not terminated by the proper module value EOF "
            "marker",
            "another version"},
        {START CRASH, "Guru Meditation: Duplicated key found in RDB file #rdb.c:3000", NULL},
        {AT "# FATAL: Data file was created with a Redis server configured to handle more than 16",
            "FATAL: Data file was created with a Redis server configured to handle more than 16",
            NULL},
        {"12:signal-handler (1) RDB has duplicated key 'a' in DB 0\n",
            "12:signal-handler (1) RDB has duplicated key 'a' in DB 0", "a key twice"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        write_log(cases[i].log);
        char *cause = server_log_cause();
        if (!cases[i].cause) {
            assert_null(cause);
            continue;
        }
        assert_string_equal(cause, cases[i].cause);
        const char *advice = server_log_advice(cause);
        assert_int_equal(advice != NULL, cases[i].advice != NULL);
        if (advice)
            assert_non_null(strstr(advice, cases[i].advice));
        free(cause);
    }
    unlink("server.log");
    char *none = server_log_tail(100);
    assert_string_equal(none, "");
    free(none);
}

int main(void)
{
    char folder[] = "/tmp/test_server_log_XXXXXX";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_cause_since_the_last_start_is_told),
    };

    if (!mkdtemp(folder) || chdir(folder) < 0)
        return 1;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    if (chdir("/") < 0 || rmdir(folder) < 0)
        return 1;
    return rc;
}
