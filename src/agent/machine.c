#include "machine.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"

enum { PSEUDO_FILE_MAX = 8 * 1024 * 1024, TCP_STATE_LISTEN = 0x0a };

/* The text of a file below root, or NULL. The caller frees it. */
static char *read_text(const char *root, const char *path)
{
    AUTO_FREE char *full = xasprintf("%s%s", root, path);
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;

    if (file_read(full, PSEUDO_FILE_MAX, &text, &err) == 0)
        return buf_take(&text);
    buf_release(&text);
    return NULL;
}

/* The number behind `name` at the start of a line. */
static bool find_number(const char *text, const char *name, uint64_t *ret)
{
    size_t len = strlen(name);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && sscanf(line + len, "%" SCNu64, ret) == 1)
            return true;
        if (!*line)
            break;
    }
    return false;
}

/* --- memory --- */

/* Which files of a control group tell its memory. */
struct cgroup_files {
    const char *mount, *limit, *used, *inactive; /* the last: a field of memory.stat */
};

static const struct cgroup_files cgroup_v2 = {
    "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "};
static const struct cgroup_files cgroup_v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
    "memory.usage_in_bytes", "total_inactive_file "};

static bool read_number(const char *root, const char *dir, const char *name, uint64_t *ret)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    AUTO_FREE char *text = read_text(root, path);

    return text && sscanf(text, "%" SCNu64, ret) == 1; /* "max": no limit */
}

/* Lowers *memory to the limit of one control group. Its page cache does not count as used. */
static void apply_cgroup(const char *root, const struct cgroup_files *files, const char *dir,
    struct machine_memory *memory)
{
    uint64_t limit, used = 0, inactive = 0;

    if (!read_number(root, dir, files->limit, &limit))
        return;
    AUTO_FREE char *stat_path = xasprintf("%s/memory.stat", dir);
    AUTO_FREE char *stat = read_text(root, stat_path);
    if (stat)
        find_number(stat, files->inactive, &inactive);
    read_number(root, dir, files->used, &used);
    used -= inactive < used ? inactive : used;
    uint64_t left = used < limit ? limit - used : 0;
    if (limit < memory->total)
        memory->total = limit;
    if (left < memory->available)
        memory->available = left;
}

/*
 * `path` is the group's path as this process sees it. A container may see the host's path: then the
 * groups on the way are missing, and only the mount itself exists, which is the container's group.
 */
static void apply_cgroups(const char *root, const struct cgroup_files *files, const char *path,
    struct machine_memory *memory)
{
    AUTO_FREE char *dir = xasprintf("%s%s", files->mount, path);

    for (;;) {
        apply_cgroup(root, files, dir, memory);
        if (strlen(dir) <= strlen(files->mount))
            break;
        *strrchr(dir, '/') = '\0';
    }
}

int machine_memory(const char *root, struct machine_memory *ret, struct err *err)
{
    AUTO_FREE char *meminfo = read_text(root, "/proc/meminfo");
    AUTO_FREE char *cgroups = read_text(root, "/proc/self/cgroup");
    struct machine_memory memory;

    if (!meminfo || !find_number(meminfo, "MemTotal:", &memory.total) ||
        !find_number(meminfo, "MemAvailable:", &memory.available))
        return err_set(err, ERR_UNSUPPORTED, "'/proc/meminfo' doesn't tell the memory");
    memory.total *= 1024;
    memory.available *= 1024;
    /* Lines of id:controllers:path; version 2 has id 0 and names no controllers. */
    char *rest = cgroups;
    for (char *line; rest && (line = strsep(&rest, "\n"));) {
        strsep(&line, ":");
        const char *controllers = strsep(&line, ":");
        if (!line || line[0] != '/')
            continue;
        AUTO_FREE char *list = xasprintf(",%s,", controllers);
        if (!*controllers)
            apply_cgroups(root, &cgroup_v2, line, &memory);
        else if (strstr(list, ",memory,"))
            apply_cgroups(root, &cgroup_v1, line, &memory);
    }
    *ret = memory;
    return 0;
}

