/* Names, hashes and rules of the vendor's users, which are not trusted. */

#include <string.h>

#include "ccs/acl_words.h"
#include "ccs_test.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void rules_say_only_what_a_user_may_do(void **state)
{
    static const struct {
        const char *text, *rules;
        bool channels;
    } cases[] = {
        {"+@read ~cache:*", "+@read ~cache:*", false},
        {"  +@all\t-@dangerous \n ~* ", "+@all -@dangerous ~*", false},
        {"allkeys allcommands &news.*", "allkeys allcommands &news.*", true},
        {"ALLCHANNELS +get", "ALLCHANNELS +get", true},
        {"%R~a* +config|get", "%R~a* +config|get", false},
        {"+get (~b* +set) -del", "+get (~b* +set) -del", false},
        {"(+get)", "(+get)", false},
        {"(+get &x)", "(+get &x)", false},
        {"", "", false},
        {"+get nopass", NULL, false},
        {"+get >secret", NULL, false},
        {"+get #" HASH, NULL, false},
        {"<x", NULL, false},
        {"!x", NULL, false},
        {"on +get", NULL, false},
        {"reset", NULL, false},
        {"resetpass", NULL, false},
        {"clearselectors", NULL, false},
        {"(nopass)", NULL, false},
        {"(+get", NULL, false},
        {"+get)", NULL, false},
        {"((+get))", NULL, false},
        {"(+get)x", NULL, false},
        {"()", NULL, false},
        {"( +get )", NULL, false},
        {"+ get", NULL, false},
        {"~\"a", NULL, false},
        {"~a\x01", NULL, false},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool channels;
        const char *rules = acl_rules(&arena, cases[i].text, &channels);
        if (!rules != !cases[i].rules || (rules && strcmp(rules, cases[i].rules) != 0) ||
            (rules && channels != cases[i].channels))
            fail_msg("'%s': '%s'", cases[i].text, rules ? rules : "refused");
    }
    arena_release(&arena);
}

static void only_a_sha256_hash_is_a_password(void **state)
{
    static const char *const others[] = {"", "secret", "#", HASH "0", "g" HASH, "##" HASH,
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg"};
    const char *hash;
    struct arena arena;

    (void)state;
    arena_init(&arena);
    assert_true(acl_is_hash(&arena, HASH, &hash));
    assert_string_equal(hash, HASH);
    assert_true(acl_is_hash(
        &arena, "#0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789ABCDEF", &hash));
    assert_string_equal(hash, HASH);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_false(acl_is_hash(&arena, others[i], &hash));
    arena_release(&arena);
}

static void names_have_no_spaces(void **state)
{
    char longest[600];

    (void)state;
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_true(acl_is_name("app") && acl_is_name("a@b.c") && acl_is_name("a\"b") &&
                acl_is_name("\xc3\xa4"));
    assert_false(acl_is_name("") || acl_is_name("a b") || acl_is_name("a\nb") ||
                 acl_is_name("a\x7f") || acl_is_name(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_say_only_what_a_user_may_do),
        cmocka_unit_test(only_a_sha256_hash_is_a_password),
        cmocka_unit_test(names_have_no_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
