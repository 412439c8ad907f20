#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"
#include "recluster/store.h"
#include "temp_dir.h"

/* What a location of a CCS file may say, and who gets a login with it. */

static char *home;

static const struct {
    const char *name, *value;
} environment[] = {
    {"AWS_ACCESS_KEY_ID", "canary"},
    {"AWS_SECRET_ACCESS_KEY", "canary"},
    {"AWS_SESSION_TOKEN", "canary"},
    {"AZURE_STORAGE_SAS_TOKEN", "canary"},
    {"OS_USERNAME", "canary"},
    {"OS_PASSWORD", "canary"},
    {"OS_AUTH_TOKEN", "canary"},
    {"A_SECRET", "canary"},
};

static int make_home(void **state)
{
    static const char netrc[] = "machine h login me password canary\n";
    static const char key[] = "{\"type\": \"authorized_user\", \"client_id\": \"c\", "
                              "\"client_secret\": \"canary\", \"refresh_token\": \"canary\"}";

    (void)state;
    home = temp_dir_make();
    temp_file(home, ".netrc", netrc, strlen(netrc));
    temp_file(home, "key.json", key, strlen(key));
    AUTO_FREE char *path = path_join(home, "key.json");
    setenv("HOME", home, 1);
    setenv("GOOGLE_APPLICATION_CREDENTIALS", path, 1);
    unsetenv("NETRC");
    unsetenv("AZURE_STORAGE_ACCOUNT");
    unsetenv("AZURE_STORAGE_CONNECTION_STRING");
    unsetenv("AWS_ENDPOINT_URL");
    for (size_t i = 0; i < ARRAY_SIZE(environment); i++)
        setenv(environment[i].name, environment[i].value, 1);
    return 0;
}

static int remove_home(void **state)
{
    (void)state;
    temp_dir_remove(home);
    return 0;
}

