#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "ftp/listing.h"
#include "http/netrc.h"
#include "recluster/file.h"
#include "sftp/connection.h"
#include "temp_dir.h"
#include "test.h"

/* Texts that other programs write: listings of FTP servers, ~/.netrc, ~/.ssh/known_hosts. */

static void check_list(void (*parse)(const char *text, struct store_list *list), const char *text,
    const struct store_entry *expected, size_t count)
{
    struct store_list list = STORE_LIST_INIT;

    parse(text, &list);
    assert_int_equal(list.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(list.entries[i].name, expected[i].name);
        assert_int_equal(list.entries[i].bytes, expected[i].bytes);
        assert_int_equal(list.entries[i].modified_ms, expected[i].modified_ms);
    }
    store_list_release(&list);
}

#define ENTRY(text, size, ms)                                                                      \
    {                                                                                              \
        .name = (char *)(uintptr_t)(text), .bytes = (size), .modified_ms = (ms)                    \
    }

static void mlsd(void **state)
{
    (void)state;
    static const char text[] =
        "type=cdir;modify=20260131130509; .\r\n"
        "type=pdir;modify=20260131130509; ..\r\n"
        "type=dir;modify=20260131130509; sub\r\n"
        "Type=file;Size=1048576;Modify=20260131130509.123;UNIX.mode=0644; a b.rdb\r\n"
        "type=file;size=18446744073709551616;  leading space\r\n"
        "size=0;type=file;perm=r;modify=2026; none\r\n"
        "type=OS.unix=symlink;size=3; link\r\n"
        "no facts and no name\r\n"
        "\r\n"
        "type=file;size=7; last";
    const struct store_entry files[] = {ENTRY("a b.rdb", 1048576, 1769864709000),
        ENTRY(" leading space", INT64_MAX, -1), ENTRY("none", 0, -1), ENTRY("link", 3, -1),
        ENTRY("facts and no name", -1, -1), ENTRY("last", 7, -1)};
    check_list(ftp_parse_mlsd, text, files, ARRAY_SIZE(files));
}

static void list_of_unix_and_windows(void **state)
{
    (void)state;
    static const char text[] =
        "total 20\r\n"
        "-rw-r--r--   1 ftp      ftp       1048576 Jan 31 13:05 a b.rdb\r\n"
        "-rw-r--r--    1 0        0               0 Nov 22  2025 none\r\n"
        "-rw-------    1 1000     1000           20 Nov 22 10:39  spaces at its ends \r\n"
        "drwxr-xr-x    2 ftp      ftp          4096 Feb 01 00:00 sub\r\n"
        "lrwxrwxrwx    1 ftp      ftp             9 Feb 01 00:00 link -> x.rdb\r\n"
        "-rw-r--r--    1 no-group              77 Mar  1 09:00 short\r\n"
        "-rw-r--r--    1 ftp      ftp\r\n"
        "01-31-26  01:05PM              1048576 windows file.rdb\r\n"
        "01-31-26  01:05PM       <DIR>          folder\r\n";
    const struct store_entry files[] = {ENTRY("a b.rdb", 1048576, -1), ENTRY("none", 0, -1),
        ENTRY(" spaces at its ends ", 20, -1), ENTRY("link", -1, -1), ENTRY("short", 77, -1),
        ENTRY("windows file.rdb", 1048576, -1)};
    check_list(ftp_parse_list, text, files, ARRAY_SIZE(files));
}

static const char netrc[] = "# a comment\n"
                            "machine one.example.com login u1 password p1\n"
                            "machine two\n\tlogin \"u 2\"\n\tpassword \"p \\\"2\\\\\"\n\n"
                            "macdef init\ncd /x\nmachine one.example.com\n\n"
                            "machine three account a password p3\n"
                            "default login anonymous password me@here\n";

