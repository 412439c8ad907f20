/* The serving loop and the methods of a host, over pipes. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/protocol.h"
#include "recluster/rpc.h"
#include "serve.h"

enum { DEADLINE_MS = 30000 };

/* --- methods for the tests --- */

static int echo_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    (void)call, (void)err;
    *ret = json_deep_copy(params);
    return 0;
}

static int params_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const char *text;
    json_int_t number;
    bool yes;

    (void)call, (void)ret;
    if (param_string(params, "text", &text, err) < 0 ||
        param_int(params, "number", &number, err) < 0)
        return -1;
    return param_bool(params, "yes", &yes, err);
}

static int progress_run(
    struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    (void)params, (void)ret, (void)err;
    for (int i = 0; i < 3; i++)
        agent_progress(call, json_pack("{s:i}", "n", i));
    return 0; /* no result: an empty one */
}

static int crash_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    (void)call, (void)params, (void)ret, (void)err;
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return 0;
}

static int exit_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    (void)call, (void)params, (void)ret, (void)err;
    _exit(0);
}

/* What a method or a library prints must not get between the messages. */
static int print_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    (void)call, (void)params, (void)ret, (void)err;
    printf("a stray line\n");
    fflush(stdout);
    return getchar() == EOF ? 0 : err_set(err, ERR_FAILED, "there was input");
}

static int sleep_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    (void)params, (void)ret, (void)err;
    agent_progress(call, json_pack("{s:i}", "pid", (int)getpid()));
    sleep(600);
    return 0;
}

/* Says much: as big an answer as asked for. */
static int flood_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    json_int_t bytes;

    (void)call;
    if (param_int(params, "bytes", &bytes, err) < 0)
        return -1;
    char *text = xmalloc((size_t)bytes);
    memset(text, 'x', (size_t)bytes);
    *ret = json_pack("{s:o}", "text", json_stringn(text, (size_t)bytes));
    free(text);
    return 0;
}

/* What a program that a method starts would inherit. No pipe behind it: the shell would have that open. */
static int inherit_run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const char *const argv[] = {"sh", "-c", "ls /proc/$$/fd; :", NULL};
    struct buf said = BUF_INIT;

    (void)call, (void)params;
    if (child_run(argv, 10000, 1000, &said, err) < 0)
        return -1;
    *ret = json_pack("{s:s}", "fds", said.data);
    buf_release(&said);
    return 0;
}

static const struct agent_method echo = {.name = "echo", .run = echo_run},
                                 wants = {.name = "params", .in_agent = true, .run = params_run},
                                 progress = {.name = "progress", .run = progress_run},
                                 progress_here = {.name = "progress_here",
                                     .in_agent = true,
                                     .run = progress_run},
                                 crash = {.name = "crash", .run = crash_run},
                                 quit = {.name = "quit", .run = exit_run},
                                 print = {.name = "print", .run = print_run},
                                 sleeps = {.name = "sleep", .run = sleep_run},
                                 flood = {.name = "flood", .run = flood_run},
                                 inherit = {.name = "inherit", .run = inherit_run};

static const struct agent_method *const methods[] = {&agent_hello, &agent_probe, &agent_lock,
    &agent_prepare_host, &agent_release, &echo, &wants, &progress, &progress_here, &crash, &quit,
    &print, &sleeps, &flood, &inherit, NULL};

/* --- an agent and its other side --- */

struct peer {
    pid_t pid;
    int to, from;
    struct rpc_input in;
    uint64_t last_id;
};

static char *root; /* of the test; removed at the end */

static void start(struct peer *p)
{
    int in[2], out[2];

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err err = ERR_INIT;
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        int rc = agent_serve_methods(methods, STDIN_FILENO, STDOUT_FILENO, &err);
        _exit(rc == 0 ? 0 : 7);
    }
    close(in[0]);
    close(out[1]);
    *p = (struct peer){.pid = pid, .to = in[1], .from = out[0], .in = RPC_INPUT_INIT};
}