/* What a CCS file may not say, and the word that must be in the message. */
static void own_things_are_refused(void **state)
{
    static const char *const cases[][2] = {
        {"{\"type\": \"http\", \"url\": \"http://h/\", \"user\": \"x\", \"password\": {\"file\": \"/etc/passwd\"}}",
            "'password'"},
        {"{\"type\": \"http\", \"url\": \"http://h/\", \"password\": {\"env\": \"A_SECRET\"}}",
            "'password'"},
        {"{\"type\": \"http\", \"url\": {\"env\": \"A_SECRET\"}}", "backup location"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"access_key_id\": {\"env\": \"A_SECRET\"}}",
            "'access_key_id'"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"subdir\": [\"x\"]}", "'subdir'"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"profile\": \"prod\"}", "'profile'"},
        {"\"s3://b?profile=prod\"", "'profile'"},
        {"{\"type\": \"gs\", \"bucket_name\": \"b\", \"credentials_file\": \"/key\"}",
            "'credentials_file'"},
        {"\"gs://b/?credentials_file=/key\"", "'credentials_file'"},
        {"\"s3://b?ca_file=/etc/shadow\"", "'ca_file'"},
        {"{\"type\": \"http\", \"url\": \"https://h/\", \"ca_file\": \"/etc/shadow\"}",
            "'ca_file'"},
        {"{\"type\": \"http\", \"url\": \"https://h/\", \"client_key\": \"/root/key\"}",
            "'client_key'"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"s3_ca_cert\": \"/etc/shadow\"}",
            "'s3_ca_cert'"},
        {"{\"type\": \"sftp\", \"sftp_url\": \"sftp://u@h/\", \"key\": {\"file\": \"/k\"}}",
            "'key'"},
        {"{\"type\": \"sftp\", \"sftp_url\": \"sftp://u@h/\", \"known_hosts\": \"/k\"}",
            "'known_hosts'"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        json_t *location = json_loads(cases[i][0], JSON_DECODE_ANY, NULL);
        assert_non_null(location);
        json_t *kept = store_location_of_ccs(location, NULL, &err);
        if (kept || !strstr(err.message, cases[i][1]) || strstr(err.message, "canary"))
            fail_msg("%s: '%s'", cases[i][0], err.message);
        json_decref(location);
    }
}

/* No login of the environment or of usual files goes to an endpoint that only the CCS file names. */
static void logins_stay_here(void **state)
{
    static const char *const cases[] = {
        "{\"type\": \"s3\", \"bucket_name\": \"b\", \"s3_url\": \"https://attacker\"}",
        "\"s3://b?endpoint=https://attacker&insecure=true\"",
        "{\"type\": \"abs\", \"account_name\": \"a\", \"container\": \"c\", \"endpoint\": \"https://attacker\"}",
        /* An account of Azure can be anybody's. */
        "{\"type\": \"abs\", \"account_name\": \"attacker\", \"container\": \"c\"}",
        "{\"type\": \"gs\", \"bucket_name\": \"b\", \"token_uri\": \"https://attacker/token\"}",
        "{\"type\": \"gs\", \"bucket_name\": \"b\", \"endpoint\": \"https://attacker\"}",
        "{\"type\": \"swift\", \"container\": \"c\", \"auth_url\": \"https://attacker/auth/v1.0\"}",
        "{\"type\": \"swift\", \"container\": \"c\", \"storage_url\": \"https://attacker/\"}",
        "{\"type\": \"http\", \"url\": \"https://h/\", \"from\": \"operator\", \"insecure\": true}",
        "\"http://h/backups/\"",
        "\"ftp://me@h/backups/\"",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        json_t *location = json_loads(cases[i], JSON_DECODE_ANY, NULL);
        json_t *kept = store_location_of_ccs(location, NULL, &err);
        if (!kept)
            fail_msg("%s: %s", cases[i], err.message);
        json_t *resolved = store_resolve_location(kept, &err);
        AUTO_FREE char *text = resolved ? json_dumps(resolved, 0) : NULL;
        if (!resolved ? strstr(err.message, "canary") != NULL : strstr(text, "canary") != NULL)
            fail_msg("%s became %s", cases[i], text ? text : err.message);
        json_decref(resolved);
        json_decref(kept);
        json_decref(location);
    }
}

/* The provider's own endpoint may get them; so may one that the operator names. */
static void logins_go_where_they_may(void **state)
{
    static const struct {
        const char *location, *trusted;
    } cases[] = {
        {"{\"type\": \"s3\", \"bucket_name\": \"b\"}", "[]"},
        {"{\"type\": \"gs\", \"bucket_name\": \"b\"}", "[]"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"s3_url\": \"https://S3.mine/\"}",
            "[\"https://s3.mine\"]"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"s3_url\": \"http://s3.mine:9000\"}",
            "[{\"url\": \"http://s3.mine:9000/\", \"insecure\": true}]"},
        {"\"https://h/backups/\"", "[\"https://h:443/\"]"},
        {"\"ftp://h/backups/\"", "[{\"url\": \"ftp://h\", \"insecure\": true}]"},
        {"{\"type\": \"gs\", \"bucket_name\": \"b\", \"token_uri\": \"https://t/x\", \"endpoint\": \"https://e\"}",
            "[\"https://t\", \"https://e\"]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        json_t *location = json_loads(cases[i].location, JSON_DECODE_ANY, NULL);
        json_t *trusted = json_loads(cases[i].trusted, 0, NULL);
        json_t *kept = store_location_of_ccs(location, trusted, &err);
        json_t *resolved = kept ? store_resolve_location(kept, &err) : NULL;
        AUTO_FREE char *text = resolved ? json_dumps(resolved, 0) : NULL;
        if (!resolved || !strstr(text, "canary"))
            fail_msg("%s: %s", cases[i].location, text ? text : err.message);
        json_decref(resolved);
        json_decref(kept);
        json_decref(trusted);
        json_decref(location);
    }
}

/* Another host, port or scheme is another endpoint; of two, both must be trusted. */
static void other_endpoints_are_not_trusted(void **state)
{
    static const struct {
        const char *location, *trusted;
    } cases[] = {
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"s3_url\": \"https://s3.mine:8443\"}",
            "[\"https://s3.mine\"]"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"s3_url\": \"http://s3.mine\"}",
            "[\"https://s3.mine\"]"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"s3_url\": \"https://s3.mine.attacker\"}",
            "[\"https://s3.mine\"]"},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"s3_url\": \"https://s3.mine\", \"endpoint\": \"https://x\"}",
            "[\"https://s3.mine\"]"},
        {"{\"type\": \"gs\", \"bucket_name\": \"b\", \"token_uri\": \"https://t/x\", \"endpoint\": \"https://e\"}",
            "[\"https://t\"]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        json_t *location = json_loads(cases[i].location, JSON_DECODE_ANY, NULL);
        json_t *trusted = json_loads(cases[i].trusted, 0, NULL);
        json_t *kept = store_location_of_ccs(location, trusted, &err);
        assert_non_null(kept);
        json_t *resolved = store_resolve_location(kept, &err);
        AUTO_FREE char *text = resolved ? json_dumps(resolved, 0) : NULL;
        if (text && strstr(text, "canary"))
            fail_msg("%s became %s", cases[i].location, text);
        json_decref(resolved);
        json_decref(kept);
        json_decref(trusted);
        json_decref(location);
    }
}

/* A password or a token needs TLS, or the operator's word; a signature does not. */
static void clear_text_is_refused(void **state)
{
    static const struct {
        const char *location;
        bool refused;
    } cases[] = {
        {"\"http://me:pw@x/\"", true},
        {"\"webdav://me:pw@x/\"", true},
        {"\"https://me:pw@x/\"", false},
        {"\"http://x/\"", false},
        {"{\"url\": \"http://x/\", \"bearer\": \"t\"}", true},
        {"{\"url\": \"http://x/\", \"user\": \"u\", \"password\": \"t\", \"auth\": \"digest\"}",
            false},
        {"{\"url\": \"http://x/\", \"user\": \"u\", \"password\": \"t\", \"insecure\": true}",
            false},
        {"\"ftp://me:pw@x/\"", true},
        {"\"ftps://me:pw@x/\"", false},
        {"\"ftpes://me:pw@x/\"", false},
        {"\"ftp://x/\"", false},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"endpoint\": \"http://x\", \"access_key_id\": \"a\", "
         "\"secret_access_key\": \"s\"}",
            false},
        {"{\"type\": \"s3\", \"bucket_name\": \"b\", \"endpoint\": \"http://x\", \"access_key_id\": \"a\", "
         "\"secret_access_key\": \"s\", \"session_token\": \"t\"}",
            true},
        {"{\"type\": \"abs\", \"account_name\": \"a\", \"container\": \"c\", \"endpoint\": \"http://x\", "
         "\"sas_token\": \"s\"}",
            true},
        {"{\"type\": \"abs\", \"account_name\": \"a\", \"container\": \"c\", \"endpoint\": \"http://x\", "
         "\"account_key\": \"a2V5\"}",
            false},
        {"{\"type\": \"gs\", \"bucket_name\": \"b\", \"endpoint\": \"http://x\", \"client_email\": \"e\", "
         "\"private_key\": \"p\"}",
            true},
        {"{\"type\": \"swift\", \"container\": \"c\", \"auth_url\": \"http://x/auth/v1.0\", \"user\": \"u\", "
         "\"key\": \"k\"}",
            true},
        {"{\"type\": \"swift\", \"container\": \"c\", \"auth_url\": \"http://x/auth/v1.0\", \"user\": \"u\", "
         "\"key\": \"k\", \"insecure\": true}",
            false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        json_t *location = json_loads(cases[i].location, JSON_DECODE_ANY, NULL);
        json_t *resolved = store_resolve_location(location, &err);
        if (!resolved != cases[i].refused || (!resolved && !strstr(err.message, "clear text")))
            fail_msg("%s: %s", cases[i].location, resolved ? "taken" : err.message);
        json_decref(resolved);
        /* The word of a CCS file itself does not count. */
        json_object_set_new(location, "x", json_true());
        json_t *kept = store_location_of_ccs(location, NULL, &err);
        assert_null(json_object_get(kept, "insecure"));
        json_decref(kept);
        json_decref(location);
    }
}

static void private_keys_are_not_sent(void **state)
{
    static const char key[] =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n";
    struct err err = ERR_INIT;
    json_t *location = json_pack("{s:s, s:s, s:s, s:s}", "type", "sftp", "sftp_url", "sftp://u@h/x",
        "host_key", "ssh-ed25519 AAAA", "key", key);

    (void)state;
    json_t *resolved = store_resolve_location(location, &err);
    assert_true(json_is_true(json_object_get(resolved, "relay")));
    json_decref(resolved);
    json_object_set_new(location, "share_login", json_true());
    resolved = store_resolve_location(location, &err);
    assert_false(json_is_true(json_object_get(resolved, "relay")));
    json_decref(resolved);
    json_decref(location);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_things_are_refused),
        cmocka_unit_test(logins_stay_here),
        cmocka_unit_test(logins_go_where_they_may),
        cmocka_unit_test(other_endpoints_are_not_trusted),
        cmocka_unit_test(clear_text_is_refused),
        cmocka_unit_test(private_keys_are_not_sent),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