static void netrc_gives_logins(void **state)
{
    (void)state;
    static const struct {
        const char *location, *user, *password;
    } cases[] = {
        {"{\"url\": \"ftp://one.example.com/\"}", "u1", "p1"},
        {"{\"url\": \"https://TWO:8443/x/\"}", "u 2", "p \"2\\"},
        {"{\"url\": \"http://three/\"}", NULL, "p3"},
        {"{\"url\": \"http://four/\"}", "anonymous", "me@here"},
        {"{\"url\": \"http://me@one.example.com/\"}", NULL, NULL},
        {"{\"url\": \"http://one.example.com/\", \"user\": \"me\"}", "me", NULL},
        {"{\"url\": \"http://one.example.com/\", \"bearer\": \"t\"}", NULL, NULL},
    };
    char *dir = temp_dir_make();
    AUTO_FREE char *path = path_join(dir, "netrc");

    temp_file(dir, "netrc", netrc, strlen(netrc));
    setenv("NETRC", path, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        json_t *location = json_loads(cases[i].location, 0, NULL);
        assert_ok(netrc_resolve(location, true, &err), err);
        const char *user = json_string_value(json_object_get(location, "user"));
        const char *password = json_string_value(json_object_get(location, "password"));
        assert_string_equal(user ? user : "", cases[i].user ? cases[i].user : "");
        assert_string_equal(password ? password : "", cases[i].password ? cases[i].password : "");
        json_decref(location);
    }
    unsetenv("NETRC");
    temp_dir_remove(dir);
}

#define KEY_1 "AAAAC3NzaC1lZDI1NTE5AAAAICuEh1pluGJ+0NO1MfLGN2MimU3xIlcaAlpK71L1l8f3"
#define KEY_2 "AAAAC3NzaC1lZDI1NTE5AAAAIFzJdCJa6fvOqOaEyt3Xxx0O1mForVBNVHGrudCJwbau"

static void known_hosts_are_looked_up(void **state)
{
    (void)state;
    static const char text[] = "# a comment\n"
                               "@cert-authority * ssh-ed25519 " KEY_2 " ca\n"
                               "other,10.0.0.1 ssh-ed25519 " KEY_2 " comment\n"
                               "a line of something else\n"
                               "|1|CRvBzBRpp7nCBcb/Ec7M4eWf82o=|AAAAAPf6n2E9zygHnNWQi1VTFg=\n"
                               "[host]:2222 ssh-ed25519 " KEY_1 "\n"
                               "[host]:2222 ssh-ed25519 " KEY_2; /* no newline */
    json_t *keys = json_array(),
           *expected = json_pack("[s, s]", "ssh-ed25519 " KEY_1, "ssh-ed25519 " KEY_2);

    sftp_known_keys(text, "host", 2222, keys);
    assert_true(json_equal(keys, expected));
    json_array_clear(keys);
    sftp_known_keys(text, "elsewhere", 22, keys);
    assert_int_equal(json_array_size(keys), 0);
    json_decref(keys);
    json_decref(expected);
}

static void addresses_are_taken_apart(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct address a;

    assert_ok(address_parse("davs://me:p%40ss@host:81/a%20b?sig=x#y", "https", &a, &err), err);
    assert_string_equal(a.user, "me");
    assert_string_equal(a.password, "p@ss");
    assert_string_equal(a.host, "host");
    assert_string_equal(a.port, "81");
    assert_string_equal(a.path, "/a b");
    assert_string_equal(a.query, "sig=x");
    assert_string_equal(a.plain, "https://host:81/a%20b/");
    address_release(&a);
    assert_error(address_parse("ftp://me:canary@ho st/", NULL, &a, &err), err, ERR_USAGE, "****");
    assert_null(strstr(err.message, "canary"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mlsd),
        cmocka_unit_test(list_of_unix_and_windows),
        cmocka_unit_test(netrc_gives_logins),
        cmocka_unit_test(known_hosts_are_looked_up),
        cmocka_unit_test(addresses_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
