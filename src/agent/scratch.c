#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "run_as.h"
#include "server.h"
#include "server_log.h"
#include "watch.h"

enum { POLL_MS = 10, LOG_END = 400 };

void scratch_conf(struct buf *conf)
{
    buf_adds(conf, "unixsocket redis.sock\n"
                   "unixsocketperm 700\n"
                   "daemonize no\n"
                   "logfile server.log\n"
                   "save \"\"\n"
                   "dbfilename dump.rdb\n"
                   "maxmemory 0\n");
}

int random_word(char *text, size_t size, struct err *err)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[256];

    if (size > sizeof(bytes) || getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return err_sys(err, ERR_FAILED, "no random bytes");
    for (size_t i = 0; i + 1 < size; i++)
        text[i] = digits[bytes[i] & 15];
    text[size - 1] = '\0';
    return 0;
}

char *scratch_log_end(void)
{
    char *tail = server_log_tail(LOG_END);

    for (char *p = tail; *p; p++)
        if (*p == '\n')
            *p = '|';
    return tail;
}

int scratch_explain(struct err *err)
{
    AUTO_FREE char *tail = scratch_log_end();

    return err_set(err, ERR_CORRUPT, "the server ended; its log ends: %s", tail);
}

bool scratch_has_ended(struct scratch *s)
{
    bool ended = false;
    struct err how = ERR_INIT;

    if (s->pid && (child_poll(s->pid, &ended, &how) < 0 || ended))
        s->pid = 0;
    return !s->pid;
}

/* --- as whom --- */

static int give_files(uid_t uid, gid_t gid, struct err *err)
{
    char **names;
    size_t count;
    int rc = 0;

    if (dir_list(".", &names, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count && rc == 0; i++)
        if (lchown(names[i], uid, gid) < 0)
            rc = err_sys(err, ERR_IO, "cannot give '%s' to another user", names[i]);
    strv_free(names, count);
    if (rc == 0 && chown(".", uid, gid) < 0)
        rc = err_sys(err, ERR_IO, "cannot give a folder to another user");
    return rc;
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Through a pipe: the user may not be able to enter the folder of the path. */
static int give_conf(struct scratch *s, const struct buf *conf, struct err *err)
{
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);

    fcntl(s->to, F_SETFL, 0);
    int rc = file_write_all(s->to, conf->data, conf->len, "the server's configuration", err);
    signal(SIGPIPE, before);
    close_end(&s->to);
    return rc;
}

/* -1: the user cannot start it; `ret` says which user. */
static int spawn(struct scratch *s, const struct scratch_program *program, const struct buf *conf,
    bool as_nobody, struct err *err)
{
    const struct child_rights ours = *child_rights();
    struct child_rights theirs = ours;

    if (geteuid() == 0 && (program->run_as || as_nobody)) {
        if (run_as_find(
                program->run_as ? program->run_as : "nobody", &theirs.uid, &theirs.gid, err) < 0 ||
            give_files(theirs.uid, theirs.gid, err) < 0)
            return -1;
        theirs.other_user = true;
    }
    child_restrict(&theirs);
    int rc = child_spawn(
        (const char *const[]){program->server, "-", NULL}, &s->pid, &s->to, &s->from, NULL, err);
    child_restrict(&ours);
    return rc < 0 ? -1 : give_conf(s, conf, err);
}

/*
 * A server listens before it loads its modules, and they may end it. So it counts as started when
 * it has answered, whatever the answer.
 */
static bool answers(struct scratch *s, int answer_ms, struct err *why)
{
    if (redis_connect_unix("redis.sock", answer_ms, &s->redis, why) < 0)
        return false;
    if (redis_command(s->redis, NULL, why, "INFO") == 0 ||
        (why->code != ERR_NETWORK && why->code != ERR_TIMEOUT))
        return true;
    redis_close(s->redis);
    s->redis = NULL;
    return false;
}

static int await_socket(struct scratch *s, int ms, int answer_ms, struct err *err)
{
    int64_t deadline = clock_mono_ms() + ms;
    struct err why = ERR_INIT;

    while (!answers(s, answer_ms, &why)) {
        if (scratch_has_ended(s))
            return scratch_explain(err);
        if (clock_mono_ms() > deadline) {
            *err = why;
            return err_wrap(err, "the server does not answer");
        }
        pause_ms(POLL_MS);
    }
    return 0;
}

int scratch_start(struct scratch *s, const struct scratch_program *program, const struct buf *conf,
    int ms, int answer_ms, struct err *err)
{
    struct err why = ERR_INIT;

    umask(077);
    bool started = spawn(s, program, conf, true, &why) == 0;
    if (started && await_socket(s, ms, answer_ms, &why) == 0)
        return 0;
    scratch_stop(s);
    if (program->run_as || geteuid() != 0 || (started && !program->trusted)) {
        *err = why;
        return -1;
    }
    return spawn(s, program, conf, false, err) < 0 ? -1 : await_socket(s, ms, answer_ms, err);
}

void scratch_stop(struct scratch *s)
{
    redis_close(s->redis);
    s->redis = NULL;
    if (s->pid)
        child_kill(s->pid);
    s->pid = 0;
    close_end(&s->to);
    close_end(&s->from);
}
