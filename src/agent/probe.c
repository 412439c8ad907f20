/* hello and probe: the version of the agent, and what this host has. Both change nothing. */

#include <errno.h>
#include <netdb.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_dir.h"
#include "machine.h"
#include "port.h"
#include "reach.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "recluster/rpc.h"
#include "recluster/store.h"
#include "run_as.h"
#include "serve.h"
#include "server_version.h"
#include "systemd_unit.h"
#include "trial.h"

static int hello_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    json_int_t protocol;

    (void)call;
    if (param_int(params, "protocol", &protocol, err) < 0)
        return -1;
    if (protocol != PROTOCOL_VERSION) {
        err_set(err, ERR_UNSUPPORTED,
            "the agent (recluster %s) speaks protocol %d, the operator's side protocol %lld",
            RECLUSTER_VERSION, PROTOCOL_VERSION, (long long)protocol);
        return err_hint(err, "Use the same version of recluster on both sides.");
    }
    *ret = json_pack("{s:i, s:s, s:i}", "protocol", PROTOCOL_VERSION, "version", RECLUSTER_VERSION,
        "pid", (int)getpid());
    return 0;
}

const struct agent_method agent_hello = {.name = "hello", .in_agent = true, .run = hello_run};

static json_t *json_bytes(uint64_t bytes)
{
    return json_integer(bytes > INT64_MAX ? INT64_MAX : (json_int_t)bytes);
}

/* How many files a server of this host may open: root's servers raise their limit themselves. */
static uint64_t files_of_server(bool as_root)
{
    struct rlimit own = {0};

    getrlimit(RLIMIT_NOFILE, &own);
    const struct rlimit more = {own.rlim_cur, (rlim_t)machine_files_max("")};
    if (!as_root || more.rlim_max <= own.rlim_max || setrlimit(RLIMIT_NOFILE, &more) < 0)
        return own.rlim_max;
    setrlimit(RLIMIT_NOFILE, &own);
    return more.rlim_max;
}

