#ifndef AGENT_SCRATCH_H
#define AGENT_SCRATCH_H

/*
 * A server that lives for a moment, in a folder of its own that is our working folder, and is spoken
 * to over a unix socket there. It is a child: it dies with us. Where we are root it runs as another
 * user, who is given the folder and the files in it: the one that the host's servers run as, or nobody.
 *
 *     scratch_conf(conf, settings)          the common settings, then those of the caller
 *     if (scratch_start(&s, &program, &conf, ms, ms, err) == 0) … s.redis …
 *     scratch_stop(&s)                      also where it was not started
 */

#include <jansson.h>
#include <sys/types.h>

#include "recluster/buf.h"
#include "redis.h"

struct scratch_program {
    const char *server;
    const char *run_as; /* NULL: nobody, if that user may start it */
    bool trusted;       /* what it reads is ours: one that ends as nobody may be started as us */
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

/* Settings of every such server: a socket that only we can open, no saving. */
void scratch_conf(struct buf *conf);

/*
 * Waits at most `ms` for its socket; answers may then take `answer_ms`. ERR_CORRUPT: it has ended,
 * and the message has the end of its log.
 */
int scratch_start(struct scratch *s, const struct scratch_program *program, const struct buf *conf,
    int ms, int answer_ms, struct err *err) MUST_CHECK;
bool scratch_has_ended(struct scratch *s);
void scratch_stop(struct scratch *s);

/* Its end, or that of an answer that did not come: ERR_CORRUPT with the end of its log. */
int scratch_explain(struct err *err);

/* size - 1 random hex digits. */
int random_word(char *text, size_t size, struct err *err) MUST_CHECK;

/* How its log ends, in one line. The caller frees it. */
char *scratch_log_end(void);

#endif
