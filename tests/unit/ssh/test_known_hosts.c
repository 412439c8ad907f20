#include "recluster/known_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recluster/mem.h"

static void names_and_patterns(void **state)
{
    static const struct {
        const char *names, *host;
        int port;
        enum { NO, YES, BARE } found;
    } cases[] = {
        {"h1", "h1", 22, YES},
        {"h1", "h2", 22, NO},
        {"h1", "h11", 22, NO},
        {"h11", "h1", 22, NO},
        {"h2,h1,h3", "h1", 22, YES},
        {"h2,H1", "h1", 22, YES},
        {"h1", "h1", 2222, BARE},
        {"[h1]:2222", "h1", 2222, YES},
        {"[h1]:2222", "h1", 22, NO},
        {"[h1]:2222", "h1", 2223, NO},
        {"[h?]:*", "h1", 2222, YES},
        {"h1,[h1]:2222", "h1", 2222, YES},
        {"[2001:db8::1]:2222", "2001:db8::1", 2222, YES},
        {"*", "h1", 22, YES},
        {"*", "h1", 2222, YES},
        {"*", "", 22, YES},
        {"?", "", 22, NO},
        {"10.0.?.1*", "10.0.7.123", 22, YES},
        {"10.0.?.1*", "10.0.77.1", 22, NO},
        {"10.0.?.1*", "10.0.7.1", 22, YES},
        {"*.a*b*c", "x.aabbcbc", 22, YES},
        {"*.a*b*c", "x.aabbcb", 22, NO},
        {"*.example.org,!db.example.org", "web.example.org", 22, YES},
        {"*.example.org,!db.example.org", "db.example.org", 22, NO},
        {"!db.example.org,*.example.org", "db.example.org", 22, NO},
        {"!db.example.org", "web.example.org", 22, NO},
        {",,h1,", "h1", 22, YES},
        {"!", "h1", 22, NO},
        /* Of 127.0.0.1 and of [127.0.0.1]:2222, with the bytes 0 to 19 as salt. */
        {"|1|AAECAwQFBgcICQoLDA0ODxAREhM=|WqBc/NeMlF2clj6YqDujXI50fGI=", "127.0.0.1", 22, YES},
        {"|1|AAECAwQFBgcICQoLDA0ODxAREhM=|WqBc/NeMlF2clj6YqDujXI50fGI=", "127.0.0.2", 22, NO},
        {"|1|AAECAwQFBgcICQoLDA0ODxAREhM=|WqBc/NeMlF2clj6YqDujXI50fGI=", "127.0.0.1", 2222, BARE},
        {"|1|AAECAwQFBgcICQoLDA0ODxAREhM=|zKYaAqmSav3Qxr2sffNqWFIcbe4=", "127.0.0.1", 2222, YES},
        {"|1|AAAA|AAAA", "127.0.0.1", 22, NO},
        {"|1|AAECAwQFBgcICQoLDA0ODxAREhM=", "127.0.0.1", 22, NO},
        {"|1|", "127.0.0.1", 22, NO},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *text = xasprintf("%s ssh-ed25519 KEY a remark", cases[i].names);
        const char *at = text;
        struct known_key key;
        bool found = known_hosts_next(&at, cases[i].host, cases[i].port, &key);
        if (found != (cases[i].found != NO) || (found && key.bare != (cases[i].found == BARE)))
            fail_msg("'%s' for '%s', port %d", cases[i].names, cases[i].host, cases[i].port);
        if (!found)
            continue;
        assert_true(known_key_is(&key, "KEY"));
        assert_false(known_key_is(&key, "KE"));
        assert_int_equal(key.mark, KNOWN_KEY);
        assert_memory_equal(key.type, "ssh-ed25519", key.type_len);
        assert_false(known_hosts_next(&at, cases[i].host, cases[i].port, &key));
    }
}

static void lines_of_all_kinds(void **state)
{
    static const char text[] = "# h1 ssh-ed25519 A\n"
                               "\n"
                               "   \t \n"
                               "h1\n"
                               "h1 ssh-ed25519\n"
                               "@unknown h1 ssh-ed25519 B\n"
                               "@revoked\n"
                               "  h1\tssh-ed25519  C \r\n"
                               "@revoked * ssh-rsa D\n"
                               "@cert-authority h* ecdsa-sha2-nistp256 E\n"
                               "h1 1024 35 F";
    static const struct {
        int mark;
        const char *key;
    } expected[] = {
        {KNOWN_KEY, "C"}, {KNOWN_REVOKED, "D"}, {KNOWN_AUTHORITY, "E"},
        {KNOWN_KEY, "35"}, /* the form of SSH 1: a type that nobody shows */
    };
    const char *at = text;
    struct known_key key;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        assert_true(known_hosts_next(&at, "h1", 22, &key));
        assert_int_equal(key.mark, expected[i].mark);
        assert_true(known_key_is(&key, expected[i].key));
    }
    assert_false(known_hosts_next(&at, "h1", 22, &key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_patterns),
        cmocka_unit_test(lines_of_all_kinds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