/* --- ports --- */

static struct in6_addr mapped(struct in_addr v4)
{
    struct in6_addr v6 = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(v6.s6_addr + 12, &v4, sizeof(v4));
    return v6;
}

/* An address in the tables of /proc/net: 32-bit words in the machine's byte order, in hex. */
static bool parse_address(const char *hex, struct in6_addr *ret)
{
    uint32_t words[4] = {0};
    size_t count = strlen(hex) / 8;

    if (count != 1 && count != 4)
        return false;
    for (size_t i = 0; i < count; i++)
        if (sscanf(hex + 8 * i, "%8" SCNx32, &words[i]) != 1)
            return false;
    if (count == 1)
        *ret = mapped((struct in_addr){.s_addr = words[0]});
    else
        memcpy(ret, words, sizeof(*ret));
    return true;
}

static bool collides(const struct in6_addr *listener, const struct addrinfo *addr)
{
    struct in6_addr any_v4 = mapped((struct in_addr){.s_addr = INADDR_ANY}), own;

    if (addr->ai_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, addr->ai_addr, sizeof(v4));
        own = mapped(v4.sin_addr);
    } else if (addr->ai_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, addr->ai_addr, sizeof(v6));
        own = v6.sin6_addr;
    } else {
        return false;
    }
    if (IN6_IS_ADDR_UNSPECIFIED(&own)) /* a server on all addresses */
        return true;
    if (memcmp(&own, &any_v4, sizeof(own)) == 0)
        return IN6_IS_ADDR_V4MAPPED(listener) || IN6_IS_ADDR_UNSPECIFIED(listener);
    return IN6_IS_ADDR_UNSPECIFIED(listener) ||
           (IN6_IS_ADDR_V4MAPPED(&own) && memcmp(listener, &any_v4, sizeof(own)) == 0) ||
           memcmp(listener, &own, sizeof(own)) == 0;
}

/* Calls fn for each socket that listens at one of the addresses. */
static void each_listener(const char *table, const struct addrinfo *addrs,
    void (*fn)(void *arg, unsigned port, unsigned long inode), void *arg)
{
    const char *line = table ? strchr(table, '\n') : NULL; /* behind the heading */

    for (; line && line[1]; line = strchr(line + 1, '\n')) {
        char hex[33];
        unsigned port, state;
        unsigned long inode = 0;
        struct in6_addr listener;
        /* sl: local address:port, remote address:port, state, queues, timer, retransmits, uid,
         * timeout, inode */
        if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu",
                hex, &port, &state, &inode) < 3 ||
            state != TCP_STATE_LISTEN || port > UINT16_MAX || !parse_address(hex, &listener))
            continue;
        bool taken = false;
        for (const struct addrinfo *a = addrs; a && !taken; a = a->ai_next)
            taken = collides(&listener, a);
        if (taken)
            fn(arg, port, inode);
    }
}

struct ports {
    uint16_t *items;
    size_t count, alloc;
};

static void add_port(void *arg, unsigned port, unsigned long inode)
{
    struct ports *ports = arg;

    (void)inode;
    GROW(ports->items, ports->count, ports->alloc);
    ports->items[ports->count++] = (uint16_t)port;
}

static int by_port(const void *a, const void *b)
{
    const uint16_t *x = a, *y = b;
    return *x - *y;
}