static void write_line(const struct peer *p, const char *text, size_t len)
{
    struct err err = ERR_INIT;
    assert_int_equal(file_write_all(p->to, text, len, "agent", &err), 0);
}

static uint64_t ask(struct peer *p, const char *method, json_t *params)
{
    struct buf line = BUF_INIT;

    rpc_add_request(&line, ++p->last_id, method, params);
    write_line(p, line.data, line.len);
    buf_release(&line);
    return p->last_id;
}

/* The next message. False at the end. */
static bool hear(struct peer *p, struct rpc_message *m)
{
    static char chunk[65536];
    struct err err = ERR_INIT;
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    int rc;

    while ((rc = rpc_take(&p->in, m, &err)) == 0) {
        struct pollfd f = {.fd = p->from, .events = POLLIN};
        assert_true(clock_mono_ms() < deadline_ms);
        poll(&f, 1, 1000);
        if (!f.revents)
            continue;
        ssize_t n = read(p->from, chunk, sizeof(chunk));
        assert_true(n >= 0);
        if (n == 0)
            return false;
        buf_add(&p->in.buf, chunk, (size_t)n);
    }
    assert_int_equal(rc, 1);
    return true;
}

/* The answer to the last request: its result (the caller's), or NULL and the error. */
static json_t *answer(struct peer *p, struct err *err)
{
    struct rpc_message m;
    json_t *result = NULL;

    assert_true(hear(p, &m));
    assert_int_equal(m.id, p->last_id);
    assert_true(m.kind == RPC_RESULT || m.kind == RPC_ERROR);
    if (m.kind == RPC_RESULT)
        result = json_incref(m.payload);
    else
        *err = m.error;
    rpc_message_release(&m);
    return result;
}

static json_t *ask_and_hear(struct peer *p, const char *method, json_t *params, struct err *err)
{
    ask(p, method, params);
    return answer(p, err);
}

static void expect_ok(struct peer *p, const char *method, json_t *params)
{
    struct err err = ERR_INIT;
    json_t *result = ask_and_hear(p, method, params, &err);

    if (!result)
        fail_msg("%s: %s", method, err.message);
    json_decref(result);
}

static void expect_error(
    struct peer *p, const char *method, json_t *params, enum err_code code, const char *says)
{
    struct err err = ERR_INIT;

    assert_null(ask_and_hear(p, method, params, &err));
    assert_int_equal(err.code, code);
    if (!strstr(err.message, says))
        fail_msg("'%s' does not say '%s'", err.message, says);
}

