#ifndef AGENT_SCRATCH_H
#define AGENT_SCRATCH_H

/*
 * A server for a short task, in a folder of its own that is our working folder. It is reached over
 * a unix socket there. It is a child that dies with us. If we are root, it runs as another user,
 * who gets the folder and its files: the user of the host's servers, or nobody.
 *
 *     scratch_conf(conf, settings)          the common settings, then those of the caller
 *     if (scratch_start(&s, &program, &conf, ms, ms, err) == 0) … s.redis …
 *     scratch_stop(&s)                      also if it was not started
 */

#include <jansson.h>
#include <sys/types.h>

#include "recluster/buf.h"
#include "redis.h"

struct scratch_program {
    const char *server;
    const char *run_as; /* NULL: nobody, if that user can start it */
    bool trusted; /* if it cannot run as nobody, it may run as us, because all its input is ours */
};

struct scratch {
    pid_t pid;
    int to, from;
    struct redis *redis;
};
#define SCRATCH_INIT                                                                               \
    {                                                                                              \
        .to = -1, .from = -1                                                                       \
    }

/* The settings of every such server: a socket that only we can open, no saving. */
void scratch_conf(struct buf *conf);

/*
 * Waits at most `ms` for its socket; an answer may take `answer_ms`. ERR_CORRUPT: it has ended, and
 * the message quotes the end of its log.
 */
int scratch_start(struct scratch *s, const struct scratch_program *program, const struct buf *conf,
    int ms, int answer_ms, struct err *err) MUST_CHECK;
bool scratch_has_ended(struct scratch *s);
void scratch_stop(struct scratch *s);

/* The server ended or did not answer: ERR_CORRUPT with the end of its log. */
int scratch_explain(struct err *err);

/* size - 1 random hex digits. */
int random_word(char *text, size_t size, struct err *err) MUST_CHECK;

/* The end of its log, in one line. The caller frees it. */
char *scratch_log_end(void);

#endif
