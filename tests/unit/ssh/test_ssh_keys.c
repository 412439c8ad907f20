/* Private keys as texts, which ssh-keygen makes here, and what is known of a host's key. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host_key.h"
#include "key.h"
#include "recluster/base64.h"
#include "recluster/file.h"
#include "recluster/known_hosts.h"
#include "recluster/mem.h"
#include "rsa.h"
#include "wire.h"

/* --- private keys --- */

static char folder[] = "/tmp/recluster-keys-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    return dir_remove(folder, &err);
}

/* The text of a new private key; the caller's. NULL: there is no ssh-keygen here. */
static char *make_key(const char *type, const char *form, const char *passphrase)
{
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;
    AUTO_FREE char *path = path_join(folder, "key");
    AUTO_FREE char *command =
        xasprintf("rm -f %s %s.pub; ssh-keygen -q -t %s -m %s -N '%s' -C c -f %s", path, path, type,
            form, passphrase, path);

    if (system(command) != 0 || file_read(path, 1 << 20, &text, &err) < 0) {
        buf_release(&text);
        return NULL;
    }
    return buf_take(&text);
}

static void what_shows_of_a_key(void **state)
{
    static const struct {
        const char *type, *form, *passphrase, *public;
        bool locked, openssh, rsa;
    } cases[] = {
        {"ed25519", "RFC4716", "", "ssh-ed25519 AAAA", .openssh = true},
        {"ed25519", "RFC4716", "secret", "ssh-ed25519 AAAA", .openssh = true, .locked = true},
        {"ecdsa", "RFC4716", "", "ecdsa-sha2-nistp256 AAAA", .openssh = true},
        {"rsa", "RFC4716", "secret", "ssh-rsa AAAA", .openssh = true, .rsa = true, .locked = true},
        {"rsa", "PEM", "", NULL, .rsa = true},
        {"rsa", "PEM", "secret", NULL, .rsa = true, .locked = true},
        {"ecdsa", "PEM", "secret", NULL, .locked = true},
        {"ecdsa", "PKCS8", "secret", NULL, .locked = true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *text = make_key(cases[i].type, cases[i].form, cases[i].passphrase);
        if (!text)
            skip();
        struct key_look look = key_look(text);
        const char *public = cases[i].public;
        if (!look.private || look.locked != cases[i].locked || look.openssh != cases[i].openssh ||
            look.rsa != cases[i].rsa || !look.public != !public ||
            (public && strncmp(look.public, public, strlen(public)) != 0))
            fail_msg("%s, %s, '%s'", cases[i].type, cases[i].form, cases[i].passphrase);
        free(look.public);
    }
    assert_false(key_look("ssh-ed25519 AAAA a public one").private);
    assert_false(key_look("").private);
}

static void rsa_keys_are_opened(void **state)
{
    static const struct {
        const char *type, *form, *passphrase, *given;
        bool opens;
    } cases[] = {
        {"rsa", "RFC4716", "", NULL, true},
        {"rsa", "PEM", "", NULL, true},
        {"rsa", "PEM", "secret", "secret", true},
        {"rsa", "PKCS8", "secret", "secret", true},
        {"rsa", "PEM", "secret", "other", false},
        {"rsa", "PEM", "secret", NULL, false},
        {"rsa", "RFC4716", "secret", "secret", false},
        {"ecdsa", "PEM", "", NULL, false},
        {"ed25519", "RFC4716", "", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *text = make_key(cases[i].type, cases[i].form, cases[i].passphrase);
        if (!text)
            skip();
        struct rsa *rsa = key_open_rsa(text, cases[i].given);
        if ((rsa != NULL) != cases[i].opens)
            fail_msg("%s, %s, '%s'", cases[i].type, cases[i].form, cases[i].passphrase);
        CLEANUP(buf_release) struct buf signature = BUF_INIT;
        assert_int_equal(rsa ? key_sign_rsa(rsa, "ssh-rsa", "x", 1, &signature) : -1, -1);
        assert_int_equal(rsa ? key_sign_rsa(rsa, "rsa-sha2-256", "x", 1, &signature) : 0, 0);
        rsa_free(rsa);
    }
}

/* A key file that is cut anywhere, or has any byte changed, is read to its end and not beyond. */
static void damaged_keys(void **state)
{
    AUTO_FREE char *text = make_key("rsa", "RFC4716", "");

    (void)state;
    if (!text)
        skip();
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        AUTO_FREE char *cut = xasprintf(
            "%.*s%.*s-----END OPENSSH PRIVATE KEY-----", (int)i, text, (int)(4 - i % 4) & 3, "AAA");
        AUTO_FREE char *changed = xstrdup(text);
        changed[i] = changed[i] == 'A' ? '/' : 'A';
        free(key_look(cut).public);
        free(key_look(changed).public);
        rsa_free(key_open_rsa(cut, NULL));
        rsa_free(key_open_rsa(changed, NULL));
    }
}

/* --- host keys --- */

#define KEY_1 "AAAAC3NzaC1lZDI1NTE5AAAAICuEh1pluGJ+0NO1MfLGN2MimU3xIlcaAlpK71L1l8f3"
#define KEY_2 "AAAAC3NzaC1lZDI1NTE5AAAAIFzJdCJa6fvOqOaEyt3Xxx0O1mForVBNVHGrudCJwbau"
#define MARK_1 "SHA256:"

static int accept(void *arg, const char *line, const char *fingerprint, struct err *err)
{
    (void)err;
    assert_string_equal(line, "[h]:2222 ssh-ed25519 " KEY_1);
    assert_memory_equal(fingerprint, MARK_1, strlen(MARK_1));
    ++*(int *)arg;
    return 0;
}

static void host_keys_are_judged(void **state)
{
    static const struct {
        const char *known;
        enum err_code code;
        enum ssh_failure failure;
        bool asks; /* where it may */
    } cases[] = {
        {"[h]:2222 ssh-ed25519 " KEY_1 "\n", ERR_NONE, SSH_FAILED, false},
        {"h ssh-ed25519 " KEY_1 "\n", ERR_NONE, SSH_FAILED, false},
        {"* ssh-ed25519 " KEY_2 "\n* ssh-ed25519 " KEY_1 "\n", ERR_NONE, SSH_FAILED, false},
        {"", ERR_CHECK, SSH_HOST_KEY_UNKNOWN, true},
        {"other ssh-ed25519 " KEY_2 "\n", ERR_CHECK, SSH_HOST_KEY_UNKNOWN, true},
        {"h ssh-ed25519 " KEY_2 "\n", ERR_CHECK, SSH_HOST_KEY_UNKNOWN, true},
        {"[h]:2222 ssh-ed25519 " KEY_2 "\n", ERR_CHECK, SSH_HOST_KEY_CHANGED, false},
        {"[h]:2222 ssh-ed25519 " KEY_2 "\nh ssh-ed25519 " KEY_1 "\n", ERR_CHECK,
            SSH_HOST_KEY_CHANGED, false},
        {"* fingerprint SHA256:AAAA\n", ERR_CHECK, SSH_HOST_KEY_CHANGED, false},
        {"[h]:2222 ssh-ed25519 " KEY_1 "\n@revoked * ssh-ed25519 " KEY_1 "\n", ERR_CHECK,
            SSH_FAILED, false},
        {"@cert-authority * ssh-ed25519 " KEY_2 "\n", ERR_UNSUPPORTED, SSH_FAILED, false},
    };
    size_t len;
    AUTO_FREE unsigned char *bytes = base64_decode(KEY_1, strlen(KEY_1), &len);
    CLEANUP(host_key_release) struct host_key key;

    (void)state;
    host_key_read(&key, bytes, len);
    assert_string_equal(key.base64, KEY_1);
    assert_string_equal(key.type, "ssh-ed25519");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int asked = 0;
        struct ssh_target target = {.host = "h", .port = 2222, .known = cases[i].known};
        struct err err = ERR_INIT;
        enum ssh_failure failure = SSH_FAILED;
        int rc = host_key_check(&key, &target, &failure, &err);
        if ((rc < 0) != (cases[i].code != ERR_NONE) || err.code != cases[i].code ||
            failure != cases[i].failure)
            fail_msg("%s: %s", cases[i].known, err.message);
        target.accept_host_key = accept;
        target.accept_arg = &asked;
        rc = host_key_check(&key, &target, &failure, &err);
        if (asked != cases[i].asks || (rc < 0 && asked))
            fail_msg("%s: asked %d times", cases[i].known, asked);
    }
}

