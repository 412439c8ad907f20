#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/hosts.h"

static struct hosts *load_text(const char *text, struct err *err)
{
    char path[] = "/tmp/recluster-test-hosts-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    struct hosts *hosts = hosts_load(path, err);
    unlink(path);
    return hosts;
}

static void test_all_is_read(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    setenv("HOME", "/home/admin", 1);
    struct hosts *h = load_text(
        "{\"defaults\": {\"user\": \"redis\", \"identity\": \"~/.ssh/id\", \"base_dir\": \"~/r\","
        "  \"memory\": \"2G\", \"port\": 22},"
        " \"hosts\": [{\"name\": \"a1\", \"addr\": \"10.0.0.11\", \"rack\": \"a\", \"replaces\": 1,"
        "   \"memory\": \"64G\", \"cores\": 4, \"disk\": \"1T\", \"password\": {\"env\": \"P\"}},"
        "  {\"name\": \"l1\", \"addr\": \"127.0.1.1\", \"link\": \"local\", \"base_dir\": "
        "\"/d/l1\","
        "   \"server\": \"valkey-server\", \"replaces\": \"node:2\", \"memory\": 1048576},"
        "  {\"addr\": \"FD00:0::1\", \"replaces\": \"3\"}],"
        " \"old_nodes\": [{\"node\": 3, \"link\": \"ssh\"},"
        "  {\"node\": \"node:4\", \"addr\": \"10.9.0.4\", \"link\": \"command\","
        "   \"base_dir\": \"/opt/r\", \"user\": \"root\"}],"
        " \"sources\": {\"db:1\": \"s3://bucket/prefix\", \"db:2\": {\"type\": \"sftp\"}}}",
        &err);
    if (!h)
        fail_msg("%s", err.message);
    assert_int_equal(h->count, 3);
    const struct host *a1 = &h->hosts[0], *l1 = &h->hosts[1], *unnamed = &h->hosts[2];
    assert_string_equal(a1->name, "a1");
    assert_string_equal(a1->addr, "10.0.0.11");
    assert_string_equal(a1->rack, "a");
    assert_string_equal(a1->link, "ssh");
    assert_string_equal(a1->base_dir, "/home/admin/r");
    assert_string_equal(a1->server, "redis-server");
    assert_string_equal(a1->replaces, "1");
    assert_int_equal(a1->memory_bytes, (int64_t)64 << 30);
    assert_string_equal(
        json_string_value(json_object_get(a1->spec, "identity")), "/home/admin/.ssh/id");
    assert_string_equal(json_string_value(json_object_get(a1->spec, "user")), "redis");
    assert_int_equal(json_integer_value(json_object_get(a1->spec, "cores")), 4);
    assert_string_equal(json_string_value(json_object_get(a1->spec, "memory")), "64G");
    assert_null(l1->rack);
    assert_string_equal(l1->link, "local");
    assert_string_equal(l1->base_dir, "/d/l1");
    assert_string_equal(l1->server, "valkey-server");
    assert_string_equal(l1->replaces, "2");
    assert_int_equal(l1->memory_bytes, 1048576);
    assert_string_equal(unnamed->addr, "fd00::1");
    assert_string_equal(unnamed->name, "fd00::1");
    assert_string_equal(unnamed->replaces, "3");
    assert_int_equal(unnamed->memory_bytes, (int64_t)2 << 30);
    assert_string_equal(
        json_string_value(json_object_get(h->sources, "db:1")), "s3://bucket/prefix");
    const struct old_node *third = hosts_old_node(h, "3"), *fourth = hosts_old_node(h, "4");
    assert_null(hosts_old_node(h, "1"));
    assert_null(third->addr);
    assert_string_equal(third->base_dir, "/var/lib/recluster");
    assert_string_equal(json_string_value(json_object_get(third->spec, "user")), "redis");
    assert_null(json_object_get(third->spec, "memory"));
    assert_string_equal(fourth->addr, "10.9.0.4");
    assert_string_equal(fourth->link, "command");
    assert_string_equal(fourth->base_dir, "/opt/r");
    assert_string_equal(json_string_value(json_object_get(fourth->spec, "user")), "root");
    hosts_free(h);
}

static void test_defaults_of_defaults(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    struct hosts *h = load_text("{\"hosts\": [{\"name\": \"a\", \"addr\": \"10.0.0.1\"}]}", &err);
    assert_non_null(h);
    assert_string_equal(h->hosts[0].link, "ssh");
    assert_string_equal(h->hosts[0].base_dir, "/var/lib/recluster");
    assert_string_equal(h->hosts[0].server, "redis-server");
    assert_null(h->hosts[0].replaces);
    assert_int_equal(h->hosts[0].memory_bytes, -1);
    assert_null(h->sources);
    hosts_free(h);
}

#define ONE(fields) "{\"hosts\": [{\"name\": \"a1\", \"addr\": \"10.0.0.1\"" fields "}]}"
#define TWO(name, addr)                                                                            \
    "{\"hosts\": [{\"name\": \"a1\", \"addr\": \"10.0.0.1\"}, {\"name\": \"" name                  \
    "\", \"addr\": \"" addr "\"}]}"
#define OLD(nodes) "{\"hosts\": [{\"addr\": \"10.0.0.1\"}], \"old_nodes\": [" nodes "]}"

