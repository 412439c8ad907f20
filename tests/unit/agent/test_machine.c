/* What is read of /proc and /sys, from made-up trees of them. */

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "listener.h"
#include "machine.h"
#include "recluster/file.h"

static char *root;

static int setup(void **state)
{
    char path[] = "/tmp/test_machine.XXXXXX";

    (void)state;
    if (!mkdtemp(path))
        return -1;
    root = xstrdup(path);
    return 0;
}

static int teardown(void **state)
{
    struct err err = ERR_INIT;
    int rc = dir_remove(root, &err);

    (void)state;
    free(root);
    return rc;
}

static void put(const char *path, const char *text)
{
    AUTO_FREE char *full = xasprintf("%s%s", root, path);
    AUTO_FREE char *dir = path_dir(full);
    struct err err = ERR_INIT;

    assert_int_equal(dir_make(dir, 0700, &err), 0);
    assert_int_equal(file_write_atomic(full, text, strlen(text), 0600, &err), 0);
}

static void memory_is(uint64_t total, uint64_t available)
{
    struct machine_memory memory;
    struct err err = ERR_INIT;

    assert_int_equal(machine_memory(root, &memory, &err), 0);
    assert_int_equal(memory.total, total);
    assert_int_equal(memory.available, available);
}

static void memory_of_the_machine(void **state)
{
    struct machine_memory memory;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(machine_memory(root, &memory, &err), -1);
    put("/proc/meminfo", "MemTotal:  10000 kB\nMemFree: 5 kB\nMemAvailable:  8000 kB\n");
    memory_is(10240000, 8192000);
    put("/proc/self/cgroup", "0::/\n");
    memory_is(10240000, 8192000);
}

static void memory_within_cgroups_v2(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemTotal: 10000 kB\nMemAvailable: 8000 kB\n");
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/b/memory.current", "1000\n");
    memory_is(10240000, 8192000);
    put("/sys/fs/cgroup/a/memory.max", "5000000\n");
    put("/sys/fs/cgroup/a/memory.current", "2000000\n");
    memory_is(5000000, 3000000);
    /* What the kernel would drop first is free in truth. */
    put("/sys/fs/cgroup/a/memory.stat", "anon 7\nfile 1500000\ninactive_file 1200000\n");
    memory_is(5000000, 4200000);
    put("/sys/fs/cgroup/a/b/memory.max", "500\n");
    memory_is(500, 0);
    /* A container that is told the host's path, and sees only its own group. */
    put("/proc/self/cgroup", "0::/docker/0123\n");
    memory_is(10240000, 8192000);
    put("/sys/fs/cgroup/memory.max", "4000000\n");
    put("/sys/fs/cgroup/memory.current", "1\n");
    memory_is(4000000, 3999999);
}

static void memory_within_cgroups_v1(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemTotal: 10000 kB\nMemAvailable: 8000 kB\n");
    put("/proc/self/cgroup", "12:cpu,cpuacct:/x\n9:hugetlb,memory:/a:b\n1:name=systemd:/\n0::/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "99\n");
    put("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1\n");
    put("/sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", "3000000\n");
    put("/sys/fs/cgroup/memory/a:b/memory.usage_in_bytes", "2000000\n");
    put("/sys/fs/cgroup/memory/a:b/memory.stat", "inactive_file 7\ntotal_inactive_file 500000\n");
    memory_is(3000000, 1500000);
}

static const char tcp_heading[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";

static void put_tables(void)
{
    struct buf tcp = BUF_INIT, tcp6 = BUF_INIT;
    uint32_t v4[] = {htonl(0x0a000001), htonl(0x7f000001), 0};
    /* ::ffff:10.0.0.1, ::1, ::, fd00::5 */
    uint32_t v6[][4] = {{0, 0, htonl(0xffff), htonl(0x0a000001)}, {0, 0, 0, htonl(1)}, {0, 0, 0, 0},
        {htonl(0xfd000000), 0, 0, htonl(5)}};

    buf_adds(&tcp, tcp_heading);
    for (unsigned i = 0; i < 3; i++)
        buf_addf(&tcp,
            "   %u: %08X:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 %u 1 "
            "0000000000000000 100 0 0 10 0\n",
            i, v4[i], 1000 + i, 500 + i);
    buf_addf(
        &tcp, "   3: %08X:%04X 00000000:0000 01 0:0 00:0 0 0 1\n", v4[2], 1900); /* connected */
    buf_addf(
        &tcp, "   4: %08X:%04X 00000000:0000 0A 0:0 00:0 0 0 1\n", v4[2], 1002); /* REUSEPORT */
    buf_adds(&tcp6, tcp_heading);
    for (unsigned i = 0; i < 4; i++)
        buf_addf(&tcp6,
            "   %u: %08X%08X%08X%08X:%04X 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 "
            "1\n",
            i, v6[i][0], v6[i][1], v6[i][2], v6[i][3], 2000 + i);
    buf_adds(&tcp6, "half a li");
    put("/proc/net/tcp", tcp.data);
    put("/proc/net/tcp6", tcp6.data);
    buf_release(&tcp);
    buf_release(&tcp6);
}

static void ports_that_are_taken(void **state)
{
    static const struct {
        const char *addr;
        uint16_t ports[8]; /* to the first 0 */
    } cases[] = {
        {"10.0.0.1", {1000, 1002, 2000, 2002}},
        {"10.0.0.2", {1002, 2002}},
        {"127.0.0.1", {1001, 1002, 2002}},
        {"0.0.0.0", {1000, 1001, 1002, 2000, 2002}},
        {"::1", {2001, 2002}},
        {"fd00::5", {2002, 2003}},
        {"::ffff:10.0.0.1", {1000, 1002, 2000, 2002}},
        {"::", {1000, 1001, 1002, 2000, 2001, 2002, 2003}},
    };
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct err err = ERR_INIT;
    uint16_t *ports;
    size_t count;

    (void)state;
    assert_int_equal(machine_ports_taken(root, NULL, &ports, &count, &err), -1);
    put_tables();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct addrinfo *addrs;
        size_t expected = 0;
        assert_int_equal(getaddrinfo(cases[i].addr, NULL, &hints, &addrs), 0);
        assert_int_equal(machine_ports_taken(root, addrs, &ports, &count, &err), 0);
        for (; expected < ARRAY_SIZE(cases[i].ports) && cases[i].ports[expected]; expected++) {
            assert_true(expected < count);
            assert_int_equal(ports[expected], cases[i].ports[expected]);
        }
        assert_int_equal(count, expected);
        free(ports);
        freeaddrinfo(addrs);
    }
}

static void who_listens(void **state)
{
    static const struct {
        const char *addr;
        int port;
        unsigned long inode;
    } cases[] = {
        {"10.0.0.1", 1000, 500},
        {"10.0.0.2", 1000, 0},   /* another address */
        {"10.0.0.2", 1002, 502}, /* on all of them */
        {"10.0.0.1", 1001, 0},
        {"127.0.0.1", 1001, 501},
        {"10.0.0.1", 1900, 0}, /* connected */
        {"10.0.0.1", 1234, 0},
    };
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};

    (void)state;
    put_tables();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct addrinfo *addrs;
        assert_int_equal(getaddrinfo(cases[i].addr, NULL, &hints, &addrs), 0);
        assert_int_equal(machine_listening(root, addrs, cases[i].port), cases[i].inode);
        freeaddrinfo(addrs);
    }
}