static int probe_machine(const char *run_as, json_t *result, struct err *err)
{
    struct machine_memory memory;
    cpu_set_t cores;
    double load = 0;

    if (machine_memory("", &memory, err) < 0)
        return -1;
    if (sched_getaffinity(0, sizeof(cores), &cores) < 0)
        CPU_ZERO(&cores); /* a machine with more than 1024 CPUs */
    int core_count = CPU_COUNT(&cores);
    getloadavg(&load, 1);
    AUTO_FREE char *id = machine_id("");
    json_object_set_new(result, "memory_total", json_bytes(memory.total));
    json_object_set_new(result, "memory_available", json_bytes(memory.available));
    json_object_set_new(
        result, "cores", json_integer(core_count ? core_count : sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(result, "load1", json_real(load));
    json_object_set_new(result, "uid", json_integer((json_int_t)geteuid()));
    json_object_set_new(result, "overcommit", json_integer(machine_overcommit("")));
    json_object_set_new(result, "thp", json_string(machine_thp("")));
    json_object_set_new(result, "nofile", json_bytes(files_of_server(geteuid() == 0 && !run_as)));
    json_object_set_new(result, "clock_ms", json_integer(clock_wall_ms()));
    json_object_set_new(result, "machine", json_string(id));
    json_object_set_new(result, "servers", machine_servers(""));
    json_object_set_new(result, "supervisor", json_string(unit_manager_name(unit_manager())));
    return 0;
}

static int probe_disk(const char *base_dir, json_t *result, struct err *err)
{
    struct statvfs fs;

    if (base_dir_disk(base_dir, NULL, &fs, err) < 0)
        return -1;
    json_object_set_new(result, "disk_free", json_bytes((uint64_t)fs.f_bavail * fs.f_frsize));
    json_object_set_new(result, "disk_total", json_bytes((uint64_t)fs.f_blocks * fs.f_frsize));
    return 0;
}

/* --- server --- */

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Finds the program as a shell would. NULL: not found. The caller frees it. */
static char *find_program(const char *name)
{
    if (strchr(name, '/'))
        return is_program(name) ? xstrdup(name) : NULL;
    const char *set = getenv("PATH");
    AUTO_FREE char *copy = xstrdup(set ? set : "/usr/local/bin:/usr/bin:/bin");
    char *rest = copy;
    for (const char *dir; (dir = strsep(&rest, ":"));) {
        char *path = path_join(*dir ? dir : ".", name);
        if (is_program(path))
            return path;
        free(path);
    }
    return NULL;
}

/* The further abilities of the server. A server that cannot load the modules is unusable. */
static int try_server(const char *path, const struct server_version *version, const json_t *params,
    json_t *server, struct err *err)
{
    const struct trial_params trial = {.server = path,
        .version = version,
        .modules = json_object_get(params, "modules"),
        .run_as = json_text(params, "run_as", NULL),
        .types = json_object_get(params, "types"),
        .wanted = json_object_get(params, "wanted")};
    struct err why = ERR_INIT;
    json_t *found;

    if (trial_run(&trial, &found, &why) == 0) {
        json_object_update(server, found);
        json_decref(found);
        return 0;
    }
    if (json_array_size(trial.modules) > 0) {
        *err = why;
        err_wrap(err, "'%s' does not start with its \"modules\"", path);
        return err_hint(err, "Correct \"modules\" of this host in the hosts file.");
    }
    json_object_set_new(server, "trial_error", err_to_json(&why));
    return 0;
}

static int look_at_server(const char *name, const json_t *params, json_t **ret, struct err *err)
{
    struct server_version version;
    AUTO_FREE char *path = find_program(name);

    if (!path) {
        err_set(err, ERR_NOT_FOUND, "the server program '%s' was not found", name);
        return err_hint(err,
            "Install it (apt-get install %s), or name the right program as \"server\" of "
            "this host in the hosts file.",
            strstr(name, "valkey") ? "valkey-server" : "redis-server");
    }
    if (server_version_ask(path, &version, err) < 0)
        return -1;
    *ret = json_pack("{s:s, s:s, s:s}", "path", path, "kind", version.valkey ? "valkey" : "redis",
        "version", version.text);
    if (!*ret) /* not UTF-8 */
        return err_set(err, ERR_UNSUPPORTED, "'%s' prints no readable version", name);
    if (try_server(path, &version, params, *ret, err) == 0)
        return 0;
    json_decref(*ret);
    return -1;
}

static void probe_server(const char *name, const json_t *params, json_t *result)
{
    struct err err = ERR_INIT;
    json_t *server = NULL;

    if (look_at_server(name, params, &server, &err) < 0)
        server = json_pack("{s:o}", "error", err_to_json(&err));
    json_object_set_new(result, "server", server);
}

/* --- addresses --- */

static int resolve(const char *addr, struct addrinfo **ret, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    int rc = getaddrinfo(addr, NULL, &hints, ret);

    if (rc == EAI_NONAME) {
        hints.ai_flags = 0;
        rc = getaddrinfo(addr, NULL, &hints, ret);
    }
    if (rc == 0)
        return 0;
    err_set(err, ERR_NOT_FOUND, "cannot find the address of '%s': %s", addr,
        rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    return err_hint(err, "Give the host's IP address as \"addr\" in the hosts file.");
}

static int probe_addresses(const char *addr, json_t *result, struct err *err)
{
    struct addrinfo *addrs;
    uint16_t *ports;
    size_t count;
    bool local = false;

    if (resolve(addr, &addrs, err) < 0)
        return -1;
    int rc = machine_ports_taken("", addrs, &ports, &count, err);
    for (const struct addrinfo *a = addrs; a && !local; a = a->ai_next)
        local = port_addr_is_local(a);
    freeaddrinfo(addrs);
    if (rc < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(ports[i]));
    free(ports);
    json_object_set_new(result, "listening", list);
    json_object_set_new(result, "addr_local", json_boolean(local));
    return 0;
}

static int probe_base_dir(const char *path, const char *run_as, json_t *result, struct err *err)
{
    static const char *const names[] = {
        [BASE_DIR_ABSENT] = "absent",
        [BASE_DIR_EMPTY] = "empty",
        [BASE_DIR_RECOVERY] = "recovery",
        [BASE_DIR_FOREIGN] = "foreign",
    };
    static const char *const of_record[] = {"recovery", "operator", "since"};
    struct base_dir found = BASE_DIR_INIT;
    struct err unsafe = ERR_INIT;

    if (path[0] == '/' && (base_dir_check_owners(path, &unsafe) < 0 ||
                              (run_as && run_as_check_way(run_as, path, &unsafe) < 0))) {
        if (unsafe.code != ERR_CHECK && unsafe.code != ERR_NOT_FOUND) {
            *err = unsafe;
            return -1;
        }
        json_object_set_new(result, "base_dir",
            json_pack("{s:s, s:s, s:s}", "state", "unsafe", "detail", unsafe.message, "hint",
                unsafe.hint));
        return 0;
    }
    if (base_dir_look(path, &found, err) < 0)
        return -1;
    json_t *base_dir = json_pack("{s:s}", "state", names[found.state]);
    for (size_t i = 0; found.state == BASE_DIR_RECOVERY && i < ARRAY_SIZE(of_record); i++) {
        const char *text = json_text(found.record, of_record[i], NULL);
        if (text)
            json_object_set_new(base_dir, of_record[i], json_string(text));
    }
    if (found.state == BASE_DIR_FOREIGN)
        json_object_set_new(base_dir, "detail", json_string(found.detail));
    json_t *holder = lock_holder(path);
    if (holder)
        json_object_set_new(base_dir, "locked_by", holder);
    json_object_set_new(result, "base_dir", base_dir);
    base_dir_release(&found);
    return 0;
}

static int look_for_files(const json_t *folder, struct err *err)
{
    struct store *store = store_open(json_object_get(folder, "location"), err);
    const json_t *name;
    struct store_list list;
    size_t i;

    if (!store)
        return -1;
    int rc = store_list(store, &list, err);
    if (rc == 0) {
        json_array_foreach (json_object_get(folder, "names"), i, name)
            if (rc == 0 && !store_list_find(&list, json_string_value(name)))
                rc = err_set(err, ERR_NOT_FOUND, "'%s' is not in it", json_string_value(name));
        store_list_release(&list);
    }
    store_close(store);
    return rc;
}

/* {"1": {"error": {…}}}: the folders that cannot be read here, or lack files. */
static void probe_folders(json_t *folders, json_t *result)
{
    json_t *unseen = json_object(), *folder;
    const char *name;

    json_object_foreach (folders, name, folder) {
        struct err err = ERR_INIT;
        if (look_for_files(folder, &err) < 0)
            json_object_set_new(unseen, name, json_pack("{s:o}", "error", err_to_json(&err)));
    }
    json_object_set_new(result, "unseen", unseen);
}

static int probe_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const char *base_dir, *addr, *server, *run_as = json_text(params, "run_as", NULL);

    (void)call;
    if (param_string(params, "base_dir", &base_dir, err) < 0 ||
        param_string(params, "addr", &addr, err) < 0 ||
        param_string(params, "server", &server, err) < 0)
        return -1;
    json_t *result = json_object();
    const json_t *now = json_object_get(params, "now_ms");
    if (json_is_integer(now))
        json_object_set_new(result, "clock_skew_ms",
            json_integer((json_int_t)clock_wall_ms() - json_integer_value(now)));
    if (probe_base_dir(base_dir, run_as, result, err) < 0 ||
        probe_machine(run_as, result, err) < 0 || probe_disk(base_dir, result, err) < 0 ||
        probe_addresses(addr, result, err) < 0) {
        json_decref(result);
        return -1;
    }
    probe_folders(json_object_get(params, "folders"), result);
    json_object_set_new(result, "silent", reach_silent(json_object_get(params, "reach"), addr));
    probe_server(server, params, result);
    *ret = result;
    return 0;
}

const struct agent_method agent_probe = {.name = "probe", .run = probe_run};