int machine_ports_taken(const char *root, const struct addrinfo *addrs, uint16_t **ret,
    size_t *ret_count, struct err *err)
{
    AUTO_FREE char *tcp = read_text(root, "/proc/net/tcp");
    AUTO_FREE char *tcp6 =
        read_text(root, "/proc/net/tcp6"); /* missing if the machine has no IPv6 */
    struct ports ports = {.items = NULL};
    size_t kept = 0;

    if (!tcp)
        return err_set(err, ERR_UNSUPPORTED, "'/proc/net/tcp' doesn't tell which ports are taken");
    each_listener(tcp, addrs, add_port, &ports);
    each_listener(tcp6, addrs, add_port, &ports);
    if (ports.count)
        qsort(ports.items, ports.count, sizeof(*ports.items), by_port);
    for (size_t i = 0; i < ports.count; i++)
        if (!kept || ports.items[kept - 1] != ports.items[i])
            ports.items[kept++] = ports.items[i];
    *ret = ports.items;
    *ret_count = kept;
    return 0;
}

struct sought {
    unsigned port;
    unsigned long inode;
};

static void take_inode(void *arg, unsigned port, unsigned long inode)
{
    struct sought *sought = arg;

    if (port == sought->port && sought->inode == 0)
        sought->inode = inode;
}

unsigned long machine_listening(const char *root, const struct addrinfo *addrs, int port)
{
    AUTO_FREE char *tcp = read_text(root, "/proc/net/tcp");
    AUTO_FREE char *tcp6 = read_text(root, "/proc/net/tcp6");
    struct sought sought = {.port = (unsigned)port};

    each_listener(tcp, addrs, take_inode, &sought);
    each_listener(tcp6, addrs, take_inode, &sought);
    return sought.inode;
}

/* --- settings --- */

const char *machine_thp(const char *root)
{
    static const char *const words[] = {"always", "madvise", "never"};
    AUTO_FREE char *text = read_text(root, "/sys/kernel/mm/transparent_hugepage/enabled");
    const char *chosen = text ? strchr(text, '[') : NULL;

    for (size_t i = 0; chosen && i < ARRAY_SIZE(words); i++)
        if (strncmp(chosen + 1, words[i], strlen(words[i])) == 0)
            return words[i];
    return "unknown";
}

int machine_overcommit(const char *root)
{
    AUTO_FREE char *text = read_text(root, "/proc/sys/vm/overcommit_memory");
    return text && text[0] >= '0' && text[0] <= '2' ? text[0] - '0' : -1;
}

int64_t machine_files_max(const char *root)
{
    enum { USUAL = 1048576 };
    AUTO_FREE char *text = read_text(root, "/proc/sys/fs/nr_open");
    long long most = text ? atoll(text) : 0;

    return most > 0 ? most : USUAL;
}

json_t *machine_servers(const char *root)
{
    static const char *const servers[] = {"redis-server\n", "valkey-server\n"};
    AUTO_FREE char *proc = xasprintf("%s/proc", root);
    json_t *found = json_array();
    struct err ignored = ERR_INIT;
    char **names;
    size_t count;

    if (dir_list(proc, &names, &count, &ignored) < 0)
        return found;
    for (size_t i = 0; i < count && json_array_size(found) < MACHINE_SERVERS_MAX; i++) {
        AUTO_FREE char *path = xasprintf("/proc/%s/comm", names[i]);
        AUTO_FREE char *comm = isdigit((unsigned char)*names[i]) ? read_text(root, path) : NULL;
        for (size_t k = 0; comm && k < ARRAY_SIZE(servers); k++)
            if (strcmp(comm, servers[k]) == 0)
                json_array_append_new(found, json_pack("{s:i, s:s%}", "pid", atoi(names[i]), "name",
                                                 comm, strlen(comm) - 1));
    }
    strv_free(names, count);
    return found;
}

char *machine_id(const char *root)
{
    static const char *const paths[] = {"/etc/machine-id", "/proc/sys/kernel/random/boot_id"};

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        char *text = read_text(root, paths[i]);
        if (text && text[strcspn(text, "\n")] == '\n')
            text[strcspn(text, "\n")] = '\0';
        if (text && *text)
            return text;
        free(text);
    }
    return xstrdup("unknown");
}