/* Ends the link; the agent's exit status. */
static int stop(struct peer *p)
{
    int status;

    if (p->to >= 0)
        close(p->to);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    close(p->from);
    rpc_input_release(&p->in);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int setup(void **state)
{
    char path[] = "/tmp/test_agent.XXXXXX";
    struct peer *p = xcalloc(1, sizeof(*p));

    if (!mkdtemp(path))
        return -1;
    root = xstrdup(path);
    start(p);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct err err = ERR_INIT;
    int rc = stop(*state);

    free(*state);
    if (dir_remove(root, &err) < 0)
        rc = -1;
    free(root);
    return rc;
}

/* --- serving --- */

static void hello_tells_who(void **state)
{
    struct err err = ERR_INIT;
    struct peer *p = *state;
    json_t *result =
        ask_and_hear(p, "hello", json_pack("{s:i}", "protocol", PROTOCOL_VERSION), &err);

    assert_int_equal(json_integer_value(json_object_get(result, "protocol")), PROTOCOL_VERSION);
    assert_string_equal(json_string_value(json_object_get(result, "version")), RECLUSTER_VERSION);
    assert_int_equal(json_integer_value(json_object_get(result, "pid")), p->pid);
    json_decref(result);
}

static void another_protocol_is_refused(void **state)
{
    struct peer *p = *state;

    expect_error(p, "hello", json_pack("{s:i}", "protocol", 77), ERR_UNSUPPORTED, "protocol 1, ");
    expect_error(p, "echo", NULL, ERR_UNSUPPORTED, "protocol 77");
    expect_ok(p, "hello", json_pack("{s:i}", "protocol", PROTOCOL_VERSION));
    expect_ok(p, "echo", NULL);
}

static void requests_are_checked(void **state)
{
    static const struct {
        const char *line;
        int code;
        const char *says;
    } cases[] = {
        {"\"method\":\"dance\"", RPC_METHOD_NOT_FOUND, "unknown method 'dance'"},
        {"\"method\":\"params\",\"params\":[1]", RPC_INVALID_PARAMS, "'params'"},
        {"\"method\":\"params\"", RPC_INVALID_PARAMS, "'text' is missing"},
        {"\"method\":\"params\",\"params\":{\"text\":1}", RPC_INVALID_PARAMS,
            "'text' is not a string"},
        {"\"method\":\"params\",\"params\":{\"text\":\"\",\"number\":1.5}", RPC_INVALID_PARAMS,
            "'number' is not a whole number"},
        {"\"method\":\"params\",\"params\":{\"text\":\"\",\"number\":1,\"yes\":1}",
            RPC_INVALID_PARAMS, "'yes' is not true or false"},
        {"\"method\":\"hello\"", RPC_INVALID_PARAMS, "'protocol' is missing"},
    };
    struct peer *p = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *line = xasprintf("{\"jsonrpc\":\"2.0\",\"id\":5,%s}\n", cases[i].line);
        struct rpc_message m;
        write_line(p, line, strlen(line));
        assert_true(hear(p, &m));
        assert_int_equal(m.kind, RPC_ERROR);
        assert_int_equal(m.id, 5);
        assert_int_equal(m.rpc_code, cases[i].code);
        assert_non_null(strstr(m.error.message, cases[i].says));
        rpc_message_release(&m);
    }
}

static void a_request_may_come_byte_by_byte(void **state)
{
    const char *line = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"a\":1}}\n";
    struct peer *p = *state;
    struct err err = ERR_INIT;

    p->last_id = 1;
    for (; *line; line++)
        write_line(p, line, 1);
    json_t *result = answer(p, &err);
    assert_int_equal(json_integer_value(json_object_get(result, "a")), 1);
    json_decref(result);
}

static void progress_comes_before_the_answer(void **state)
{
    static const char *const names[] = {"progress", "progress_here"};
    struct peer *p = *state;
    struct err err = ERR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        ask(p, names[i], NULL);
        for (int n = 0; n < 3; n++) {
            struct rpc_message m;
            assert_true(hear(p, &m));
            assert_int_equal(m.kind, RPC_NOTIFICATION);
            assert_string_equal(m.method, "progress");
            assert_int_equal(json_integer_value(json_object_get(m.payload, "id")), p->last_id);
            assert_int_equal(json_integer_value(json_object_get(m.payload, "n")), n);
            rpc_message_release(&m);
        }
        json_t *result = answer(p, &err);
        assert_int_equal(json_object_size(result), 0);
        json_decref(result);
    }
}

static void a_dead_child_hurts_no_other(void **state)
{
    struct peer *p = *state;

    uint64_t sleeping = ask(p, "sleep", NULL);
    struct rpc_message m;
    assert_true(hear(p, &m));
    assert_int_equal(json_integer_value(json_object_get(m.payload, "id")), sleeping);
    rpc_message_release(&m);
    expect_error(p, "crash", NULL, ERR_FAILED,
        "the process that served 'crash' ended by signal 11 (Segmentation fault)");
    expect_error(
        p, "quit", NULL, ERR_FAILED, "the process that served 'quit' ended without an answer");
    expect_ok(p, "echo", NULL);
}

static void strays_stay_out(void **state)
{
    expect_ok(*state, "print", NULL);
}

