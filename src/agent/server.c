#include "server.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/protocol.h"
#include "run_as.h"
#include "server_log.h"
#include "server_process.h"
#include "systemd_unit.h"
#include "watch.h"

enum {
    COMMAND_MS = 60 * 1000, /* a server that loads or forks may take long to answer */
    SOCKET_MS = 60 * 1000,  /* from the start of the process to its socket */
    STOP_MS = 10 * 1000,
    STUCK_MS = 120 * 1000,
    POLL_MS = 50,
    LOOK_AGAIN_MS = 200,
    PROGRESS_MS = 200,
};

/* The socket appears a moment after the process has started. */
static int connect_socket(
    const struct shard *shard, int timeout_ms, struct redis **ret, struct err *err)
{
    int64_t deadline = clock_mono_ms() + SOCKET_MS;

    struct err why;

    while (redis_connect_unix("redis.sock", timeout_ms, ret, &why) < 0) {
        if (!server_pid(shard))
            return err_set(err, ERR_NOT_FOUND, "no server runs in '%s'", shard->path);
        if (clock_mono_ms() > deadline) {
            *err = why;
            return err_wrap(err, "the server in '%s' does not answer", shard->path);
        }
        pause_ms(POLL_MS);
    }
    return 0;
}

/* Without a password a new connection is user default, if that user is on. */
static int log_in_as_default(
    const struct shard *shard, struct redis *r, const char *password, struct err *err)
{
    int rc = password && *password ? redis_auth(r, NULL, password, err)
                                   : redis_command(r, NULL, err, "ACL", "WHOAMI");
    return rc < 0
               ? err_wrap(err, "cannot log in to the server in '%s' as its clients do", shard->path)
               : 0;
}

int server_connect_default(
    const struct shard *shard, const char *password, struct redis **ret, struct err *err)
{
    struct redis *r;

    if (connect_socket(shard, COMMAND_MS, &r, err) < 0)
        return -1;
    if (log_in_as_default(shard, r, password, err) < 0) {
        redis_close(r);
        return -1;
    }
    *ret = r;
    return 0;
}

static int connect_within(const struct shard *shard, const char *password, int timeout_ms,
    struct redis **ret, struct err *err)
{
    const char *recovery_password = shard_string(shard, "recovery_password");
    struct err refused = {.code = ERR_DENIED};
    struct err admin = {.code = shard->admin_password ? ERR_NONE : ERR_DENIED};
    struct redis *r;

    if (connect_socket(shard, timeout_ms, &r, err) < 0)
        return -1;
    if (shard_is_sentinel(shard)) {
        const char *own = shard_string(shard, "own_password");
        *ret = r;
        return own && redis_auth(r, NULL, own, err) < 0 ? (redis_close(r), -1) : 0;
    }
    if (recovery_password && redis_auth(r, RECOVERY_USER, recovery_password, &refused) == 0) {
        *ret = r;
        return 0;
    }
    if (refused.code == ERR_DENIED && shard->admin_password)
        (void)!redis_auth(r, ADMIN_USER, shard->admin_password, &admin);
    if (refused.code == ERR_DENIED &&
        (admin.code == ERR_NONE || log_in_as_default(shard, r, password, err) == 0)) {
        *ret = r;
        return 0;
    }
    if (refused.code != ERR_DENIED)
        *err = refused;
    redis_close(r);
    return -1;
}

int server_connect(
    const struct shard *shard, const char *password, struct redis **ret, struct err *err)
{
    return connect_within(shard, password, COMMAND_MS, ret, err);
}

int server_explain(const struct shard *shard, struct err *err)
{
    char message[sizeof(err->message)];
    AUTO_FREE char *cause = server_log_cause();
    AUTO_FREE char *tail = cause ? NULL : server_log_tail(400);
    const char *advice = cause ? server_log_advice(cause) : NULL;

    memcpy(message, err->message, sizeof(message));
    if (cause)
        snprintf(err->message, sizeof(err->message), "%.600s; its log says: %s", message, cause);
    else if (*tail)
        snprintf(err->message, sizeof(err->message), "%.600s; its log ends: %s", message,
            server_log_in_one_line(tail));
    if (advice)
        err_hint(err, "%s The server's log is '%s/server.log' on that host.", advice, shard->path);
    else if (!err->hint[0])
        err_hint(err, "The server's log is '%s/server.log' on that host.", shard->path);
    return -1;
}

/* The variables of jemalloc, with the prefix of the servers' own build and without. */
static void ask_for_huge_pages(void)
{
    setenv("MALLOC_CONF", "thp:always", 1);
    setenv("JE_MALLOC_CONF", "thp:always", 1);
}

