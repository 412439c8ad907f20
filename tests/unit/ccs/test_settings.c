/* Which settings of a captured server are restored, and which of the others are worth a word. */

#include "ccs/setting_defaults.h"
#include "ccs/settings.h"
#include "ccs_test.h"

static void values_are_compared_with_the_defaults_of_their_family(void **state)
{
    static const struct {
        const char *config, *name, *value;
        enum setting_default is;
    } cases[] = {
        {"{}", "dynamic-hz", "yes", SETTING_USUAL},
        {"{}", "dynamic-hz", "no", SETTING_CHANGED},
        {"{}", "lazyfree-lazy-user-flush", "no", SETTING_USUAL},
        {"{'extended-redis-compatibility': 'no'}", "lazyfree-lazy-user-flush", "no",
            SETTING_CHANGED},
        {"{'lua-time-limit': '7000'}", "busy-reply-threshold", "7000", SETTING_USUAL},
        {"{'lua-time-limit': '5000'}", "busy-reply-threshold", "7000", SETTING_CHANGED},
        {"{}", "hz", "10", SETTING_UNKNOWN},
        {"{}", "of-a-later-release", "no", SETTING_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[128];
        size_t len = 0;
        for (const char *p = cases[i].config; *p; p++)
            text[len++] = *p == '\'' ? '"' : *p;
        json_t *config = json_loadb(text, len, 0, NULL);
        if (setting_compare(config, cases[i].name, cases[i].value) != cases[i].is)
            fail_msg("%s: %s %s", cases[i].config, cases[i].name, cases[i].value);
        json_decref(config);
    }
}

static void what_is_left_is_what_was_changed(void **state)
{
    json_t *config = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "hz", "17", "dynamic-hz", "yes",
        "cluster-config-save-behavior", "sync", "rdb-version-check", "relaxed", "mptcp", "no",
        "of-a-later-release", "7");
    json_t *left = json_pack("[s, s]", "rdb-version-check", "of-a-later-release");
    json_t *usual = json_pack("{s:b}", "dynamic-hz", 1);
    json_t *restored = json_pack("{s:s, s:s}", "hz", "17", "dynamic-hz", "yes");
    struct settings_parts parts;

    (void)state;
    settings_divide(config, &parts);
    assert_true(json_equal(parts.left, left));
    assert_true(json_equal(parts.usual, usual));
    assert_true(json_equal(parts.restored, restored));
    json_t *all[] = {config, left, usual, restored, parts.left, parts.usual, parts.restored,
        parts.own, parts.elsewhere};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        json_decref(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_compared_with_the_defaults_of_their_family),
        cmocka_unit_test(what_is_left_is_what_was_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