static void programs_inherit_nothing(void **state)
{
    struct peer *p = *state;
    struct err err = ERR_INIT;
    AUTO_FREE char *base_dir = path_join(root, "base");

    expect_ok(p, "lock",
        json_pack("{s:s, s:s, s:s}", "base_dir", base_dir, "recovery", "r1", "operator", "me"));
    json_t *result = ask_and_hear(p, "inherit", NULL, &err);
    assert_non_null(result);
    assert_string_equal(json_string_value(json_object_get(result, "fds")), "0\n1\n2\n");
    json_decref(result);
}

static void much_at_once(void **state)
{
    enum { COUNT = 24, BYTES = 1024 * 1024 };
    struct peer *p = *state;
    bool seen[COUNT + 1] = {false};

    /* More than the agent gathers: it leaves the rest with its children until it is rid of some. */
    for (int i = 0; i < COUNT; i++)
        ask(p, "flood", json_pack("{s:i}", "bytes", BYTES));
    for (int i = 0; i < COUNT; i++) {
        struct rpc_message m;
        assert_true(hear(p, &m));
        assert_int_equal(m.kind, RPC_RESULT);
        assert_in_range(m.id, 1, COUNT);
        assert_false(seen[m.id]);
        seen[m.id] = true;
        assert_int_equal(json_string_length(json_object_get(m.payload, "text")), BYTES);
        rpc_message_release(&m);
    }
    expect_error(p, "flood", json_pack("{s:i}", "bytes", RPC_LINE_MAX), ERR_LIMIT, "'flood'");
}

static void more_requests_than_children(void **state)
{
    enum { COUNT = 300 };
    struct peer *p = *state;

    for (int i = 0; i < COUNT; i++)
        ask(p, "echo", NULL);
    for (int i = 0; i < COUNT; i++) {
        struct rpc_message m;
        assert_true(hear(p, &m));
        assert_int_equal(m.kind, RPC_RESULT);
        rpc_message_release(&m);
    }
}

static void wait_gone(pid_t pid)
{
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;

    while (kill(pid, 0) == 0) {
        /* It is not our child: init may take a moment to notice, or leave a zombie for good. */
        AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
        struct buf text = BUF_INIT;
        struct err err = ERR_INIT;
        bool zombie = file_read(path, 4096, &text, &err) < 0 || strstr(text.data, ") Z ");
        buf_release(&text);
        if (zombie)
            return;
        assert_true(clock_mono_ms() < deadline_ms);
        poll(NULL, 0, 5);
    }
}

/* The pid of a call that sleeps in a child of the agent. */
static pid_t start_sleeper(struct peer *p)
{
    struct rpc_message m;

    ask(p, "sleep", NULL);
    assert_true(hear(p, &m));
    pid_t pid = (pid_t)json_integer_value(json_object_get(m.payload, "pid"));
    assert_true(pid > 1);
    rpc_message_release(&m);
    return pid;
}

static void children_end_with_the_link(void **state)
{
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        struct peer other;
        start(&other);
        pid_t pid = start_sleeper(&other);
        assert_int_equal(kill(pid, 0), 0);
        if (killed)
            kill(other.pid, SIGKILL);
        assert_int_equal(stop(&other), killed ? -1 : 0);
        wait_gone(pid);
    }
}

static void ctrl_c_is_not_for_agents(void **state)
{
    struct peer *p = *state;

    expect_ok(p, "echo", NULL);
    kill(p->pid, SIGINT);
    expect_ok(p, "echo", NULL);
}

static void garbage_ends_the_agent(void **state)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n",
        "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"hello\"}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct peer other;
        struct rpc_message m;
        start(&other);
        write_line(&other, lines[i], strlen(lines[i]));
        assert_true(hear(&other, &m));
        assert_true(m.kind == RPC_ERROR && m.id == 0);
        rpc_message_release(&m);
        assert_false(hear(&other, &m));
        assert_int_equal(stop(&other), 7);
    }
}

