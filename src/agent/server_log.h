#ifndef RECLUSTER_AGENT_SERVER_LOG_H
#define RECLUSTER_AGENT_SERVER_LOG_H

/*
 * What the log of a server says about its end; server.log is in the working folder. Lines may quote
 * any bytes of a key, so the text is cleaned for messages. The caller frees what is returned.
 */

#include <stddef.h>

#include "recluster/err.h"

/* The last lines, at most `max` bytes, whole if they fit; "" if there are none. */
char *server_log_tail(size_t max);

/* The same for any text. */
char *server_log_tail_of(const char *text, size_t len, size_t max);

/* The last lines as part of a message, in one line. */
char *server_log_in_one_line(char *lines);

/*
 * The first line since the last start that tells why the server ended, such as a duplicate key, an
 * error in the file, an unknown version, or a crash. NULL: no line does.
 */
char *server_log_cause(void);

/* What to do about it; NULL: unknown. */
const char *server_log_advice(const char *cause);

#endif
