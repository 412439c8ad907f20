#include "server_process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "listener.h"
#include "machine.h"
#include "recluster/clock.h"
#include "recluster/file.h"

enum { LOOK_MS = 20, CMDLINE_MAX = 4096, STRAYS_MAX = 64 };

/* --- its marks --- */

/* "redis-server" of "redis-server 127.0.0.1:6379" and of "/usr/bin/redis-server redis.conf". */
static bool starts_with_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    return strncmp(text, word, len) == 0 && (text[len] == '\0' || text[len] == ' ');
}

/* A server overwrites its command line with its title, so it can be empty for a moment. */
static bool is_renaming_itself(pid_t pid, const char *server)
{
    enum { COMM_MAX = 15 };
    char comm[64];

    if (!process_read(pid, "comm", comm, sizeof(comm)))
        return false;
    comm[strcspn(comm, "\n")] = '\0';
    return comm[0] && strncmp(comm, path_base(server), COMM_MAX) == 0;
}

static bool has_name(pid_t pid, const char *server)
{
    char cmdline[CMDLINE_MAX];

    if (!server || !process_read(pid, "cmdline", cmdline, sizeof(cmdline)))
        return false;
    if (!cmdline[0])
        return is_renaming_itself(pid, server);
    return starts_with_word(cmdline, server) || starts_with_word(cmdline, path_base(server));
}

static pid_t pid_of_file(void)
{
    char text[32];
    int fd = open("redis.pid", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    long pid = strtol(text, NULL, 10);
    return pid > 1 && pid < INT32_MAX ? (pid_t)pid : 0;
}

/* The inode of the socket at the shard's address and port; 0: nobody listens there. */
static unsigned long socket_at_port(const struct shard *shard)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    const char *addr = shard_string(shard, "addr");
    struct addrinfo *found;

    if (!addr || getaddrinfo(addr, NULL, &hints, &found) != 0)
        return 0;
    unsigned long inode = machine_listening("", found, shard_int(shard, "port"));
    freeaddrinfo(found);
    return inode;
}

/* The process that made the unix socket listen; 0: none, or one that we cannot see. */
static pid_t pid_of_socket(bool *ret_open)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "redis.sock"};
    struct ucred who = {.pid = 0};
    socklen_t len = sizeof(who);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    /* EAGAIN: it listens, but its queue is full */
    *ret_open = fd >= 0 &&
                (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 || errno == EAGAIN);
    if (*ret_open && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        who.pid = 0;
    if (fd >= 0)
        close(fd);
    return who.pid > 1 ? who.pid : 0;
}

struct search {
    const struct shard *shard;
    unsigned long inode; /* socket_at_port() */
    bool looked;
    pid_t found;
};

static bool compare(pid_t pid, void *arg)
{
    struct search *s = arg;

    if (has_name(pid, shard_string(s->shard, "server"))) {
        s->found = pid;
        return false;
    }
    if (!s->looked)
        s->inode = socket_at_port(s->shard);
    s->looked = true;
    if (s->inode && listener_holds(pid, s->inode))
        s->found = pid;
    return !s->found;
}

pid_t server_pid(const struct shard *shard)
{
    struct search search = {.shard = shard};
    struct stat folder;
    bool open;

    if (!shard_string(shard, "server") || stat(".", &folder) < 0)
        return 0;
    pid_t pid = pid_of_file();
    if (pid && pid != getpid() && process_is_in(pid, &folder))
        return pid;
    process_each_in(&folder, compare, &search);
    if (search.found)
        return search.found;
    /* Last, because a server that does not accept must not be flooded with our connections. */
    pid = pid_of_socket(&open);
    return pid && process_is_in(pid, &folder) ? pid : 0;
}

/* --- start --- */

struct young {
    uint64_t since;
    bool found;
};

static bool is_young(pid_t pid, void *arg)
{
    struct young *y = arg;
    uint64_t started;

    y->found = process_started(pid, &started) && started >= y->since;
    return !y->found;
}

void server_await_visible(const struct shard *shard, uint64_t since, int ms)
{
    int64_t deadline = clock_mono_ms() + ms;
    struct stat folder;

    while (stat(".", &folder) == 0 && !server_pid(shard) && clock_mono_ms() < deadline) {
        struct young young = {.since = since};
        process_each_in(&folder, is_young, &young);
        if (!young.found)
            return;
        poll(NULL, 0, LOOK_MS);
    }
}

/* --- end --- */

struct strays {
    pid_t session, pids[STRAYS_MAX];
    size_t count;
};

static bool take_stray(pid_t pid, void *arg)
{
    struct strays *s = arg;

    if (getsid(pid) == s->session)
        s->pids[s->count++] = pid;
    return s->count < STRAYS_MAX;
}

static int kill_one(const struct shard *shard, const struct process *p, int ms, struct err *err)
{
    if (process_signal(p, SIGKILL) < 0)
        return err_sys(err, ERR_DENIED, "cannot end the server in '%s' (process %d)", shard->path,
            (int)p->pid);
    if (process_ends_within(p, ms))
        return 0;
    return err_set(
        err, ERR_TIMEOUT, "the server in '%s' (process %d) does not end", shard->path, (int)p->pid);
}

/* A process that the server forked to save its data is in the server's session. */
int server_kill(const struct shard *shard, const struct process *p, int ms, struct err *err)
{
    struct strays strays = {.session = getsid(p->pid)};
    struct stat folder;

    int rc = kill_one(shard, p, ms, err);
    if (rc == 0 && strays.session > 0 && strays.session != getsid(0) && stat(".", &folder) == 0)
        process_each_in(&folder, take_stray, &strays);
    for (size_t i = 0; i < strays.count && rc == 0; i++) {
        struct process stray;
        if (!process_hold(strays.pids[i], &stray))
            continue;
        rc = kill_one(shard, &stray, ms, err);
        process_release(&stray);
    }
    return rc;
}

int server_check_gone(const struct shard *shard, struct err *err)
{
    pid_t pid = server_pid(shard);
    bool open = false;

    if (!pid)
        pid = pid_of_socket(&open);
    if (!pid && !open)
        return 0;
    err_set(err, ERR_CHECK, "a server still runs in '%s'", shard->path);
    if (pid)
        err_set(err, ERR_CHECK, "a server still runs in '%s' (process %d)", shard->path, (int)pid);
    return err_hint(err,
        "Something starts it again, or it belongs to another user: stop it by hand, "
        "then run the same command again.");
}
