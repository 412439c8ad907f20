#ifndef RECLUSTER_AGENT_SERVER_LOG_H
#define RECLUSTER_AGENT_SERVER_LOG_H

/*
 * What a server says of its end, in the server.log of the present folder. Lines may quote any bytes
 * of a key: here only what every reader can take. The caller frees what is returned.
 */

#include <stddef.h>

#include "recluster/err.h"

/* The last lines, at most `max` bytes, whole if they fit; "" if there are none. */
char *server_log_tail(size_t max);

/* The same of any text. */
char *server_log_tail_of(const char *text, size_t len, size_t max);

/* As part of a message, which is one line. */
char *server_log_in_one_line(char *lines);

/*
 * The first line since the last start that says why the server ends: a key that is there twice, an
 * error in the file, a version that it doesn't know, a crash. NULL: none does.
 */
char *server_log_cause(void);

/* What to do about it; NULL: nothing is known. */
const char *server_log_advice(const char *cause);

#endif