static const struct {
    const char *text;
    const char *message; /* a part of it */
} bad[] = {
    {"{\"hosts\": [\n  {\"name\": }]}", "line 2, column 12"},
    {"{\"hosts\": [], \"hosts\": []}", "duplicate"},
    {"[]", "not a JSON object"},
    {"{}", "no hosts"},
    {"{\"hosts\": []}", "no hosts"},
    {"{\"hosts\": 7}", "no hosts"},
    {"{\"hosts\": [7]}", "host no. 1: not an object"},
    {"{\"host\": []}", "unknown key 'host'; did you mean 'hosts'?"},
    {"{\"hosts\": [{\"name\": \"a1\", \"adr\": \"10.0.0.1\"}]}",
        "host 'a1': unknown key 'adr'; did you mean 'addr'?"},
    {ONE(", \"zzzzzzzz\": 1"), "host 'a1': unknown key 'zzzzzzzz'"},
    {"{\"defaults\": {\"usr\": \"x\"}, \"hosts\": []}",
        "defaults: unknown key 'usr'; did you mean 'user'?"},
    {ONE(", \"announce_addr\": \"db.example.com\""), "'db.example.com' is not an IP address"},
    {ONE(", \"announce_ports\": [6379]"), "'announce_ports' is not an object"},
    {ONE(", \"announce_ports\": {\"x\": 1}"), "'x' or its value is not a port"},
    {ONE(", \"announce_ports\": {\"6379\": 65536}"), "'6379' or its value is not a port"},
    {ONE(", \"announce_ports\": {\"1\": 3, \"2\": 3}"), "3 stands for two ports"},
    {ONE(", \"link_addr\": 1"), "'link_addr' is not a text"},
    {"{\"hosts\": [{\"name\": \"a\", \"addr\": \"10.0.0.1\"}, {\"name\": \"b\", \"addr\": "
     "\"10.0.0.2\", \"announce_addr\": \"10.0.0.1\"}]}",
        "host 'b' announces the address of host 'a', 10.0.0.1"},
    {"{\"defaults\": {\"addr\": \"10.0.0.1\"}, \"hosts\": []}",
        "defaults: 'addr' belongs to one host only"},
    {"{\"defaults\": 1, \"hosts\": []}", "'defaults' is not an object"},
    {"{\"hosts\": [{\"name\": \"a1\"}]}", "host 'a1': no address"},
    {"{\"hosts\": [{}]}", "host no. 1: no address"},
    {"{\"hosts\": [{\"name\": \"a1\", \"addr\": \"a1.example.com\"}]}",
        "host 'a1': 'a1.example.com' is not an IP address"},
    {"{\"hosts\": [{\"name\": \"a1\", \"addr\": \"0.0.0.0\"}]}", "'0.0.0.0' is not an IP address"},
    {"{\"hosts\": [{\"name\": \"a\\nb\", \"addr\": \"10.0.0.1\"}]}", "control character"},
    {"{\"hosts\": [{\"name\": 7, \"addr\": \"10.0.0.1\"}]}", "'name' is not a text"},
    {TWO("a1", "10.0.0.2"), "two hosts have the name 'a1'"},
    {TWO("a2", "10.0.0.1"), "hosts 'a1' and 'a2' have the same address 10.0.0.1"},
    {ONE(", \"link\": \"telnet\""), "host 'a1': unknown link 'telnet'"},
    {ONE(", \"base_dir\": \"var/x\""), "host 'a1': base_dir 'var/x' is not an absolute path"},
    {ONE(", \"memory\": \"much\""), "host 'a1': 'memory': 'much' is not a size"},
    {ONE(", \"memory\": -1"), "host 'a1': 'memory' is not a size"},
    {ONE(", \"memory\": 0"), "host 'a1': 'memory' is not a size"},
    {ONE(", \"memory\": true"), "host 'a1': 'memory' is not a size"},
    {ONE(", \"replaces\": true"), "host 'a1': 'replaces' is not a text"},
    {ONE(", \"relay\": \"yes\""), "host 'a1': 'relay' is neither true nor false"},
    {ONE(", \"recovery_path\": \"data\""),
        "host 'a1': 'recovery_path' is neither an absolute path"},
    {ONE(", \"recovery_path\": [\"/a\", 7]"), "'recovery_path' is neither an absolute path"},
    {ONE(", \"recovery_path\": []"), "'recovery_path' is neither an absolute path"},
    {OLD("{}"), "old node no. 1: no node is named"},
    {OLD("{\"node\": 1, \"rack\": \"a\"}"), "old node no. 1: unknown key 'rack'"},
    {OLD("{\"node\": 1, \"link\": \"x\"}"), "old node no. 1: unknown link 'x'"},
    {OLD("{\"node\": 1}, {\"node\": \"node:1\"}"), "two old nodes are node:1"},
    {"{\"sources\": [], \"hosts\": []}", "'sources' is not an object"},
    {"{\"sources\": {\"db:1\": 7}, \"hosts\": []}", "location of 'db:1'"},
};

static void test_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct err err = ERR_INIT;
        struct hosts *h = load_text(bad[i].text, &err);
        if (h)
            fail_msg("taken: %s", bad[i].text);
        assert_int_equal(err.code, ERR_USAGE);
        if (!strstr(err.message, bad[i].message))
            fail_msg("'%s' lacks '%s'", err.message, bad[i].message);
        if (!strstr(err.message, "/tmp/recluster-test-hosts-"))
            fail_msg("'%s' does not name the file", err.message);
    }
}

static void test_missing_file(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    assert_null(hosts_load("/nonexistent/hosts.json", &err));
    assert_non_null(strstr(err.message, "/nonexistent/hosts.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_read),
        cmocka_unit_test(test_defaults_of_defaults),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_missing_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