static int run_as_user(
    const struct shard *shard, const char *server, struct buf *said, struct err *err)
{
    const struct child_rights ours = *child_rights();
    struct child_rights theirs = ours;

    if (run_as_is_used(shard)) {
        if (run_as_find(shard_string(shard, "run_as"), &theirs.uid, &theirs.gid, err) < 0)
            return -1;
        theirs.other_user = true;
    }
    child_restrict(&theirs);
    int rc = child_run((const char *const[]){server, "redis.conf",
                           shard_is_sentinel(shard) ? "--sentinel" : NULL, NULL},
        SOCKET_MS, 64 * 1024, said, err);
    child_restrict(&ours);
    return rc;
}

static int start_daemon(const struct shard *shard, struct err *err)
{
    const char *server = shard_string(shard, "server");
    struct buf said = BUF_INIT;

    umask(077); /* the server uses it for all files that it writes */
    if (json_flag(shard->record, "fast_load") && !shard_has(shard, SHARD_CONFIGURED))
        ask_for_huge_pages();
    int rc = run_as_user(shard, server, &said, err);
    if (rc < 0) {
        AUTO_FREE char *tail = server_log_tail_of(said.data, said.len, 600);
        if (*tail)
            err_set(err, ERR_SERVER, "cannot start '%s' in '%s': %s", server, shard->path,
                server_log_in_one_line(tail));
        else
            err_wrap(err, "cannot start '%s' in '%s'", server, shard->path);
    }
    buf_release(&said);
    return rc;
}

int server_launch(const struct shard *shard, struct err *err)
{
    uint64_t since = process_now();

    if (run_as_give(shard, err) < 0)
        return -1;
    if ((unit_is_used(shard) ? unit_start(shard, err) : start_daemon(shard, err)) < 0)
        return -1;
    server_await_visible(shard, since, SOCKET_MS);
    return 0;
}

int server_start(
    const struct shard *shard, const char *password, struct redis **ret, struct err *err)
{
    if (server_launch(shard, err) < 0)
        return -1;
    int rc = server_connect(shard, password, ret, err);
    if (rc < 0 && err->code == ERR_NOT_FOUND) {
        pause_ms(
            LOOK_AGAIN_MS); /* it has just started, so one look does not prove that it is gone */
        rc = server_connect(shard, password, ret, err);
    }
    if (rc == 0)
        return 0;
    if (err->code == ERR_NOT_FOUND || err->code == ERR_NETWORK)
        err_set(err, ERR_SERVER, "the server in '%s' ended right after its start", shard->path);
    return server_explain(shard, err);
}

int server_await_loaded(struct agent_call *call, const struct shard *shard, struct redis *r,
    char **ret_info, struct err *err)
{
    struct watch watch = WATCH_INIT(STUCK_MS);

    for (;;) {
        char *info;
        if (redis_info(r, &info, err) < 0) {
            if (!server_pid(shard))
                err_set(err, ERR_SERVER, "the server in '%s' ended while it loaded", shard->path);
            return server_explain(shard, err);
        }
        if (info_is(info, "loading", "0")) {
            *ret_info = info;
            return 0;
        }
        int64_t bytes = info_int(info, "loading_loaded_bytes", 0);
        int64_t total = info_int(info, "loading_total_bytes", -1);
        free(info);
        if (watch_is_stuck(&watch, (uint64_t)bytes)) {
            err_set(err, ERR_TIMEOUT, "the server in '%s' stopped loading at %lld of %lld bytes",
                shard->path, (long long)bytes, (long long)total);
            return server_explain(shard, err);
        }
        agent_progress(call, json_pack("{s:s, s:I, s:I}", "phase", "loading", "bytes",
                                 (json_int_t)bytes, "total", (json_int_t)total));
        pause_ms(PROGRESS_MS);
    }
}

/* Sends the command, if the server can answer. Whether it worked is seen when the process ends. */
static bool ends_by_command(const struct shard *shard, const struct process *p)
{
    struct err refused = ERR_INIT;
    struct redis *r = NULL;

    /* A server that waits for bytes of its file cannot answer, and has nothing to lose. */
    if (shard_is_landing(shard) || connect_within(shard, NULL, STOP_MS, &r, &refused) < 0)
        return false;
    int closed = redis_command(r, NULL, &refused, "SHUTDOWN", "NOSAVE");
    redis_close(r);
    return closed < 0 && process_ends_within(p, STOP_MS);
}

int server_stop(const struct shard *shard, bool *ret_was_running, struct err *err)
{
    pid_t pid = server_pid(shard);
    struct process p;

    *ret_was_running = pid && process_hold(pid, &p);
    if (!*ret_was_running)
        return server_check_gone(shard, err);
    int rc = ends_by_command(shard, &p) ? 0 : server_kill(shard, &p, STOP_MS, err);
    process_release(&p);
    return rc < 0 ? -1 : server_check_gone(shard, err);
}
