#include "scratch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "server.h"
#include "server_conf.h"
#include "server_log.h"

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

void scratch_add_modules(struct buf *conf, const json_t *modules)
{
    server_conf_add_modules(modules, conf);
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
    CLEANUP(free_ptr) char *tail = scratch_log_end();

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

int scratch_start(struct scratch *s, const char *server, const struct buf *conf, int ms,
    int answer_ms, struct err *err)
{
    int64_t deadline = clock_mono_ms() + ms;
    struct err why = ERR_INIT;

    umask(077);
    if (file_write_atomic("scratch.conf", conf->data, conf->len, 0600, err) < 0 ||
        child_spawn((const char *const[]){server, "scratch.conf", NULL}, &s->pid, &s->to, &s->from,
            NULL, err) < 0)
        return -1;
    while (redis_connect_unix("redis.sock", answer_ms, &s->redis, &why) < 0) {
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

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
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
