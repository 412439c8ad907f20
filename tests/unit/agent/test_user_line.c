/* Lines of ACL LIST as commands. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "user_line.h"

static void the_command_makes_the_user_of_the_line(void **state)
{
    static const struct {
        const char *line, *words; /* words NULL: it is not such a line */
    } cases[] = {
        {"user app on #12 ~app:* +get", "ACL|SETUSER|app|on|#12|~app:*|+get"},
        {"user user on nopass", "ACL|SETUSER|user|on|nopass"},
        {"user user user", "ACL|SETUSER|user|user"},
        {"user a", "ACL|SETUSER|a"},
        {"user a  on   off ", "ACL|SETUSER|a|on|off"},
        {"user a (%R~x +get) +set", "ACL|SETUSER|a|(%R~x +get)|+set"},
        {"user a (~x)y +get) +set", "ACL|SETUSER|a|(~x)y +get)|+set"},
        {"user a (~x +get", "ACL|SETUSER|a|(~x +get"},
        {"user a (", "ACL|SETUSER|a|("},
        {"user (a on +get)", "ACL|SETUSER|(a|on|+get)"},
        {"user a ()", "ACL|SETUSER|a|()"},
        {"user  recluster on nopass", NULL},
        {"user ", NULL},
        {"user", NULL},
        {"", NULL},
        {"users a on", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct user_line u;
        struct buf words = BUF_INIT;
        bool good = user_line_parse(cases[i].line, &u);
        for (size_t k = 0; good && u.argv[k]; k++)
            buf_addf(&words, "%s%s", k ? "|" : "", u.argv[k]);
        if (good != (cases[i].words != NULL) || (good && strcmp(words.data, cases[i].words) != 0))
            fail_msg("'%s': '%s'", cases[i].line, good ? words.data : "refused");
        if (good) {
            assert_ptr_equal(u.name, u.argv[2]);
            user_line_release(&u);
        }
        buf_release(&words);
    }
}

static void rules_are_added_to_the_user_and_its_selectors(void **state)
{
    static const struct {
        const char *line, *with; /* with NULL: it is not such a line */
    } cases[] = {
        {"user app on +get", "user app on +get -config"},
        {"user app on (~x +@all)", "user app on (~x +@all -config) -config"},
        {"user app (~x)y +@all) (+config|get) -set",
            "user app (~x)y +@all -config) (+config|get -config) -set -config"},
        {"user app (~x +@all", "user app (~x +@all -config -config"},
        {"user app ()", "user app ( -config) -config"},
        {"user (app on", "user (app on -config"},
        {"user", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *with = user_line_with(cases[i].line, " -config");
        if ((with != NULL) != (cases[i].with != NULL) || (with && strcmp(with, cases[i].with) != 0))
            fail_msg("'%s': '%s'", cases[i].line, with ? with : "refused");
        free(with);
    }
}

static void thousands_of_words_are_refused(void **state)
{
    struct buf line = BUF_INIT;
    struct user_line u;

    (void)state;
    buf_adds(&line, "user a");
    for (int i = 0; i < 5000; i++)
        buf_adds(&line, " +get");
    assert_false(user_line_parse(line.data, &u));
    buf_release(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_makes_the_user_of_the_line),
        cmocka_unit_test(rules_are_added_to_the_user_and_its_selectors),
        cmocka_unit_test(thousands_of_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
