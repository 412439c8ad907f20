/* Which lines of ACL LIST are the same user. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/live.h"

static void only_the_order_of_rules_may_differ(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"user a on +get +set", "user a on +set +get", true},
        {"user a (~x +get +set) +del", "user a +del (~x +set +get)", true},
        {"user a (~x)y +get +set) +del", "user a (~x)y +set +get) +del", true},
        {"user a (~x)y +get) +set", "user a (~x)y +set) +get", false},
        {"user a (~x +get) +set", "user a (~x +set) +get", false},
        {"user a (~x +get", "user a (~y +get", false},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        if ((strcmp(live_user_rules(&arena, cases[i].a), live_user_rules(&arena, cases[i].b)) ==
                0) != cases[i].same)
            fail_msg("'%s' and '%s'", cases[i].a, cases[i].b);
    arena_release(&arena);
}

/* A hostile server's: neither the stack nor memory grows with the number of parentheses. */
static void parentheses_in_parentheses_are_text(void **state)
{
    struct arena arena;
    struct buf line = BUF_INIT;

    (void)state;
    arena_init(&arena);
    buf_adds(&line, "user a ");
    for (int i = 0; i < 1000000; i++)
        buf_addc(&line, '(');
    for (int i = 0; i < 1000000; i++)
        buf_addc(&line, ')');
    const char *rules = live_user_rules(&arena, line.data);
    assert_int_equal(strlen(rules), line.len);
    buf_release(&line);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_order_of_rules_may_differ),
        cmocka_unit_test(parentheses_in_parentheses_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