/* --- probe --- */

static json_t *probe(struct peer *p, const char *base_dir, const char *addr, const char *server)
{
    struct err err = ERR_INIT;
    json_t *result = ask_and_hear(p, "probe",
        json_pack("{s:s, s:s, s:s}", "base_dir", base_dir, "addr", addr, "server", server), &err);

    if (!result)
        fail_msg("probe: %s", err.message);
    return result;
}

static json_int_t number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void probe_tells_the_machine(void **state)
{
    AUTO_FREE char *base_dir = path_join(root, "not/yet/there");
    json_t *r = probe(*state, base_dir, "127.0.0.1", "redis-server");

    assert_true(number(r, "memory_total") > 0);
    assert_in_range(number(r, "memory_available"), 1, number(r, "memory_total"));
    assert_true(number(r, "disk_total") > 0);
    assert_in_range(number(r, "disk_free"), 0, number(r, "disk_total"));
    assert_true(number(r, "cores") > 0);
    assert_true(json_is_number(json_object_get(r, "load1")));
    assert_in_range(number(r, "overcommit"), 0, 2);
    assert_true(json_is_string(json_object_get(r, "thp")));
    assert_true(number(r, "nofile") > 0);
    assert_true(llabs(number(r, "clock_ms") - clock_wall_ms()) < 60000);
    assert_true(json_string_length(json_object_get(r, "machine")) > 10);
    assert_true(json_is_array(json_object_get(r, "servers")));
    assert_null(json_object_get(json_object_get(r, "base_dir"), "locked_by"));
    assert_true(json_is_true(json_object_get(r, "addr_local")));
    json_decref(r);
    assert_int_equal(rmdir(root), 0); /* nothing was made */
    assert_int_equal(mkdir(root, 0700), 0);
}

/* A program that says what it is told to. */
static char *fake_server(const char *name, const char *says)
{
    char *path = path_join(root, name);
    struct err err = ERR_INIT;
    AUTO_FREE char *text = xasprintf("#!/bin/sh\n%s\n", says);

    assert_int_equal(file_write_atomic(path, text, strlen(text), 0700, &err), 0);
    return path;
}