static void given_keys(void **state)
{
    static const struct {
        const char *given, *line;
    } cases[] = {
        {"ssh-ed25519 " KEY_1, "* ssh-ed25519 " KEY_1 "\n"},
        {" ssh-ed25519\t" KEY_1 "  root@a host\n", "* ssh-ed25519 " KEY_1 "\n"},
        {"SHA256:abc\n", "* fingerprint SHA256:abc\n"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buf_release) struct buf text = BUF_INIT;
        known_hosts_add(&text, cases[i].given);
        assert_string_equal(text.data, cases[i].line);
    }
}

static void known_types_come_first(void **state)
{
    static const char known[] = "h ssh-rsa AAAA\n"
                                "[h]:2222 ecdsa-sha2-nistp384 AAAA\n"
                                "@revoked h ssh-ed25519 AAAA\n"
                                "other ecdsa-sha2-nistp256 AAAA\n";
    static const char *const expected[] = {"ecdsa-sha2-nistp384", "ssh-rsa", "ssh-ed25519",
        "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521"};
    const struct ssh_target target = {.host = "h", .port = 2222, .known = known};
    const char *types[HOST_KEY_TYPES];

    (void)state;
    host_key_order(&target, types);
    for (size_t i = 0; i < HOST_KEY_TYPES; i++)
        assert_string_equal(types[i], expected[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_shows_of_a_key),
        cmocka_unit_test(rsa_keys_are_opened),
        cmocka_unit_test(damaged_keys),
        cmocka_unit_test(host_keys_are_judged),
        cmocka_unit_test(given_keys),
        cmocka_unit_test(known_types_come_first),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