static void units(void **state)
{
    static const struct {
        const char *cgroups, *unit;
    } cases[] = {
        {"0::/system.slice/redis-server.service\n", "redis-server.service"},
        {"0::/system.slice/system-redis.slice/redis-server@6379.service\n",
            "redis-server@6379.service"},
        {"0::/system.slice/redis.service/sub\n", "redis.service"},
        {"4:memory:/system.slice/a.service\n1:name=systemd:/system.slice/b.service\n0::/\n",
            "b.service"},
        {"1:name=systemd:/\n0::/system.slice/redis.service\n", "redis.service"},
        {"0::/\n", NULL},
        {"", NULL},
        {"0::/user.slice/user-0.slice/session-3.scope\n", NULL},
        {"0::/user.slice/user-1.slice/user@1.service/app.slice/redis.service\n", NULL},
        {"0::/system.slice/docker-0123.scope\n", NULL},
        {"0::/docker/0123\n", NULL},
        {"0::/system.slice/--now.service\n", NULL},
        {"0::/system.slice/a b.service\n", NULL},
        {"0::/system.slice/.service\n", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *unit = unit_in_cgroups(cases[i].cgroups);
        if (!unit != !cases[i].unit || (unit && strcmp(unit, cases[i].unit) != 0))
            fail_msg("%s: %s", cases[i].cgroups, unit ? unit : "none");
        free(unit);
    }
}

static void settings(void **state)
{
    (void)state;
    assert_string_equal(machine_thp(root), "unknown");
    assert_int_equal(machine_overcommit(root), -1);
    assert_int_equal(machine_files_max(root), 1048576);
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    put("/proc/sys/vm/overcommit_memory", "1\n");
    assert_string_equal(machine_thp(root), "madvise");
    assert_int_equal(machine_overcommit(root), 1);
    put("/proc/sys/fs/nr_open", "2097152\n");
    assert_int_equal(machine_files_max(root), 2097152);

    char *id = machine_id(root);
    assert_string_equal(id, "unknown");
    free(id);
    put("/proc/sys/kernel/random/boot_id", "aaaa-bbbb\n");
    put("/etc/machine-id", "");
    id = machine_id(root);
    assert_string_equal(id, "aaaa-bbbb");
    free(id);
    put("/etc/machine-id", "0123456789abcdef\n");
    id = machine_id(root);
    assert_string_equal(id, "0123456789abcdef");
    free(id);
}

static void servers_that_run(void **state)
{
    (void)state;
    put("/proc/12/comm", "redis-server\n");
    put("/proc/13/comm", "redis-server-x\n");
    put("/proc/14/comm", "valkey-server\n");
    put("/proc/15/stat", "");
    put("/proc/loadavg", "redis-server\n");
    json_t *found = machine_servers(root);
    json_t *expected = json_pack("[{s:i, s:s}, {s:i, s:s}]", "pid", 12, "name", "redis-server",
        "pid", 14, "name", "valkey-server");
    assert_true(json_equal(found, expected));
    json_decref(found);
    json_decref(expected);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_of_the_machine),
        TEST(memory_within_cgroups_v2),
        TEST(memory_within_cgroups_v1),
        TEST(ports_that_are_taken),
        TEST(who_listens),
        cmocka_unit_test(units),
        TEST(settings),
        TEST(servers_that_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
