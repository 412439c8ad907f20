#ifndef RECLUSTER_EVERYWHERE_H
#define RECLUSTER_EVERYWHERE_H

/*
 * One command, sent to several servers at the same time.
 *
 *     e = everywhere_open(&params, servers, count)
 *     everywhere_call(e, (const char *const[]){"PING", NULL}, which, 1000, answers, err) …
 *     everywhere_close(e)
 *
 * Answers are JSON: texts, numbers and lists as the server gives them. An error, or no answer in
 * time, is the error of that server; it is asked over a new connection next time.
 */

#include <jansson.h>

#include "recluster/live.h"

struct everywhere;

struct everywhere_answer {
    struct err error; /* ERR_NONE: `reply` is set. It names the server */
    json_t *reply;    /* the caller's; NULL: none, or a null */
};

/* `servers` are copied; the login and TLS of params are borrowed. Connects when it asks. */
struct everywhere *everywhere_open(
    const struct live_params *params, const struct live_server *const *servers, size_t count);
void everywhere_close(struct everywhere *e); /* may be NULL */

/*
 * `which` (NULL: all) says who is asked; the answers of others are not set. -1 only if nothing could
 * be asked at all.
 */
int everywhere_call(struct everywhere *e, const char *const *words, const bool *which,
    int64_t deadline_ms, struct everywhere_answer *ret, struct err *err) MUST_CHECK;

#endif
