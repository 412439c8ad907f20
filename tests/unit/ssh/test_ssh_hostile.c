/* Servers that answer anything but what SSH wants: a session ends, in time, and takes no more memory
 * than it may; and what they say is printable. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "recluster/clock.h"
#include "recluster/mem.h"
#include "recluster/ssh.h"

enum {
    ANSWER_MS = 400,
    LONG_MS = 30 * 1000,
    LATE_MS = 20 * 1000,
    TURNS_OF_A_SILENT_ONE = 20,
    FLOOD_BYTES = 1 << 16
};

#define VERSION "SSH-2.0-hostile\r\n"

/* What a server sends once a client has come: a text once, then one for ever. */
struct script {
    const char *name;
    const char *once;
    size_t once_len;
    const char *flood; /* NULL: silence */
    size_t flood_len;
    bool hangs_up;
    enum err_code code;
    const char *says;
    int64_t answer_ms; /* 0: ANSWER_MS */
};

struct server {
    const struct script *script;
    int listener, port;
    pthread_t thread;
};

static void *serve(void *arg)
{
    const struct server *server = arg;
    const struct script *script = server->script;
    char unread[4096];
    int fd = accept(server->listener, NULL, NULL);

    send(fd, script->once, script->once_len, MSG_NOSIGNAL);
    while (script->flood && send(fd, script->flood, script->flood_len, MSG_NOSIGNAL) > 0)
        ;
    while (!script->hangs_up && recv(fd, unread, sizeof(unread), 0) > 0)
        ;
    close(fd);
    return NULL;
}

static void start(struct server *server, const struct script *script)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);

    server->script = script;
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(server->listener, 1), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&addr, &len), 0);
    server->port = ntohs(addr.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct server *server)
{
    pthread_join(server->thread, NULL);
    close(server->listener);
}

/* As any user of the session does; returns how often it had to wait. */
static int connect_to(int port, int64_t answer_ms, struct err *err)
{
    const struct ssh_target target = {.host = "127.0.0.1",
        .port = port,
        .answer_ms = answer_ms,
        .known = "",
        .login = {.user = "nobody"}};
    struct ssh *s;
    int turns = 0;

    if (ssh_open(&target, &s, err) < 0)
        return turns;
    for (; ssh_connect(s, err) == SSH_WAIT; turns++) {
        struct wait wait = {.deadline_ms = INT64_MAX};
        ssh_wait(s, &wait);
        struct pollfd p = {.fd = wait.fds[0].fd, .events = wait.fds[0].events};
        int64_t left_ms = wait.deadline_ms - clock_mono_ms();
        assert_true(wait.fd_count == 1 && left_ms <= answer_ms);
        poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
    }
    ssh_close(s);
    return turns;
}

/* A packet as it goes before the keys are exchanged: length, padding, type; the rest is up to it. */
#define PACKET(hex_len, padding, type) "\0\0" hex_len padding type

static char ignore_flood[FLOOD_BYTES], queue_flood[FLOOD_BYTES], text_flood[FLOOD_BYTES];

/* Whole packets of 32 KB, of this type. */
static void fill(char *flood, char type)
{
    memset(flood, 0, FLOOD_BYTES);
    for (int at = 0; at < FLOOD_BYTES; at += FLOOD_BYTES / 2) {
        flood[at + 2] = (char)0x7f; /* 0x7ffc: the rest of the half */
        flood[at + 3] = (char)0xfc;
        flood[at + 4] = 4;
        flood[at + 5] = type;
    }
}

#define ZEROES_8 "\0\0\0\0\0\0\0\0"

#define DISCONNECT                                                                                 \
    PACKET("\0\x24", "\x07", "\x01")                                                               \
    "\0\0\0\x02\0\0\0\x0f"                                                                         \
    "\033[31mgo away\a\r\n" ZEROES_8 "\0\0\0"

/* SSH_MSG_KEXINIT: a cookie, ten lists (key exchange and host keys have names), and two numbers. */
#define KEXINIT(host_keys)                                                                         \
    PACKET("\0\x5c", "\x05", "\x14")                                                               \
    "0123456789abcdef\0\0\0\x11"                                                                   \
    "curve25519-sha256" host_keys ZEROES_8 ZEROES_8 ZEROES_8 ZEROES_8 ZEROES_8 "\0\0"

