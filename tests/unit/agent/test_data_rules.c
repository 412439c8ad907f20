/* What is left of a user's rights behind the vendor's proxy. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "data_rules.h"
#include "recluster/mem.h"

#define LIMIT "-@admin -@dangerous"
#define CLUSTER                                                                                    \
    "+cluster|info +cluster|nodes +cluster|slots +cluster|keyslot +cluster|myid "                  \
    "+cluster|countkeysinslot +cluster|getkeysinslot"

static void nothing_is_added_to_the_rights_of_a_line(void **state)
{
    static const struct {
        const char *line, *limited;
    } cases[] = {
        {"user a on #12 ~* +@read", "user a on #12 ~* +@read " LIMIT " +keys"},
        {"user a +get -@all", "user a +get -@all " LIMIT},
        {"user a +@all -@dangerous", "user a +@all -@dangerous " LIMIT " +acl|whoami " CLUSTER},
        {"user a allcommands -@slow", "user a allcommands -@slow " LIMIT " +role"},
        {"user a +CLIENT +Info", "user a +CLIENT +Info " LIMIT " +info +client|list"},
        {"user a +client|list -client", "user a +client|list -client " LIMIT},
        {"user a +cluster -cluster|slots",
            "user a +cluster -cluster|slots " LIMIT
            " +cluster|info +cluster|nodes +cluster|keyslot +cluster|myid"
            " +cluster|countkeysinslot +cluster|getkeysinslot"},
        {"user a +inf +keysx", "user a +inf +keysx " LIMIT},
        {"user a +info nocommands", "user a +info nocommands " LIMIT},
        {"user a +get (~x +keys) +set", "user a +get (~x +keys " LIMIT " +keys) +set " LIMIT},
        {"user a ( )", "user a " LIMIT},
        {"users a", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        AUTO_FREE char *limited = data_rules_limit(cases[i].line);
        if (!limited != !cases[i].limited || (limited && strcmp(limited, cases[i].limited) != 0))
            fail_msg("'%s': '%s'", cases[i].line, limited ? limited : "refused");
    }
}

/* A line with all rights gets the same rules as a user that is made without one. */
static void all_rights_are_limited_alike(void **state)
{
    const char *words[DATA_RULES_MAX];
    const size_t count = data_rules_all(words);
    AUTO_FREE char *limited = data_rules_limit("user a +@all");
    char *at = limited + strlen("user a +@all");

    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_memory_equal(at + 1, words[i], strlen(words[i]));
        at += 1 + strlen(words[i]);
    }
    assert_string_equal(at, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_added_to_the_rights_of_a_line),
        cmocka_unit_test(all_rights_are_limited_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