static void probe_tells_the_server(void **state)
{
    static const struct {
        const char *says, *kind, *version, *error;
    } cases[] = {
        {"echo 'Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64'", "redis",
            "7.0.15", NULL},
        {"echo 'Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64'", "valkey",
            "8.0.1", NULL},
        {"echo 'nginx version: nginx/1.22.1'", NULL, NULL, "unsupported"},
        {"echo 'error while loading shared libraries: libx.so'; exit 127", NULL, NULL, "failed"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *path = fake_server("some-server", cases[i].says);
        json_t *r = probe(*state, root, "127.0.0.1", path);
        const json_t *server = json_object_get(r, "server");
        const json_t *error = json_object_get(server, "error");
        if (cases[i].error) {
            assert_string_equal(json_string_value(json_object_get(error, "name")), cases[i].error);
        } else {
            assert_null(error);
            assert_string_equal(json_string_value(json_object_get(server, "path")), path);
            assert_string_equal(json_string_value(json_object_get(server, "kind")), cases[i].kind);
            assert_string_equal(
                json_string_value(json_object_get(server, "version")), cases[i].version);
        }
        json_decref(r);
    }
    json_t *r = probe(*state, root, "127.0.0.1", "no-such-server");
    const json_t *error = json_object_get(json_object_get(r, "server"), "error");
    assert_string_equal(json_string_value(json_object_get(error, "name")), "not-found");
    assert_non_null(
        strstr(json_string_value(json_object_get(error, "message")), "'no-such-server'"));
    assert_non_null(strstr(json_string_value(json_object_get(error, "hint")), "apt-get install"));
    json_decref(r);
}

static bool lists(const json_t *ports, int port)
{
    for (size_t i = 0; i < json_array_size(ports); i++)
        if (json_integer_value(json_array_get(ports, i)) == port)
            return true;
    return false;
}

static int listen_at(const char *addr, int *ret_port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(AF_INET, addr, &sa.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *ret_port = ntohs(sa.sin_port);
    return fd;
}

static void probe_tells_the_ports(void **state)
{
    static const struct {
        const char *addr;
        bool local, sees_one, sees_any;
    } cases[] = {
        {"127.0.1.81", true, true, true},
        {"127.0.1.82", true, false, true},
        {"0.0.0.0", true, true, true},
        {"203.0.113.7", false, false, true},
        {"::ffff:127.0.1.81", true, true, true},
    };
    int one, any;
    int one_fd = listen_at("127.0.1.81", &one), any_fd = listen_at("0.0.0.0", &any);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *r = probe(*state, root, cases[i].addr, "redis-server");
        const json_t *ports = json_object_get(r, "listening");
        assert_int_equal(json_is_true(json_object_get(r, "addr_local")), cases[i].local);
        assert_int_equal(lists(ports, one), cases[i].sees_one);
        assert_int_equal(lists(ports, any), cases[i].sees_any);
        json_decref(r);
    }
    close(one_fd);
    close(any_fd);
    expect_error(*state, "probe",
        json_pack(
            "{s:s, s:s, s:s}", "base_dir", root, "addr", "no-such-host.invalid", "server", "x"),
        ERR_NOT_FOUND, "'no-such-host.invalid'");
}

/* --- lock, release --- */

static json_t *lock_params(const char *base_dir, const char *recovery)
{
    return json_pack("{s:s, s:s, s:s}", "base_dir", base_dir, "recovery", recovery, "operator",
        "ada@ops pid 12");
}

static void put_file(const char *dir, const char *name)
{
    AUTO_FREE char *path = path_join(dir, name);
    struct err err = ERR_INIT;
    assert_int_equal(file_write_atomic(path, "x", 1, 0600, &err), 0);
}

static void expect_state(
    struct peer *p, const char *base_dir, const char *expected, const char *more)
{
    json_t *r = probe(p, base_dir, "127.0.0.1", "redis-server");
    const json_t *b = json_object_get(r, "base_dir");

    assert_string_equal(json_string_value(json_object_get(b, "state")), expected);
    if (more) {
        const char *name = strcmp(expected, "recovery") == 0 ? "recovery" : "detail";
        assert_string_equal(json_string_value(json_object_get(b, name)), more);
    }
    json_decref(r);
}

static void lock_claims_and_release_gives_back(void **state)
{
    struct peer *p = *state;
    AUTO_FREE char *base_dir = path_join(root, "a 'b'\nc/base");
    AUTO_FREE char *shard = path_join(base_dir, "db-1/shard-4");
    AUTO_FREE char *record = path_join(base_dir, "recovery.json");
    struct err err = ERR_INIT;
    struct stat st;

    expect_state(p, base_dir, "absent", NULL);
    expect_ok(p, "release", json_pack("{s:s}", "base_dir", base_dir));
    expect_state(p, base_dir, "absent", NULL);
    for (int twice = 0; twice < 2; twice++) {
        expect_ok(p, "lock", lock_params(base_dir, "r1"));
        expect_state(p, base_dir, "recovery", "r1");
    }
    assert_int_equal(stat(base_dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(record, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    expect_error(p, "lock", lock_params(base_dir, "r2"), ERR_CHECK, "another recovery (r1)");
    expect_error(p, "release", lock_params(base_dir, "r2"), ERR_CHECK, "another recovery (r1)");

    expect_ok(p, "lock", lock_params(base_dir, "r1"));
    assert_int_equal(dir_make(shard, 0700, &err), 0);
    expect_ok(p, "release", lock_params(base_dir, "r1"));
    expect_state(p, base_dir, "absent", NULL);
    expect_ok(p, "release", lock_params(base_dir, "r1"));
    expect_ok(p, "lock", lock_params(base_dir, "r2")); /* the old lock's file is gone */
    expect_state(p, base_dir, "recovery", "r2");
}

static void what_is_not_ours_stays(void **state)
{
    struct peer *p = *state;
    AUTO_FREE char *agents = path_join(root, "agent");
    AUTO_FREE char *shard = path_join(root, "db-1");
    AUTO_FREE char *file = path_join(shard, "kept");
    struct err err = ERR_INIT;
    char **names;
    size_t count;

    /* Leftovers of a crash between lock and claim; agents that were sent here. */
    assert_int_equal(mkdir(agents, 0700), 0);
    put_file(root, "recovery.json.tmp");
    put_file(root, "lock");
    expect_state(p, root, "empty", NULL);
    expect_ok(p, "lock", lock_params(root, "r1"));
    assert_int_equal(mkdir(shard, 0700), 0);
    put_file(shard, "kept");
    expect_ok(p, "release", lock_params(root, "r1"));
    assert_int_equal(dir_list(root, &names, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "agent");
    assert_string_equal(names[1], "db-1");
    strv_free(names, count);
    assert_true(file_exists(file));
}

static void a_foreign_folder_is_refused(void **state)
{
    struct peer *p = *state;
    char **names;
    size_t count;
    struct err err = ERR_INIT;

    put_file(root, "a\nb");
    for (int i = 1; i < 5; i++) {
        char name[] = {(char)('a' + i), '\0'};
        put_file(root, name);
    }
    expect_state(p, root, "foreign", "'a?b', 'b', 'c' and 2 more");
    expect_error(p, "lock", lock_params(root, "r1"), ERR_CHECK, "'a?b', 'b', 'c' and 2 more");
    expect_ok(p, "release", lock_params(root, "r1"));
    assert_int_equal(dir_list(root, &names, &count, &err), 0);
    assert_int_equal(count, 5); /* no lock was made */
    strv_free(names, count);
    put_file(root, "recovery.json"); /* not one of ours */
    expect_error(p, "lock", lock_params(root, "r1"), ERR_CHECK, "not recluster's");
    expect_error(p, "lock", lock_params("relative", "r1"), ERR_PROTOCOL, "'relative'");
}

/* Another operator goes on with the same recovery. */
static json_t *other_params(const char *base_dir)
{
    json_t *params = lock_params(base_dir, "r1");
    json_object_set_new(params, "operator", json_string("bob@ops pid 13"));
    return params;
}

static void one_agent_holds_the_lock(void **state)
{
    struct peer *p = *state, second;
    struct err err = ERR_INIT;

    expect_ok(p, "lock", lock_params(root, "r1"));
    start(&second);
    int64_t start_ms = clock_mono_ms();
    ask(&second, "lock", other_params(root));
    /* While the one waits for the lock, its agent serves. */
    expect_ok(p, "echo", NULL);
    uint64_t lock_id = second.last_id;
    expect_ok(&second, "echo", NULL);
    assert_true(clock_mono_ms() - start_ms < 4000);
    second.last_id = lock_id;
    assert_null(answer(&second, &err));
    assert_int_equal(err.code, ERR_LOCKED);
    assert_non_null(strstr(err.message, "is locked by ada@ops pid 12 since 20"));

    /* A method of the first still runs when its agent is killed; it goes with it, and the lock too. */
    json_t *r = probe(&second, root, "127.0.0.1", "redis-server");
    const json_t *holder = json_object_get(json_object_get(r, "base_dir"), "locked_by");
    assert_string_equal(json_string_value(json_object_get(holder, "operator")), "ada@ops pid 12");
    json_decref(r);
    start_sleeper(p);
    ask(&second, "lock", other_params(root));
    kill(p->pid, SIGKILL);
    stop(p);
    json_t *result = answer(&second, &err);
    assert_non_null(result);
    json_decref(result);
    *p = second;
}

/* The network was cut: the run has a new agent there before the old one has noticed. */
static void the_agent_of_the_same_run_gives_way(void **state)
{
    struct peer *p = *state, second;

    expect_ok(p, "lock", lock_params(root, "r1"));
    pid_t sleeper = start_sleeper(p);
    start(&second);
    int64_t start_ms = clock_mono_ms();
    expect_ok(&second, "lock", lock_params(root, "r1"));
    assert_true(clock_mono_ms() - start_ms < 4000);
    wait_gone(sleeper);
    assert_int_equal(stop(p), -1);
    *p = second;
}

static void silence_is_answered(void **state)
{
    static const char alive[] = "{\"jsonrpc\":\"2.0\",\"method\":\"alive\"}\n";
    struct peer *p = *state;
    struct rpc_message m;

    write_line(p, alive, strlen(alive));
    assert_true(hear(p, &m));
    assert_int_equal(m.kind, RPC_NOTIFICATION);
    assert_string_equal(m.method, "alive");
    rpc_message_release(&m);
    expect_ok(p, "echo", NULL);
}

static json_t *prepare_params(const char *recovery, json_t *commands)
{
    return json_pack(
        "{s:s, s:s, s:o}", "base_dir", root, "recovery", recovery, "commands", commands);
}

static void prepare_commands_run_once(void **state)
{
    AUTO_FREE char *note = path_join(root, "note");
    AUTO_FREE char *add = xasprintf("echo x >>%s; printf 'a\\377'", note);
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;
    struct peer *p = *state;

    expect_error(p, "prepare_host",
        prepare_params("r1", json_pack("[s, s, s]", add, "no-such-thing", add)), ERR_FAILED,
        "'no-such-thing'");
    for (int i = 0; i < 2; i++) {
        json_t *r = ask_and_hear(
            p, "prepare_host", prepare_params("r1", json_pack("[s, s]", add, "echo y")), &err);
        const json_t *done = json_object_get(r, "done");
        assert_int_equal(json_is_true(json_object_get(r, "already")), i == 1);
        assert_int_equal(json_array_size(done), 2);
        assert_string_equal(
            json_string_value(json_object_get(json_array_get(done, 0), "output")), "a?");
        json_decref(r);
    }
    assert_int_equal(file_read(note, 100, &text, &err), 0);
    assert_string_equal(text.data, "x\n");
    buf_release(&text);
    expect_ok(p, "prepare_host", prepare_params("r2", json_pack("[s]", add))); /* anew */
    assert_int_equal(file_read(note, 100, &text, &err), 0);
    assert_string_equal(text.data, "x\nx\n");
    buf_release(&text);
    expect_error(p, "prepare_host", prepare_params("r1", json_pack("[i]", 1)), ERR_USAGE, "no. 1");
    expect_error(
        p, "prepare_host", prepare_params("r1", json_string("x")), ERR_USAGE, "not a list");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hello_tells_who),
        TEST(another_protocol_is_refused),
        TEST(requests_are_checked),
        TEST(a_request_may_come_byte_by_byte),
        TEST(progress_comes_before_the_answer),
        TEST(a_dead_child_hurts_no_other),
        TEST(strays_stay_out),
        TEST(programs_inherit_nothing),
        TEST(much_at_once),
        TEST(more_requests_than_children),
        TEST(children_end_with_the_link),
        TEST(ctrl_c_is_not_for_agents),
        TEST(garbage_ends_the_agent),
        TEST(probe_tells_the_machine),
        TEST(probe_tells_the_server),
        TEST(probe_tells_the_ports),
        TEST(lock_claims_and_release_gives_back),
        TEST(what_is_not_ours_stays),
        TEST(a_foreign_folder_is_refused),
        TEST(one_agent_holds_the_lock),
        TEST(the_agent_of_the_same_run_gives_way),
        TEST(silence_is_answered),
        TEST(prepare_commands_run_once),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