#define ONCE(text) .once = (text), .once_len = sizeof(text) - 1

static void they_end_in_time(void **state)
{
    static const char line[] = "welcome\r\n";
    const struct script scripts[] = {
        {"silent", ONCE(""), .code = ERR_TIMEOUT, .says = "no answer"},
        {"silent after its version", ONCE(VERSION), .code = ERR_TIMEOUT, .says = "no answer"},
        {"hangs up", ONCE(""), .hangs_up = true, .code = ERR_NETWORK, .says = "hung up"},
        {"refuses in plain text", ONCE("Not allowed at this time\r\n"), .hangs_up = true,
            .code = ERR_NETWORK, .says = "it says 'Not allowed at this time'"},
        {"another protocol", ONCE("\033HTTP/1.1 400 Bad Request\r\n"), .code = ERR_TIMEOUT,
            .says = "no answer"},
        {"endless lines", ONCE(line), text_flood, FLOOD_BYTES / 9 * 9, .code = ERR_TIMEOUT},
        {"nothing to say, for ever", ONCE(VERSION), ignore_flood, FLOOD_BYTES, .code = ERR_TIMEOUT},
        {"packets that nobody waits for", ONCE(VERSION), queue_flood, FLOOD_BYTES,
            .code = ERR_LIMIT, .says = "more than a session may hold", .answer_ms = LONG_MS},
        {"says why, in red", ONCE(VERSION DISCONNECT), .code = ERR_NETWORK,
            .says = "?[31mgo away???"},
        {"old host keys", ONCE(VERSION KEXINIT("\0\0\0\x07ssh-dss")), .code = ERR_UNSUPPORTED,
            .says = "it offers ssh-dss"},
        {"a list without an end", ONCE(VERSION KEXINIT("\x7f\xff\xff\xffssh-dss")),
            .code = ERR_PROTOCOL},
    };
    struct rusage before, after;

    (void)state;
    fill(ignore_flood, 2);
    fill(queue_flood, 99);
    for (size_t i = 0; i + 9 <= FLOOD_BYTES; i += 9)
        memcpy(text_flood + i, line, 9);
    getrusage(RUSAGE_SELF, &before);
    for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
        struct server server;
        struct err err = ERR_INIT;
        start(&server, &scripts[i]);
        int64_t began_ms = clock_mono_ms();
        int turns =
            connect_to(server.port, scripts[i].answer_ms ? scripts[i].answer_ms : ANSWER_MS, &err);
        int64_t took_ms = clock_mono_ms() - began_ms;
        stop(&server);
        if (err.code != scripts[i].code ||
            (scripts[i].says && !strstr(err.message, scripts[i].says)))
            fail_msg("%s: %s: %s", scripts[i].name, err_code_name(err.code), err.message);
        if (took_ms > LATE_MS || (!scripts[i].flood && turns > TURNS_OF_A_SILENT_ONE))
            fail_msg("%s: %lld ms, %d turns", scripts[i].name, (long long)took_ms, turns);
    }
    getrusage(RUSAGE_SELF, &after);
    assert_in_range(after.ru_maxrss - before.ru_maxrss, 0, 16 * SSH_BYTES_MAX / 1024);
}

static void nobody_listens(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    connect_to(1, ANSWER_MS, &err);
    assert_int_equal(err.code, ERR_NETWORK);
    assert_non_null(strstr(err.message, "cannot connect to '127.0.0.1', port 1"));
}

static void names_are_looked_up_only_where_they_may_be(void **state)
{
    struct ssh_target target = {.host = "no.such.host.invalid", .port = 22, .known = ""};
    struct ssh *s = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(ssh_open(&target, &s, &err), -1);
    assert_int_equal(err.code, ERR_USAGE);
    target.look_up = true;
    assert_int_equal(ssh_open(&target, &s, &err), -1);
    assert_int_equal(err.code, ERR_NETWORK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_end_in_time),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(names_are_looked_up_only_where_they_may_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
